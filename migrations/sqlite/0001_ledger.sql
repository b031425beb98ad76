-- The ledger on SQLite. Times are epoch milliseconds, JSON is TEXT. `events` is the truth and only ever grows;
-- `runs`, `steps` and `attempts` are a picture of it.
CREATE TABLE definitions (
    hash TEXT PRIMARY KEY NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE blobs (
    sha256 TEXT PRIMARY KEY NOT NULL,
    bytes  BLOB NOT NULL
) STRICT;

CREATE TABLE runs (
    id          TEXT PRIMARY KEY NOT NULL,
    name        TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN
                ('queued', 'running', 'stopping', 'succeeded', 'failed', 'cancelled', 'timed_out')),
    generation  INTEGER NOT NULL CHECK (generation >= 1),
    held        INTEGER NOT NULL CHECK (held IN (0, 1)),
    trigger     TEXT NOT NULL,
    actor       TEXT NOT NULL,
    key         TEXT UNIQUE,
    params      TEXT NOT NULL,
    definition  TEXT NOT NULL REFERENCES definitions (hash),
    created_at  INTEGER NOT NULL,
    started_at  INTEGER,
    finished_at INTEGER,
    seq         INTEGER NOT NULL CHECK (seq >= 1),
    head        TEXT NOT NULL,
    CHECK ((finished_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'cancelled', 'timed_out')))
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_by_name ON runs (name, id);

-- hash = SHA-256 over the hash before it and this row: see store/src/chain.rs
CREATE TABLE events (
    run_id TEXT NOT NULL REFERENCES runs (id),
    seq    INTEGER NOT NULL CHECK (seq >= 1),
    at     INTEGER NOT NULL,
    actor  TEXT NOT NULL,
    kind   TEXT NOT NULL,
    body   TEXT NOT NULL,
    hash   TEXT NOT NULL,
    PRIMARY KEY (run_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE steps (
    run_id     TEXT NOT NULL REFERENCES runs (id),
    unit       TEXT NOT NULL,
    position   INTEGER NOT NULL,
    status     TEXT NOT NULL CHECK (status IN
               ('pending', 'ready', 'running', 'backoff', 'held', 'succeeded', 'failed', 'timed_out', 'lost',
                'skipped', 'cancelled')),
    attempts   INTEGER NOT NULL,
    started_at INTEGER,
    ended_at   INTEGER,
    error      TEXT,
    outputs    TEXT NOT NULL,
    PRIMARY KEY (run_id, unit)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    claim       TEXT NOT NULL,
    run_id      TEXT NOT NULL REFERENCES runs (id),
    unit        TEXT NOT NULL,
    attempt     INTEGER NOT NULL,
    generation  INTEGER NOT NULL,
    session     TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN
                ('running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'lost', 'never_started')),
    claimed_at  INTEGER NOT NULL,
    started_at  INTEGER,
    ended_at    INTEGER,
    code        INTEGER,
    signal      INTEGER,
    error       TEXT,
    log_bytes   INTEGER NOT NULL,
    log_dropped INTEGER NOT NULL,
    log_sha256  TEXT NOT NULL,
    PRIMARY KEY (run_id, unit, attempt)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_live_attempt ON attempts (run_id, unit) WHERE status = 'running';

-- What was recorded stays recorded.
CREATE TRIGGER events_stand_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
