-- name: delete_ended_processes
-- Up to :count of those that ended longest ago in one state, with their attributes and logs; gives how many.
-- By processes_ended, read from its old end in one colony after the other: what is locked is
-- deleted, and nothing else is read but what is of workflows: that goes with them. SKIP LOCKED lets every hub run this at once.
WITH due AS MATERIALIZED (
    SELECT ended.colony_id, ended.process_id
    FROM colonies CROSS JOIN LATERAL (
        SELECT processes.colony_id, processes.process_id FROM processes
        WHERE processes.colony_id = colonies.colony_id
          -- Both: what the partial index holds must be seen before :state is known.
          AND processes.state >= 2 AND processes.state = :state::integer
          AND processes.end_time < now() - make_interval(secs => :age::float)
          AND processes.process_graph_id = ''
        ORDER BY processes.end_time LIMIT :count::bigint
        FOR UPDATE SKIP LOCKED) AS ended
    LIMIT :count::bigint
), chosen AS MATERIALIZED (
    -- Of arrays the planner expects few, and so finds each by the primary key.
    SELECT * FROM unnest(ARRAY(SELECT colony_id FROM due), ARRAY(SELECT process_id FROM due))
         AS one (in_colony, id)
), gone_attributes AS (
    DELETE FROM attributes USING chosen WHERE colony_id = in_colony AND target_id = id
), gone_logs AS (
    DELETE FROM logs USING chosen WHERE colony_id = in_colony AND process_id = id
), gone_entries AS (
    DELETE FROM log_entries USING chosen WHERE colony_id = in_colony AND process_id = id
), gone AS (
    DELETE FROM processes USING chosen WHERE colony_id = in_colony AND process_id = id
    RETURNING id
)
SELECT count(*) FROM gone;

-- name: delete_ended_graphs
-- Of the graphs that ended longest ago in one state, so many that they have :count processes, or
-- all; with these, their attributes and logs. Gives how many processes.
WITH due AS MATERIALIZED (
    SELECT ended.process_graph_id, ended.members
    FROM colonies CROSS JOIN LATERAL (
        SELECT process_graph_id, members FROM process_graphs
        WHERE process_graphs.colony_id = colonies.colony_id
          AND process_graphs.state >= 2 AND process_graphs.state = :state::integer
          AND end_time < now() - make_interval(secs => :age::float)
        ORDER BY end_time LIMIT :count::bigint
        FOR UPDATE SKIP LOCKED) AS ended
    LIMIT :count::bigint
), oldest AS MATERIALIZED (
    SELECT process_graph_id
    FROM (SELECT *, sum(members) OVER (ROWS UNBOUNDED PRECEDING) - members AS before FROM due)
         AS summed
    WHERE before < :count::bigint
), chosen AS MATERIALIZED (
    SELECT processes.colony_id, process_id
    FROM unnest(ARRAY(SELECT process_graph_id FROM oldest)) AS graph_id
    JOIN processes ON processes.process_graph_id = graph_id AND processes.process_graph_id <> ''
), {gone_with_processes}, gone_graphs AS (
    DELETE FROM process_graphs USING unnest(ARRAY(SELECT process_graph_id FROM oldest)) AS graph_id
    WHERE process_graph_id = graph_id
)
SELECT count(*) FROM gone;

-- name: delete_old_log_entries
-- Up to :count of those said longest ago; what has run for longer goes on with what is left.
-- SKIP LOCKED lets every hub run this at once.
WITH due AS MATERIALIZED (
    SELECT colony_id, process_id, position FROM log_entries
    WHERE time < now() - make_interval(secs => :age::float)
    ORDER BY time LIMIT :count::bigint
    FOR UPDATE SKIP LOCKED
), chosen AS MATERIALIZED (
    SELECT * FROM unnest(ARRAY(SELECT colony_id FROM due), ARRAY(SELECT process_id FROM due),
                         ARRAY(SELECT position FROM due)) AS one (in_colony, id, place)
), gone AS (
    DELETE FROM log_entries USING chosen
    WHERE colony_id = in_colony AND process_id = id AND position = place
    RETURNING id
)
SELECT count(*) FROM gone;
