-- part: graph
process_graph_id, colony_id, roots AS root_process_ids, state, submission_time, start_time,
end_time, on_failure, members, successful, failed, cancelled

-- name: submit_process_graph
-- A graph with its processes, in the order of its spec, and their environment as attributes; all of
-- it or nothing. Those without parents are in the queue from now on, with :root_input. Of several in
-- one transaction, those that are submitted first come first.
WITH once AS (
    INSERT INTO requests (request, digest, time, process_id)
    SELECT :request, :digest, now(), :process_graph_id WHERE :request::uuid IS NOT NULL
), asked AS MATERIALIZED (
    SELECT *, :colony_id AS colony_id, :submitted_by::text AS submitted_by,
           :is_counted::boolean AS is_counted,
           statement_timestamp() + place * interval '1 microsecond' AS time
    FROM unnest(
        :process_ids::text[], :specs::text[], :runtime_types::text[], :runtime_ids::text[],
        :cores::integer[], :mem::integer[], :gpus::integer[], :priorities::integer[],
        :max_wait_times::integer[], :max_exec_times::integer[], :max_retries::integer[],
        :leases::integer[], :parents::text[], :children::text[], :missing::integer[]
    ) WITH ORDINALITY AS asked (
        process_id, spec, runtime_type, runtime_ids, cores, mem, gpus, priority, max_wait_time,
        max_exec_time, max_retries, lease, parents, children, missing_parents, place)
), submitted AS (
    INSERT INTO processes (state, {columns}, process_graph_id, parents, children, missing_parents,
                           wait_for_parents, input)
    SELECT 0, {values}, :process_graph_id,
           ARRAY(SELECT json_array_elements_text(parents::json)),
           ARRAY(SELECT json_array_elements_text(children::json)),
           missing_parents, missing_parents > 0,
           CASE WHEN missing_parents = 0 THEN :root_input::text[] ELSE '{}' END
    FROM asked
), environment AS (
    INSERT INTO attributes (colony_id, attribute_id, target_id, process_graph_id, attribute_type,
                            key, value)
    SELECT :colony_id, attribute_id, process_id, :process_graph_id, 3, key, value
    FROM unnest(:env_process_ids::text[], :env_ids::text[], :env_keys::text[], :env_values::text[])
         AS variable (process_id, attribute_id, key, value)
)
INSERT INTO process_graphs (colony_id, process_graph_id, submission_time, roots, on_failure, members)
SELECT :colony_id, :process_graph_id, statement_timestamp(),
       ARRAY(SELECT process_id FROM asked WHERE missing_parents = 0 ORDER BY place),
       :on_failure, cardinality(:process_ids::text[])
RETURNING {graph};

-- name: get_process_graph
-- A graph by its id, in the colonies that the caller belongs to or owns.
SELECT {graph} FROM process_graphs
WHERE process_graph_id = :process_graph_id
  AND (colony_id = ANY (ARRAY(SELECT colony_id FROM runtimes WHERE runtime_id = :caller
                              UNION ALL SELECT :caller))) IS TRUE;

-- name: list_process_graphs
-- In one state, those that were submitted last first; with the ids of their processes as long as
-- these are no more than :most_ids in all.
SELECT process_graph_id, colony_id, state, submission_time, start_time, end_time, on_failure,
       members, successful, failed, cancelled,
       CASE WHEN ids_so_far <= :most_ids::bigint THEN roots END AS root_process_ids,
       CASE WHEN ids_so_far <= :most_ids::bigint THEN ARRAY(
           SELECT process_id FROM processes
           WHERE processes.process_graph_id <> ''
             AND processes.process_graph_id = last.process_graph_id
           ORDER BY submission_time) END AS process_ids
FROM (SELECT *,
             sum(members) OVER (ORDER BY submission_time DESC, process_graph_id) AS ids_so_far
      FROM (SELECT * FROM process_graphs
            WHERE colony_id = :colony_id AND state = :state::integer
              AND submission_time <= :from_time::timestamptz
            ORDER BY submission_time DESC OFFSET :skip::bigint LIMIT :count::bigint) AS latest
     ) AS last
ORDER BY submission_time DESC, process_graph_id;

-- name: list_process_graphs_beginning
-- In any state, those whose ids begin so, without the ids of their processes.
SELECT process_graph_id, colony_id, state, submission_time, start_time, end_time, on_failure,
       members, successful, failed, cancelled
FROM process_graphs
WHERE process_graph_id >= :beginning AND process_graph_id < :beginning || 'g'
  AND colony_id = :colony_id
ORDER BY process_graph_id LIMIT :count;

-- name: list_members
-- The processes of a graph as a picture shows them, in the order in which they were submitted.
SELECT process_id, spec->>'name' AS name, state, parents, children, start_time, end_time
FROM processes
WHERE process_graph_id = :process_graph_id AND process_graph_id <> ''
ORDER BY submission_time, process_id;

-- part: wanted_graphs
SELECT process_graph_id, on_failure
FROM unnest(ARRAY(SELECT process_graph_id FROM wanted)) AS id
JOIN process_graphs ON process_graph_id = id
ORDER BY process_graph_id

-- name: lock_graphs_of_processes
-- The graphs of these processes, for whoever is about to change how far they have come. First and
-- in one order: nobody waits for a graph while holding a process of it. IS TRUE, here and below,
-- keeps the planner from reading the index of all that is of any graph.
WITH wanted AS MATERIALIZED (
    SELECT DISTINCT process_graph_id
    FROM unnest(:colony_ids::text[], :process_ids::text[]) AS one (in_colony, id)
    JOIN processes ON colony_id = in_colony AND process_id = id
    WHERE (process_graph_id <> '') IS TRUE
)
{wanted_graphs}
FOR UPDATE OF process_graphs;

-- name: lock_due_graphs
-- The graphs in which the time of somebody is over, who then ends; not those that others see to.
WITH wanted AS MATERIALIZED (
    (SELECT process_graph_id FROM processes
     WHERE state = 0 AND wait_deadline < now() AND (process_graph_id <> '') IS TRUE
     ORDER BY wait_deadline LIMIT :count::bigint)
    UNION
    (SELECT process_graph_id FROM processes
     WHERE state = 1 AND exec_deadline < now() AND (process_graph_id <> '') IS TRUE
       AND max_retries >= 0 AND retries >= max_retries
     ORDER BY exec_deadline LIMIT :count::bigint)
    UNION
    (SELECT process_graph_id FROM processes
     WHERE state = 1 AND leased_until < now() AND {is_patient} AND (process_graph_id <> '') IS TRUE
       AND ((max_retries >= 0 AND retries >= max_retries) OR {is_poison})
     ORDER BY leased_until LIMIT :count::bigint)
    UNION
    (SELECT process_graph_id FROM processes
     WHERE state = 1 AND cancel_time < now() - make_interval(secs => :grace)
       AND (process_graph_id <> '') IS TRUE
     ORDER BY cancel_time LIMIT :count::bigint)
)
{wanted_graphs}
FOR UPDATE OF process_graphs SKIP LOCKED;

-- name: lock_graphs_of_runtime
-- The graphs in which a runtime is stopping something.
WITH wanted AS MATERIALIZED (
    SELECT DISTINCT process_graph_id FROM processes
    WHERE colony_id = :colony_id AND assigned_runtime_id = :runtime_id AND state = 1
      AND cancelled_by <> '' AND (process_graph_id <> '') IS TRUE
)
{wanted_graphs}
FOR UPDATE OF process_graphs;

-- name: lock_running_members
-- All that runs in these graphs, for whoever may cancel it because of what ends first. In the order
-- of renew_processes, which waits for no graph: who holds one that comes late never waits for an
-- early one.
SELECT FROM processes
WHERE process_graph_id = ANY (:process_graph_ids::text[]) AND process_graph_id <> ''
  AND (state = 1) IS TRUE
ORDER BY colony_id, process_id
FOR UPDATE;

-- name: lock_members
-- All of a graph, in the same order, for whoever is about to delete it (see lock_process).
SELECT FROM processes WHERE process_graph_id = :process_graph_id AND process_graph_id <> ''
ORDER BY colony_id, process_id
FOR UPDATE;

-- name: lock_members_of_colony
-- The same for all graphs of a colony.
WITH locked AS MATERIALIZED (
    SELECT FROM unnest(ARRAY(SELECT process_graph_id FROM process_graphs
                             WHERE colony_id = :colony_id)) AS graph_id
    JOIN processes ON process_graph_id = graph_id AND process_graph_id <> ''
    ORDER BY processes.colony_id, process_id
    FOR UPDATE OF processes
)
SELECT count(*) FROM locked;

-- name: set_graphs_started
-- Something of these has started; what was missed here is made good by set_graph_progress.
UPDATE process_graphs SET state = 1, start_time = least(start_time, since)
FROM unnest(:process_graph_ids::text[], :start_times::timestamptz[]) AS one (id, since)
WHERE process_graph_id = id AND (state = 0) IS TRUE;

-- name: set_graph_progress
-- So many more processes of these graphs have ended; with the last of them the graph has.
UPDATE process_graphs
SET successful = process_graphs.successful + one.successful,
    failed = process_graphs.failed + one.failed,
    cancelled = process_graphs.cancelled + one.cancelled,
    start_time = least(start_time, since), last_end = greatest(last_end, now()),
    end_time = CASE WHEN members = {all_ended} THEN greatest(last_end, now()) END,
    state = CASE WHEN members > {all_ended}
                 THEN CASE WHEN least(start_time, since) IS NULL THEN 0 ELSE 1 END
                 WHEN process_graphs.failed + one.failed > 0 THEN 3
                 WHEN process_graphs.cancelled + one.cancelled > 0 THEN 4
                 ELSE 2 END
FROM unnest(:process_graph_ids::text[], :start_times::timestamptz[],
            :successful::integer[], :failed::integer[], :cancelled::integer[])
     AS one (id, since, successful, failed, cancelled)
WHERE process_graph_id = id;

-- part: all_ended
process_graphs.successful + process_graphs.failed + process_graphs.cancelled
+ one.successful + one.failed + one.cancelled

-- part: given_by_parents
ARRAY(
    SELECT item
    FROM unnest(processes.parents) WITH ORDINALITY AS one (id, place)
    JOIN processes AS parent
      ON parent.colony_id = processes.colony_id AND parent.process_id = one.id
    CROSS JOIN LATERAL unnest(parent.output) WITH ORDINALITY AS given (item, number)
    ORDER BY place, number)

-- part: lengths_by_parents
ARRAY(
    SELECT cardinality(parent.output)
    FROM unnest(processes.parents) WITH ORDINALITY AS one (id, place)
    JOIN processes AS parent
      ON parent.colony_id = processes.colony_id AND parent.process_id = one.id
    ORDER BY place)

-- name: release_children
-- So many parents of each have succeeded. With the last of them it is in the queue, and its input
-- is what they gave, in the order in which it depends on them.
UPDATE processes
SET missing_parents = missing_parents - count, wait_for_parents = missing_parents > count,
    input = CASE WHEN missing_parents > count THEN input ELSE {given_by_parents} END,
    input_lengths = CASE WHEN missing_parents > count THEN input_lengths
                    ELSE {lengths_by_parents} END
FROM unnest(:colony_ids::text[], :process_ids::text[], :counts::integer[])
     AS child (in_colony, id, count)
WHERE colony_id = in_colony AND process_id = id AND (state = 0) IS TRUE AND wait_for_parents
RETURNING colony_id, process_id, wait_for_parents;

-- name: close_descendants
-- Whatever has not started and depends on what has not succeeded, directly or through others: it
-- ends like the first such parent of it. :child_ids are the first to be reached, by :parent_ids.
WITH RECURSIVE reached (in_colony, id) AS (
    SELECT * FROM unnest(:colony_ids::text[], :child_ids::text[])
    UNION
    SELECT in_colony, unnest(children)
    FROM reached JOIN processes ON colony_id = in_colony AND process_id = id
    WHERE (state = 0) IS TRUE
), because AS MATERIALIZED (
    SELECT DISTINCT ON (in_colony, id) in_colony, id, parent
    FROM (SELECT * FROM unnest(:colony_ids::text[], :child_ids::text[], :parent_ids::text[])
              AS first (in_colony, id, parent)
          UNION ALL
          SELECT in_colony, unnest(children), process_id
          FROM unnest(ARRAY(SELECT in_colony FROM reached), ARRAY(SELECT reached.id FROM reached))
               AS one (in_colony, reached_id)
          JOIN processes ON colony_id = in_colony AND process_id = reached_id
          WHERE (state = 0) IS TRUE) AS edge
    ORDER BY in_colony, id, parent
)
UPDATE processes
SET state = :state, end_time = now(), errors = ARRAY[format('parent %s %s', parent, :ended::text)]
FROM unnest(ARRAY(SELECT in_colony FROM because), ARRAY(SELECT id FROM because),
            ARRAY(SELECT parent FROM because)) AS one (in_colony, id, parent)
WHERE colony_id = in_colony AND process_id = id AND (state = 0) IS TRUE
RETURNING {process};

-- name: cancel_members
-- All that is left of these graphs: what waits is cancelled, what runs shall be stopped.
WITH left_over AS MATERIALIZED (
    SELECT processes.colony_id, process_id, by, reason
    FROM unnest(:process_graph_ids::text[], :cancelled_by::text[], :reasons::text[])
         AS one (graph_id, by, reason)
    JOIN processes ON process_graph_id = graph_id
    WHERE process_graph_id <> '' AND (state IN (0, 1)) IS TRUE AND processes.cancelled_by = ''
    ORDER BY processes.colony_id, process_id
    FOR UPDATE OF processes
)
UPDATE processes
SET state = CASE WHEN state = 0 THEN 4 ELSE state END,
    end_time = CASE WHEN state = 0 THEN now() END,
    errors = CASE WHEN state = 0
                  THEN ARRAY['cancelled by ' || by || CASE WHEN reason = '' THEN '' ELSE ': ' END
                             || reason]
                  ELSE '{}' END,
    cancelled_by = by, cancel_reason = reason, cancel_time = now(),
    exec_deadline = NULL, leased_until = NULL
FROM unnest(ARRAY(SELECT colony_id FROM left_over), ARRAY(SELECT process_id FROM left_over),
            ARRAY(SELECT by FROM left_over), ARRAY(SELECT reason FROM left_over))
     AS one (in_colony, id, by, reason)
WHERE processes.colony_id = in_colony AND processes.process_id = id
RETURNING {process};

-- name: lock_process_graph
-- A graph, for whoever is about to change all of it.
WITH done AS (
    SELECT process_graph_id, state FROM process_graphs
    WHERE process_graph_id = :process_graph_id
    FOR UPDATE
), {once_done}
SELECT state FROM done;

-- name: lock_graphs_of_colony
SELECT process_graph_id FROM process_graphs WHERE colony_id = :colony_id
ORDER BY process_graph_id
FOR UPDATE;

-- name: add_child
-- A process more, below the one whose attempt is running, which must be locked by its graph.
WITH parent AS (
    UPDATE processes SET children = children || :child_id::text
    WHERE {attempt} AND cancelled_by = '' AND process_graph_id = :process_graph_id
    RETURNING colony_id, process_id
), done AS (
    INSERT INTO processes (state, {columns}, process_graph_id, parents, missing_parents,
                           wait_for_parents)
    SELECT 0, {values}, :process_graph_id,
           ARRAY[parent_id], :wait_for_parents::boolean::integer, :wait_for_parents::boolean
    FROM (SELECT colony_id, :child_id::text AS process_id, process_id AS parent_id, now() AS time,
                 :submitted_by::text AS submitted_by, :is_counted::boolean AS is_counted
          FROM parent) AS child, unnest(
        :specs::text[], :runtime_types::text[], :runtime_ids::text[], :cores::integer[],
        :mem::integer[], :gpus::integer[], :priorities::integer[], :max_wait_times::integer[],
        :max_exec_times::integer[], :max_retries::integer[], :leases::integer[]
    ) AS asked (
        spec, runtime_type, runtime_ids, cores, mem, gpus, priority, max_wait_time, max_exec_time,
        max_retries, lease)
    RETURNING process_id, attempt
), {once_with_process}, environment AS (
    INSERT INTO attributes (colony_id, attribute_id, target_id, process_graph_id, attribute_type,
                            key, value)
    SELECT colony_id, attribute_id, variable.process_id, :process_graph_id, 3, key, value
    FROM parent, unnest(:env_process_ids::text[], :env_ids::text[], :env_keys::text[],
                        :env_values::text[]) AS variable (process_id, attribute_id, key, value)
)
UPDATE process_graphs SET members = members + 1
FROM done WHERE process_graph_id = :process_graph_id
RETURNING members;

-- name: return_members
-- What has failed or was cancelled in a graph that has ended goes back to where it was before, with
-- other arguments where there are some for its name; what it waits for is what has not succeeded.
WITH due AS MATERIALIZED (
    SELECT colony_id, process_id, change,
           (SELECT count(*) FROM unnest(processes.parents) AS parent_id
            JOIN processes AS parent ON parent.colony_id = processes.colony_id
                                    AND parent.process_id = parent_id
            WHERE parent.state <> 2) AS missing
    FROM processes
    LEFT JOIN unnest(:names::text[], :changes::text[]) AS edit (name, change)
           ON edit.name = spec->>'name'
    WHERE process_graph_id = :process_graph_id AND process_graph_id <> '' AND state IN (3, 4)
    ORDER BY process_id
    FOR UPDATE OF processes
), counted AS (
    UPDATE process_graphs
    SET failed = 0, cancelled = 0, end_time = NULL,
        state = CASE WHEN successful > 0 THEN 1 ELSE 0 END
    WHERE process_graph_id = :process_graph_id
)
UPDATE processes
SET {requeued}, end_time = NULL, retries = 0, lost_by = '{}', pushed_over = '', errors = '{}',
    output = '{}', cancelled_by = '', cancel_reason = '', cancel_time = NULL,
    past = CASE WHEN start_time IS NULL THEN past ELSE {earlier} || jsonb_build_object(
        'attempt', attempt, 'runtimeid', assigned_runtime_id, 'starttime', start_time,
        'endtime', end_time, 'leaseduntil', leased_until,
        'ending', CASE state WHEN 4 THEN 'cancelled' ELSE 'failed' END) END,
    spec = CASE WHEN change IS NULL THEN spec ELSE (spec::jsonb || change::jsonb)::json END,
    missing_parents = missing, wait_for_parents = missing > 0,
    input = CASE WHEN missing > 0 OR parents = '{}' THEN input ELSE {given_by_parents} END,
    input_lengths = CASE WHEN missing > 0 OR parents = '{}' THEN input_lengths
                    ELSE {lengths_by_parents} END
FROM unnest(ARRAY(SELECT colony_id FROM due), ARRAY(SELECT process_id FROM due),
            ARRAY(SELECT missing FROM due), ARRAY(SELECT change FROM due))
     AS one (in_colony, id, missing, change)
WHERE colony_id = in_colony AND process_id = id
RETURNING {process};

-- part: gone_with_processes
-- What goes with the processes that are chosen, by arrays, of which the planner expects few.
gone_attributes AS (
    DELETE FROM attributes
    USING unnest(ARRAY(SELECT colony_id FROM chosen), ARRAY(SELECT process_id FROM chosen))
          AS one (in_colony, id)
    WHERE colony_id = in_colony AND target_id = id
), gone_logs AS (
    DELETE FROM logs
    USING unnest(ARRAY(SELECT colony_id FROM chosen), ARRAY(SELECT process_id FROM chosen))
          AS one (in_colony, id)
    WHERE colony_id = in_colony AND process_id = id
), gone_entries AS (
    DELETE FROM log_entries
    USING unnest(ARRAY(SELECT colony_id FROM chosen), ARRAY(SELECT process_id FROM chosen))
          AS one (in_colony, id)
    WHERE colony_id = in_colony AND process_id = id
), gone AS (
    DELETE FROM processes
    USING unnest(ARRAY(SELECT colony_id FROM chosen), ARRAY(SELECT process_id FROM chosen))
          AS one (in_colony, id)
    WHERE colony_id = in_colony AND process_id = id
    RETURNING id
)

-- name: delete_process_graph
-- With its processes, which it gives, and their attributes.
WITH chosen AS MATERIALIZED (
    SELECT colony_id, process_id FROM processes
    WHERE process_graph_id = :process_graph_id AND process_graph_id <> ''
), {gone_with_processes}, gone_graph AS (
    DELETE FROM process_graphs WHERE process_graph_id = :process_graph_id
)
SELECT id FROM gone;

-- name: delete_all_process_graphs
-- The same for all of a colony.
WITH {once}, chosen AS MATERIALIZED (
    SELECT processes.colony_id, process_id
    FROM unnest(ARRAY(SELECT process_graph_id FROM process_graphs WHERE colony_id = :colony_id))
         AS graph_id
    JOIN processes ON process_graph_id = graph_id AND process_graph_id <> ''
), {gone_with_processes}, gone_graphs AS (
    DELETE FROM process_graphs WHERE colony_id = :colony_id
)
SELECT id FROM gone;
