-- The ledger on Postgres: what migrations/sqlite made of it by 0009. Times are epoch milliseconds, JSON is TEXT.
-- `events` is the truth and only ever grows; `runs`, `steps` and `attempts` are a picture of it.
-- Ids and names are compared byte by byte (COLLATE "C"), whatever the locale of the database.
CREATE TABLE definitions (
    hash TEXT COLLATE "C" PRIMARY KEY,
    body TEXT NOT NULL
);

CREATE TABLE blobs (
    sha256 TEXT COLLATE "C" PRIMARY KEY,
    bytes  BYTEA NOT NULL
);

CREATE TABLE runs (
    id          TEXT COLLATE "C" PRIMARY KEY,
    name        TEXT COLLATE "C" NOT NULL,
    status      TEXT COLLATE "C" NOT NULL CONSTRAINT status_of_a_run CHECK (status IN
                ('queued', 'running', 'paused', 'stopping', 'rolling_back', 'succeeded', 'failed', 'cancelled',
                 'timed_out')),
    generation  BIGINT NOT NULL CHECK (generation >= 1),
    held        BOOLEAN NOT NULL,
    waits       TEXT,
    rollback    TEXT NOT NULL CHECK (rollback IN ('none', 'done', 'partial')),
    trigger     TEXT NOT NULL,
    actor       TEXT NOT NULL,
    key         TEXT COLLATE "C" UNIQUE,
    parent      TEXT COLLATE "C",
    parent_step TEXT,
    params      TEXT NOT NULL,
    definition  TEXT COLLATE "C" NOT NULL REFERENCES definitions (hash),
    grp         TEXT COLLATE "C",
    permit      TEXT,
    permit_at   BIGINT,
    priority    BIGINT NOT NULL CHECK (priority BETWEEN 0 AND 2),
    created_at  BIGINT NOT NULL,
    started_at  BIGINT,
    finished_at BIGINT,
    seq         BIGINT NOT NULL CHECK (seq >= 1),
    head        TEXT NOT NULL,
    CONSTRAINT finished_at_its_end
        CHECK ((finished_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'cancelled', 'timed_out'))),
    CONSTRAINT permit_of_a_group
        CHECK (permit IS NULL OR permit IN ('waits', 'holds') AND grp IS NOT NULL AND finished_at IS NULL),
    CONSTRAINT permit_since CHECK ((permit_at IS NOT NULL) = (permit IS NOT DISTINCT FROM 'holds'))
) WITH (fillfactor = 70);
CREATE INDEX runs_by_name ON runs (name, id);
CREATE INDEX runs_by_definition ON runs (definition);
CREATE INDEX runs_that_succeeded ON runs (name, id) WHERE status = 'succeeded';
CREATE INDEX runs_unfinished ON runs (id) WHERE finished_at IS NULL;
CREATE INDEX runs_by_parent ON runs (parent, id) WHERE parent IS NOT NULL;
CREATE INDEX runs_by_group ON runs (grp) WHERE permit IS NOT NULL;

-- hash = SHA-256 over the hash before it and this row: see store/src/chain.rs
CREATE TABLE events (
    run_id TEXT COLLATE "C" NOT NULL REFERENCES runs (id),
    seq    BIGINT NOT NULL CHECK (seq >= 1),
    at     BIGINT NOT NULL,
    actor  TEXT NOT NULL,
    kind   TEXT NOT NULL,
    body   TEXT NOT NULL,
    hash   TEXT NOT NULL,
    PRIMARY KEY (run_id, seq)
);

CREATE TABLE steps (
    run_id     TEXT COLLATE "C" NOT NULL REFERENCES runs (id),
    unit       TEXT COLLATE "C" NOT NULL,
    position   BIGINT NOT NULL,
    status     TEXT NOT NULL CONSTRAINT status_of_a_step CHECK (status IN
               ('pending', 'ready', 'running', 'backoff', 'waiting', 'held', 'succeeded', 'failed', 'timed_out', 'lost',
                'skipped', 'cancelled', 'undone')),
    attempts   BIGINT NOT NULL,
    started_at BIGINT,
    ended_at   BIGINT,
    error      TEXT,
    outputs    TEXT NOT NULL,
    PRIMARY KEY (run_id, unit)
) WITH (fillfactor = 70);

CREATE TABLE attempts (
    claim       TEXT COLLATE "C" NOT NULL,
    run_id      TEXT COLLATE "C" NOT NULL REFERENCES runs (id),
    unit        TEXT COLLATE "C" NOT NULL,
    attempt     BIGINT NOT NULL,
    generation  BIGINT NOT NULL,
    session     TEXT NOT NULL,
    watched_by  TEXT NOT NULL,
    status      TEXT NOT NULL CONSTRAINT status_of_an_attempt CHECK (status IN
                ('running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'lost', 'never_started')),
    claimed_at  BIGINT NOT NULL,
    started_at  BIGINT,
    ended_at    BIGINT,
    code        INTEGER,
    signal      INTEGER,
    error       TEXT,
    log_bytes   BIGINT NOT NULL,
    log_dropped BIGINT NOT NULL,
    log_sha256  TEXT NOT NULL,
    PRIMARY KEY (run_id, unit, attempt)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX one_live_attempt ON attempts (run_id, unit) WHERE status = 'running';

-- What was done to the ledger itself; `pruned` is a picture of it: a row for each run that was removed, so that its key
-- stays taken.
CREATE TABLE administration (
    seq   BIGINT PRIMARY KEY CHECK (seq >= 1),
    at    BIGINT NOT NULL,
    actor TEXT NOT NULL,
    kind  TEXT NOT NULL,
    body  TEXT NOT NULL,
    hash  TEXT NOT NULL
);

CREATE TABLE pruned (
    id    TEXT COLLATE "C" PRIMARY KEY,
    key   TEXT COLLATE "C" UNIQUE,
    entry BIGINT NOT NULL REFERENCES administration (seq)
);

-- The key under which sensitive values enter the hash of a plan (engine/src/plan/hash.rs): 32 bytes made of 366 random bits.
CREATE TABLE seal (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    key BYTEA NOT NULL CHECK (length(key) = 32)
);
INSERT INTO seal (one, key) VALUES (1, sha256(
    uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

-- What was recorded stays recorded; a run goes only when it is at its end and is on the record as pruned.
CREATE FUNCTION stands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what is recorded in % stays as it is', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE FUNCTION goes_when_pruned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pruned WHERE id = OLD.run_id) THEN
        RAISE EXCEPTION 'events are removed only with their run, by pruning'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE FUNCTION run_goes_when_pruned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.finished_at IS NULL OR NOT EXISTS (SELECT 1 FROM pruned WHERE id = OLD.id) THEN
        RAISE EXCEPTION 'a run is removed only by pruning, after its end'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE FUNCTION key_stays_taken() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM pruned WHERE key = NEW.key) THEN
        RAISE EXCEPTION 'the key belongs to a pruned run' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER events_stand BEFORE UPDATE ON events FOR EACH ROW EXECUTE FUNCTION stands();
CREATE TRIGGER events_go_when_pruned BEFORE DELETE ON events FOR EACH ROW EXECUTE FUNCTION goes_when_pruned();
CREATE TRIGGER runs_are_pruned BEFORE DELETE ON runs FOR EACH ROW EXECUTE FUNCTION run_goes_when_pruned();
CREATE TRIGGER keys_stay_taken BEFORE INSERT ON runs
    FOR EACH ROW WHEN (NEW.key IS NOT NULL) EXECUTE FUNCTION key_stays_taken();
CREATE TRIGGER administration_stands BEFORE UPDATE OR DELETE ON administration
    FOR EACH ROW EXECUTE FUNCTION stands();
CREATE TRIGGER pruned_stands BEFORE UPDATE OR DELETE ON pruned FOR EACH ROW EXECUTE FUNCTION stands();
CREATE TRIGGER seal_stands BEFORE UPDATE OR DELETE ON seal FOR EACH ROW EXECUTE FUNCTION stands();
CREATE TRIGGER events_are_not_truncated BEFORE TRUNCATE ON events EXECUTE FUNCTION stands();
CREATE TRIGGER runs_are_not_truncated BEFORE TRUNCATE ON runs EXECUTE FUNCTION stands();
CREATE TRIGGER administration_is_not_truncated BEFORE TRUNCATE ON administration EXECUTE FUNCTION stands();
CREATE TRIGGER pruned_is_not_truncated BEFORE TRUNCATE ON pruned EXECUTE FUNCTION stands();
CREATE TRIGGER seal_is_not_truncated BEFORE TRUNCATE ON seal EXECUTE FUNCTION stands();
