-- part: attribute
attribute_id, target_id, colony_id AS target_colony_id,
process_graph_id AS target_process_graph_id, attribute_type, key, value

-- name: add_attribute
-- Only while the caller runs the process: the SELECT is the check.
WITH done AS (
    INSERT INTO attributes (colony_id, attribute_id, target_id, process_graph_id, attribute_type,
                            key, value)
    SELECT colony_id, :attribute_id, process_id, process_graph_id, :attribute_type, :key, :value
    FROM processes
    WHERE {attempt}
    FOR SHARE
    RETURNING {attribute}
), {once_done}
SELECT * FROM done;

-- name: get_attribute
-- An attribute by its id, in the colonies that the caller belongs to or owns.
SELECT {attribute} FROM attributes
WHERE attribute_id = :attribute_id
  AND colony_id = ANY (ARRAY(SELECT colony_id FROM runtimes WHERE runtime_id = :caller
                             UNION ALL SELECT :caller))
LIMIT 1;
