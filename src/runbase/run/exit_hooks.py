"""Exit hooks: end the runs of a process that does not call `finish`, by exception, signal or `sys.exit`.

The hooks are installed when the first run starts, and call the hooks that were installed before. A
forked child never ends the runs of its parent.
"""

import atexit
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any, Protocol

from runbase.capture.secrets import mask_text
from runbase.capture.slurm import why_terminated
from runbase.errors import UsageError, suggestion, warn
from runbase.journal.validation import EXIT_CODES
from runbase.processes import Owner
from runbase.status import Phase, Status
from runbase.typing import JsonObject
from runbase.values import to_text

USUAL: Mapping[str, Status | None] = {
    "normal": Status.COMPLETED,
    "exception": Status.FAILED,
    "interrupt": Status.CANCELLED,
    "terminate": None,
}
"""The status after a normal end, an exception, Ctrl-C, SIGTERM (None: as reported by Slurm)."""

_OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError", "ResourceExhaustedError")
_OUT_OF_MEMORY_TEXTS = ("CUDA out of memory", "RESOURCE_EXHAUSTED", "HIP out of memory")


class Endable(Protocol):
    """The interface of a run that the exit hooks need."""

    def end_because(self, error: BaseException | None, exit_code: int | None) -> None: ...


class _State:
    def __init__(self) -> None:
        self.runs: list[Endable] = []
        self.installed = False
        self.error: BaseException | None = None
        self.exit_code: int | None = None
        self.terminated: Status | None = None
        self.owner = Owner()


_state = _State()


def register(run: Endable) -> None:
    """End a run when the process ends."""
    _state.runs.append(run)
    _install()


def unregister(run: Endable) -> None:
    """Remove a run that has ended."""
    if run in _state.runs:
        _state.runs.remove(run)


def outcomes(changes: Mapping[str, Status | str | None] | None) -> dict[str, Status | None]:
    """Return the default outcomes with a caller's changes; raise UsageError for an invalid one."""
    merged = dict(USUAL)
    for name, status in (changes or {}).items():
        if name not in USUAL:
            raise UsageError(f"{name!r} is not an ending of a run{suggestion(name, USUAL)}")
        try:
            merged[name] = None if status is None else Status.parse(status)
        except ValueError as error:
            raise UsageError(str(error)) from None
        if status is not None and Status.parse(status).phase is not Phase.ENDED:
            raise UsageError(
                f"{str(status)!r} is not a final status; use one such as 'COMPLETED' or 'FAILED'"
            )
    return merged


def judge(
    error: BaseException | None, exit_code: int | None, usual: Mapping[str, Status | None]
) -> Status:
    """Return the final status for an exception or exit code."""
    if _state.terminated is not None and (error is None or isinstance(error, SystemExit)):
        return usual["terminate"] or _state.terminated
    if isinstance(error, KeyboardInterrupt):
        return usual["interrupt"] or Status.CANCELLED
    if isinstance(error, SystemExit):
        exit_code, error = _code(error.code), None
    if error is not None and not isinstance(error, GeneratorExit):
        return (
            Status.OUT_OF_MEMORY if _out_of_memory(error) else usual["exception"] or Status.FAILED
        )
    failed = exit_code not in (None, 0)
    return (usual["exception"] or Status.FAILED) if failed else usual["normal"] or Status.COMPLETED


def is_terminated() -> bool:
    """Return whether this process received SIGTERM while it had a run."""
    return _state.terminated is not None


def describe(error: BaseException | None) -> JsonObject | None:
    """Return the type, message and traceback of an exception as plain text."""
    if error is None or isinstance(error, SystemExit | GeneratorExit):
        return None
    kind = type(error)
    module = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    try:
        trace = "".join(traceback.format_exception(error))
    except Exception:  # the methods of the exception itself can fail
        trace = ""
    return {
        "type": f"{module}{kind.__qualname__}",
        "message": mask_text(to_text(error)),
        "traceback": mask_text(trace),
    }


def exit_code_of(error: BaseException | None) -> int | None:
    """Return the exit code of a SystemExit, else None."""
    return _code(error.code) if isinstance(error, SystemExit) else None


def _code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code if code in EXIT_CODES else 255  # as Python's own exit does
    return 1


def _out_of_memory(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    text = to_text(error)
    return bool(names & set(_OUT_OF_MEMORY)) or any(t in text for t in _OUT_OF_MEMORY_TEXTS)


def _install() -> None:
    if _state.installed:
        return
    _state.installed = True
    atexit.register(_at_exit)
    _hook_multiprocessing()
    previous_hook = sys.excepthook

    def excepthook(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        _state.error = error
        previous_hook(kind, error, trace)

    sys.excepthook = excepthook
    previous_exit = sys.exit

    def exit(code: Any = None) -> Any:
        if threading.current_thread() is threading.main_thread():
            _state.exit_code = _code(code)
        previous_exit(code)

    sys.exit = exit
    if threading.current_thread() is threading.main_thread():
        _hook_sigterm()


def _hook_sigterm() -> None:
    previous = signal.getsignal(signal.SIGTERM)
    if previous is signal.SIG_IGN or previous is None:
        return

    def terminated(number: int, frame: FrameType | None) -> None:
        if _state.owner.here and _state.runs:
            _state.terminated = why_terminated()
        if callable(previous):
            previous(number, frame)
        elif not _state.owner.here:
            # A forked child without runs: terminate as it would without this handler.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, terminated)


def _hook_multiprocessing() -> None:
    """Register a finalizer of multiprocessing: its children exit by `os._exit`, which skips `atexit`."""
    module = sys.modules.get("multiprocessing.process")
    if module is None or module.parent_process() is None:
        return
    from multiprocessing.util import Finalize

    Finalize(None, _at_exit, exitpriority=100)


def _at_exit() -> None:
    if not _state.owner.here:
        return
    error = _state.error or sys.exc_info()[1]
    for run in list(reversed(_state.runs)):
        try:
            run.end_because(error, _state.exit_code)
        except Exception as wrong:  # the other runs must still be ended
            warn(f"the end of a run could not be recorded: {wrong!r}", may_raise=False)
    _state.runs.clear()


def _forget() -> None:
    global _state
    fresh = _State()
    fresh.installed = _state.installed
    _state = fresh
    if fresh.installed:
        _hook_multiprocessing()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
