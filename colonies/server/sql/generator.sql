-- part: generator
generator_id, colony_id, name, workflow_spec, trigger, last_run, queue_size, timeout, first_pack,
added_by

-- name: add_generator
-- A new generator; its id is what is remembered of the request.
WITH once AS (
    INSERT INTO requests (request, digest, time, process_id)
    SELECT :request, :digest, now(), :generator_id WHERE :request::uuid IS NOT NULL
)
INSERT INTO generators (colony_id, generator_id, name, workflow_spec, trigger, timeout, added_by)
VALUES (:colony_id, :generator_id, :name, :workflow_spec, :trigger, :timeout, :added_by)
RETURNING {generator};

-- name: get_generator
-- A generator by its id, in the colonies that the caller belongs to or owns.
SELECT {generator} FROM generators
WHERE generator_id = :generator_id
  AND colony_id = ANY (ARRAY(SELECT colony_id FROM runtimes WHERE runtime_id = :caller
                             UNION ALL SELECT :caller))
LIMIT 1;

-- name: list_generators_named
-- Those of a name in some colonies: one in each at most.
SELECT {generator} FROM generators
WHERE colony_id = ANY (:colony_ids) AND name = :name ORDER BY colony_id LIMIT 2;

-- name: list_generators
SELECT {generator} FROM generators WHERE colony_id = :colony_id ORDER BY name LIMIT :count::bigint;

-- name: add_generator_args
-- Arguments, each after those that were packed before it. The generators are locked one after the
-- other in one order, so that no two statements wait for each other, and before the numbers are
-- given. Of each argument it says whether there is its generator, whether there is room for it,
-- whether it was packed: one that was asked for before is not; and whether its generator is due
-- sooner by what was packed with it.
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest(
        :colony_ids::text[], :generator_ids::text[], :args::text[],
        :requests::uuid[], :digests::uuid[]
    ) WITH ORDINALITY AS asked (in_colony, id, arg, request, digest, place)
), locked AS MATERIALIZED (
    SELECT colony_id, generator_id, queue_bytes, due AS due_before
    FROM generators
    WHERE (colony_id, generator_id) IN (SELECT in_colony, id FROM asked)
    ORDER BY colony_id, generator_id
    FOR NO KEY UPDATE
), weighed AS MATERIALIZED (
    SELECT asked.*, due_before, locked.generator_id IS NOT NULL AS is_there,
           coalesce(queue_bytes, 0) + sum(octet_length(arg) + :more_bytes::integer)
               OVER (PARTITION BY in_colony, id ORDER BY place) <= :most_bytes::bigint AS has_room,
           request IS NULL OR 1 = row_number() OVER (PARTITION BY request ORDER BY place) AS is_first
    FROM asked LEFT JOIN locked ON colony_id = in_colony AND generator_id = id
), once AS (
    INSERT INTO requests (request, digest, time)
    SELECT request, digest, now() FROM weighed
    WHERE is_there AND has_room AND request IS NOT NULL
    ORDER BY request
    ON CONFLICT DO NOTHING
    RETURNING request
), judged AS MATERIALIZED (
    SELECT weighed.*, is_there AND has_room AND is_first
           AND (request IS NULL OR request IN (SELECT request FROM once))
           AS is_packed
    FROM weighed
), added AS (
    INSERT INTO generator_args (colony_id, generator_id, arg, pack_time)
    SELECT in_colony, id, arg, now() FROM judged WHERE is_packed ORDER BY place
), counted AS MATERIALIZED (
    SELECT in_colony, id, count(*) AS count, sum(octet_length(arg) + :more_bytes::integer) AS bytes
    FROM judged WHERE is_packed GROUP BY in_colony, id
), grown AS (
    UPDATE generators
    SET queue_size = queue_size + count, queue_bytes = queue_bytes + bytes,
        first_pack = coalesce(first_pack, now()),
        due = CASE WHEN queue_size + count >= trigger THEN least(due, now())
                   WHEN timeout > 0 THEN coalesce(due, now() + make_interval(secs => timeout)) END
    FROM counted
    WHERE colony_id = in_colony AND generator_id = id
    RETURNING in_colony, id, due
)
SELECT is_there, has_room, is_packed,
       EXISTS (SELECT FROM grown
               WHERE grown.in_colony = judged.in_colony AND grown.id = judged.id
                 AND grown.due IS DISTINCT FROM due_before) AS is_sooner
FROM judged ORDER BY place;

-- name: list_generators_due
-- Those that have enough arguments, or have waited long enough, the longest ago first, after one
-- that was seen already.
SELECT {generator}, due FROM generators
WHERE due <= now() AND (due, generator_id) > (:due, :generator_id)
ORDER BY due, generator_id LIMIT :count::bigint;

-- name: lock_generator
-- Whoever has the lock may use its arguments, if it is still due; what is packed meanwhile waits.
SELECT {generator} FROM generators
WHERE colony_id = :colony_id AND generator_id = :generator_id AND due <= now()
FOR NO KEY UPDATE;

-- name: claim_generator_args
-- The oldest arguments, with their numbers: they are nobody else's from then on.
WITH chosen AS MATERIALIZED (
    SELECT number FROM generator_args
    WHERE colony_id = :colony_id AND generator_id = :generator_id
    ORDER BY number LIMIT :count::bigint
)
DELETE FROM generator_args
WHERE colony_id = :colony_id AND generator_id = :generator_id
  AND number = ANY (ARRAY(SELECT number FROM chosen))
RETURNING number, arg;

-- name: set_generator_run
-- What is left after some were used, and when that makes the next workflow.
UPDATE generators
SET last_run = :last_run, queue_size = queue_size - :count::integer,
    queue_bytes = queue_bytes - :bytes::bigint, first_pack = oldest.pack_time,
    due = CASE WHEN queue_size - :count::integer >= trigger THEN now()
               WHEN timeout > 0 THEN oldest.pack_time + make_interval(secs => timeout) END
FROM (SELECT 1) AS one LEFT JOIN LATERAL (
    SELECT pack_time FROM generator_args
    WHERE colony_id = :colony_id AND generator_id = :generator_id
    ORDER BY number LIMIT 1) AS oldest ON true
WHERE colony_id = :colony_id AND generator_id = :generator_id;

-- name: set_generator_stopped
-- Not due any more, until something is packed again.
UPDATE generators SET due = NULL WHERE colony_id = :colony_id AND generator_id = :generator_id;

-- name: delete_generator
-- With what it has gathered, also what is being packed just now.
WITH {once}
DELETE FROM generators WHERE colony_id = :colony_id AND generator_id = :generator_id;
