"""A real Slurm of our own: one controller, up to two nodes on this host, no munge."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.programs import NotHere

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "sacct", "scancel")
SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
MISSING = [name for name in PROGRAMS if not shutil.which(name, path=SEARCH)]
WHY = f"needs Slurm (slurmctld slurmd slurm-client): no {', '.join(MISSING)}"
PATIENCE = 120
START = 60
"""Seconds in which a node is ready that ever is."""

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/none
CredType=cred/none
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmdParameters=config_overrides
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/{track}
TaskPlugin=task/{task}
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobcomp.txt
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=50000,batch_sched_delay=0,defer_batch
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=1
GresTypes=gpu
ReturnToService=2
KillWait=1
MinJobAge=300
SlurmdTimeout=2
InactiveLimit=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={port1} CPUs=64 RealMemory=2000 Gres=gpu:2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={port2} CPUs=2 RealMemory=2000
PartitionName=debug Nodes=n1 Default=YES MaxTime=INFINITE State=UP PriorityTier=10
PartitionName=short Nodes=n1 MaxTime=1 State=UP PriorityTier=10
PartitionName=other Nodes=n2 MaxTime=INFINITE State=UP PriorityTier=10
PartitionName=first Nodes=n2 MaxTime=INFINITE State=UP PriorityTier=20
"""


CGROUPS = Path("/sys/fs/cgroup")
UNCONFINED = "CgroupAutomount=no\nConstrainCores=no\n"
CONFINED = f"""\
CgroupPlugin=cgroup/v1
CgroupAutomount=no
CgroupMountpoint={CGROUPS}
ConstrainRAMSpace=yes
"""


GRES = """\
NodeName=n1 Name=gpu File=/dev/null
NodeName=n1 Name=gpu File=/dev/zero
"""


class Cluster:
    """A running Slurm; its commands are asked with `env`."""

    def __init__(self, folder: Path, *, is_confining: bool = False) -> None:
        """Confine jobs to their memory if wanted, of which there can be one on a machine."""
        self.folder = folder
        self.is_confining = is_confining
        self.env = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": SEARCH}
        self._running: dict[str, subprocess.Popen] = {}

    def start(self) -> None:
        """Start everything; raise NotHere if that takes no jobs."""
        if MISSING:
            raise NotHere(WHY)
        if self.is_confining and not os.access(CGROUPS / "memory/memory.limit_in_bytes", os.W_OK):
            raise NotHere("Slurm cannot confine here: no control groups of version 1")
        host = socket.gethostname().partition(".")[0]
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout
        ports = free_ports(3)
        for name in ("state", "spool.n1", "spool.n2"):
            (self.folder / name).mkdir()
        text = CONF.format(
            host=host, user=user.strip(), folder=self.folder,
            port=ports[0], port1=ports[1], port2=ports[2],
            track="cgroup" if self.is_confining else "linuxproc",
            task="cgroup" if self.is_confining else "none",
        )  # fmt: skip
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text(GRES)
        (self.folder / "cgroup.conf").write_text(CONFINED if self.is_confining else UNCONFINED)
        self._run("slurmctld", "slurmctld", "-D", "-c")
        try:
            self.start_node("n1", START)
        except AssertionError as error:
            raise NotHere(f"Slurm does not start here: {error}") from error

    def start_node(self, name: str, seconds: float = PATIENCE) -> None:
        """Start a node and wait until it takes jobs."""
        self._run(name, "slurmd", "-D", "-N", name)
        self.ask("scontrol", "update", f"NodeName={name}", "State=RESUME")
        state = ("sinfo", "-h", "-N", "-n", name, "-o", "%T")
        self.wait(lambda: self.ask(*state).split()[:1] in STATES, seconds)

    def kill_node(self, name: str) -> None:
        """Have a node go without a word, and all of its jobs with it."""
        node = self._running.pop(name)
        node.kill()
        node.wait()
        self._kill_all(f"SLURMD_NODENAME={name}\0")
        self.ask("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=killed")

    def _kill_all(self, *marks: str) -> None:
        """Kill what has these in its environment, and our configuration."""
        wanted = [mark.encode() for mark in (*marks, f"SLURM_CONF={self.env['SLURM_CONF']}\0")]
        # Stopped first: what outlives another could still tell of its end.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for one in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    content = (one / "environ").read_bytes()
                    if all(mark in content for mark in wanted) and int(one.name) != os.getpid():
                        os.kill(int(one.name), number)

    def ask(self, *argv: str) -> str:
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, check=False)
        return done.stdout

    def wait(self, happened, seconds: float = PATIENCE) -> None:
        """Ask until something has happened; each question takes some milliseconds."""
        end = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > end:
                logs = [path.read_text()[-2000:] for path in self.folder.glob("*.log")]
                raise AssertionError("\n".join(["Slurm does not do it", *logs]))

    def jobs(self) -> dict[str, list[str]]:
        """Give every job there was: name to states."""
        found: dict[str, list[str]] = {}
        for line in self.ask("squeue", "-h", "-t", "all", "-O", "Name:|,State:|").splitlines():
            name, state, _ = line.split("|")
            found.setdefault(name, []).append(state)
        return found

    def stop(self) -> None:
        """End everything, also what jobs have left."""
        for one in self._running.values():
            one.kill()
            one.wait()
        self._kill_all()
        if self.is_confining:
            for left in sorted(CGROUPS.glob("*/slurm_n1/**"), reverse=True):
                with suppress(OSError):
                    left.rmdir()

    def _run(self, name: str, *argv: str) -> None:
        self._running[name] = subprocess.Popen(
            argv, env={**os.environ, **self.env}, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip


@contextmanager
def own_slurm(cluster: Cluster):
    """Have a Slurm run, and leave nothing of it behind; raise NotHere if it takes no jobs."""
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


STATES = (["idle"], ["mixed"], ["allocated"])


def free_ports(count: int) -> list[int]:
    """Give ports that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
