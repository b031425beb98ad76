-- What a run has taken back of what it did, in its last generation.
ALTER TABLE runs ADD COLUMN rollback TEXT NOT NULL DEFAULT 'none' CHECK (rollback IN ('none', 'done', 'partial'));
