-- part: colony
colony_id, name

-- name: add_colony
-- A new colony; the primary key refuses a second one with its id.
WITH {once}
INSERT INTO colonies (colony_id, name) VALUES (:colony_id, :name)
RETURNING {colony};

-- name: get_colony
SELECT {colony} FROM colonies WHERE colony_id = :colony_id;

-- name: list_colonies
SELECT {colony} FROM colonies ORDER BY name, colony_id;

-- name: delete_colony
-- The colony and all that belongs to it, in one statement.
WITH {once},
     gone_attributes AS (DELETE FROM attributes WHERE colony_id = :colony_id),
     {gone_logs_of_colony},
     gone_crons AS (DELETE FROM crons WHERE colony_id = :colony_id),
     gone_generators AS (DELETE FROM generators WHERE colony_id = :colony_id),
     gone_args AS (DELETE FROM generator_args WHERE colony_id = :colony_id),
     gone_processes AS (DELETE FROM processes WHERE colony_id = :colony_id),
     gone_functions AS (DELETE FROM functions WHERE colony_id = :colony_id),
     gone_graphs AS (DELETE FROM process_graphs WHERE colony_id = :colony_id),
     gone_runtimes AS (DELETE FROM runtimes WHERE colony_id = :colony_id)
DELETE FROM colonies WHERE colony_id = :colony_id;

-- part: everything
colonies, runtimes, functions, processes, attributes, logs, log_entries, process_graphs, crons,
generators, generator_args, requests

-- name: lock_everything
-- Nobody else reads or writes until the transaction is over.
LOCK TABLE {everything} IN ACCESS EXCLUSIVE MODE;

-- name: delete_everything
TRUNCATE {everything};

-- name: delete_orphans
-- What came into a colony while that was being deleted: a lock that would keep it out would be one
-- of the colony's one row, with every submit. Colonies are found one after the other by index. What
-- is seen here is of before: a colony that is added again meanwhile loses nothing.
WITH RECURSIVE known (id) AS (
    SELECT ''
    UNION ALL
    SELECT least((SELECT min(colony_id) FROM attributes WHERE colony_id > id),
                 (SELECT min(colony_id) FROM logs WHERE colony_id > id),
                 (SELECT min(colony_id) FROM log_entries WHERE colony_id > id),
                 (SELECT min(colony_id) FROM functions WHERE colony_id > id),
                 (SELECT min(colony_id) FROM processes WHERE colony_id > id),
                 (SELECT min(colony_id) FROM process_graphs WHERE colony_id > id),
                 (SELECT min(colony_id) FROM crons WHERE colony_id > id),
                 (SELECT min(colony_id) FROM generators WHERE colony_id > id),
                 (SELECT min(colony_id) FROM runtimes WHERE colony_id > id))
    FROM known WHERE id IS NOT NULL
), gone AS MATERIALIZED (
    -- As an array: of a join the planner might read every process to find that it is none of them.
    SELECT ARRAY(SELECT id FROM known WHERE id <> ''
                 AND NOT EXISTS (SELECT FROM colonies WHERE colony_id = id)) AS ids
), gone_attributes AS (DELETE FROM attributes WHERE colony_id = ANY ((SELECT ids FROM gone)::text[])),
   gone_logs AS (DELETE FROM logs WHERE colony_id = ANY ((SELECT ids FROM gone)::text[])),
   gone_entries AS (DELETE FROM log_entries WHERE colony_id = ANY ((SELECT ids FROM gone)::text[])),
   gone_functions AS (DELETE FROM functions WHERE colony_id = ANY ((SELECT ids FROM gone)::text[])),
   gone_processes AS (DELETE FROM processes WHERE colony_id = ANY ((SELECT ids FROM gone)::text[])),
   gone_graphs AS (DELETE FROM process_graphs WHERE colony_id = ANY ((SELECT ids FROM gone)::text[])),
   gone_crons AS (DELETE FROM crons WHERE colony_id = ANY ((SELECT ids FROM gone)::text[])),
   gone_generators AS (DELETE FROM generators WHERE colony_id = ANY ((SELECT ids FROM gone)::text[])),
   gone_args AS (DELETE FROM generator_args WHERE colony_id = ANY ((SELECT ids FROM gone)::text[]))
DELETE FROM runtimes WHERE colony_id = ANY ((SELECT ids FROM gone)::text[]);

-- part: counted
-- Each from an index of its own that has all that is asked.
count(*) FILTER (WHERE state = 2) AS successful_processes,
count(*) FILTER (WHERE state = 3) AS failed_processes,
count(*) FILTER (WHERE state = 4) AS cancelled_processes

-- name: get_colony_statistics
SELECT 1::bigint AS colonies,
       (SELECT count(*) FROM runtimes WHERE colony_id = :colony_id) AS runtimes,
       (SELECT count(*) FROM processes
        WHERE colony_id = :colony_id AND (state = 0) IS TRUE) AS waiting_processes,
       (SELECT count(*) FROM processes
        WHERE colony_id = :colony_id AND state = 1) AS running_processes,
       (SELECT count(*) FROM process_graphs
        WHERE colony_id = :colony_id AND state = 0) AS waiting_workflows,
       (SELECT count(*) FROM process_graphs
        WHERE colony_id = :colony_id AND state = 1) AS running_workflows,
       (SELECT count(*) FROM process_graphs
        WHERE colony_id = :colony_id AND state = 2) AS successful_workflows,
       (SELECT count(*) FROM process_graphs
        WHERE colony_id = :colony_id AND state = 3) AS failed_workflows,
       (SELECT count(*) FROM process_graphs
        WHERE colony_id = :colony_id AND state = 4) AS cancelled_workflows,
       {counted}
FROM processes WHERE colony_id = :colony_id AND state >= 2;

-- name: get_statistics
SELECT (SELECT count(*) FROM colonies) AS colonies,
       (SELECT count(*) FROM runtimes) AS runtimes,
       (SELECT count(*) FROM processes WHERE (state = 0) IS TRUE) AS waiting_processes,
       (SELECT count(*) FROM processes WHERE state = 1) AS running_processes,
       (SELECT count(*) FROM process_graphs
        WHERE state = 0) AS waiting_workflows,
       (SELECT count(*) FROM process_graphs
        WHERE state = 1) AS running_workflows,
       (SELECT count(*) FROM process_graphs
        WHERE state = 2) AS successful_workflows,
       (SELECT count(*) FROM process_graphs
        WHERE state = 3) AS failed_workflows,
       (SELECT count(*) FROM process_graphs
        WHERE state = 4) AS cancelled_workflows,
       {counted}
FROM processes WHERE state >= 2;
