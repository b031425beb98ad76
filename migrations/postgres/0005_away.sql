-- Whether the last try reached nobody: such a delivery need not wait once its receiver takes another one.
ALTER TABLE deliveries ADD COLUMN away BOOLEAN NOT NULL DEFAULT FALSE;
