-- Where an attempt was claimed, where that is told: a ledger in a file is used by one machine, and says nothing.
ALTER TABLE attempts ADD COLUMN home TEXT;
ALTER TABLE attempts ADD COLUMN host TEXT;
