-- part: once
-- The request is remembered by the statement that does what it asks for: the same one again breaks
-- the key, and nothing of its statement has happened.
once AS (
    INSERT INTO requests (request, digest, time)
    SELECT :request, :digest, now() WHERE :request::uuid IS NOT NULL
)

-- part: once_done
-- The same, if anything was done.
once AS (
    INSERT INTO requests (request, digest, time)
    SELECT :request, :digest, now() FROM done WHERE :request::uuid IS NOT NULL LIMIT 1
)

-- part: once_with_process
-- The same, with the process that is the answer.
once AS (
    INSERT INTO requests (request, digest, time, process_id, attempt)
    SELECT :request, :digest, now(), process_id, attempt
    FROM done WHERE :request::uuid IS NOT NULL LIMIT 1
)

-- name: add_request
-- For what is remembered by itself, as it takes several statements.
INSERT INTO requests (request, digest, time) SELECT :request, :digest, now() WHERE :request::uuid IS NOT NULL;

-- name: get_request
SELECT digest, process_id, attempt FROM requests WHERE request = :request;

-- name: delete_request
-- Forget a request whose answer does not hold any more, so that it can be done anew.
DELETE FROM requests WHERE request = :request AND process_id = :process_id AND attempt = :attempt;

-- name: get_request_pages
-- How many pages the table has.
SELECT pg_relation_size('requests') / current_setting('block_size')::bigint;

-- name: delete_old_requests
-- What is old on some pages of the table. No index has the time: to keep one costs more than to read
-- every page once in a while.
DELETE FROM requests
WHERE ctid >= format('(%s,0)', :first_page::bigint)::tid
  AND ctid < format('(%s,0)', :end_page::bigint)::tid
  AND time < now() - make_interval(secs => :age);
