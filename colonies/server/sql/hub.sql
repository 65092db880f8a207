-- part: leads
-- Whether a hub has the lock that touch_hub takes. Every database has locks of its own.
EXISTS (SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND pid = backend
          AND (classid, objid, objsubid) = (0, 732048156, 1)
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))

-- name: touch_hub
-- "I am here": the row and the beat, by which the others hear of it at once. Gives who else is here,
-- and whether this hub leads: whoever gets the lock does, until its connection ends. A leader that is
-- frozen keeps its connection, and is cut off. Rows of hubs that are long gone are deleted; SKIP
-- LOCKED, because two that come back might wait for each other.
WITH me AS (
    INSERT INTO hubs (hub_id, name, host, port, version, started, last_seen, backend)
    VALUES (:hub_id, :name, :host, :port, :version, now(), now(), pg_backend_pid())
    ON CONFLICT (hub_id) DO UPDATE SET last_seen = now(), backend = pg_backend_pid()
), gone AS (
    DELETE FROM hubs
    WHERE hub_id = ANY (ARRAY(
        SELECT hub_id FROM hubs
        WHERE hub_id <> :hub_id AND last_seen < now() - interval '1 minute'
        FOR UPDATE SKIP LOCKED))
)
SELECT ARRAY(SELECT hub_id FROM hubs
             WHERE hub_id <> :hub_id AND last_seen > now() - make_interval(secs => :stale)),
       CASE WHEN :is_leading::boolean THEN true ELSE pg_try_advisory_lock(732048156) END,
       pg_notify('colonies', :beat),
       ARRAY(SELECT pg_terminate_backend(backend) FROM hubs
             WHERE hub_id <> :hub_id AND last_seen < now() - make_interval(secs => :stale)
               AND {leads});

-- name: delete_hub
DELETE FROM hubs WHERE hub_id = :hub_id;

-- name: list_hubs
SELECT hub_id, name, host, port AS api_port, version, started, last_seen,
       {leads} AS is_leader
FROM hubs
WHERE last_seen > now() - make_interval(secs => :stale)
ORDER BY started, hub_id;

-- name: notify_hubs
-- Hints, which need no disk: what is lost in a crash is looked up by everybody afterwards.
SELECT pg_notify('colonies', payload)
FROM (SELECT set_config('synchronous_commit', 'off', true)) AS hint,
     unnest(:payloads::text[]) AS payload;
