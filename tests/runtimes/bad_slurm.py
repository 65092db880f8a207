"""The commands of Slurm as a bad day would have them: they lie, hang and lose replies.

Called as sbatch, squeue, sacct or scancel. Unrealistic: jobs only pretend to run, for a second or
so each, and when they are looked at; answers have the form of 24.05, with lists and objects. What
it does not do is to take a job long after sbatch has failed.
"""

import json
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.runtimes.luck import FOLDER, chance, hang, note, write

QUEUED, RUN = 0.5, 1.0
"""Seconds that a job waits and runs."""

ENDINGS = ["COMPLETED"] * 5 + ["FAILED", "TIMEOUT", "OUT_OF_MEMORY", "EVICTED", "FORGOTTEN"]
"""What becomes of jobs. The last two leave the queue; of these, sacct knows only the first."""


def main() -> None:
    (FOLDER / "jobs").mkdir(exist_ok=True)
    command = Path(sys.argv[0]).name
    if command in ("squeue", "sacct") and "--version" not in sys.argv:
        note("calls")
    {"sbatch": sbatch, "squeue": squeue, "sacct": sacct, "scancel": scancel}[command]()


def ending_of(name: str) -> str:
    return ENDINGS[int(chance("ending", name) * len(ENDINGS))]


def sbatch() -> None:
    name = next(word.partition("=")[2] for word in sys.argv if word.startswith("--job-name="))
    luck = chance("sbatch", name, time.time())
    if luck < 0.03:
        sys.exit(
            "sbatch: error: Batch job submission failed: Slurm temporarily unable to accept job"
        )
    if luck < 0.08:
        sys.exit("sbatch: error: Batch job submission failed: Unable to contact slurm controller")
    job_id = take(name, next(word[8:] for word in sys.argv if word.startswith("--chdir=")))
    if luck < 0.15:
        sys.exit(
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
        )
    if luck < 0.17:
        hang()
    write("Welcome to our cluster!" if luck < 0.20 else f"{job_id};bad")


def take(name: str, folder: str) -> int:
    job_id = 1 + len(list((FOLDER / "jobs").iterdir()))
    while True:
        try:
            (FOLDER / "jobs" / str(job_id)).symlink_to(f"{name}@{time.time()}@{folder}")
        except FileExistsError:
            job_id += 1
        else:
            return job_id


def jobs(*, is_honest: bool = False) -> list[tuple[int, str, str]]:
    """Give id, name and state of every job there is."""
    found = []
    for path in (FOLDER / "jobs").iterdir():
        name, begun, folder = str(path.readlink()).split("@", 2)
        age = time.time() - float(begun)
        if age > QUEUED:
            with suppress(OSError):
                (Path(folder) / "claim").symlink_to(path.name)
        state = "PENDING" if age < QUEUED else "RUNNING"
        if (FOLDER / "cancelled" / path.name).exists():
            state = "CANCELLED"
        elif age > QUEUED + RUN:
            state = ending_of(name)
        # Of what is older some is not shown now and then, or in a word that nobody knows.
        if is_honest:
            pass
        elif age > QUEUED and chance("hidden", path.name, int(time.time())) < 0.05:
            continue
        elif age > QUEUED and chance("odd", path.name, int(time.time())) < 0.05:
            state = "BEWILDERED"
        found.append((int(path.name), name, state))
    return found


def shown(job_id: int, name: str, state: str) -> dict:
    code = 3 if state == "FAILED" else 0
    return {
        "job_id": job_id,
        "name": name,
        "job_state": [state],
        "state_reason": "Priority" if state == "PENDING" else "None",
        "exit_code": {"return_code": {"set": True, "infinite": False, "number": code}},
        "start_time": {"set": True, "infinite": False, "number": int(time.time()) + 60},
        "restart_cnt": 0,
        "nodes": "" if state == "PENDING" else "n1",
    }


def squeue() -> None:
    if "--version" in sys.argv:
        write("slurm 24.05.4")
        return
    luck = chance("squeue", time.time())
    if luck < 0.05:
        hang()
    if luck < 0.15:
        sys.exit("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    listing = json.dumps(
        {"jobs": [shown(*job) for job in jobs() if job[2] not in ("EVICTED", "FORGOTTEN")]}
    )
    write(listing[: len(listing) // 2] if luck < 0.25 else listing)


def sacct() -> None:
    if chance("sacct", time.time()) < 0.2:
        sys.exit("sacct: error: Problem talking to the database: Connection refused")
    asked = next(word.partition("=")[2] for word in sys.argv if word.startswith("--jobs="))
    wanted = set(asked.split(","))
    found = [
        {
            "job_id": job_id,
            "name": name,
            "state": {"current": ["NODE_FAIL"], "reason": "None"},
            "exit_code": {"return_code": {"set": True, "number": 0}},
        }
        for job_id, name, state in jobs(is_honest=True)
        if state == "EVICTED" and str(job_id) in wanted
    ]
    write(json.dumps({"jobs": found}))


def scancel() -> None:
    luck = chance("scancel", time.time())
    if luck < 0.3:
        sys.exit("scancel: error: Kill job error: Socket timed out on send/recv operation")
    (FOLDER / "cancelled").mkdir(exist_ok=True)
    for job_id in sys.argv[1:]:
        (FOLDER / "cancelled" / job_id).touch()
