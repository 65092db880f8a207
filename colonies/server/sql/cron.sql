-- part: cron
cron_id, colony_id, name, cron_expression, interval, random, next_run, last_run, workflow_spec,
nullif(prev_process_graph_id, '') AS prev_process_graph_id, wait_for_prev_process_graph, catchup,
added_by

-- name: add_cron
-- A new cron; its id is what is remembered of the request.
WITH once AS (
    INSERT INTO requests (request, digest, time, process_id)
    SELECT :request, :digest, now(), :cron_id WHERE :request::uuid IS NOT NULL
)
INSERT INTO crons (colony_id, cron_id, name, cron_expression, interval, random, next_run,
                   workflow_spec, wait_for_prev_process_graph, catchup, added_by)
VALUES (:colony_id, :cron_id, :name, :cron_expression, :interval, :random, :next_run,
        :workflow_spec, :wait_for_prev_process_graph, :catchup, :added_by)
RETURNING {cron};

-- name: get_cron
-- A cron by its id, in the colonies that the caller belongs to or owns.
SELECT {cron} FROM crons
WHERE cron_id = :cron_id
  AND colony_id = ANY (ARRAY(SELECT colony_id FROM runtimes WHERE runtime_id = :caller
                             UNION ALL SELECT :caller))
LIMIT 1;

-- name: list_crons
SELECT {cron} FROM crons WHERE colony_id = :colony_id ORDER BY name LIMIT :count::bigint;

-- name: list_crons_due
-- Those whose tick has come, the longest ago first, after one that was seen already; but for those
-- that wait for the end of what they submitted last.
SELECT {cron} FROM crons
WHERE next_run <= now() AND (next_run, cron_id) > (:next_run, :cron_id)
  AND NOT (wait_for_prev_process_graph AND EXISTS (
      SELECT FROM process_graphs AS previous
      WHERE previous.colony_id = crons.colony_id
        AND previous.process_graph_id = prev_process_graph_id AND previous.state < 2))
ORDER BY next_run, cron_id LIMIT :count::bigint;

-- name: lock_cron
-- Whoever has the lock may run it, until the transaction ends.
SELECT {cron}, now() FROM crons WHERE colony_id = :colony_id AND cron_id = :cron_id
FOR NO KEY UPDATE;

-- name: set_cron_run
-- What a tick, or somebody who asked, has submitted, and when the next tick comes.
WITH {once}
UPDATE crons
SET next_run = :next_run, last_run = :last_run, prev_process_graph_id = :process_graph_id
WHERE colony_id = :colony_id AND cron_id = :cron_id
RETURNING {cron};

-- name: set_next_run
-- For a tick that nothing is submitted for, if it still comes next.
UPDATE crons SET next_run = :next_run
WHERE colony_id = :colony_id AND cron_id = :cron_id AND next_run = :tick;

-- name: list_leaf_outputs
-- What came out of a workflow where it ended, in the order of its processes.
SELECT output FROM processes
WHERE colony_id = :colony_id AND process_graph_id = :process_graph_id AND process_graph_id <> ''
  AND children = '{}'
ORDER BY submission_time;

-- name: delete_cron
WITH {once}
DELETE FROM crons WHERE colony_id = :colony_id AND cron_id = :cron_id;

-- name: get_now
-- The time that decides: that of the database.
SELECT now();
