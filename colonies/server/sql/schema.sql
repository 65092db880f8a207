-- name: get_schema_version
SELECT version FROM schema_version;

-- name: has_schema
SELECT to_regclass('schema_version') IS NOT NULL;

-- name: set_schema_version
UPDATE schema_version SET version = :version;

-- name: lock_schema
-- One hub at a time makes or changes the tables; the number is this project's own.
SELECT pg_advisory_xact_lock(732048155);
