-- Whether the last try reached nobody: such a delivery need not wait once its receiver takes another one.
ALTER TABLE deliveries ADD COLUMN away INTEGER NOT NULL DEFAULT FALSE CHECK (away IN (0, 1));
