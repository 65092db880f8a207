-- name: get_seconds_to_deadline
-- How long nothing is due, up to :within seconds; 0 or less if something is; and what time it is.
-- Bounded, so that no look walks over more of an index than those that act on what is due.
SELECT coalesce(extract(epoch FROM least(
    (SELECT min(wait_deadline) FROM processes
     WHERE state = 0 AND wait_deadline < now() + make_interval(secs => :within)),
    (SELECT min(exec_deadline) FROM processes
     WHERE state = 1 AND exec_deadline < now() + make_interval(secs => :within)),
    (SELECT min(leased_until) FROM processes
     WHERE state = 1 AND leased_until < now() + make_interval(secs => :within)),
    (SELECT min(cancel_time) + make_interval(secs => :grace) FROM processes
     WHERE state = 1 AND cancel_time < now() + make_interval(secs => :within::float - :grace::float))
) - now())::float8, :within::float),
       extract(epoch FROM clock_timestamp())::float8;

-- name: get_seconds_to_recurring
-- How long no cron and no generator comes, up to :within seconds; 0 or less if one has come.
SELECT coalesce(extract(epoch FROM (
           SELECT min(next_run) FROM crons
           WHERE next_run < now() + make_interval(secs => :within)) - now())::float8, :within::float),
       coalesce(extract(epoch FROM (
           SELECT min(due) FROM generators
           WHERE due < now() + make_interval(secs => :within)) - now())::float8, :within::float);
