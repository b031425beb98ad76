-- Runs that must not overlap: the group of a run, and what it has of it. `permit` is a picture of the run's events like
-- every other column: a run takes it with its first step that executes, and its end gives it back. `priority`: 0 is high.
ALTER TABLE runs ADD COLUMN grp TEXT;
ALTER TABLE runs ADD COLUMN permit TEXT CHECK
    (permit IS NULL OR permit IN ('waits', 'holds') AND grp IS NOT NULL AND finished_at IS NULL);
ALTER TABLE runs ADD COLUMN permit_at INTEGER CHECK ((permit_at IS NOT NULL) = (permit IS 'holds'));
ALTER TABLE runs ADD COLUMN priority INTEGER NOT NULL DEFAULT 1 CHECK (priority BETWEEN 0 AND 2);

-- Who holds a permit of a group, or waits for one: asked before anything of a run executes.
CREATE INDEX runs_by_group ON runs (grp) WHERE permit IS NOT NULL;
