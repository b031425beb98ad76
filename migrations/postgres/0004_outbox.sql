-- What people are to be told. A row of `notices` is written in the transaction of the event that it tells of; its id says
-- which that was. Whoever delivers routes it once, which makes a delivery for each channel. `body` is the notice as JSON.
CREATE TABLE notices (
    id      TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    kind    TEXT NOT NULL,
    runbook TEXT COLLATE "C" NOT NULL,
    run_id  TEXT COLLATE "C",
    at      BIGINT NOT NULL,
    body    TEXT NOT NULL,
    routing TEXT CHECK (routing IN ('routed', 'no_route', 'too_old'))
);
CREATE INDEX notices_by_time ON notices (at);
CREATE INDEX notices_by_run ON notices (run_id, at);
CREATE INDEX notices_unrouted ON notices (at) WHERE routing IS NULL;
-- A run that succeeds tells of it where the last one that ended did not.
CREATE INDEX notices_of_ends ON notices (runbook, at, id) WHERE kind IN ('failed', 'timed_out', 'lost', 'recovered');

-- While somebody tries, `sender` says who, and it comes due again when that has taken too long.
CREATE TABLE deliveries (
    notice   TEXT COLLATE "C" NOT NULL REFERENCES notices (id),
    channel  TEXT COLLATE "C" NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    tries    BIGINT NOT NULL CHECK (tries >= 0),
    due_at   BIGINT NOT NULL,
    until    BIGINT NOT NULL,
    sender   TEXT,
    ended_at BIGINT,
    error    TEXT,
    PRIMARY KEY (notice, channel),
    CHECK ((ended_at IS NULL) = (state = 'waiting')),
    CHECK (sender IS NULL OR state = 'waiting')
);
CREATE INDEX deliveries_that_wait ON deliveries (channel, due_at) WHERE state = 'waiting';
CREATE INDEX deliveries_that_are_dead ON deliveries (notice) WHERE state = 'dead';
