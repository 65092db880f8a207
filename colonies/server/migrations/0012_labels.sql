-- Runtimes say what they are, for people.

ALTER TABLE runtimes ADD COLUMN labels jsonb NOT NULL DEFAULT '{}';
