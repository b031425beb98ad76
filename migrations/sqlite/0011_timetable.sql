-- Schedules and their ticks. A row of `ticks` is written in the transaction that records its run, or its skip on the
-- ledger's own record: it says what the tick came to, once and for all, unless it waits.
CREATE TABLE schedules (
    name            TEXT PRIMARY KEY NOT NULL,
    disabled_at     INTEGER,
    disabled_by     TEXT,
    disabled_reason TEXT,
    CHECK ((disabled_at IS NULL) = (disabled_by IS NULL) AND (disabled_at IS NULL) = (disabled_reason IS NULL))
) STRICT, WITHOUT ROWID;

-- A schedule as it is written: one that was edited is another one. It is here while somebody fires it. Its ticks are decided
-- up to `cursor`, `offset_ms` (its part of the jitter) included.
CREATE TABLE schedule_specs (
    name       TEXT NOT NULL REFERENCES schedules (name),
    spec       TEXT NOT NULL,
    definition TEXT NOT NULL,
    offset_ms  INTEGER NOT NULL CHECK (offset_ms >= 0),
    cursor     INTEGER NOT NULL,
    PRIMARY KEY (name, spec)
) STRICT, WITHOUT ROWID;

-- Who fires what, and since when it is so.
CREATE TABLE posted (
    home   TEXT NOT NULL,
    name   TEXT NOT NULL,
    spec   TEXT NOT NULL,
    host   TEXT NOT NULL,
    broken TEXT,
    at     INTEGER NOT NULL,
    PRIMARY KEY (home, name),
    FOREIGN KEY (name, spec) REFERENCES schedule_specs (name, spec)
) STRICT, WITHOUT ROWID;
CREATE INDEX posted_by_schedule ON posted (name, spec);

CREATE TABLE ticks (
    schedule   TEXT NOT NULL REFERENCES schedules (name),
    nominal    TEXT NOT NULL,
    zone       TEXT NOT NULL,
    fold       INTEGER NOT NULL CHECK (fold IN (0, 1)),
    at         INTEGER NOT NULL,
    spec       TEXT NOT NULL,
    decided_at INTEGER NOT NULL,
    outcome    TEXT NOT NULL CHECK (outcome IN ('run', 'skipped', 'waits')),
    run_id     TEXT,
    reason     TEXT,
    count      INTEGER NOT NULL CHECK (count >= 1),
    PRIMARY KEY (schedule, nominal, zone, fold),
    CHECK ((run_id IS NULL) = (outcome = 'skipped') AND (reason IS NULL) = (outcome <> 'skipped'))
) STRICT, WITHOUT ROWID;
CREATE INDEX ticks_by_time ON ticks (schedule, at);
CREATE INDEX ticks_by_decision ON ticks (decided_at);
CREATE INDEX ticks_that_wait ON ticks (schedule, at) WHERE outcome = 'waits';
CREATE UNIQUE INDEX one_tick_a_run ON ticks (run_id) WHERE outcome = 'run';

-- Whether a run of a schedule lives is asked before each of its ticks.
ALTER TABLE runs ADD COLUMN schedule TEXT;
CREATE INDEX runs_of_schedules ON runs (schedule, id) WHERE schedule IS NOT NULL AND finished_at IS NULL;

-- Ticks that were decided before this moment may be pruned.
CREATE TABLE tick_horizon (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    before INTEGER NOT NULL
) STRICT;
INSERT INTO tick_horizon (one, before) VALUES (1, 0);

CREATE TRIGGER ticks_stand_update BEFORE UPDATE ON ticks WHEN OLD.outcome <> 'waits'
BEGIN SELECT RAISE(ABORT, 'what was decided stays decided'); END;
CREATE TRIGGER ticks_stand_delete BEFORE DELETE ON ticks
WHEN OLD.outcome = 'waits' OR OLD.decided_at >= (SELECT before FROM tick_horizon)
    OR EXISTS (SELECT 1 FROM runs WHERE id = OLD.run_id)
BEGIN SELECT RAISE(ABORT, 'a tick is removed only by pruning, after its run'); END;
