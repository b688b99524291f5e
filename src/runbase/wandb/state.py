"""The current run of this process, and the trial that `agent` has claimed for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from runbase.trials.claim import Claim


class ClaimedTrial(Struct):
    """A trial that the next call of `init` starts.

    Attributes:
        claim: the claim.
        sweep_id: the id of the sweep.
        started: whether `init` was called.
    """

    claim: Claim
    sweep_id: str
    started: bool = False


class State:
    """What W&B keeps in its module: the current run.

    The functions are set by the package, because runs and artifacts call what is made of them.

    Attributes:
        trial: the trial that the next call of `init` starts.
        init: `runbase.wandb.init`.
        attach: `runbase.wandb.attach`.
        api: returns an `Api` of a home.
    """

    trial: ClaimedTrial | None = None
    init: Callable[..., Any]
    attach: Callable[[str], Any]
    api: Callable[[Path | None], Any]
    _run: Any = None

    @property
    def run(self) -> Any:
        """The current run, a `runbase.wandb.Run`; None if there is none, or if it has ended."""
        return None if self._run is None or self._run.is_over else self._run

    @run.setter
    def run(self, run: Any) -> None:
        self._run = run


state = State()


def attached(attach_id: str) -> Any:
    """Return a run that logs to the run of another process; what a pickled run becomes."""
    return state.attach(attach_id)
