"""What is done behind the requests: a queue in Redis, workers, and a clock."""

from celery import Celery
from sqlalchemy import insert

from . import settings
from .tables import engine, items

app = Celery("items", broker=f"redis+socket://{settings.REDIS_SOCKET}")
app.conf.update(
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    beat_schedule={"heartbeat": {"task": "app.tasks.add", "schedule": 1.0, "args": ["heartbeat"]}},
)


@app.task
def add(name: str) -> None:
    """One more item."""
    with engine.begin() as connection:
        connection.execute(insert(items).values(name=name))
