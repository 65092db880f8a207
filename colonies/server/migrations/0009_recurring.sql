-- Crons and generators.
-- What recurs. Kept whole as it was added, with how far it has come; next_run is the tick that comes
-- next, NULL if none does.
CREATE TABLE crons (
    colony_id                   text NOT NULL,
    cron_id                     text NOT NULL,
    name                        text NOT NULL,
    cron_expression             text NOT NULL,
    interval                    integer NOT NULL,
    random                      boolean NOT NULL,
    next_run                    timestamptz,
    last_run                    timestamptz,
    workflow_spec               text NOT NULL,
    prev_process_graph_id       text NOT NULL DEFAULT '',
    wait_for_prev_process_graph boolean NOT NULL,
    catchup                     text NOT NULL CHECK (catchup IN ('none', 'one')),
    CONSTRAINT crons_pkey PRIMARY KEY (colony_id, cron_id),
    CONSTRAINT crons_name_key UNIQUE (colony_id, name)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- "Whose tick has come?" (list_crons_due)
CREATE INDEX crons_due ON crons (next_run, cron_id) WHERE next_run IS NOT NULL;

-- What gathers arguments. How much it has gathered is counted, not looked up; due is when that
-- makes a workflow, NULL if it does not yet.
CREATE TABLE generators (
    colony_id     text NOT NULL,
    generator_id  text NOT NULL,
    name          text NOT NULL,
    workflow_spec text NOT NULL,
    trigger       integer NOT NULL CHECK (trigger > 0),
    timeout       integer NOT NULL,
    last_run      timestamptz,
    first_pack    timestamptz,
    queue_size    integer NOT NULL DEFAULT 0 CHECK (queue_size >= 0),
    queue_bytes   bigint NOT NULL DEFAULT 0 CHECK (queue_bytes >= 0),
    due           timestamptz,
    CONSTRAINT generators_pkey PRIMARY KEY (colony_id, generator_id),
    CONSTRAINT generators_name_key UNIQUE (colony_id, name)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- "Which has enough?" (list_generators_due)
CREATE INDEX generators_due ON generators (due, generator_id) WHERE due IS NOT NULL;

-- What was packed and not used yet, in the order of its numbers: given under the lock of the
-- generator, so that none is committed before a lower one. The lock is what a foreign key needs.
CREATE TABLE generator_args (
    colony_id    text NOT NULL,
    generator_id text NOT NULL,
    number       bigint GENERATED ALWAYS AS IDENTITY,
    arg          text NOT NULL,
    pack_time    timestamptz NOT NULL,
    CONSTRAINT generator_args_pkey PRIMARY KEY (colony_id, generator_id, number),
    CONSTRAINT generator_args_generator FOREIGN KEY (colony_id, generator_id)
        REFERENCES generators ON DELETE CASCADE
) WITH (autovacuum_vacuum_scale_factor = 0.05);
