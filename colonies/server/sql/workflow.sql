-- part: graph
process_graph_id, colony_id, roots AS root_process_ids, state, submission_time, start_time,
end_time, on_failure, members, successful, failed, cancelled

-- name: submit_process_graph
-- A graph with its processes, in the order of its spec, and their environment as attributes; all of
-- it or nothing. Those without parents are in the queue from now on, with :root_input.
WITH once AS (
    INSERT INTO requests (caller, request, digest, time, process_id)
    SELECT :caller, :request, :digest, now(), :process_graph_id WHERE :request <> ''
), asked AS MATERIALIZED (
    SELECT * FROM unnest(
        :process_ids::text[], :specs::text[], :runtime_types::text[], :runtime_ids::text[],
        :cores::integer[], :mem::integer[], :gpus::integer[], :priorities::integer[],
        :max_wait_times::integer[], :max_exec_times::integer[], :max_retries::integer[],
        :leases::integer[], :parents::text[], :children::text[], :missing::integer[]
    ) WITH ORDINALITY AS asked (
        process_id, spec, runtime_type, runtime_ids, cores, mem, gpus, priority, max_wait_time,
        max_exec_time, max_retries, lease, parents, children, missing_parents, place)
), submitted AS (
    INSERT INTO processes (colony_id, process_id, state, submission_time, wait_deadline, spec,
                           runtime_type, runtime_ids, cores, mem, gpus, priority, max_wait_time,
                           max_exec_time, max_retries, lease, process_graph_id, parents, children,
                           missing_parents, wait_for_parents, input)
    SELECT :colony_id, process_id, 0, now() + place * interval '1 microsecond',
           CASE WHEN max_wait_time > 0
                THEN now() + place * interval '1 microsecond'
                     + make_interval(secs => max_wait_time) END,
           spec::json, runtime_type, {texts_of_runtime_ids}, cores, mem, gpus, priority,
           max_wait_time, max_exec_time, max_retries, lease, :process_graph_id,
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
SELECT :colony_id, :process_graph_id, now(),
       ARRAY(SELECT process_id FROM asked WHERE missing_parents = 0 ORDER BY place),
       :on_failure, cardinality(:process_ids::text[])
RETURNING {graph};

-- name: get_process_graph
-- A graph by its id, in the colonies that the caller belongs to or owns.
SELECT {graph} FROM process_graphs
WHERE colony_id = ANY (ARRAY(SELECT colony_id FROM runtimes WHERE runtime_id = :caller
                             UNION ALL SELECT :caller))
  AND process_graph_id = :process_graph_id;

-- name: list_process_graphs
-- In one state, those that were submitted last first; with the ids of their processes as long as
-- these are no more than :most_ids in all.
SELECT process_graph_id, colony_id, state, submission_time, start_time, end_time, on_failure,
       members, successful, failed, cancelled,
       CASE WHEN ids_so_far <= :most_ids::bigint THEN roots END AS root_process_ids,
       CASE WHEN ids_so_far <= :most_ids::bigint THEN ARRAY(
           SELECT process_id FROM processes
           WHERE processes.colony_id = last.colony_id AND processes.process_graph_id <> ''
             AND processes.process_graph_id = last.process_graph_id
           ORDER BY submission_time) END AS process_ids
FROM (SELECT *, sum(members) OVER (ORDER BY submission_time DESC, process_graph_id) AS ids_so_far
      FROM (SELECT * FROM process_graphs WHERE colony_id = :colony_id AND state = :state::integer
            ORDER BY submission_time DESC LIMIT :count::bigint) AS latest) AS last
ORDER BY submission_time DESC, process_graph_id;

-- name: list_members
-- The processes of a graph as a picture shows them, in the order in which they were submitted.
SELECT process_id, spec->>'name' AS name, state, parents, children, start_time, end_time
FROM processes
WHERE colony_id = :colony_id AND process_graph_id = :process_graph_id AND process_graph_id <> ''
ORDER BY submission_time, process_id;
