-- What the members of a cluster have to know of each other, beside the runs. Nothing of it is on the record, and nothing
-- of it decides.
ALTER TABLE attempts ADD COLUMN home TEXT COLLATE "C", ADD COLUMN host TEXT;

-- Where something can be done, and from when: engine::run::calls of each run, and nothing of a finished one. Small,
-- hot, and written with every commit that changes it; so it is cleaned often.
CREATE TABLE ready (
    run_id TEXT COLLATE "C" NOT NULL,
    call   TEXT COLLATE "C" NOT NULL,
    since  BIGINT NOT NULL,
    PRIMARY KEY (run_id, call)
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.1);
CREATE INDEX ready_by_call ON ready (call, since);

-- One start of a worker or a server. The time of a beat is for people: who waits for silence counts on its own clock.
CREATE TABLE sessions (
    id          TEXT COLLATE "C" PRIMARY KEY,
    home        TEXT COLLATE "C" NOT NULL,
    host        TEXT NOT NULL,
    pid         BIGINT NOT NULL,
    boot        TEXT NOT NULL,
    version     TEXT NOT NULL,
    labels      TEXT[] NOT NULL,
    concurrency BIGINT NOT NULL CHECK (concurrency >= 0),
    beat        BIGINT NOT NULL CHECK (beat >= 0),
    joined_at   BIGINT NOT NULL,
    heard_at    BIGINT NOT NULL,
    draining    BOOLEAN NOT NULL,
    ending      TEXT CHECK (ending IN ('left', 'silent')),
    ended_at    BIGINT,
    CHECK ((ending IS NOT NULL) = (ended_at IS NOT NULL))
) WITH (fillfactor = 50);

-- What the attempts of homes printed. A row comes with the claim: what its home has not shipped yet is found by it.
-- `part` and `upto` are the bounds of the last part, in bytes of the output.
CREATE TABLE logs (
    run_id   TEXT COLLATE "C" NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    claim    TEXT COLLATE "C" NOT NULL,
    home     TEXT COLLATE "C" NOT NULL,
    part     BIGINT NOT NULL DEFAULT 0 CHECK (part >= 0),
    upto     BIGINT NOT NULL DEFAULT 0 CHECK (upto >= part),
    complete BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (run_id, claim)
) WITH (fillfactor = 70);
CREATE INDEX logs_on_their_way ON logs (home) WHERE NOT complete;

CREATE TABLE log_parts (
    run_id TEXT COLLATE "C" NOT NULL,
    claim  TEXT COLLATE "C" NOT NULL,
    part   BIGINT NOT NULL CHECK (part >= 0),
    upto   BIGINT NOT NULL CHECK (upto > part),
    frames BYTEA NOT NULL CHECK (length(frames) BETWEEN 1 AND 262144),
    PRIMARY KEY (run_id, claim, part),
    FOREIGN KEY (run_id, claim) REFERENCES logs (run_id, claim) ON DELETE CASCADE
);
