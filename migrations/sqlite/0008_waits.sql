-- What a run waits for, in words: people, or a time.
ALTER TABLE runs ADD COLUMN waits TEXT;
