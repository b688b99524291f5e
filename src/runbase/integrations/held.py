"""The run that an adapter logs into, from its first value to its end; each adapter of a training tool holds one."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict
from weakref import WeakSet

from runbase.errors import InvalidValue, UsageError, warn
from runbase.ids import new_id
from runbase.run.context import active_run
from runbase.run.run import Run
from runbase.run.start import start_run
from runbase.status import Status
from runbase.values import Scalar, as_tags, flatten, to_scalar

MODELS = (False, True, "all")
"""Values of `log_model`: no model, the last and the best one, or each one that the tool saves."""
_begun: "WeakSet[Run]" = WeakSet()
"""Runs that adapters began: a new adapter does not join them, as it joins the run of a user."""


class RunArguments(TypedDict, total=False):
    """The keyword arguments that all adapters share.

    Attributes:
        name: the display name of the run.
        params: parameters, in addition to those that the tool knows.
        tags: plain tags, or a mapping of tag to value.
        run_id: the id of a run to continue.
        run: an open run of yours, which the adapter never ends.
        notes, store, home, parent, capture, ends: as for `start_run`.
    """

    name: str | None
    params: Mapping[str, object] | None
    tags: Any
    run_id: str | None
    run: Run | None
    notes: str | None
    store: Any
    home: "str | os.PathLike[str] | None"
    parent: Any
    capture: bool | Iterable[str] | None
    ends: Mapping[str, Status | str | None] | None


OF_ONE_RUN = ("name", "run_id", "run")
"""The arguments that say which run it is: the children of a search do not share them."""


def shared(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that the children of a search share with their parent."""
    return {key: value for key, value in options.items() if key not in OF_ONE_RUN}


class HeldRun:
    """A run that begins when it is first needed, and is continued by its id if it is needed after its end.

    Without an experiment, an id and a run, it is the run that the user has started, if there is one. A run of the user is
    never ended. A copy in another process (by pickle) continues the same run.

    Args:
        experiment: the experiment. Default: that of `start_run`.
        name: the display name of the run.
        params: parameters, in addition to those that the tool knows.
        tags: plain tags, or a mapping of tag to value.
        run_id: an id created elsewhere; if a run has it, that run is continued.
        run: an open run of the user.
        options: further arguments of `start_run`.

    Raises:
        UsageError: `run` is passed together with an experiment or an id, or has finished.
    """

    def __init__(
        self,
        experiment: str | None = None,
        *,
        name: str | None = None,
        params: Mapping[str, object] | None = None,
        tags: Any = None,
        run_id: str | None = None,
        run: Run | None = None,
        **options: Any,
    ) -> None:
        if run is not None and (experiment is not None or run_id is not None):
            raise UsageError("pass an open run, or an experiment or id for a new one, not both")
        if run is not None and run.finished:
            raise UsageError(f"run {run.name} has finished; pass run_id={run.id!r} to continue it")
        self.id: str | None = run_id if run is None else run.id
        self.experiment, self.name = experiment, name
        self._first: dict[str, Any] = {"params": params, "tags": tags, "name": name}
        self._new = True
        self._options: dict[str, Any] = options
        self._run = run
        self._joins = run is None and run_id is None and experiment is None
        self.mine = run is None
        """Whether the adapter began the run, and so ends it."""
        if run is not None:
            self._label(run)

    @property
    def is_open(self) -> bool:
        """Whether the run has begun and has not ended."""
        return self._run is not None and not self._run.finished

    @property
    def run(self) -> Run:
        """The open run; it begins, or is continued, here if it must."""
        if self._run is None or self._run.finished:
            self._run = self._open()
            self.id = self._run.id
        return self._run

    def rename(self, name: str) -> None:
        """Set the display name of a run that has not begun."""
        self._first["name"] = self.name = name

    def _open(self) -> Run:
        joined = active_run() if self._joins and self.id is None else None
        if isinstance(joined, Run) and joined not in _begun:
            self.mine = False
            self._label(joined)
            return joined
        first, self._new = (self._first if self._new else {}), False
        run = start_run(self.experiment, run_id=self.id, **first, **self._options)
        self.mine = True
        _begun.add(run)
        return run

    def _label(self, run: Run) -> None:
        """Add the parameters and tags of the adapter to a run of the user."""
        self._new = False
        self._options = {"home": run.folder.parents[2]}
        run.log_params(self._first["params"] or {})
        run.tag(as_tags(self._first["tags"]))

    def log(
        self, values: Mapping[Any, Any], step: Any = None, *, progress: float | None = None
    ) -> None:
        """Log the numbers among values; a nested mapping is flattened with ``/``, other values are left out."""
        if found := numbers(values):
            self.run.log(found, step, progress=progress)

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Set parameters; one that cannot be stored is left out, with a warning."""
        try:
            self.run.log_params(values)
        except InvalidValue as error:
            warn(f"parameters were not logged: {error}")

    def log_saved_model(
        self,
        path: "str | os.PathLike[str]",
        step: Any = None,
        *,
        scores: Mapping[str, Any] | None = None,
        direction: str | None = None,
        keep: int | None = None,
    ) -> None:
        """Log a checkpoint that the tool has saved, if it is there.

        Args:
            path: the file or folder.
            step: its step.
            scores: the metric that the tool monitors, and its value.
            direction: ``"min"`` or ``"max"``.
            keep: how many of the latest ones stay beside the best one.
        """
        if not Path(path).exists():
            return
        figures = numbers(scores or {})
        self.run.log_checkpoint(
            path, step=step, metrics=figures, direction=direction if figures else None, keep=keep
        )

    def flush(self) -> None:
        """Write what was logged to the database, if the run is open."""
        if self.is_open:
            self.run.flush()

    def finish(
        self,
        error: BaseException | str | None = None,
        status: Status | str | None = None,
    ) -> None:
        """End the run, if the adapter began it; a run of the user is only flushed."""
        if not self.is_open:
            return
        if self.mine:
            self.run.finish(status, error)
        else:
            self.run.flush()

    def renew(self) -> None:
        """Make the next use begin another run; an open one of the adapter ends as completed."""
        if self.mine and self._run is not None:
            self.finish()
            self._run = self.id = None
            self._new = True

    def __getstate__(self) -> dict[str, Any]:
        if self._run is None and self.id is None:
            self.id = new_id()  # the copies and this object agree on the run before it begins
        state = self.__dict__ | {"_run": None}
        if self._run is not None:
            state["_options"] = {"home": self._run.folder.parents[2], **self._options}
            state["experiment"] = self._run.experiment
        return state


class Holder:
    """The base of adapters: the run they hold, its end, and their use as a context manager.

    The end of a `with` block ends the run: FAILED with the exception if there is one. Without a block, `finish` or the end
    of the process does.

    Attributes:
        held: the held run.
    """

    held: HeldRun

    @property
    def run(self) -> Run:
        """The open run; it begins here if it must."""
        return self.held.run

    def finish(self, error: BaseException | str | None = None) -> None:
        """End the run, unless it is one that you started."""
        self.held.finish(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del kind, trace
        self.finish(error)


def numbers(values: Mapping[Any, Any]) -> dict[str, Scalar]:
    """Return the values that are numbers: name → number, nested mappings flattened with ``/``."""
    return dict(_numbers(values))


def _numbers(values: Mapping[Any, Any]) -> Iterator[tuple[str, Scalar]]:
    for key, value in flatten(values):
        try:
            number, kind = to_scalar(key, value)
        except InvalidValue:
            continue
        yield key, bool(number) if kind == "bool" else number


def check_log_model(value: bool | str) -> bool | str:
    """Return a value of `log_model`.

    Raises:
        UsageError: it is none of `MODELS`.
    """
    if value not in MODELS:
        raise UsageError(f"log_model is {value!r}; it must be False, True or 'all'")
    return value
