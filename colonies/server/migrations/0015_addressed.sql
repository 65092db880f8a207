-- What is addressed is found by an index of its own whatever the statistics say: the condition of the
-- old one was also that of processes_waiting, which was read from end to end for each claim when
-- nothing waited as the statistics were made.

DROP INDEX processes_addressed;
CREATE INDEX processes_addressed ON processes USING gin (runtime_ids) WITH (fastupdate = off)
    WHERE (state = 0) IS NOT FALSE AND runtime_ids <> '{}';
