-- Requests are remembered, so that a repeated one has no second effect; processes can be cancelled;
-- attempts that are over are kept.

ALTER TABLE processes
    ADD COLUMN pushed_over   text NOT NULL DEFAULT '',
    ADD COLUMN past          jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN cancelled_by  text NOT NULL DEFAULT '',
    ADD COLUMN cancel_reason text NOT NULL DEFAULT '',
    ADD COLUMN cancel_time   timestamptz,
    DROP CONSTRAINT processes_state_check,
    ADD CONSTRAINT processes_state_check CHECK (state IN (0, 1, 2, 3, 4));

CREATE INDEX processes_cancelling ON processes (cancel_time)
    WHERE state = 1 AND cancel_time IS NOT NULL;

CREATE TABLE requests (
    caller     text NOT NULL,
    request    text NOT NULL,
    digest     text NOT NULL,
    time       timestamptz NOT NULL,
    process_id text NOT NULL DEFAULT '',
    attempt    integer NOT NULL DEFAULT 0,
    CONSTRAINT requests_pkey PRIMARY KEY (caller, request)
);

CREATE INDEX requests_by_time ON requests USING brin (time);
