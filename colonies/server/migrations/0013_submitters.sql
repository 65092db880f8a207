-- Who submitted what. Of what is there nobody knows any more; a cron or a generator that is there is
-- somebody of its own, as it has been for the limits.

ALTER TABLE processes
    ADD COLUMN submitted_by text NOT NULL DEFAULT '',
    ADD COLUMN is_counted boolean NOT NULL DEFAULT false;

CREATE INDEX processes_of_identity ON processes (colony_id, submitted_by)
    WHERE state = 0 AND is_counted;

ALTER TABLE crons ADD COLUMN added_by text NOT NULL DEFAULT '';
UPDATE crons SET added_by = cron_id;

ALTER TABLE generators ADD COLUMN added_by text NOT NULL DEFAULT '';
UPDATE generators SET added_by = generator_id;
