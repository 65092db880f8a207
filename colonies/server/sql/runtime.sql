-- part: runtime
colony_id, runtime_id, runtime_type, name, cpu, cores, mem, gpu, gpus, state, commission_time,
last_heard_from_time, location, labels

-- name: add_runtime
-- A new runtime, not yet let in. Its name is free to other colonies.
WITH {once}
INSERT INTO runtimes (colony_id, runtime_id, runtime_type, name, cpu, cores, mem, gpu, gpus, state,
                      commission_time, last_heard_from_time, location)
VALUES (:colony_id, :runtime_id, :runtime_type, :name, :cpu, :cores, :mem, :gpu, :gpus, 0,
        now(), :last_heard_from_time, :location::json)
RETURNING {runtime};

-- name: list_memberships
-- Which runtimes, of any colony, are these callers?
SELECT {runtime} FROM runtimes WHERE runtime_id = ANY (:callers) ORDER BY colony_id;

-- name: get_runtime
-- A runtime by its id, in the colonies that the caller belongs to or owns.
SELECT {runtime} FROM runtimes
WHERE runtime_id = :runtime_id
  AND colony_id = ANY (ARRAY(SELECT colony_id FROM runtimes WHERE runtime_id = :caller
                             UNION ALL SELECT :caller))
ORDER BY colony_id = :caller DESC
LIMIT 1;

-- name: list_runtimes
SELECT {runtime} FROM runtimes WHERE colony_id = :colony_id ORDER BY commission_time, name;

-- name: set_runtime_state
WITH {once}
UPDATE runtimes SET state = :state
WHERE colony_id = :colony_id AND runtime_id = :runtime_id
RETURNING {runtime};

-- name: set_runtime_labels
WITH {once}
UPDATE runtimes SET labels = :labels::jsonb
WHERE colony_id = :colony_id AND runtime_id = :runtime_id;

-- name: set_runtime_figures
WITH {once}
UPDATE runtimes SET cores = :cores, mem = :mem, gpus = :gpus, cpu = :cpu, gpu = :gpu
WHERE colony_id = :colony_id AND runtime_id = :runtime_id
RETURNING {runtime};

-- name: list_other_figures
-- Which of these runtimes have other figures by now than whoever asks believes?
SELECT {runtime}
FROM unnest(:colony_ids::text[], :runtime_ids::text[], :cores::integer[], :mem::integer[],
            :gpus::integer[]) AS one (of_colony, id, known_cores, known_mem, known_gpus)
JOIN runtimes ON runtimes.colony_id = one.of_colony AND runtimes.runtime_id = one.id
WHERE (greatest(cores, 0), greatest(mem, 0), greatest(gpus, 0))
      <> (known_cores, known_mem, known_gpus);

-- name: delete_runtime
-- Waits for the claims under way, which lock the row, and keeps further ones out. What it announces
-- at this very moment may be left, where nobody sees it: functions are read with their runtimes.
WITH {once},
     gone_functions AS (
         DELETE FROM functions WHERE colony_id = :colony_id AND runtime_id = :runtime_id
     )
DELETE FROM runtimes WHERE colony_id = :colony_id AND runtime_id = :runtime_id;

-- name: lock_processes_of_runtime
-- What a runtime runs that is about to be deleted, in the order of renew_processes.
SELECT FROM processes WHERE colony_id = :colony_id AND assigned_runtime_id = :runtime_id AND state = 1
ORDER BY process_id
FOR UPDATE;

-- name: return_processes_of_runtime
-- What a runtime that is gone was running returns to the queue. A statement of its own, after the
-- deletion: only then does it see the claims that the deletion waited for.
UPDATE processes
SET lost_by = '{}', {requeued},
    past = {earlier} || ('{"ending": "runtime deleted"}' || {attempt_over})
WHERE colony_id = :colony_id AND assigned_runtime_id = :runtime_id AND state = 1
  AND cancelled_by = ''
RETURNING {process};

-- name: cancel_processes_of_runtime
-- What it was told to stop is stopped now.
UPDATE processes
SET state = 4, end_time = now(), errors = ARRAY['cancelled, and the runtime deleted']
WHERE colony_id = :colony_id AND assigned_runtime_id = :runtime_id AND state = 1
RETURNING {process};

-- name: touch_runtimes
-- Who was heard from since the last pass; one statement for all of them.
UPDATE runtimes SET last_heard_from_time = now()
FROM unnest(:colony_ids::text[], :runtime_ids::text[]) AS heard (colony_id, runtime_id)
WHERE runtimes.colony_id = heard.colony_id AND runtimes.runtime_id = heard.runtime_id;

-- name: list_strangers
-- Who of these has no business in the colony any more: neither approved nor its owner.
SELECT one.in_colony, one.id
FROM unnest(:colony_ids::text[], :identities::text[]) AS one (in_colony, id)
WHERE NOT EXISTS (SELECT FROM runtimes
                  WHERE colony_id = one.in_colony AND runtime_id = one.id AND state = 1)
  AND NOT EXISTS (SELECT FROM colonies
                  WHERE colony_id = one.in_colony AND colony_id = one.id);
