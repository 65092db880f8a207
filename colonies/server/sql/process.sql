-- part: process
-- What is empty travels as NULL and is made nothing of: decoding was a fifth of what a hub did.
process_id, nullif(assigned_runtime_id, '') AS assigned_runtime_id, is_assigned, state,
submission_time, start_time, end_time, wait_deadline, exec_deadline, retries,
{attributes} AS attributes, spec, wait_for_parents, nullif(parents, '{}') AS parents,
nullif(children, '{}') AS children, nullif(process_graph_id, '') AS process_graph_id,
nullif(input, '{}') AS input, nullif(output, '{}') AS output, nullif(errors, '{}') AS errors,
attempt, leased_until, nullif(cancelled_by, '') AS cancelled_by,
nullif(cancel_reason, '') AS cancel_reason, cancel_time,
nullif(input_lengths, '{}') AS input_lengths, nullif(submitted_by, '') AS submitted_by

-- part: attributes
-- The attributes of the process as JSON, by their wire names. Most have none, and to find that out
-- costs a quarter of putting nothing together. Not EXISTS: the planner may read all of the table
-- for it.
CASE WHEN (SELECT true FROM attributes
           WHERE attributes.colony_id = processes.colony_id AND target_id = processes.process_id
           LIMIT 1) THEN
    (SELECT json_agg(json_build_object(
                'attributeid', attribute_id,
                'targetid', target_id,
                'targetcolonyid', attributes.colony_id,
                'targetprocessgraphid', attributes.process_graph_id,
                'attributetype', attribute_type,
                'key', key,
                'value', value) ORDER BY attribute_type DESC, key)
     FROM attributes
     WHERE attributes.colony_id = processes.colony_id AND target_id = processes.process_id)
END

-- part: specs
-- A row for each place in the arrays. All side by side in SELECT, as FROM keeps what comes of each
-- array by itself: that took half of what a statement costs whatever it does.
unnest(:places::integer[]) AS place, unnest(:colony_ids::text[]) AS colony_id,
unnest(:process_ids::text[]) AS process_id, unnest(:first_ids::text[]) AS first_id,
unnest(:specs::text[]) AS spec, unnest(:runtime_types::text[]) AS runtime_type,
unnest(:runtime_ids::text[]) AS runtime_ids, unnest(:cores::integer[]) AS cores,
unnest(:mem::integer[]) AS mem, unnest(:gpus::integer[]) AS gpus,
unnest(:priorities::integer[]) AS priority, unnest(:max_wait_times::integer[]) AS max_wait_time,
unnest(:max_exec_times::integer[]) AS max_exec_time, unnest(:max_retries::integer[]) AS max_retries,
unnest(:leases::integer[]) AS lease, unnest(:submitters::text[]) AS submitted_by,
unnest(:are_counted::boolean[]) AS is_counted, unnest(:requests::uuid[]) AS request,
unnest(:digests::uuid[]) AS digest

-- part: new
-- What one request asks for is known by the first of its processes; if it was asked before, all of
-- it is left out, and so found missing in the answer.
once AS (
    INSERT INTO requests (request, digest, time, process_id)
    SELECT request, digest, now(), process_id FROM asked
    WHERE request IS NOT NULL AND process_id = first_id
    ORDER BY request
    ON CONFLICT DO NOTHING
    RETURNING process_id
), new AS (
    SELECT asked.*, now() + place * interval '1 microsecond' AS time FROM asked
    WHERE request IS NULL OR first_id IN (SELECT process_id FROM once)
)

-- part: columns
colony_id, process_id, submission_time, wait_deadline, spec, runtime_type, runtime_ids,
cores, mem, gpus, priority, max_wait_time, max_exec_time, max_retries, lease,
submitted_by, is_counted

-- part: values
colony_id, process_id, time,
CASE WHEN max_wait_time > 0 THEN time + make_interval(secs => max_wait_time) END,
spec::json, runtime_type, {texts_of_runtime_ids},
cores, mem, gpus, priority, max_wait_time, max_exec_time, max_retries, lease,
submitted_by, is_counted

-- part: environment
-- For v1 clients, the environment as attributes of type 3, whose ids are those of core/attribute.py.
-- IS TRUE has what is new looked up in a hash.
environment AS (
    INSERT INTO attributes (colony_id, attribute_id, target_id, process_graph_id, attribute_type,
                            key, value)
    SELECT colony_id, attribute_id, process_id, '', 3, key, value
    FROM (SELECT unnest(:env_colony_ids::text[]) AS colony_id,
                 unnest(:env_process_ids::text[]) AS process_id,
                 unnest(:env_ids::text[]) AS attribute_id, unnest(:env_keys::text[]) AS key,
                 unnest(:env_values::text[]) AS value) AS variable
    WHERE (process_id IN (SELECT process_id FROM new)) IS TRUE
)

-- name: submit_processes
-- New processes, those first that came first. RETURNING cannot see their attributes yet, so they are
-- given by the caller.
WITH asked AS (SELECT {specs}), {new}, {environment}
INSERT INTO processes (state, {columns})
SELECT 0, {values} FROM new
RETURNING process_id, submission_time, wait_deadline;

-- name: submit_assigned_processes
-- New processes of which some have a taker, who waits for them. They are theirs from the beginning,
-- if they are approved and have what it takes, by what is true now, and if their own request has got
-- nothing before; whoever deletes such a runtime waits for the submit. All others have no token.
-- IS TRUE has what was found looked up in a hash: as joins, each would be looked for in all.
WITH asked AS (
    SELECT {specs}, unnest(:takers::text[]) AS taker, unnest(:are_leased::boolean[]) AS is_leased,
           unnest(:pushed_over::text[]) AS over, unnest(:assign_requests::uuid[]) AS assign_request,
           unnest(:assign_digests::uuid[]) AS assign_digest
), {new}, approved AS MATERIALIZED (
    SELECT new.process_id, new.assign_request
    FROM new JOIN runtimes ON runtimes.runtime_id = new.taker
    WHERE new.taker <> '' AND (runtimes.colony_id = new.colony_id) IS TRUE AND state = 1
      AND new.runtime_type IN ('', runtimes.runtime_type)
      AND new.cores <= greatest(runtimes.cores, 0) AND new.mem <= greatest(runtimes.mem, 0)
      AND new.gpus <= greatest(runtimes.gpus, 0)
    FOR KEY SHARE OF runtimes
), promised AS (
    INSERT INTO requests (request, digest, time, process_id, attempt)
    SELECT assign_request, assign_digest, now(), process_id, 1 FROM new
    WHERE assign_request IS NOT NULL AND (process_id IN (SELECT process_id FROM approved)) IS TRUE
    ORDER BY assign_request
    ON CONFLICT DO NOTHING
    RETURNING process_id
), taken AS MATERIALIZED (
    SELECT process_id FROM approved WHERE assign_request IS NULL
    UNION ALL SELECT process_id FROM promised
), {environment}
INSERT INTO processes (state, is_assigned, assigned_runtime_id, pushed_over, start_time,
                       attempt, attempt_token, exec_deadline, leased_until, {columns})
SELECT 1, true, taker, over, time, 1, {new_token},
       CASE WHEN max_exec_time > 0 THEN time + make_interval(secs => max_exec_time) END,
       CASE WHEN is_leased THEN time + make_interval(secs => lease) END, {values}
FROM new WHERE (process_id IN (SELECT process_id FROM taken)) IS TRUE
UNION ALL
SELECT 0, false, '', '', NULL, 0, '', NULL, NULL, {values}
FROM new WHERE process_id NOT IN (SELECT process_id FROM taken)
RETURNING process_id, submission_time, wait_deadline, attempt_token, exec_deadline, leased_until;

-- part: new_token
-- The token of an attempt: 60 random bits. To hash them cost as much as to draw them.
left(replace(gen_random_uuid()::text, '-', ''), 16)

-- part: texts_of_runtime_ids
-- A list of texts in JSON as an array; arrays of arrays must have sides of one length.
CASE runtime_ids WHEN '[]' THEN '{}' ELSE ARRAY(SELECT json_array_elements_text(runtime_ids::json))
END

-- part: claimer
-- Who claims, if approved; the claim goes by what is true of it now, and is waited for by whoever
-- deletes the runtime. What was asked and done before takes nothing, not even for a moment.
claimer AS MATERIALIZED (
    SELECT runtime_type, greatest(cores, 0) AS cores, greatest(mem, 0) AS mem,
           greatest(gpus, 0) AS gpus
    FROM runtimes
    WHERE colony_id = :colony_id AND runtime_id = :runtime_id AND state = 1
      AND NOT EXISTS (SELECT FROM requests WHERE request = :request)
    FOR KEY SHARE)

-- part: fits
cores <= (SELECT cores FROM claimer) AND mem <= (SELECT mem FROM claimer)
AND gpus <= (SELECT gpus FROM claimer)

-- part: addressed
-- For the claimer by its id, whatever its type.
colony_id = :colony_id AND runtime_type = '' AND state = 0 AND NOT wait_for_parents
AND :runtime_id = ANY (runtime_ids) AND {fits}

-- part: queued
-- In the queue of the claimer's type.
colony_id = :colony_id AND runtime_type = (SELECT runtime_type FROM claimer)
AND state = 0 AND NOT wait_for_parents
AND (runtime_ids = '{}' OR (runtime_type <> '' AND :runtime_id = ANY (runtime_ids))) AND {fits}

-- part: assigned
-- A new attempt.
state = 1, is_assigned = true, start_time = now(), attempt = attempt + 1,
attempt_token = {new_token},
exec_deadline = CASE WHEN max_exec_time > 0 THEN now() + make_interval(secs => max_exec_time) END

-- part: take
-- The colony is a column, as it is where many are given away.
chosen AS MATERIALIZED (
    SELECT :colony_id AS in_colony, id
    FROM unnest(ARRAY(SELECT process_id FROM first
                      UNION ALL SELECT process_id FROM second
                      UNION ALL SELECT process_id FROM third)) AS id
), done AS (
    UPDATE processes
    SET {assigned}, assigned_runtime_id = :runtime_id, pushed_over = :pushed_over,
        leased_until = CASE WHEN :is_leased::boolean THEN now() + make_interval(secs => lease) END
    FROM chosen
    WHERE colony_id = in_colony AND process_id = id
    RETURNING {process}, attempt_token
), {once_with_process}
SELECT * FROM done

-- name: claim_oldest_processes
-- Up to :count processes that this runtime may have, each for it alone, by priority and age. SKIP
-- LOCKED lets any number of claims run side by side. What is addressed to it stands in another part
-- of the index than its queue: how many of those come first is looked up without locks (only if
-- there are any), then each is taken in order; the third part makes good what others were quicker
-- to take from the second.
WITH {claimer}, before_queue AS MATERIALIZED (
    SELECT CASE WHEN EXISTS (SELECT FROM processes WHERE {addressed}) THEN (
        SELECT count(*) FILTER (WHERE is_addressed) FROM (
            SELECT * FROM (
                (SELECT true AS is_addressed, priority, submission_time FROM processes
                 WHERE {addressed} ORDER BY priority DESC, submission_time LIMIT :count::bigint)
                UNION ALL
                (SELECT false, priority, submission_time FROM processes
                 WHERE {queued} ORDER BY priority DESC, submission_time LIMIT :count::bigint)) AS candidates
            ORDER BY priority DESC, submission_time LIMIT :count::bigint) AS best)
    ELSE 0 END AS count
), first AS MATERIALIZED (
    SELECT process_id FROM processes WHERE {addressed}
    ORDER BY priority DESC, submission_time
    LIMIT (SELECT count FROM before_queue)
    FOR NO KEY UPDATE SKIP LOCKED
), second AS MATERIALIZED (
    SELECT process_id FROM processes WHERE {queued}
    ORDER BY priority DESC, submission_time
    LIMIT :count::bigint - (SELECT count(*) FROM first)
    FOR NO KEY UPDATE SKIP LOCKED
), third AS MATERIALIZED (
    SELECT process_id FROM processes
    WHERE {addressed} AND process_id <> ALL (ARRAY(SELECT process_id FROM first))
    ORDER BY priority DESC, submission_time
    LIMIT :count::bigint - (SELECT count(*) FROM first) - (SELECT count(*) FROM second)
    FOR NO KEY UPDATE SKIP LOCKED
), {take};

-- part: levels
-- The priorities in each `queue`, the highest first, as many as are asked for: what is newest in one
-- stands at the far end of its part of the index, which has the oldest first.
level (type, priority) AS (
    SELECT type, (SELECT priority FROM processes
                  WHERE colony_id = :colony_id AND runtime_type = type AND state = 0
                    AND NOT wait_for_parents
                  ORDER BY priority DESC LIMIT 1)
    FROM queue
    UNION ALL
    SELECT type, (SELECT processes.priority FROM processes
                  WHERE colony_id = :colony_id AND runtime_type = type AND state = 0
                    AND NOT wait_for_parents AND processes.priority < level.priority
                  ORDER BY processes.priority DESC LIMIT 1)
    FROM level WHERE priority IS NOT NULL
)

-- part: addressed_latest
-- Bounded, as the planner would sort all of them else; by twice as many, as the first may be left out.
level CROSS JOIN LATERAL (
    SELECT process_id, priority, submission_time FROM processes
    WHERE {addressed} AND processes.priority = level.priority
    ORDER BY submission_time DESC LIMIT :count::bigint * 2

-- part: queued_latest
level CROSS JOIN LATERAL (
    SELECT process_id, priority, submission_time FROM processes
    WHERE {queued} AND processes.priority = level.priority
    ORDER BY submission_time DESC LIMIT :count::bigint * 2

-- name: claim_latest_processes
-- As claim_oldest_processes, but the newest first within a priority.
WITH RECURSIVE {claimer}, queue AS (
    SELECT '' AS type UNION SELECT runtime_type FROM claimer
), {levels}, before_queue AS MATERIALIZED (
    SELECT CASE WHEN EXISTS (SELECT FROM processes WHERE {addressed}) THEN (
        SELECT count(*) FILTER (WHERE is_addressed) FROM (
            SELECT * FROM (
                (SELECT true AS is_addressed, one.priority, submission_time
                 FROM {addressed_latest}) AS one WHERE type = '' LIMIT :count::bigint)
                UNION ALL
                (SELECT false, one.priority, submission_time
                 FROM {queued_latest}) AS one WHERE type = (SELECT runtime_type FROM claimer)
                 LIMIT :count::bigint)) AS candidates
            ORDER BY priority DESC, submission_time DESC LIMIT :count::bigint) AS best)
    ELSE 0 END AS count
), first AS MATERIALIZED (
    SELECT process_id FROM {addressed_latest} FOR NO KEY UPDATE SKIP LOCKED) AS one
    WHERE type = '' LIMIT (SELECT count FROM before_queue)
), second AS MATERIALIZED (
    SELECT process_id FROM {queued_latest} FOR NO KEY UPDATE SKIP LOCKED) AS one
    WHERE type = (SELECT runtime_type FROM claimer)
    LIMIT :count::bigint - (SELECT count(*) FROM first)
), third AS MATERIALIZED (
    SELECT process_id FROM {addressed_latest} FOR NO KEY UPDATE SKIP LOCKED) AS one
    WHERE type = '' AND process_id <> ALL (ARRAY(SELECT process_id FROM first))
    LIMIT :count::bigint - (SELECT count(*) FROM first) - (SELECT count(*) FROM second)
), {take};

-- part: askers
-- Runtimes of one type and of equal figures, in the order in which they asked, with a seat for each
-- process that they can have; nobody gets a second one before all have had a first. Approved ones
-- only, by what is true now; whoever deletes one waits for the claim. What was asked and done before
-- takes nothing, and whoever something waits for by its id has to ask alone, to see both in order.
-- IS TRUE and IS NOT FALSE keep the planner from every index but that of a runtime's identity, and of
-- what is addressed.
approved AS MATERIALIZED (
    SELECT runtime_id,
           EXISTS (SELECT FROM processes
                   WHERE runtime_ids @> ARRAY[runtimes.runtime_id] AND runtime_ids <> '{}'
                     AND (state = 0) IS NOT FALSE
                     AND (colony_id = :colony_id) IS TRUE) AS is_addressed
    FROM (SELECT unnest(:askers::text[]) AS id) AS one
    JOIN runtimes ON runtimes.runtime_id = one.id
    WHERE (colony_id = :colony_id) IS TRUE AND state = 1
      AND runtime_type = :runtime_type AND greatest(cores, 0) = :cores
      AND greatest(mem, 0) = :mem AND greatest(gpus, 0) = :gpus
    FOR KEY SHARE OF runtimes
), asked AS (
    SELECT unnest(:places::integer[]) AS place,
           unnest(:runtime_ids::text[]) AS runtime_id, unnest(:counts::integer[]) AS count,
           unnest(:requests::uuid[]) AS request
), seated AS MATERIALIZED (
    SELECT place, generate_series(1, count) AS seat FROM asked
    WHERE (runtime_id IN (SELECT runtime_id FROM approved WHERE NOT is_addressed)) IS TRUE
      AND NOT EXISTS (SELECT FROM requests WHERE requests.request = asked.request)
    ORDER BY seat, place
)

-- part: for_anybody
-- In the queue of this type, for whichever runtime.
colony_id = :colony_id AND runtime_type = :runtime_type AND state = 0 AND NOT wait_for_parents
AND runtime_ids = '{}' AND cores <= :cores AND mem <= :mem AND gpus <= :gpus

-- part: give
-- What waits is given away seat by seat. Who has to ask alone is told by a row without a process.
-- The colony is a column: were it a constant, the planner might read all of it to find a few.
given AS MATERIALIZED (
    SELECT :colony_id AS in_colony, * FROM (
        SELECT unnest(ARRAY(SELECT process_id FROM waiting)) AS id,
               unnest(ARRAY(SELECT attempt FROM waiting)) AS attempts,
               unnest(ARRAY(SELECT place FROM seated)) AS place,
               unnest(ARRAY(SELECT seat FROM seated)) AS seat) AS given
    WHERE id IS NOT NULL
), once AS (
    INSERT INTO requests (request, digest, time, process_id, attempt)
    SELECT (:requests::uuid[])[place], (:digests::uuid[])[place], now(), id, attempts + 1
    FROM given WHERE seat = 1 AND (:requests::uuid[])[place] IS NOT NULL
), done AS (
    UPDATE processes
    SET {assigned}, assigned_runtime_id = (:runtime_ids::text[])[place],
        pushed_over = (:pushed_over::text[])[place],
        leased_until = CASE WHEN (:are_leased::boolean[])[place]
                            THEN now() + make_interval(secs => lease) END
    FROM given
    WHERE colony_id = in_colony AND process_id = id
    RETURNING place, {process}, attempt_token
)
SELECT * FROM done
UNION ALL
SELECT place, {nothing} FROM asked
WHERE (runtime_id IN (SELECT runtime_id FROM approved WHERE is_addressed)) IS TRUE

-- part: nothing
-- As many columns as there are of a process, and the token.
NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL

-- name: claim_oldest_of_queue
-- What waits for any runtime of a type, by priority and age, for many of them at once, from where a
-- claim ended lately (server/queue.py). A queue a statement, as SKIP LOCKED does not skip what the
-- statement itself has locked.
WITH {askers}, next AS MATERIALIZED (
    SELECT process_id, attempt FROM processes
    WHERE {for_anybody} AND priority = :priority AND submission_time >= :submission_time
    ORDER BY submission_time
    LIMIT (SELECT count(*) FROM seated)
    FOR NO KEY UPDATE SKIP LOCKED
), lower AS MATERIALIZED (
    SELECT process_id, attempt FROM processes WHERE {for_anybody} AND priority < :priority
    ORDER BY priority DESC, submission_time
    LIMIT (SELECT count(*) FROM seated) - (SELECT count(*) FROM next)
    FOR NO KEY UPDATE SKIP LOCKED
), waiting AS MATERIALIZED (
    SELECT * FROM next UNION ALL SELECT * FROM lower
), {give};

-- name: claim_latest_of_queue
-- As claim_oldest_of_queue, but the newest first within a priority.
WITH RECURSIVE {askers}, queue AS (SELECT :runtime_type AS type), {levels}, waiting AS MATERIALIZED (
    SELECT process_id, attempt FROM level CROSS JOIN LATERAL (
        SELECT process_id, attempt FROM processes
        WHERE {for_anybody} AND processes.priority = level.priority
        ORDER BY submission_time DESC LIMIT (SELECT count(*) FROM seated)
        FOR NO KEY UPDATE SKIP LOCKED) AS one
    LIMIT (SELECT count(*) FROM seated)
), {give};

-- name: get_process
-- A process by its id, in the colonies that the caller belongs to or owns.
SELECT {process} FROM processes
WHERE colony_id = ANY (ARRAY(SELECT colony_id FROM runtimes WHERE runtime_id = :caller
                             UNION ALL SELECT :caller))
  AND process_id = :process_id;

-- name: get_assigned_process
-- A process as it was assigned, for the runtime whose attempt is still running.
SELECT {process}, attempt_token FROM processes
WHERE colony_id = :colony_id AND process_id = :process_id AND assigned_runtime_id = :runtime_id
  AND attempt = :attempt AND (state = 1) IS TRUE;

-- name: get_standing
-- What a process is up against: the runtimes of its type, or those it is addressed to, by what keeps
-- each from taking it; who is ahead of it; the parents it waits for.
WITH it AS MATERIALIZED (
    SELECT * FROM processes WHERE colony_id = :colony_id AND process_id = :process_id
), occupied AS (
    SELECT DISTINCT assigned_runtime_id AS runtime_id
    FROM processes WHERE colony_id = :colony_id AND state = 1
), candidate AS (
    SELECT runtimes.state,
           it.runtime_ids <> '{}' AND runtimes.runtime_id <> ALL (it.runtime_ids) AS is_excluded,
           greatest(runtimes.cores, 0) < it.cores AS lacks_cores,
           greatest(runtimes.mem, 0) < it.mem AS lacks_mem,
           greatest(runtimes.gpus, 0) < it.gpus AS lacks_gpus,
           last_heard_from_time IS NULL
               OR last_heard_from_time < now() - interval '1 minute' AS is_silent,
           runtimes.runtime_id IN (SELECT runtime_id FROM occupied) AS is_busy
    FROM it JOIN runtimes ON runtimes.colony_id = it.colony_id
     AND CASE WHEN it.runtime_type = '' AND it.runtime_ids <> '{}'
              THEN runtimes.runtime_id = ANY (it.runtime_ids)
              ELSE runtimes.runtime_type = it.runtime_type END
), counted AS (
    SELECT *, state = 1 AND NOT (is_excluded OR lacks_cores OR lacks_mem OR lacks_gpus) AS fits
    FROM candidate
)
SELECT count(*) FILTER (WHERE state = 0) AS pending,
       count(*) FILTER (WHERE state = 2) AS rejected,
       count(*) FILTER (WHERE state = 1) AS approved,
       count(*) FILTER (WHERE state = 1 AND is_excluded) AS excluded,
       count(*) FILTER (WHERE state = 1 AND lacks_cores) AS with_too_few_cores,
       count(*) FILTER (WHERE state = 1 AND lacks_mem) AS with_too_little_memory,
       count(*) FILTER (WHERE state = 1 AND lacks_gpus) AS with_too_few_gpus,
       count(*) FILTER (WHERE fits) AS fit,
       count(*) FILTER (WHERE fits AND is_silent) AS silent,
       count(*) FILTER (WHERE fits AND is_busy AND NOT is_silent) AS busy,
       (SELECT count(*) FROM it CROSS JOIN LATERAL (
            SELECT FROM processes AS other
            WHERE other.colony_id = it.colony_id AND other.runtime_type = it.runtime_type
              AND other.state = 0 AND NOT other.wait_for_parents AND it.state = 0
              AND (-other.priority, other.submission_time) < (-it.priority, it.submission_time)
              AND (it.runtime_type <> '' OR other.runtime_ids && it.runtime_ids)
            ORDER BY other.priority DESC, other.submission_time
            LIMIT :most_ahead::bigint + 1) AS earlier) AS ahead,
       ARRAY(SELECT coalesce(nullif(parent.spec->>'name', ''), parent.process_id) FROM it
             JOIN processes AS parent ON parent.colony_id = it.colony_id
              AND parent.process_id = ANY (it.parents)
             WHERE parent.state <> 2 ORDER BY 1) AS unfinished_parents,
       (SELECT count(*) FROM processes WHERE colony_id = :colony_id AND state = 1) AS running,
       (SELECT greatest(extract(epoch FROM leased_until - now()), 0)::float FROM it) AS lease_left
FROM counted;

-- name: list_past_attempts
-- The attempts that are over, oldest first.
SELECT one.attempt, one.runtimeid AS runtime_id, one.starttime AS start_time,
       one.endtime AS end_time, one.ending, one.leaseduntil AS leased_until
FROM processes, jsonb_to_recordset(past)
     AS one (attempt integer, runtimeid text, starttime timestamptz, endtime timestamptz,
             ending text, leaseduntil timestamptz)
WHERE colony_id = :colony_id AND process_id = :process_id
ORDER BY one.attempt;

-- part: attempt
-- The attempt that is running, as its runtime knows it; v1 clients know no token. IS TRUE keeps the
-- planner from the partial index of running processes.
colony_id = ANY (:colony_ids) AND process_id = :process_id AND assigned_runtime_id = :runtime_id
AND (:attempt_token = '' OR attempt_token = :attempt_token) AND (state = 1) IS TRUE

-- name: close_processes
-- The ends of running processes, each by the runtime that has it. The WHERE is the check: the first
-- close wins. A failure is what stopping a cancelled process looks like to its runtime. Those of
-- workflows are left to a transaction with what follows from it.
WITH done AS (
    UPDATE processes
    SET state = CASE WHEN ending = 3 AND cancelled_by <> '' THEN 4 ELSE ending END,
        end_time = now(),
        output = CASE outputs WHEN '[]' THEN '{}'
                 ELSE ARRAY(SELECT json_array_elements_text(outputs::json)) END,
        errors = CASE reasons WHEN '[]' THEN '{}'
                 ELSE ARRAY(SELECT json_array_elements_text(reasons::json)) END
    FROM (SELECT unnest(:places::integer[]) AS place,
                 unnest(:colony_ids::text[]) AS in_colony, unnest(:process_ids::text[]) AS id,
                 unnest(:runtime_ids::text[]) AS by_runtime, unnest(:attempt_tokens::text[]) AS token,
                 unnest(:states::smallint[]) AS ending, unnest(:outputs::text[]) AS outputs,
                 unnest(:errors::text[]) AS reasons) AS asked
    WHERE colony_id = in_colony AND process_id = id AND assigned_runtime_id = by_runtime
      AND (token = '' OR attempt_token = token) AND (state = 1) IS TRUE
      AND (process_graph_id <> '') = :of_graphs
    RETURNING place, {process}
), once AS (
    INSERT INTO requests (request, digest, time)
    SELECT (:requests::uuid[])[place], (:digests::uuid[])[place], now()
    FROM done WHERE (:requests::uuid[])[place] IS NOT NULL
)
SELECT * FROM done;

-- part: requeued
-- Nobody's any more, and in the queue from now on.
state = 0, is_assigned = false, assigned_runtime_id = '', start_time = NULL,
exec_deadline = NULL, leased_until = NULL, attempt_token = '',
wait_deadline = CASE WHEN max_wait_time > 0
                     THEN now() + make_interval(secs => max_wait_time) END

-- part: earlier
-- The attempts that are over; of more than 100, the first and the last.
CASE WHEN jsonb_array_length(past) >= 100 THEN past - 1 ELSE past END

-- part: attempt_over
jsonb_build_object('attempt', attempt, 'runtimeid', assigned_runtime_id, 'starttime', start_time,
                   'endtime', now(), 'leaseduntil', leased_until)

-- name: release_process
-- Back to the queue unharmed. What was cancelled does not go back.
WITH done AS (
    UPDATE processes
    SET lost_by = '{}', {requeued},
    past = {earlier} || ('{"ending": "released"}' || {attempt_over})
    WHERE {attempt} AND cancelled_by = ''
    RETURNING {process}
), {once_done}
SELECT * FROM done;

-- name: release_processes_unheard
-- What was pushed over a subscription that came back, and its runtime has never heard of. Locked in
-- the order of renewals.
WITH due AS MATERIALIZED (
    SELECT colony_id, process_id FROM processes
    WHERE colony_id = :colony_id AND assigned_runtime_id = :runtime_id AND state = 1
      AND pushed_over = :pushed_over AND process_id <> ALL (:held) AND cancelled_by = ''
    ORDER BY process_id
    FOR UPDATE
)
UPDATE processes
SET lost_by = '{}', {requeued},
    past = {earlier} || ('{"ending": "released"}' || {attempt_over})
{of_due}
RETURNING {process};

-- part: cancellation
-- What the errors of a process say that was cancelled while nobody was there to say it better.
ARRAY['cancelled by ' || :cancelled_by || CASE WHEN :cancel_reason = '' THEN '' ELSE ': ' END
      || :cancel_reason]

-- name: cancel_process
-- What waits is cancelled; what runs shall be stopped: from now on neither its lease nor its time
-- counts, but how long its runtime takes to stop.
WITH done AS (
    UPDATE processes
    SET state = CASE WHEN state = 0 THEN 4 ELSE state END,
        end_time = CASE WHEN state = 0 THEN now() END,
        errors = CASE WHEN state = 0 THEN {cancellation} ELSE '{}' END,
        cancelled_by = :cancelled_by, cancel_reason = :cancel_reason, cancel_time = now(),
        exec_deadline = NULL, leased_until = NULL
    WHERE colony_id = :colony_id AND process_id = :process_id AND (state IN (0, 1)) IS TRUE
      AND cancelled_by = ''
    RETURNING {process}
), {once_done}
SELECT * FROM done;

-- part: of_due
-- What a statement has chosen and locked as `due`. A subquery after IN will not do: with few rows
-- the planner may run it once for every row, and each run locks others, over the limit and for
-- nothing. Of arrays it expects few, and so finds each by the primary key.
FROM unnest(ARRAY(SELECT colony_id FROM due), ARRAY(SELECT process_id FROM due))
     AS one (in_colony, id)
WHERE processes.colony_id = one.in_colony AND processes.process_id = one.id

-- part: of_graphs
-- Of none, which is the empty id, or of those that are locked: only then does anything of them end.
process_graph_id = ANY (:process_graph_ids::text[])

-- name: cancel_processes_not_stopped
-- Their runtimes have had the time that they have to stop.
WITH due AS MATERIALIZED (
    SELECT colony_id, process_id FROM processes
    WHERE state = 1 AND cancel_time < now() - make_interval(secs => :grace) AND {of_graphs}
    ORDER BY cancel_time LIMIT :count::bigint
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE processes
SET state = 4, end_time = now(),
    errors = ARRAY['cancelled by ' || cancelled_by
                   || CASE WHEN cancel_reason = '' THEN '' ELSE ': ' END || cancel_reason]
{of_due}
RETURNING {process};

-- name: get_attempt_token
-- Whose attempt is, or was, the last?
SELECT attempt_token FROM processes
WHERE colony_id = ANY (:colony_ids) AND process_id = :process_id;

-- name: renew_processes
-- The leases of attempts that are alive, from when their runtimes were heard from; gives those that
-- still are. An attempt without an end to its lease keeps it so. Locked in one order, so that renewals do not wait for each other in turn.
WITH alive AS (
    SELECT processes.colony_id, processes.process_id, held.age
    FROM unnest(:colony_ids::text[], :process_ids::text[], :runtime_ids::text[],
                :attempt_tokens::text[], :ages::float[])
         AS held (colony_id, process_id, runtime_id, attempt_token, age)
    JOIN processes USING (colony_id, process_id)
    WHERE processes.assigned_runtime_id = held.runtime_id
      AND processes.attempt_token = held.attempt_token AND (processes.state = 1) IS TRUE
    ORDER BY processes.colony_id, processes.process_id
    FOR NO KEY UPDATE OF processes
)
UPDATE processes
SET leased_until = CASE WHEN leased_until IS NOT NULL
                        THEN greatest(leased_until, now() + make_interval(secs => lease - age)) END
FROM alive
WHERE processes.colony_id = alive.colony_id AND processes.process_id = alive.process_id
RETURNING processes.process_id, processes.cancelled_by <> '';

-- name: fail_processes_not_started
-- Waited too long. In batches; SKIP LOCKED lets every hub run this at once.
WITH due AS MATERIALIZED (
    SELECT colony_id, process_id FROM processes
    WHERE state = 0 AND wait_deadline < now() AND {of_graphs}
    ORDER BY wait_deadline LIMIT :count::bigint
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE processes
SET state = 3, end_time = now(),
    errors = ARRAY['Maximum waiting time limit exceeded']
{of_due}
RETURNING {process};

-- name: return_processes_overrun
-- Ran too long, with retries left: back to the queue.
WITH due AS MATERIALIZED (
    SELECT colony_id, process_id FROM processes
    WHERE state = 1 AND exec_deadline < now() AND (max_retries < 0 OR retries < max_retries)
    ORDER BY exec_deadline LIMIT :count::bigint
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE processes
SET lost_by = '{}', retries = retries + 1,
    {requeued},
    past = {earlier} || ('{"ending": "execution time exceeded"}' || {attempt_over})
{of_due}
RETURNING {process};

-- name: fail_processes_overrun
-- Ran too long, with no retries left.
WITH due AS MATERIALIZED (
    SELECT colony_id, process_id FROM processes
    WHERE state = 1 AND exec_deadline < now() AND max_retries >= 0 AND retries >= max_retries
      AND {of_graphs}
    ORDER BY exec_deadline LIMIT :count::bigint
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE processes
SET state = 3, end_time = now(), errors = ARRAY['Maximum execution time limit exceeded']
{of_due}
RETURNING {process};

-- part: losers
-- Every runtime that has lost it in a row, once.
CASE WHEN assigned_runtime_id = ANY (lost_by) THEN lost_by
     ELSE lost_by || assigned_runtime_id END

-- part: is_poison
cardinality({losers}) >= 3

-- part: is_patient
-- While the hub was away nobody could renew: everybody has a whole lease's time to come back.
lease < :up_for::float

-- name: return_processes_lost
-- Nobody renewed the lease, and there are retries left: back to the queue.
WITH due AS MATERIALIZED (
    SELECT colony_id, process_id FROM processes
    WHERE state = 1 AND leased_until < now() AND {is_patient} AND (max_retries < 0 OR retries < max_retries)
      AND NOT {is_poison}
    ORDER BY leased_until LIMIT :count
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE processes
SET lost_by = {losers}, retries = retries + 1, {requeued},
    past = {earlier} || ('{"ending": "lease lost"}' || {attempt_over})
{of_due}
RETURNING {process};

-- name: fail_processes_lost
-- Nobody renewed the lease, and nobody shall try again: no retries are left, or it is poison.
WITH due AS MATERIALIZED (
    SELECT colony_id, process_id FROM processes
    WHERE state = 1 AND leased_until < now() AND {is_patient}
      AND ((max_retries >= 0 AND retries >= max_retries) OR {is_poison}) AND {of_graphs}
    ORDER BY leased_until LIMIT :count
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE processes
SET state = 3, end_time = now(),
    errors = CASE WHEN {is_poison} THEN ARRAY['poison'] ELSE '{}' END || ARRAY(
        SELECT format('Lease lost by runtime %s', runtime_id)
        FROM unnest({losers}) AS runtime_id)
{of_due}
RETURNING {process};

-- name: list_claimable
-- For each queue that somebody here is idle for, up to :count rows if something waits in it, and the
-- same for runtimes that something waits for by their ids: a wake-up that was lost is made good by
-- this. Of a queue it gives the type, of what is addressed the runtime; one question instead of two.
SELECT queue.colony_id, queue.runtime_type, '' AS runtime_id
FROM unnest(:colony_ids::text[], :runtime_types::text[]) AS queue (colony_id, runtime_type)
CROSS JOIN LATERAL (
    SELECT FROM processes
    WHERE processes.colony_id = queue.colony_id AND processes.runtime_type = queue.runtime_type
      AND processes.state = 0 AND NOT processes.wait_for_parents
    -- In the order of processes_claimable, to be read from it: 0.3 ms, else 46 with 200,000 ended.
    ORDER BY processes.priority DESC, processes.submission_time
    LIMIT :count) AS waiting
UNION ALL
SELECT DISTINCT colony_id, '', unnest(runtime_ids)
FROM (SELECT colony_id, runtime_ids FROM processes
      WHERE colony_id = ANY (:colony_ids) AND runtime_type = '' AND runtime_ids <> '{}'
        AND runtime_ids && :runtime_ids AND state = 0 AND NOT wait_for_parents
      LIMIT :count) AS addressed;

-- name: lock_running
-- Let nobody else who takes this lock claim in a colony until the transaction is over.
SELECT pg_advisory_xact_lock(732048157, hashtext(:colony_id));

-- name: list_running_counts
-- What each runtime of a colony runs.
SELECT assigned_runtime_id, count(*) FROM processes
WHERE colony_id = :colony_id AND state = 1 GROUP BY assigned_runtime_id;

-- name: get_waiting_count
-- Up to :most.
SELECT count(*) FROM (
    SELECT FROM processes WHERE colony_id = :colony_id AND (state = 0) IS TRUE LIMIT :most::bigint
) AS waiting;

-- name: get_identity_waiting_count
-- Up to :most of those that were submitted while somebody counted them.
SELECT count(*) FROM (
    SELECT FROM processes
    WHERE colony_id = :colony_id AND submitted_by = :submitted_by AND state = 0 AND is_counted
    LIMIT :most::bigint
) AS waiting;

-- name: list_waiting_processes
SELECT {process} FROM processes
WHERE colony_id = :colony_id AND (state = 0) IS TRUE
  AND submission_time >= :from_time::timestamptz
ORDER BY submission_time OFFSET :skip LIMIT :count;

-- name: list_running_processes
SELECT {process} FROM processes
WHERE colony_id = :colony_id AND state = 1
  AND start_time >= :from_time::timestamptz
ORDER BY start_time OFFSET :skip LIMIT :count;

-- name: list_successful_processes
SELECT {process} FROM processes
WHERE colony_id = :colony_id AND state = 2
  AND end_time <= :from_time::timestamptz
ORDER BY end_time DESC OFFSET :skip LIMIT :count;

-- name: list_failed_processes
SELECT {process} FROM processes
WHERE colony_id = :colony_id AND state = 3
  AND end_time <= :from_time::timestamptz
ORDER BY end_time DESC OFFSET :skip LIMIT :count;

-- name: list_cancelled_processes
SELECT {process} FROM processes
WHERE colony_id = :colony_id AND state = 4
  AND end_time <= :from_time::timestamptz
ORDER BY end_time DESC OFFSET :skip LIMIT :count;

-- name: list_processes_beginning
-- In any state, those whose ids begin so; no character of an id is as great as a g.
SELECT {process} FROM processes
WHERE colony_id = :colony_id AND process_id >= :beginning AND process_id < :beginning || 'g'
ORDER BY process_id LIMIT :count;

-- name: list_process_history
-- Submitted in the last :seconds, oldest first; of one runtime unless :runtime_id is empty.
SELECT {process} FROM processes
WHERE colony_id = :colony_id AND state = :state::integer
  AND submission_time > now() - make_interval(secs => :seconds::integer)
  AND (:runtime_id = '' OR assigned_runtime_id = :runtime_id)
ORDER BY submission_time LIMIT :count;

-- name: lock_process
-- For whoever is about to delete it: what is being said of it is committed first, and then nothing
-- more is; so the deletion, a statement of its own, sees all of it.
SELECT FROM processes WHERE colony_id = :colony_id AND process_id = :process_id FOR UPDATE;

-- name: lock_processes_of_colony
-- The same for all of a colony, in the order of renew_processes, so that neither waits for what the
-- other has while that waits for it.
WITH locked AS MATERIALIZED (
    SELECT FROM processes WHERE colony_id = :colony_id ORDER BY process_id FOR UPDATE
)
SELECT count(*) FROM locked;

-- name: delete_process
WITH {once},
     gone AS (DELETE FROM attributes WHERE colony_id = :colony_id AND target_id = :process_id),
     gone_log AS (DELETE FROM logs WHERE colony_id = :colony_id AND process_id = :process_id),
     gone_entries AS (DELETE FROM log_entries
                      WHERE colony_id = :colony_id AND process_id = :process_id)
DELETE FROM processes WHERE colony_id = :colony_id AND process_id = :process_id;

-- name: delete_all_processes
-- Gives those that were running, so that their runtimes can be told.
WITH {once},
     gone_attributes AS (DELETE FROM attributes WHERE colony_id = :colony_id),
     {gone_logs_of_colony},
     gone_graphs AS (DELETE FROM process_graphs WHERE colony_id = :colony_id),
     gone_processes AS (DELETE FROM processes WHERE colony_id = :colony_id
                        RETURNING process_id, state)
SELECT process_id FROM gone_processes WHERE state = 1;

-- name: list_processes
-- Processes by their keys.
SELECT {process}
FROM unnest(:colony_ids::text[], :process_ids::text[]) AS one (in_colony, id)
JOIN processes ON processes.colony_id = one.in_colony AND processes.process_id = one.id;

-- name: list_progress
-- How far processes have come: as list_processes, but no more than it takes to see what is news.
SELECT process_id, state, attempt, cancelled_by <> ''
FROM unnest(:colony_ids::text[], :process_ids::text[]) AS one (in_colony, id)
JOIN processes ON processes.colony_id = one.in_colony AND processes.process_id = one.id;

-- name: list_living_attempts
-- Which of these attempts are still being made, and whether they shall stop.
SELECT process_id, cancelled_by <> ''
FROM unnest(:colony_ids::text[], :process_ids::text[], :runtime_ids::text[],
            :attempt_tokens::text[]) AS held (in_colony, id, runtime_id, token)
JOIN processes ON processes.colony_id = held.in_colony AND processes.process_id = held.id
WHERE assigned_runtime_id = held.runtime_id AND attempt_token = held.token
  AND (state = 1) IS TRUE;
