-- The whole database of a hub. A fresh one is made from this file; an older one is brought to it
-- by colonies/server/migrations, and a test shows that both ways end in the same place.
--
-- A time that is not yet is NULL. There are no foreign keys to colonies: a lock on the colony's one
-- row with every submit would serialise them all; what belongs to it is deleted with it by hand.

CREATE TABLE colonies (
    colony_id text PRIMARY KEY CHECK (length(colony_id) = 64),
    name      text NOT NULL
);

-- Keys begin with the colony, so that nobody can squat on another colony's ids or names.
CREATE TABLE runtimes (
    colony_id            text NOT NULL,
    runtime_id           text NOT NULL,
    runtime_type         text NOT NULL,
    name                 text NOT NULL,
    cpu                  text NOT NULL,
    cores                integer NOT NULL,
    mem                  integer NOT NULL,
    gpu                  text NOT NULL,
    gpus                 integer NOT NULL,
    state                smallint NOT NULL CHECK (state IN (0, 1, 2)),
    commission_time      timestamptz NOT NULL,
    last_heard_from_time timestamptz,
    location             json NOT NULL,
    labels               jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT runtimes_pkey PRIMARY KEY (colony_id, runtime_id),
    CONSTRAINT runtimes_name_key UNIQUE (colony_id, name)
) WITH (fillfactor = 70);

-- "In which colonies is the caller?" (get_runtime, get_process, list_memberships)
CREATE INDEX runtimes_by_identity ON runtimes (runtime_id);

-- What each runtime says it can run, a row a function.
CREATE TABLE functions (
    colony_id   text NOT NULL,
    runtime_id  text NOT NULL,
    name        text NOT NULL,
    description text NOT NULL,
    args        jsonb NOT NULL,
    CONSTRAINT functions_pkey PRIMARY KEY (colony_id, runtime_id, name)
);

-- The spec is kept whole as it was submitted; the columns beside it are what statements decide by.
CREATE TABLE processes (
    colony_id           text NOT NULL,
    process_id          text NOT NULL,
    state               smallint NOT NULL CHECK (state IN (0, 1, 2, 3, 4)),
    assigned_runtime_id text NOT NULL DEFAULT '',
    is_assigned         boolean NOT NULL DEFAULT false,
    submission_time     timestamptz NOT NULL,
    start_time          timestamptz,
    end_time            timestamptz,
    wait_deadline       timestamptz,
    exec_deadline       timestamptz,
    retries             integer NOT NULL DEFAULT 0,
    spec                json NOT NULL,
    runtime_type        text NOT NULL,
    runtime_ids         text[] NOT NULL,
    cores               integer NOT NULL,
    mem                 integer NOT NULL,
    gpus                integer NOT NULL,
    priority            integer NOT NULL,
    max_wait_time       integer NOT NULL,
    max_exec_time       integer NOT NULL,
    max_retries         integer NOT NULL,
    wait_for_parents    boolean NOT NULL DEFAULT false,
    parents             text[] NOT NULL DEFAULT '{}',
    children            text[] NOT NULL DEFAULT '{}',
    process_graph_id    text NOT NULL DEFAULT '',
    input               text[] NOT NULL DEFAULT '{}',
    output              text[] NOT NULL DEFAULT '{}',
    errors              text[] NOT NULL DEFAULT '{}',
    attempt             integer NOT NULL DEFAULT 0,
    attempt_token       text NOT NULL DEFAULT '',
    lease               integer NOT NULL DEFAULT 30,
    leased_until        timestamptz,
    lost_by             text[] NOT NULL DEFAULT '{}',
    pushed_over         text NOT NULL DEFAULT '',
    past                jsonb NOT NULL DEFAULT '[]',
    cancelled_by        text NOT NULL DEFAULT '',
    cancel_reason       text NOT NULL DEFAULT '',
    cancel_time         timestamptz,
    missing_parents     integer NOT NULL DEFAULT 0,
    input_lengths       integer[] NOT NULL DEFAULT '{}',
    submitted_by        text NOT NULL DEFAULT '',
    is_counted          boolean NOT NULL DEFAULT false,
    CONSTRAINT processes_pkey PRIMARY KEY (colony_id, process_id)
) WITH (
    fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05
);

-- "What may this runtime have next?" (claim_oldest_processes; claim_latest_processes reads each
-- priority from its end)
CREATE INDEX processes_claimable
    ON processes (colony_id, runtime_type, priority DESC, submission_time)
    WHERE state = 0 AND NOT wait_for_parents;

-- "Does anything wait for this very runtime?" (claim_oldest_of_queue, claim_latest_of_queue). IS NOT
-- FALSE is what no other index says: of two that will do the planner takes the worse one as long as
-- nothing waits, and keeps to it when much does.
CREATE INDEX processes_addressed ON processes USING gin (runtime_ids) WITH (fastupdate = off)
    WHERE (state = 0) IS NOT FALSE AND runtime_ids <> '{}';

-- "Whose time is over?" (fail_processes_not_started, return_processes_overrun,
-- return_processes_lost and their twins)
CREATE INDEX processes_wait_deadline ON processes (wait_deadline)
    WHERE state = 0 AND wait_deadline IS NOT NULL;
CREATE INDEX processes_exec_deadline ON processes (exec_deadline)
    WHERE state = 1 AND exec_deadline IS NOT NULL;

CREATE INDEX processes_leased_until ON processes (leased_until)
    WHERE state = 1 AND leased_until IS NOT NULL;

-- "Who was told to stop, and has not?" (cancel_processes_not_stopped)
CREATE INDEX processes_cancelling ON processes (cancel_time)
    WHERE state = 1 AND cancel_time IS NOT NULL;

-- "What is running, and where?" (list_running_processes, delete_runtime)
CREATE INDEX processes_running ON processes (colony_id, start_time) WHERE state = 1;

-- "What has ended lately?" (list_successful_processes, list_failed_processes)
CREATE INDEX processes_ended ON processes (colony_id, state, end_time DESC) WHERE state >= 2;

-- "What is waiting, in the order it came?" (list_waiting_processes, get_waiting_count). IS TRUE keeps
-- it from claims: it would lead them past all that waits for other types.
CREATE INDEX processes_waiting ON processes (colony_id, submission_time) WHERE (state = 0) IS TRUE;

-- "How much of this identity waits?" (get_identity_waiting_count). Only what was submitted while
-- somebody counts is in it: for all others it would be one more place to write to with each submit.
CREATE INDEX processes_of_identity ON processes (colony_id, submitted_by)
    WHERE state = 0 AND is_counted;

-- "What belongs to this graph?" (list_members and whatever ends or deletes all of them)
CREATE INDEX processes_of_graph ON processes (process_graph_id)
    WHERE process_graph_id <> '';

-- A workflow that was submitted. Whoever changes how far its processes have come locks its row
-- first, so that the counts here and in the processes agree. The id is the hub's, so that nobody can
-- squat on it, and alone the key: by the colony, whatever the statistics say, nobody looks for one.
-- `last_end` is that of whichever has ended; `end_time` has an index, and so changes only once.
CREATE TABLE process_graphs (
    colony_id        text NOT NULL,
    process_graph_id text NOT NULL,
    state            smallint NOT NULL DEFAULT 0 CHECK (state IN (0, 1, 2, 3, 4)),
    submission_time  timestamptz NOT NULL,
    start_time       timestamptz,
    end_time         timestamptz,
    last_end         timestamptz,
    roots            text[] NOT NULL,
    on_failure       text NOT NULL,
    members          integer NOT NULL CHECK (members > 0),
    successful       integer NOT NULL DEFAULT 0,
    failed           integer NOT NULL DEFAULT 0,
    cancelled        integer NOT NULL DEFAULT 0,
    CONSTRAINT process_graphs_pkey PRIMARY KEY (process_graph_id)
) WITH (fillfactor = 50);

-- "Which graphs are in this state?" (list_process_graphs)
CREATE INDEX process_graphs_by_state ON process_graphs (colony_id, state, submission_time DESC);

-- "Which ended long ago?" (delete_ended_graphs)
CREATE INDEX process_graphs_ended ON process_graphs (colony_id, state, end_time)
    WHERE state >= 2;

CREATE TABLE attributes (
    colony_id        text NOT NULL,
    attribute_id     text NOT NULL,
    target_id        text NOT NULL,
    process_graph_id text NOT NULL,
    attribute_type   integer NOT NULL,
    key              text NOT NULL,
    value            text NOT NULL,
    CONSTRAINT attributes_pkey PRIMARY KEY (colony_id, attribute_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- "What does this process carry?" (whatever gives a process)
CREATE INDEX attributes_of_target ON attributes (colony_id, target_id);
CREATE INDEX attributes_by_id ON attributes (attribute_id);

-- How far the log of each process has come: its length in bytes, the last attempt that has said
-- something, the number of the append that it heard last, how many bytes of each stream it knows of,
-- and the progress. Whoever appends holds this row, so that positions are committed in order.
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

-- What was said, each where the log was that long.
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

-- "What is old enough to go?" (delete_old_log_entries)
CREATE INDEX log_entries_by_time ON log_entries (time);

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
    added_by                    text NOT NULL DEFAULT '',
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
    added_by      text NOT NULL DEFAULT '',
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

-- What was asked lately, remembered in the statement that did it, so that the same request has no
-- second effect: it breaks the key, and everything its statement did is undone. The key is sixteen
-- bytes made of the caller and the id of the request (server/intent.py): three rows of every process
-- are here. There is no index by time: see delete_old_requests.
CREATE TABLE requests (
    request    uuid NOT NULL,
    digest     uuid NOT NULL,
    time       timestamptz NOT NULL,
    process_id text NOT NULL DEFAULT '',
    attempt    integer NOT NULL DEFAULT 0,
    CONSTRAINT requests_pkey PRIMARY KEY (request)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- The hubs that are alive, and for a minute those that were. The backend is that of the connection
-- by which a hub listens; it also has the lock of the leader, if that hub leads.
CREATE TABLE hubs (
    hub_id    text PRIMARY KEY,
    name      text NOT NULL,
    host      text NOT NULL,
    port      integer NOT NULL,
    version   text NOT NULL,
    started   timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    backend   integer NOT NULL
);

-- One row: the number of the last migration that this database has seen.
CREATE TABLE schema_version (version integer NOT NULL);
INSERT INTO schema_version VALUES (15);
