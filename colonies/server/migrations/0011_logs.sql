-- Logs and progress of what runs.

CREATE TABLE logs (
    colony_id  text NOT NULL,
    process_id text NOT NULL,
    length     bigint NOT NULL,
    attempt    integer NOT NULL,
    number     bigint NOT NULL,
    ends       jsonb NOT NULL,
    progress   json,
    CONSTRAINT logs_pkey PRIMARY KEY (colony_id, process_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE log_entries (
    colony_id  text NOT NULL,
    process_id text NOT NULL,
    position   bigint NOT NULL,
    attempt    integer NOT NULL,
    stream     text NOT NULL,
    "offset"   bigint NOT NULL,
    size       bigint NOT NULL,
    text       text NOT NULL,
    time       timestamptz NOT NULL,
    CONSTRAINT log_entries_pkey PRIMARY KEY (colony_id, process_id, position)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.2);

CREATE INDEX log_entries_by_time ON log_entries (time);
