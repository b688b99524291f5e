"""`Claim`: the exclusive right of one runner to run a trial, until it ends, is released, or its lease expires."""

import functools
import os
import socket
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from runbase import model
from runbase.errors import UsageError
from runbase.events import Points
from runbase.run.context import OpenStore
from runbase.run.lease import Held, Lease
from runbase.run.options import RunOptions
from runbase.status import Status
from runbase.typing import JsonObject
from runbase.values import flatten, to_scalar

if TYPE_CHECKING:
    from runbase.run.run import Run

LEASE = 60.0
"""Seconds after which a claim that is not renewed expires."""


class Claim:
    """A trial claimed by this runner, until it ends, is released, or its lease expires.

    Attributes:
        id: the id of the trial's run.
        attempt: the number of the attempt, from 1.
        runner: the name of the runner.
        lease: seconds after which the claim expires if it is not renewed.
    """

    def __init__(self, store: OpenStore, experiment: str, held: Held) -> None:
        self._store, self._experiment, self._held = store, experiment, held
        self._lease = Lease(held)
        self.id, self.attempt, self.runner, self.lease = (
            held.run,
            held.attempt,
            held.runner,
            held.seconds,
        )

    @functools.cached_property
    def run(self) -> model.Run:
        """The record of the trial, as it was at the first access."""
        return self._store.storage.get_runs([self.id])[0]

    @property
    def params(self) -> JsonObject:
        """The parameters of the trial."""
        return self.run.params

    @functools.cached_property
    def config(self) -> JsonObject:
        """The settings passed as `config` to `new_trial`."""
        storage = self._store.storage
        return storage.attributes("run", [self.id], "config")[self.id]

    @property
    def number(self) -> int:
        """The number of the trial in the experiment."""
        return self.run.number

    def start(self, **options: Any) -> "Run":
        """Start the trial and return a `Run`, which renews the claim automatically.

        Args:
            options: arguments of `start_run`.
        """
        from runbase.run.start import begin

        options.setdefault("store", self._store)
        return begin(RunOptions(run_id=self.id, **options), self._held)

    def renew(self) -> bool:
        """Renew the claim for another `lease` seconds; return False if it is lost."""
        return self._lease.renew(self._store.storage)

    def release(self, reason: str = "released") -> bool:
        """Return the trial to the queue, without using a retry; return False if the claim is lost."""
        return self._store.storage.release_claim(self.id, self.attempt, reason)

    def finish(
        self,
        status: Status | str = Status.COMPLETED,
        *,
        metrics: Mapping[str, object] | None = None,
        error: str | None = None,
    ) -> bool:
        """End the trial without a `Run`.

        Args:
            status: a final status.
            metrics: the final metrics.
            error: the message to record if it failed.

        Returns:
            False if the claim is lost; then nothing is changed.

        Raises:
            UsageError: the status is not final.
        """
        try:
            parsed = Status.parse(status)
        except ValueError as wrong:
            raise UsageError(str(wrong)) from None
        if parsed.phase != "ended":
            raise UsageError(
                f"{parsed.value!r} is not a final status; use one such as 'COMPLETED' or 'FAILED'"
            )
        document = None if error is None else {"type": "error", "message": error, "traceback": ""}
        storage = self._store.storage
        points = None if not metrics else _points(metrics)
        return storage.end_trial(self.id, self.attempt, parsed, error=document, metrics=points)

    def __repr__(self) -> str:
        return f"<Claim of {self.runner} on {self.id}, attempt {self.attempt}>"


class Claiming:
    """The context manager that `Experiment.claim` returns."""

    def __init__(self, claim: "Callable[[], Claim | None]", options: Mapping[str, object]) -> None:
        self._claim = claim
        self._options = options
        self._run: Run | None = None

    def __enter__(self) -> "Run | None":
        claim = self._claim()
        if claim is None:
            return None
        try:
            self._run = claim.start(**self._options)
        except BaseException:
            claim.release("could not start")
            raise
        return self._run.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._run is not None:
            self._run.__exit__(kind, error, trace)


def this_runner() -> str:
    """Return the default name of a runner: host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _points(metrics: Mapping[str, object]) -> Points:
    plain = {key: to_scalar(key, value)[0] for key, value in flatten(metrics)}
    now = time.time()
    return Points(
        keys=tuple(plain), steps=[0], times=[now], columns=[[value] for value in plain.values()]
    )
