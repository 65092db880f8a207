-- part: function
functions.name, description, args, functions.colony_id, functions.runtime_id, runtime_type

-- name: add_function
-- Only of a runtime that is there and let in: the lock on its row makes a deletion wait.
WITH of AS (
    SELECT colony_id, runtime_id, runtime_type FROM runtimes
    WHERE colony_id = :colony_id AND runtime_id = :runtime_id AND state = 1
    FOR KEY SHARE
), added AS (
    INSERT INTO functions (colony_id, runtime_id, name, description, args)
    SELECT colony_id, runtime_id, :name, :description, :args::jsonb FROM of
    WHERE (SELECT count(*) FROM functions
           WHERE functions.colony_id = of.colony_id AND functions.runtime_id = of.runtime_id
             AND functions.name <> :name) < :most::bigint
    ON CONFLICT ON CONSTRAINT functions_pkey
    DO UPDATE SET description = EXCLUDED.description, args = EXCLUDED.args
    RETURNING functions.*
), done AS (
    SELECT added.name, description, args, added.colony_id, added.runtime_id, runtime_type
    FROM added, of
), {once_done}
SELECT * FROM done;

-- name: list_functions
-- Of one runtime, or of one name, if they are given.
SELECT {function}
FROM functions JOIN runtimes USING (colony_id, runtime_id)
WHERE functions.colony_id = :colony_id AND state = 1
  AND (:runtime_id = '' OR functions.runtime_id = :runtime_id)
  AND (:name = '' OR functions.name = :name)
ORDER BY functions.name, runtime_type, functions.runtime_id
LIMIT :count::bigint;

-- name: list_announcements
-- What can be run in these colonies, and by which types: what many runtimes say alike, once.
SELECT DISTINCT functions.colony_id, runtime_type, functions.name, args
FROM functions JOIN runtimes USING (colony_id, runtime_id)
WHERE functions.colony_id = ANY (:colony_ids) AND state = 1
ORDER BY functions.colony_id, functions.name, runtime_type, args;

-- name: delete_function
WITH {once}
DELETE FROM functions
WHERE colony_id = :colony_id AND runtime_id = :runtime_id AND name = :name;
