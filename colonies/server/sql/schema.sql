-- name: get_schema_version
SELECT version FROM schema_version;

-- name: has_schema
SELECT to_regclass('schema_version') IS NOT NULL;

-- name: set_schema_version
UPDATE schema_version SET version = :version;

-- name: lock_schema
-- One hub at a time makes or changes the tables; the number is this project's own.
SELECT pg_advisory_xact_lock(732048155);

-- name: ping_storage
-- Whether there is room for what is written: a row's lock, which is logged as every change is, and
-- for a moment half a megabyte beside the tables. Nothing is left of either.
SELECT (SELECT count(*)
        FROM (SELECT set_config('work_mem', '64kB', true) AS least OFFSET 0) AS setting,
             generate_series(1, 20000 + 0 * length(setting.least)))
FROM schema_version FOR NO KEY UPDATE;
