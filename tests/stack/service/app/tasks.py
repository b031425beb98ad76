"""What is done behind the requests: a queue in Redis or RabbitMQ, workers, and a clock."""

import time
from pathlib import Path

from celery import Celery
from sqlalchemy import insert

from . import settings
from .tables import engine, items

BROKER = f"redis+socket://{settings.REDIS_SOCKET}"
if settings.BROKER_URL_FILE:
    BROKER = Path(settings.BROKER_URL_FILE).read_text(encoding="utf-8").strip()

app = Celery("items", broker=BROKER)
app.conf.update(
    task_ignore_result=True,
    # A task is done when it is done, not when somebody has taken it: where a worker dies another one does it.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    beat_schedule={"heartbeat": {"task": "app.tasks.add", "schedule": 1.0, "args": ["heartbeat"]}},
)


@app.task
def add(name: str) -> None:
    """One more item."""
    with engine.begin() as connection:
        connection.execute(insert(items).values(name=name))


@app.task
def add_when_told(name: str) -> None:
    """One more item, once there is a file `go` in the folder of the release."""
    while not (settings.RELEASE / "go").exists():
        time.sleep(0.1)
    add(name)
