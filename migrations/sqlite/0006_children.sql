-- Runs inside runs: whose step a run is, and the name of that step. A child has its own events; its parent is named in the
-- first of them.
ALTER TABLE runs ADD COLUMN parent TEXT;
ALTER TABLE runs ADD COLUMN parent_step TEXT;
CREATE INDEX runs_by_parent ON runs (parent, id) WHERE parent IS NOT NULL;
