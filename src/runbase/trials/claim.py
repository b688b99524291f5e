"""A claim on a trial: the right of one runner to run it, until it ends, is given back, or is not renewed in time."""

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
from runbase.status import Status
from runbase.values import flatten, to_scalar

if TYPE_CHECKING:
    from runbase.run.run import Run

LEASE = 60.0
"""Seconds after which a claim that nobody renews is given to another."""


class Claim:
    """A trial that is this runner's, until it is ended, given back, or not renewed in time.

    Attributes: `id`, `attempt` (from 1), `runner`, `lease` (seconds).
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
        """Its record, as it was when it was first asked for."""
        return self._store.storage.get_runs([self.id])[0]

    @property
    def params(self) -> dict[str, Any]:
        """Its parameters."""
        return self.run.params

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """What else was said with it, and is no parameter."""
        storage = self._store.storage
        return storage.attributes("run", [self.id], "config")[self.id]

    @property
    def number(self) -> int:
        """Its number in the experiment."""
        return self.run.number

    def start(self, **options: Any) -> "Run":
        """Begin to run it: a `Run` that renews the claim by itself; the options are those of `start_run`."""
        from runbase.run.start import begin

        options.setdefault("store", self._store)
        return begin(self._held, run_id=self.id, **options)

    def renew(self) -> bool:
        """Keep it for another `lease` seconds; False where it is lost."""
        return self._lease.renew(self._store.storage)

    def release(self, reason: str = "given back") -> bool:
        """Give it back to the queue, without using up a retry; False where it is lost."""
        return self._store.storage.release_claim(self.id, self.attempt, reason)

    def finish(
        self,
        status: Status | str = Status.COMPLETED,
        *,
        metrics: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> bool:
        """End it without a `Run`, with its last metrics; False where the claim is lost, and then nothing
        changes. Raises UsageError for a status that is no end.
        """
        try:
            parsed = Status.parse(status)
        except ValueError as wrong:
            raise UsageError(str(wrong)) from None
        if parsed.phase != "ended":
            raise UsageError(f"a trial cannot end as {parsed.value}, which is no end")
        document = None if error is None else {"type": "error", "message": error, "traceback": ""}
        storage = self._store.storage
        points = None if not metrics else _points(metrics)
        return storage.end_trial(self.id, self.attempt, parsed, error=document, metrics=points)

    def __repr__(self) -> str:
        return f"<Claim of {self.runner} on {self.id}, attempt {self.attempt}>"


class Claiming:
    """`with experiment.claim() as trial`."""

    def __init__(self, claim: "Callable[[], Claim | None]", options: Mapping[str, Any]) -> None:
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
            claim.release("could not be started")
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
    """This host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _points(metrics: Mapping[str, Any]) -> Points:
    plain = {key: to_scalar(key, value)[0] for key, value in flatten(metrics)}
    now = time.time()
    return Points(
        keys=tuple(plain), steps=[0], times=[now], columns=[[value] for value in plain.values()]
    )
