-- Care of the ledger. What was done to the ledger itself is on a record of its own, chained like the events of a run
-- (store/src/chain.rs); `pruned` is a picture of it: a row for each run that was removed, so that its key stays taken.
CREATE TABLE administration (
    seq   INTEGER PRIMARY KEY NOT NULL CHECK (seq >= 1),
    at    INTEGER NOT NULL,
    actor TEXT NOT NULL,
    kind  TEXT NOT NULL,
    body  TEXT NOT NULL,
    hash  TEXT NOT NULL
) STRICT;

CREATE TABLE pruned (
    id    TEXT PRIMARY KEY NOT NULL,
    key   TEXT UNIQUE,
    entry INTEGER NOT NULL REFERENCES administration (seq)
) STRICT, WITHOUT ROWID;

-- Whether a definition is still needed is asked at every pruning.
CREATE INDEX runs_by_definition ON runs (definition);

CREATE TRIGGER administration_stands_update BEFORE UPDATE ON administration
BEGIN SELECT RAISE(ABORT, 'the record of the ledger is never changed'); END;
CREATE TRIGGER administration_stands_delete BEFORE DELETE ON administration
BEGIN SELECT RAISE(ABORT, 'the record of the ledger only grows'); END;
CREATE TRIGGER pruned_stands_update BEFORE UPDATE ON pruned
BEGIN SELECT RAISE(ABORT, 'a pruned run stays pruned'); END;
CREATE TRIGGER pruned_stands_delete BEFORE DELETE ON pruned
BEGIN SELECT RAISE(ABORT, 'a pruned run stays pruned'); END;

-- A run goes only when it is at its end and is on the record as pruned; its key never comes back.
CREATE TRIGGER runs_are_pruned BEFORE DELETE ON runs
WHEN OLD.finished_at IS NULL OR NOT EXISTS (SELECT 1 FROM pruned WHERE id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'a run is removed only by pruning, after its end'); END;
CREATE TRIGGER keys_stay_taken BEFORE INSERT ON runs
WHEN NEW.key IS NOT NULL AND EXISTS (SELECT 1 FROM pruned WHERE key = NEW.key)
BEGIN SELECT RAISE(ABORT, 'the key belongs to a pruned run'); END;
