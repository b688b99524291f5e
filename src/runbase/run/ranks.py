"""Recognise the processes of a distributed job, so that they log into one run.

torchrun, accelerate and DeepSpeed set `RANK`, `WORLD_SIZE` and `LOCAL_RANK`; Slurm sets `SLURM_PROCID` and
`SLURM_STEP_NUM_TASKS` in each task of a step (*srun(1)*, "OUTPUT ENVIRONMENT VARIABLES"); Open MPI and MPICH set
`OMPI_COMM_WORLD_RANK` and `PMI_RANK`. The processes exchange nothing to agree on a run: each computes the run's id
from what all of them know about the job.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from socket import gethostname
from typing import TYPE_CHECKING

from msgspec import Struct

from runbase.events import Scalar
from runbase.ingest.liveness import boot, started
from runbase.processes import Owner

if TYPE_CHECKING:
    from runbase.journal import JournalWriter

_LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"),
)  # fmt: skip
"""Variables of each launcher: rank, number of ranks, rank on the node, number of ranks on the node."""


class Job(Struct, frozen=True):
    """One process of a distributed job.

    Attributes:
        rank: the number of the process in the job, from 0.
        size: the number of processes, at least 2.
        local_rank: the number of the process on its node, from 0.
        identity: text that is equal in all processes of the job and in no other job; None if nothing tells it.
    """

    rank: int
    size: int
    local_rank: int
    identity: str | None

    @property
    def suffix(self) -> str:
        """What the names of metrics end with: rank 0 keeps the names, rank 1 logs `loss/rank1`."""
        return f"/rank{self.rank}" if self.rank else ""


def rank(environ: Mapping[str, str] | None = None) -> int:
    """Return the rank of this process among those of a distributed job, from 0."""
    environ = os.environ if environ is None else environ
    return max((_number(environ, names[0]) or 0 for names in _LAUNCHERS), default=0)


def job(environ: Mapping[str, str] | None = None) -> Job | None:
    """Return the distributed job that this process belongs to, or None if it is not one of several.

    Args:
        environ: the environment variables. Default: those of this process.
    """
    environ = os.environ if environ is None else environ
    for names in _LAUNCHERS:
        number, size, local_rank, local_size = (_number(environ, name) for name in names)
        if number is not None and size is not None and size > 1:
            on_one_node = local_rank is not None and (local_size is None or local_size == size)
            identity = _identity(environ, on_one_node=on_one_node)
            return Job(number, size, local_rank or 0, identity)
    return None


def _number(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else None


def _identity(environ: Mapping[str, str], *, on_one_node: bool) -> str | None:
    """Return what all processes of the job know, and no other job."""
    slurm = [environ.get(f"SLURM_{name}", "") for name in ("CLUSTER_NAME", "JOB_ID", "STEP_ID")]
    elastic = environ.get("TORCHELASTIC_RUN_ID", "none")
    if all(slurm[1:]) and "TORCHELASTIC_RUN_ID" not in environ:
        return "\0".join(["slurm", *slurm, environ.get("SLURM_RESTART_COUNT", "0")])
    if space := environ.get("PMIX_NAMESPACE"):
        return f"pmix\0{gethostname() if on_one_node else ''}\0{space}"
    parent = os.getppid()
    if on_one_node and (since := started(parent)) is not None:
        # The launcher is the parent of all processes. It stays the same if torchrun restarts them.
        return f"parent\0{gethostname()}\0{boot()}\0{parent}\0{since}"
    if elastic != "none":
        where = [environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT")]
        return "\0".join(["torchrun", elastic, *where, *slurm])
    return None


_owner = Owner()
_begun: Counter[str] = Counter()
"""How many runs of each experiment this process has begun: the ranks begin theirs in the same order."""


def run_id(identity: str, experiment: str) -> str | None:
    """Return the id of the next run of a job in an experiment: a UUID of version 8 (RFC 9562, section 5.8).

    Args:
        identity: the identity of the job.
        experiment: the name of the experiment.

    Returns:
        The id; None in a forked child of a rank, whose runs are its own.
    """
    if not _owner.here:
        return None
    _begun[experiment] += 1
    text = f"{identity}\0{experiment}\0{_begun[experiment]}"
    digits = hashlib.sha256(text.encode()).hexdigest()[:32]
    return f"{digits[:12]}8{digits[13:16]}8{digits[17:]}"


class SuffixedPoints:
    """Appends points to a journal under names with a suffix.

    Args:
        journal: the journal of this process.
        suffix: such as `/rank1`.
    """

    def __init__(self, journal: "JournalWriter", suffix: str) -> None:
        self._journal, self._suffix = journal, suffix

    def append_finite(
        self, step: Scalar, values: Mapping[str, Scalar], progress: float | None = None
    ) -> None:
        """Append one log call of finite int and float values, with the current time."""
        self._journal.append_finite(step, self._named(values), progress)

    def append_points(
        self,
        tag: str,
        step: Scalar,
        values: Mapping[str, Scalar],
        progress: float | None = None,
        at: float | None = None,
    ) -> None:
        """Append one log call of any plain numbers, at the time `at` (seconds since the epoch; None: now)."""
        self._journal.append_points(tag, step, self._named(values), progress, at)

    def _named(self, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        return {f"{key}{self._suffix}": value for key, value in values.items()}
