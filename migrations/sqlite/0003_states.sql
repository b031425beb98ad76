-- Every state of the contract (a paused run, and those that come with approvals and rollback), so that the next state needs
-- no new table. SQLite cannot change a CHECK: both tables are written anew, row for row. The references to them are by
-- name and stay; they are not enforced while this runs (store/src/sqlite/open.rs).
CREATE TABLE runs_new (
    id          TEXT PRIMARY KEY NOT NULL,
    name        TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN
                ('queued', 'running', 'paused', 'stopping', 'rolling_back', 'succeeded', 'failed', 'cancelled',
                 'timed_out')),
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
INSERT INTO runs_new (id, name, status, generation, held, trigger, actor, key, params, definition, created_at, started_at,
                      finished_at, seq, head)
SELECT id, name, status, generation, held, trigger, actor, key, params, definition, created_at, started_at, finished_at, seq,
       head
FROM runs;
DROP TABLE runs;
ALTER TABLE runs_new RENAME TO runs;
CREATE INDEX runs_by_name ON runs (name, id);
CREATE INDEX runs_by_definition ON runs (definition);
CREATE TRIGGER runs_are_pruned BEFORE DELETE ON runs
WHEN OLD.finished_at IS NULL OR NOT EXISTS (SELECT 1 FROM pruned WHERE id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'a run is removed only by pruning, after its end'); END;
CREATE TRIGGER keys_stay_taken BEFORE INSERT ON runs
WHEN NEW.key IS NOT NULL AND EXISTS (SELECT 1 FROM pruned WHERE key = NEW.key)
BEGIN SELECT RAISE(ABORT, 'the key belongs to a pruned run'); END;

CREATE TABLE steps_new (
    run_id     TEXT NOT NULL REFERENCES runs (id),
    unit       TEXT NOT NULL,
    position   INTEGER NOT NULL,
    status     TEXT NOT NULL CHECK (status IN
               ('pending', 'ready', 'running', 'backoff', 'waiting', 'held', 'succeeded', 'failed', 'timed_out', 'lost',
                'skipped', 'cancelled', 'undone')),
    attempts   INTEGER NOT NULL,
    started_at INTEGER,
    ended_at   INTEGER,
    error      TEXT,
    outputs    TEXT NOT NULL,
    PRIMARY KEY (run_id, unit)
) STRICT, WITHOUT ROWID;
INSERT INTO steps_new (run_id, unit, position, status, attempts, started_at, ended_at, error, outputs)
SELECT run_id, unit, position, status, attempts, started_at, ended_at, error, outputs
FROM steps;
DROP TABLE steps;
ALTER TABLE steps_new RENAME TO steps;
