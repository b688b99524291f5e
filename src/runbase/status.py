"""Run states: Slurm's 24 job states and PRUNED, each in one of three phases.

Slurm's names come from its manual page *squeue(1)*, "JOB STATE CODES"; other systems' words are
mapped to these where each of them is integrated.
"""

from enum import StrEnum

SILENCE = 180.0
"""Seconds without a heartbeat after which a run that cannot be inspected counts as lost."""


class Phase(StrEnum):
    """The phase of a run: waiting (not started), active, or ended."""

    WAITING = "waiting"
    ACTIVE = "active"
    ENDED = "ended"


class Status(StrEnum):
    """The state of a run."""

    BOOT_FAIL = "BOOT_FAIL"
    CANCELLED = "CANCELLED"
    COMPLETED = "COMPLETED"
    COMPLETING = "COMPLETING"
    CONFIGURING = "CONFIGURING"
    DEADLINE = "DEADLINE"
    FAILED = "FAILED"
    NODE_FAIL = "NODE_FAIL"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    PENDING = "PENDING"
    PREEMPTED = "PREEMPTED"
    PRUNED = "PRUNED"
    REQUEUED = "REQUEUED"
    REQUEUE_FED = "REQUEUE_FED"
    REQUEUE_HOLD = "REQUEUE_HOLD"
    RESIZING = "RESIZING"
    RESV_DEL_HOLD = "RESV_DEL_HOLD"
    REVOKED = "REVOKED"
    RUNNING = "RUNNING"
    SIGNALING = "SIGNALING"
    SPECIAL_EXIT = "SPECIAL_EXIT"
    STAGE_OUT = "STAGE_OUT"
    STOPPED = "STOPPED"
    SUSPENDED = "SUSPENDED"
    TIMEOUT = "TIMEOUT"

    @property
    def phase(self) -> Phase:
        """The phase of this status."""
        if self in WAITING:
            return Phase.WAITING
        return Phase.ACTIVE if self in ACTIVE else Phase.ENDED

    @classmethod
    def parse(cls, word: "str | Status") -> "Status":
        """Return the status with a name, in upper or lower case; a ValueError lists the names."""
        try:
            return cls(word.upper())
        except ValueError:
            names = ", ".join(status.value for status in cls)
            raise ValueError(f"{word!r} is not a run status; the statuses are {names}") from None


WAITING = frozenset(
    {
        Status.PENDING,
        Status.CONFIGURING,
        Status.REQUEUED,
        Status.REQUEUE_FED,
        Status.REQUEUE_HOLD,
        Status.RESV_DEL_HOLD,
        Status.SPECIAL_EXIT,
    }
)
ACTIVE = frozenset(
    {
        Status.RUNNING,
        Status.COMPLETING,
        Status.RESIZING,
        Status.SIGNALING,
        Status.STAGE_OUT,
        Status.STOPPED,
        Status.SUSPENDED,
    }
)
ENDED = frozenset(Status) - WAITING - ACTIVE
