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
     gone_processes AS (DELETE FROM processes WHERE colony_id = :colony_id),
     gone_runtimes AS (DELETE FROM runtimes WHERE colony_id = :colony_id)
DELETE FROM colonies WHERE colony_id = :colony_id;

-- part: counted
-- Each from an index of its own that has all that is asked.
count(*) FILTER (WHERE state = 2) AS successful_processes,
count(*) FILTER (WHERE state = 3) AS failed_processes,
count(*) FILTER (WHERE state = 4) AS cancelled_processes

-- name: get_colony_statistics
SELECT 1::bigint AS colonies,
       (SELECT count(*) FROM runtimes WHERE colony_id = :colony_id) AS runtimes,
       (SELECT count(*) FROM processes
        WHERE colony_id = :colony_id AND state = 0) AS waiting_processes,
       (SELECT count(*) FROM processes
        WHERE colony_id = :colony_id AND state = 1) AS running_processes,
       {counted}
FROM processes WHERE colony_id = :colony_id AND state >= 2;

-- name: get_statistics
SELECT (SELECT count(*) FROM colonies) AS colonies,
       (SELECT count(*) FROM runtimes) AS runtimes,
       (SELECT count(*) FROM processes WHERE state = 0) AS waiting_processes,
       (SELECT count(*) FROM processes WHERE state = 1) AS running_processes,
       {counted}
FROM processes WHERE state >= 2;
