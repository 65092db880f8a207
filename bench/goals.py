"""What is to be reached, on two cores with the clients on them: ratios within one run."""

from __future__ import annotations

from bench.report import Figures, Goal


def _best(figures: Figures, prefix: str) -> float:
    """Give the largest of what begins so; raise KeyError if there is none."""
    found = [value for name, value in figures.items() if name.startswith(prefix)]
    if not found:
        raise KeyError(prefix)
    return max(found)


def _floor(figures: Figures) -> float:
    """Give the time of a durable commit and two signature checks, in milliseconds."""
    return figures["ceilings/commit"] + 2 * 1000 / figures["ceilings/recover"]


def _worst_hubs(figures: Figures) -> float:
    """Give what a cycle costs PostgreSQL with the most expensive number of hubs, to one hub."""
    costs = [figures[f"hubs/{hubs}/postgres"] for hubs in (1, 2, 4)]
    return max(costs) / costs[0]


GOALS = (
    Goal(
        "cycles at 50 clients, to naive but tuned",
        lambda found: found["cycles/50/rate"] / found["cycles/naive/50/rate"],
        1.8,
        is_least=True,
    ),
    Goal(
        "cycles at 50 clients, to procrastinate",
        lambda found: found["peers/colonies"] / found["peers/procrastinate"],
        9,
        is_least=True,
    ),
    Goal(
        "cycles at 50 clients, to PgQueuer one by one",
        lambda found: found["peers/colonies"] / found["peers/pgqueuer"],
        2,
        is_least=True,
    ),
    Goal(
        "cycles at 50 clients, to Celery with Redis",
        lambda found: found["peers/colonies"] / found["peers/celery"],
        3,
        is_least=True,
    ),
    Goal(
        "cycles at 50 clients with 100,000 waiting, to few",
        lambda found: found["cycles/waiting/rate"] / found["cycles/50/rate"],
        0.9,
        is_least=True,
    ),
    Goal(
        "calls answered, to what a core recovers",
        lambda found: _best(found, "calls/answered/") / found["calls/recover"],
        0.5,
        is_least=True,
    ),
    Goal("whole lives in bulk", lambda found: found["bulk/rate"], 8000, "/s", is_least=True),
    Goal(
        "whole lives in bulk, to PgQueuer's batches",
        lambda found: found["peers/colonies_batch"] / found["peers/pgqueuer_batch"],
        1,
        is_least=True,
    ),
    Goal(
        "a claim with 1,000,000 waiting, to 1,000",
        lambda found: found["backlog/1000000"] / found["backlog/1000"],
        1.5,
    ),
    Goal(
        "moved beside an old snapshot, to without",
        lambda found: found["snapshot/few"],
        0.5,
        is_least=True,
    ),
    Goal(
        "submit to pushed, idle, p50, to a commit and two signature checks",
        lambda found: found["latency/idle/p50"] / _floor(found),
        2.5,
    ),
    Goal("the same, p99", lambda found: found["latency/idle/p99"], 6, "ms"),
    Goal("the same at half load, p99", lambda found: found["latency/half/p99"], 15, "ms"),
    Goal(
        "PostgreSQL's processor time a cycle at full load",
        lambda found: min(found["cycles/50/postgres"], found["cycles/500/postgres"]),
        120,
        "µs",
    ),
    Goal("the same with 2 and 4 hubs, to 1", _worst_hubs, 1.2),
    Goal(
        "memory of one of 10,000 idle runtimes",
        lambda found: found["idle/10000/bytes"] / 1000,
        28,
        "kB",
    ),
    Goal(
        "processor of a hub with 10,000 idle runtimes",
        lambda found: 100 * found["idle/10000/hub"],
        10,
        "%",
    ),
    Goal("its statements", lambda found: found["idle/10000/statements"], 2, "/s"),
    Goal("waking one of them, p99", lambda found: found["idle/10000/p99"], 50, "ms"),
    Goal(
        "a hub's growth from 100,000 to 1,000,000 processes",
        lambda found: found["growth/last"] - found["growth/first"],
        20,
        "MiB",
    ),
    Goal(
        "submit of a workflow of 10,000 processes",
        lambda found: found["workflow/submit"] / 1000,
        2,
        "s",
    ),
    Goal(
        "its thousandth completion, to its first",
        lambda found: found["workflow/completion"],
        1.2,
    ),
    Goal(
        "p99 of the others beside a silent reader, to one that reads",
        lambda found: found["slow/silent/p99"] / found["slow/reads/p99"],
        1.2,
    ),
    Goal(
        "submit to pushed beside another colony's flood, p99",
        lambda found: found["fairness/20/p99"],
        200,
        "ms",
    ),
)
