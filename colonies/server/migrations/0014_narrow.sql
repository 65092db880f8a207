-- A request is known by a key of sixteen bytes instead of by two texts, and found by age without an
-- index. What is remembered is taken along: the key is what the hub makes of the same texts. And the
-- newest of a queue are found by the same index as the oldest.

CREATE TABLE kept_requests AS
SELECT encode(substr(sha256(convert_to(caller || ':' || request, 'UTF8')), 1, 16), 'hex')::uuid
           AS request,
       digest::uuid, time, process_id, attempt
FROM requests;

DROP TABLE requests;

CREATE TABLE requests (
    request    uuid NOT NULL,
    digest     uuid NOT NULL,
    time       timestamptz NOT NULL,
    process_id text NOT NULL DEFAULT '',
    attempt    integer NOT NULL DEFAULT 0,
    CONSTRAINT requests_pkey PRIMARY KEY (request)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

INSERT INTO requests SELECT * FROM kept_requests;

DROP TABLE kept_requests;

DROP INDEX processes_claimable_latest;
