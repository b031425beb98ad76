-- The key under which sensitive values enter the hash of a plan, so that the hash gives none of them away
-- (engine/src/plan/hash.rs). It lies where the values lie. Another key would make another hash of the same plan.
CREATE TABLE seal (
    one INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
    key BLOB NOT NULL CHECK (length(key) = 32)
) STRICT;
INSERT INTO seal (one, key) VALUES (1, randomblob(32));

CREATE TRIGGER seal_stands_update BEFORE UPDATE ON seal
BEGIN SELECT RAISE(ABORT, 'the key of the ledger is never changed'); END;
CREATE TRIGGER seal_stands_delete BEFORE DELETE ON seal
BEGIN SELECT RAISE(ABORT, 'the key of the ledger is never changed'); END;
