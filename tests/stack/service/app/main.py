"""Items in a table, and what a load balancer, a deployment and Prometheus ask."""

import datetime
import json
import logging
import time
import uuid

import redis
from fastapi import Body, FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest
from sqlalchemy import func, insert, select

from . import logs, settings, users
from .tables import articles, engine, items
from .tables import users as users_table

logs.set_up()
log = logging.getLogger("app")
app = FastAPI(title="items", version=settings.VERSION)
# Whoever finds all connections taken waits for one.
cache = redis.Redis(
    connection_pool=redis.BlockingConnectionPool(
        connection_class=redis.UnixDomainSocketConnection,
        path=settings.REDIS_SOCKET,
        socket_timeout=5,
        max_connections=settings.REDIS_POOL_SIZE,
        timeout=20,
    )
)

REQUESTS = Counter("requests_total", "Requests by path and status", ["path", "status"])
SECONDS = Histogram("request_seconds", "How long requests take", ["path"])
ITEMS = Gauge("items", "Rows of the table")


@app.middleware("http")
async def measure(request: Request, call_next):
    """Every request is counted, timed and logged, without its query: that may be about a person."""
    began = time.perf_counter()
    response = await call_next(request)
    seconds = time.perf_counter() - began
    SECONDS.labels(request.url.path).observe(seconds)
    REQUESTS.labels(request.url.path, response.status_code).inc()
    about = {"method": request.method, "path": request.url.path, "status": response.status_code}
    log.info("request", extra={**about, "duration_ms": round(seconds * 1000)})
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
    log.debug("the newest items are asked for")
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


@app.get("/stats")
def stats():
    """How much there is."""
    with engine.connect() as connection:
        count = {
            table.name: connection.scalar(select(func.count()).select_from(table))
            for table in (items, users_table, articles)
        }
        newest = connection.scalar(select(func.max(items.c.created_at)))
    return {**count, "newest_item": newest.isoformat() if newest else None}


@app.get("/files/stats")
def files_stats():
    """How many files were uploaded, and how large they are together."""
    sizes = [file.stat().st_size for file in settings.UPLOAD_DIR.glob("[!.]*")] if settings.UPLOAD_DIR.exists() else []
    return {"files": len(sizes), "bytes": sum(sizes)}


@app.get("/articles")
def found(q: str):
    """What the knowledge base says about these words."""
    words = func.to_tsvector("simple", articles.c.title + " " + articles.c.body)
    with engine.connect() as connection:
        rows = connection.execute(
            select(articles.c.name, articles.c.title)
            .where(words.op("@@")(func.plainto_tsquery("simple", q)))
            .order_by(articles.c.name)
            .limit(10)
        )
        return [dict(row._mapping) for row in rows]


@app.post("/login")
def login(response: Response, name: str = Body(), password: str = Body()):
    """Whether these are the name and the password of somebody."""
    role = users.role(name, password)
    response.status_code = 200 if role else 401
    return {"name": name, "role": role} if role else {"error": "no such name with this password"}


@app.get("/whoami")
def whoami(request: Request):
    """What a proxy says about who asks."""
    wanted = ("x-", "upgrade", "connection", "host")
    return {name: value for name, value in request.headers.items() if name.startswith(wanted)}


@app.post("/upload")
async def upload(request: Request):
    """Keeps what came, and says how much it is."""
    body = await request.body()
    settings.UPLOAD_DIR.mkdir(exist_ok=True)
    half = settings.UPLOAD_DIR / f".{uuid.uuid4()}"
    half.write_bytes(body)
    half.rename(settings.UPLOAD_DIR / str(uuid.uuid4()))
    return {"bytes": len(body)}


@app.get("/wait")
def wait():
    """An answer that takes its time: until there is a file `go` in the folder of the release."""
    while not (settings.RELEASE / "go").exists():
        time.sleep(0.1)
    return {"version": settings.VERSION}
