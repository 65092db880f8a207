-- Claims are made for many runtimes at once, but not for those that something waits for by their id.

CREATE INDEX processes_addressed ON processes USING gin (runtime_ids) WITH (fastupdate = off)
    WHERE (state = 0) IS TRUE AND runtime_ids <> '{}';

-- A subquery can be planned with its statement, and costs a fifth.
DROP FUNCTION attributes_of (text, text);
