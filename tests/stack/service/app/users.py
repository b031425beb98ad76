"""Who may log in. `python -m app.users NAME ROLE < PASSWORD` makes the first one, and changes nobody who is there."""

import base64
import hashlib
import hmac
import os
import re
import sys

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from .tables import engine, users

SHORTEST = 12
COST = {"n": 2**14, "r": 8, "p": 1}
ROLES = ("admin", "editor", "reader")


def hashed(password: str, salt: bytes) -> str:
    """What is kept of a password."""
    key = hashlib.scrypt(password.encode(), salt=salt, **COST)
    return "scrypt:" + ":".join(base64.b64encode(part).decode() for part in (salt, key))


def role(name: str, password: str) -> str | None:
    """The role of whoever has this name and password. A name that is not there takes as long as a wrong password."""
    with engine.connect() as connection:
        row = connection.execute(select(users.c.role, users.c.password).where(users.c.name == name)).first()
    kept = row.password if row else hashed("", bytes(16))
    right = hmac.compare_digest(kept, hashed(password, base64.b64decode(kept.split(":")[1])))
    return row.role if row and right else None


def weak(name: str, password: str) -> str | None:
    """Why a password will not do."""
    if len(password) < SHORTEST:
        return f"it has {len(password)} characters and needs {SHORTEST}"
    if name.lower() in password.lower():
        return "the name of the user is in it"
    if len(set(password)) < 5:
        return "it is the same few characters again and again"
    return None


def create(name: str, its_role: str, password: str) -> bool:
    """Whether the user was made now; one that is there is left as it is."""
    new = {"name": name, "role": its_role, "password": hashed(password, os.urandom(16))}
    with engine.begin() as connection:
        made = connection.execute(insert(users).values(new).on_conflict_do_nothing().returning(users.c.id))
        return made.first() is not None


def main() -> str | None:
    """The reason why not."""
    if len(sys.argv) != 3 or not re.fullmatch(r"[a-z][a-z0-9._-]{1,31}", sys.argv[1]) or sys.argv[2] not in ROLES:
        return f"usage: python -m app.users NAME {'|'.join(ROLES)} < PASSWORD"
    password = sys.stdin.read().rstrip("\n")
    reason = weak(sys.argv[1], password)
    if reason:
        return f"error: this password will not do: {reason}"
    print("made" if create(sys.argv[1], sys.argv[2], password) else "there already")
    return None


if __name__ == "__main__":
    sys.exit(main())
