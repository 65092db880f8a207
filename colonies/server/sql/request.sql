-- part: once
-- The request is remembered by the statement that does what it asks for: the same one again breaks
-- the key, and nothing of its statement has happened.
once AS (
    INSERT INTO requests (caller, request, digest, time)
    SELECT :caller, :request, :digest, now() WHERE :request <> ''
)

-- part: once_done
-- The same, if anything was done.
once AS (
    INSERT INTO requests (caller, request, digest, time)
    SELECT :caller, :request, :digest, now() FROM done WHERE :request <> '' LIMIT 1
)

-- part: once_with_process
-- The same, with the process that is the answer.
once AS (
    INSERT INTO requests (caller, request, digest, time, process_id, attempt)
    SELECT :caller, :request, :digest, now(), process_id, attempt
    FROM done WHERE :request <> '' LIMIT 1
)

-- name: add_request
-- For what is remembered by itself, as it takes several statements.
INSERT INTO requests (caller, request, digest, time)
SELECT :caller, :request, :digest, now() WHERE :request <> '';

-- name: get_request
SELECT digest, process_id, attempt FROM requests WHERE caller = :caller AND request = :request;

-- name: delete_request
-- Forget a request whose answer does not hold any more, so that it can be done anew.
DELETE FROM requests
WHERE caller = :caller AND request = :request AND process_id = :process_id AND attempt = :attempt;

-- name: delete_old_requests
-- In batches; gives one row for each that is gone.
WITH old AS MATERIALIZED (
    SELECT caller, request FROM requests
    WHERE time < now() - make_interval(secs => :age)
    LIMIT :count::bigint
    FOR UPDATE SKIP LOCKED
)
DELETE FROM requests
USING unnest(ARRAY(SELECT caller FROM old), ARRAY(SELECT request FROM old)) AS one (by, id)
WHERE caller = one.by AND request = one.id
RETURNING caller;
