-- name: delete_ended_processes
-- Up to :count of those that ended longest ago in one state, with their attributes; gives how many.
-- By processes_ended, read from its old end in one colony after the other: what is locked is
-- deleted, and nothing else is read. SKIP LOCKED lets every hub run this at once.
WITH due AS MATERIALIZED (
    SELECT ended.colony_id, ended.process_id
    FROM colonies CROSS JOIN LATERAL (
        SELECT processes.colony_id, processes.process_id FROM processes
        WHERE processes.colony_id = colonies.colony_id
          -- Both: what the partial index holds must be seen before :state is known.
          AND processes.state >= 2 AND processes.state = :state::integer
          AND processes.end_time < now() - make_interval(secs => :age::float)
        ORDER BY processes.end_time LIMIT :count::bigint
        FOR UPDATE SKIP LOCKED) AS ended
    LIMIT :count::bigint
), chosen AS MATERIALIZED (
    -- Of arrays the planner expects few, and so finds each by the primary key.
    SELECT * FROM unnest(ARRAY(SELECT colony_id FROM due), ARRAY(SELECT process_id FROM due))
         AS one (in_colony, id)
), gone_attributes AS (
    DELETE FROM attributes USING chosen WHERE colony_id = in_colony AND target_id = id
), gone AS (
    DELETE FROM processes USING chosen WHERE colony_id = in_colony AND process_id = id
    RETURNING id
)
SELECT count(*) FROM gone;
