-- Schedules and their ticks. A row of `ticks` is written in the transaction that records its run, or its skip on the
-- ledger's own record: it says what the tick came to, once and for all, unless it waits.
CREATE TABLE schedules (
    name            TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    disabled_at     BIGINT,
    disabled_by     TEXT,
    disabled_reason TEXT,
    CHECK ((disabled_at IS NULL) = (disabled_by IS NULL) AND (disabled_at IS NULL) = (disabled_reason IS NULL))
);

-- A schedule as it is written: one that was edited is another one. It is here while somebody fires it. Its ticks are decided
-- up to `cursor`, `offset_ms` (its part of the jitter) included.
CREATE TABLE schedule_specs (
    name       TEXT COLLATE "C" NOT NULL REFERENCES schedules (name),
    spec       TEXT COLLATE "C" NOT NULL,
    definition TEXT NOT NULL,
    offset_ms  BIGINT NOT NULL CHECK (offset_ms >= 0),
    cursor     BIGINT NOT NULL,
    PRIMARY KEY (name, spec)
) WITH (fillfactor = 70);

-- Who fires what, and since when it is so.
CREATE TABLE posted (
    home   TEXT COLLATE "C" NOT NULL,
    name   TEXT COLLATE "C" NOT NULL,
    spec   TEXT COLLATE "C" NOT NULL,
    host   TEXT NOT NULL,
    broken TEXT,
    at     BIGINT NOT NULL,
    PRIMARY KEY (home, name),
    FOREIGN KEY (name, spec) REFERENCES schedule_specs (name, spec)
);
CREATE INDEX posted_by_schedule ON posted (name, spec);

CREATE TABLE ticks (
    schedule   TEXT COLLATE "C" NOT NULL REFERENCES schedules (name),
    nominal    TEXT COLLATE "C" NOT NULL,
    zone       TEXT COLLATE "C" NOT NULL,
    fold       BIGINT NOT NULL CHECK (fold IN (0, 1)),
    at         BIGINT NOT NULL,
    spec       TEXT COLLATE "C" NOT NULL,
    decided_at BIGINT NOT NULL,
    outcome    TEXT NOT NULL CHECK (outcome IN ('run', 'skipped', 'waits')),
    run_id     TEXT COLLATE "C",
    reason     TEXT,
    count      BIGINT NOT NULL CHECK (count >= 1),
    PRIMARY KEY (schedule, nominal, zone, fold),
    CHECK ((run_id IS NULL) = (outcome = 'skipped') AND (reason IS NULL) = (outcome <> 'skipped'))
);
CREATE INDEX ticks_by_time ON ticks (schedule, at);
CREATE INDEX ticks_by_decision ON ticks (decided_at);
CREATE INDEX ticks_that_wait ON ticks (schedule, at) WHERE outcome = 'waits';
CREATE UNIQUE INDEX one_tick_a_run ON ticks (run_id) WHERE outcome = 'run';

-- Whether a run of a schedule lives is asked before each of its ticks.
ALTER TABLE runs ADD COLUMN schedule TEXT COLLATE "C";
CREATE INDEX runs_of_schedules ON runs (schedule, id) WHERE schedule IS NOT NULL AND finished_at IS NULL;

-- Ticks that were decided before this moment may be pruned.
CREATE TABLE tick_horizon (
    one    BIGINT PRIMARY KEY CHECK (one = 1),
    before BIGINT NOT NULL
);
INSERT INTO tick_horizon (one, before) VALUES (1, 0);

CREATE FUNCTION tick_goes_when_pruned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.outcome = 'waits' OR OLD.decided_at >= (SELECT before FROM tick_horizon)
        OR EXISTS (SELECT 1 FROM runs WHERE id = OLD.run_id) THEN
        RAISE EXCEPTION 'a tick is removed only by pruning, after its run' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER ticks_stand BEFORE UPDATE ON ticks
    FOR EACH ROW WHEN (OLD.outcome <> 'waits') EXECUTE FUNCTION stands();
CREATE TRIGGER ticks_go_when_pruned BEFORE DELETE ON ticks FOR EACH ROW EXECUTE FUNCTION tick_goes_when_pruned();
CREATE TRIGGER ticks_are_not_truncated BEFORE TRUNCATE ON ticks EXECUTE FUNCTION stands();
