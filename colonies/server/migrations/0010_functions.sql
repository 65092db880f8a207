-- Runtimes announce what they can run.

CREATE TABLE functions (
    colony_id   text NOT NULL,
    runtime_id  text NOT NULL,
    name        text NOT NULL,
    description text NOT NULL,
    args        jsonb NOT NULL,
    CONSTRAINT functions_pkey PRIMARY KEY (colony_id, runtime_id, name)
);
