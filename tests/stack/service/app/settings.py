"""Where things are: from `.env` in the folder of the release; the environment wins."""

import os
from pathlib import Path


def _read(path: Path) -> None:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            os.environ.setdefault(name.strip(), value.strip())


RELEASE = Path.cwd()
_read(RELEASE / ".env")

DATABASE_URL = os.environ["DATABASE_URL"]
REDIS_SOCKET = os.environ["REDIS_SOCKET"]
LOG_LEVEL = os.environ.get("LOG_LEVEL", "INFO")
BROKER_URL_FILE = os.environ.get("BROKER_URL_FILE", "")  # it has a password in it
CACHE_TTL = int(os.environ.get("CACHE_TTL", "3600"))
LOG_FILE = os.environ.get("LOG_FILE", "")
UPLOAD_DIR = Path(os.environ.get("UPLOAD_DIR", RELEASE / "uploads"))
# Connections that one process keeps, and how many more it may open for a while.
DB_POOL_SIZE = int(os.environ.get("DB_POOL_SIZE", "5"))
DB_MAX_OVERFLOW = int(os.environ.get("DB_MAX_OVERFLOW", "5"))
REDIS_POOL_SIZE = int(os.environ.get("REDIS_POOL_SIZE", "10"))
VERSION = (RELEASE / "VERSION").read_text(encoding="utf-8").strip()
