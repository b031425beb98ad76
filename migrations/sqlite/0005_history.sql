-- How long a runbook takes is asked of its newest runs that succeeded, however many failed since.
CREATE INDEX runs_that_succeeded ON runs (name, id) WHERE status = 'succeeded';
