-- Old requests are found by an index that stays as good as it was, and what was deleted in bulk is
-- vacuumed before it is a fifth of its table.

DROP INDEX requests_by_time;
CREATE INDEX requests_by_time ON requests (time);

ALTER TABLE requests SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE attributes SET (autovacuum_vacuum_scale_factor = 0.05);
