-- claim_latest_processes read a whole priority to find its newest row.

CREATE INDEX processes_claimable_latest
    ON processes (colony_id, runtime_type, priority DESC, submission_time DESC)
    WHERE state = 0 AND NOT wait_for_parents;
