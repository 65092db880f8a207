-- part: gone_logs_of_colony
gone_logs AS (DELETE FROM logs WHERE colony_id = :colony_id),
gone_entries AS (DELETE FROM log_entries WHERE colony_id = :colony_id)

-- name: add_log_entries
-- What attempts have said, a process once; gives the places of those that are being made, whether
-- they said it now or before. Processes are only kept from being deleted meanwhile: what is said
-- while an attempt ends may be kept beside its end. The row of the log is what two appends wait for, and in one
-- order: so positions grow in the order of commits, and no reader misses what comes late. Of what
-- is longer than :most bytes the beginning goes.
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest(:colony_ids::text[], :process_ids::text[], :runtime_ids::text[],
                         :attempt_tokens::text[], :numbers::bigint[], :ends::text[],
                         :progress::text[], :lengths::bigint[])
         WITH ORDINALITY AS asked (colony_id, process_id, runtime_id, token, number, ends, progress,
                                   length, place)
), alive AS MATERIALIZED (
    SELECT asked.*, processes.attempt
    FROM asked JOIN processes USING (colony_id, process_id)
    WHERE processes.assigned_runtime_id = runtime_id AND (processes.state = 1) IS TRUE
      AND (token = '' OR processes.attempt_token = token)
    ORDER BY processes.colony_id, processes.process_id
    FOR KEY SHARE OF processes
), reached AS (
    INSERT INTO logs AS log (colony_id, process_id, length, attempt, number, ends, progress)
    SELECT colony_id, process_id, length, attempt, number, ends::jsonb,
           nullif(progress, '')::json
    FROM alive
    ORDER BY colony_id, process_id
    ON CONFLICT ON CONSTRAINT logs_pkey DO UPDATE
    SET length = log.length + excluded.length,
        attempt = excluded.attempt,
        number = excluded.number,
        ends = CASE WHEN log.attempt = excluded.attempt THEN log.ends ELSE '{}' END || excluded.ends,
        progress = CASE WHEN log.attempt = excluded.attempt
                        THEN coalesce(excluded.progress, log.progress) ELSE excluded.progress END
    WHERE (log.attempt, log.number) < (excluded.attempt, excluded.number)
    RETURNING colony_id, process_id, length, attempt
), ends AS MATERIALIZED (
    -- Where each log ends now, to be looked up: a join of two lists compares all with all.
    SELECT jsonb_object_agg(colony_id || process_id, jsonb_build_array(length, attempt)) AS by_log
    FROM reached
), done AS (
    INSERT INTO log_entries (colony_id, process_id, position, attempt, stream, "offset", size, text,
                             time)
    -- Each text says how far it is from the end of what is said with it.
    SELECT colony_id, process_id, (found->>0)::bigint - remaining, (found->>1)::integer, stream,
           starts, size, text, now()
    FROM unnest(:said_in::text[], :said_by::text[], :remaining::bigint[], :streams::text[],
                :offsets::bigint[], :sizes::bigint[], :texts::text[])
         AS said (colony_id, process_id, remaining, stream, starts, size, text)
    CROSS JOIN LATERAL (SELECT (SELECT by_log FROM ends) -> (colony_id || process_id)) AS one (found)
    WHERE found IS NOT NULL
), trimmed AS (
    DELETE FROM log_entries USING reached
    WHERE log_entries.colony_id = reached.colony_id
      AND log_entries.process_id = reached.process_id
      AND position < length - :most::bigint
)
SELECT place FROM alive;

-- name: list_log_pages
-- For each place in a log, how far the log and its process have come, and what follows there: up to
-- :most bytes and a text, of no more than so many seconds ago unless that is 0. A row a text, and
-- one without if there is none.
SELECT place, state, length, log.attempt, number, ends, progress,
       entry.position, entry.attempt, stream, "offset", size, text, time
FROM unnest(:colony_ids::text[], :process_ids::text[], :positions::bigint[], :ages::float[])
     WITH ORDINALITY AS reader (in_colony, id, begin, age, place)
JOIN processes ON processes.colony_id = in_colony AND processes.process_id = id
LEFT JOIN logs AS log ON log.colony_id = in_colony AND log.process_id = id
LEFT JOIN LATERAL (
    SELECT position AS first FROM log_entries
    WHERE log_entries.colony_id = in_colony AND log_entries.process_id = id AND position >= begin
      AND (age = 0 OR time >= now() - make_interval(secs => age))
    ORDER BY position LIMIT 1
) AS start ON true
LEFT JOIN LATERAL (
    SELECT * FROM log_entries
    WHERE log_entries.colony_id = in_colony AND log_entries.process_id = id
      AND position >= first AND position < first + :most::bigint
    ORDER BY position LIMIT :count::bigint
) AS entry ON true
ORDER BY place, entry.position;
