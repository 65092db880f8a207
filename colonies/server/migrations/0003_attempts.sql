-- Attempts have a number and a token; what is running is leased.

ALTER TABLE processes
    ADD COLUMN attempt       integer NOT NULL DEFAULT 0,
    ADD COLUMN attempt_token text NOT NULL DEFAULT '',
    ADD COLUMN lease         integer NOT NULL DEFAULT 30,
    ADD COLUMN leased_until  timestamptz,
    ADD COLUMN lost_by       text[] NOT NULL DEFAULT '{}';

CREATE INDEX processes_leased_until ON processes (leased_until)
    WHERE state = 1 AND leased_until IS NOT NULL;
