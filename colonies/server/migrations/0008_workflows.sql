-- Workflows: processes that wait for each other, and the graphs that they belong to.

ALTER TABLE processes ADD COLUMN missing_parents integer NOT NULL DEFAULT 0;
ALTER TABLE processes ADD COLUMN input_lengths integer[] NOT NULL DEFAULT '{}';

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
