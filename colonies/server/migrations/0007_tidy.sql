-- Old requests are found by an index that stays as good as it was, what was deleted in bulk is
-- vacuumed before it is a fifth of its table, and no claim goes by what else waits in a colony.

DROP INDEX requests_by_time;
CREATE INDEX requests_by_time ON requests (time);

ALTER TABLE requests SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE attributes SET (autovacuum_vacuum_scale_factor = 0.05);

DROP INDEX processes_waiting;
CREATE INDEX processes_waiting ON processes (colony_id, submission_time) WHERE (state = 0) IS TRUE;
