"""How a process's runs end when nobody calls `finish`: exceptions, signals, `sys.exit`, the last line.

Hooks are set when the first run begins and call whatever was there before. A child of a fork never
ends its parent's runs.
"""

import atexit
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any, Protocol

from runbase.capture.slurm import why_terminated
from runbase.errors import UsageError, suggestion
from runbase.journal.validation import EXIT_CODES
from runbase.secrets import mask_text
from runbase.status import Phase, Status
from runbase.values import to_text

USUAL: Mapping[str, Status | None] = {
    "normal": Status.COMPLETED,
    "exception": Status.FAILED,
    "interrupt": Status.CANCELLED,
    "terminate": None,
}
"""What a run becomes at a normal end, an exception, Ctrl-C, SIGTERM (None: as Slurm says)."""

_OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError", "ResourceExhaustedError")
_OUT_OF_MEMORY_TEXTS = ("CUDA out of memory", "RESOURCE_EXHAUSTED", "HIP out of memory")


class Endable(Protocol):
    """A run, as far as ending goes."""

    def end_because(self, error: BaseException | None, exit_code: int | None) -> None: ...


class _State:
    def __init__(self) -> None:
        self.runs: list[Endable] = []
        self.installed = False
        self.error: BaseException | None = None
        self.exit_code: int | None = None
        self.terminated: Status | None = None
        self.pid = os.getpid()


_state = _State()


def register(run: Endable) -> None:
    """End this run when the process ends."""
    _state.runs.append(run)
    _install()


def unregister(run: Endable) -> None:
    """The run has ended by itself."""
    if run in _state.runs:
        _state.runs.remove(run)


def outcomes(given: Mapping[str, Status | str | None] | None) -> dict[str, Status | None]:
    """The usual outcomes with a caller's own over them; UsageError for an unknown one."""
    merged = dict(USUAL)
    for name, status in (given or {}).items():
        if name not in USUAL:
            raise UsageError(f"a run has no ending {name!r}{suggestion(name, USUAL)}")
        try:
            merged[name] = None if status is None else Status.parse(status)
        except ValueError as error:
            raise UsageError(str(error)) from None
        if status is not None and Status.parse(status).phase is not Phase.ENDED:
            raise UsageError(f"a run cannot end as {status}, which is no end")
    return merged


def judge(
    error: BaseException | None, exit_code: int | None, usual: Mapping[str, Status | None]
) -> Status:
    """The status that an ending means."""
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


def describe(error: BaseException | None) -> dict[str, Any] | None:
    """Type, message and traceback of an exception, as plain text."""
    if error is None or isinstance(error, SystemExit | GeneratorExit):
        return None
    kind = type(error)
    module = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    try:
        trace = "".join(traceback.format_exception(error))
    except Exception:  # of an exception whose own methods fail
        trace = ""
    return {
        "type": f"{module}{kind.__qualname__}",
        "message": mask_text(to_text(error)),
        "traceback": mask_text(trace),
    }


def exit_code_of(error: BaseException | None) -> int | None:
    """The exit code of a SystemExit."""
    return _code(error.code) if isinstance(error, SystemExit) else None


def _code(code: Any) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code if code in EXIT_CODES else 255  # what Python's own exit makes of it
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
        if _state.pid == os.getpid() and _state.runs:
            _state.terminated = why_terminated()
        if callable(previous):
            previous(number, frame)
        elif _state.pid != os.getpid():
            # A fork's child that knows nothing of runs: die as it would have without us.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, terminated)


def _hook_multiprocessing() -> None:
    """Children of multiprocessing leave by `os._exit`, past `atexit`, through finalizers of its own."""
    module = sys.modules.get("multiprocessing.process")
    if module is None or module.parent_process() is None:
        return
    from multiprocessing.util import Finalize

    Finalize(None, _at_exit, exitpriority=100)


def _at_exit() -> None:
    if _state.pid != os.getpid():
        return
    error = _state.error or sys.exc_info()[1]
    for run in list(reversed(_state.runs)):
        try:
            run.end_because(error, _state.exit_code)
        except Exception as wrong:  # the other runs are to end as well
            warnings.warn(
                f"runbase: the end of a run could not be recorded: {wrong!r}",
                RuntimeWarning,
                stacklevel=1,
            )
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
