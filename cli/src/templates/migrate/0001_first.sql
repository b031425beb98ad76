-- An example: replace it with your own.
CREATE TABLE example (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
