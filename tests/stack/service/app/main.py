"""Items in a table, and what a load balancer, a deployment and Prometheus ask."""

import datetime
import json
import logging
import time

import redis
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest
from sqlalchemy import func, insert, select

from . import logs, settings
from .tables import engine, items

logs.set_up()
log = logging.getLogger("app")
app = FastAPI(title="items", version=settings.VERSION)
cache = redis.Redis(unix_socket_path=settings.REDIS_SOCKET, socket_timeout=5)

REQUESTS = Counter("requests_total", "Requests by path and status", ["path", "status"])
SECONDS = Histogram("request_seconds", "How long requests take", ["path"])
ITEMS = Gauge("items", "Rows of the table")


@app.middleware("http")
async def measure(request: Request, call_next):
    """Every request is counted and timed."""
    began = time.perf_counter()
    response = await call_next(request)
    SECONDS.labels(request.url.path).observe(time.perf_counter() - began)
    REQUESTS.labels(request.url.path, response.status_code).inc()
    return response


@app.get("/health")
async def health(response: Response):
    """Whether this process works. A release with a file `unhealthy` does not."""
    well = not (settings.RELEASE / "unhealthy").exists()
    response.status_code = 200 if well else 503
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    return {"status": "ok" if well else "unhealthy", "timestamp": now, "version": settings.VERSION}


def _works(what) -> bool:
    try:
        what()
        return True
    except Exception as error:  # whatever it is, the answer is no
        log.error("not ready: %s", error)
        return False


def _ask_database() -> None:
    with engine.connect() as connection:
        connection.execute(select(1))


@app.get("/ready")
def ready(response: Response):
    """Whether it can serve: what it stands on answers."""
    on = {"database": _works(_ask_database), "redis": _works(cache.ping)}
    response.status_code = 200 if all(on.values()) else 503
    return {"status": "ready" if all(on.values()) else "not ready", **on}


@app.get("/metrics")
def metrics():
    """For Prometheus."""
    with engine.connect() as connection:
        ITEMS.set(connection.scalar(select(func.count()).select_from(items)))
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@app.get("/items")
def listed():
    """The newest ones."""
    with engine.connect() as connection:
        rows = connection.execute(select(items.c.id, items.c.name).order_by(items.c.id.desc()).limit(10))
        return [dict(row._mapping) for row in rows]


@app.get("/summary")
def summary(response: Response):
    """How many there are, as of up to CACHE_TTL seconds ago: an answer stays in Redis for so long."""
    answer = cache.get("response:/summary")
    response.headers["x-cache"] = "miss" if answer is None else "hit"
    if answer is None:
        with engine.connect() as connection:
            answer = json.dumps({"count": connection.scalar(select(func.count()).select_from(items))})
        cache.setex("response:/summary", settings.CACHE_TTL, answer)
    return json.loads(answer)


@app.post("/items", status_code=201)
def add(name: str):
    """One more."""
    log.info("a new item: %s", name)
    with engine.begin() as connection:
        return {"id": connection.scalar(insert(items).values(name=name).returning(items.c.id))}


@app.get("/whoami")
def whoami(request: Request):
    """What a proxy says about who asks."""
    wanted = ("x-", "upgrade", "connection", "host")
    return {name: value for name, value in request.headers.items() if name.startswith(wanted)}


@app.post("/upload")
async def upload(request: Request):
    """How much came."""
    return {"bytes": len(await request.body())}


@app.get("/wait")
def wait():
    """An answer that takes its time: until there is a file `go` in the folder of the release."""
    while not (settings.RELEASE / "go").exists():
        time.sleep(0.1)
    return {"version": settings.VERSION}
