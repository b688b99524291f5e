"""`RunbaseLogger` for `lightning.pytorch`, `pytorch_lightning` and Fabric.

The interface is that of `lightning.pytorch.loggers.logger.Logger` 2.x. Lightning calls `finalize` at the end of each fit and
test; the run ends then, and the next call continues it by its id.
"""

# pyright: basic, reportMissingImports=false

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Unpack

from runbase.extras import missing
from runbase.integrations.held import HeldRun, RunArguments, check_log_model
from runbase.run.run import Run

PACKAGES = ("lightning.pytorch", "pytorch_lightning")


def _packages() -> list[str]:
    """Return the packages whose trainers take the logger: those in use, else the first that is installed."""
    used = [name for name in PACKAGES if name in sys.modules]
    found = [name for name in PACKAGES if find_spec(name.partition(".")[0]) is not None]
    if not used and not found:
        raise missing("RunbaseLogger", "Lightning", "all")
    return used or found[:1]


_modules = [import_module(f"{name}.loggers.logger") for name in _packages()]
_zero = import_module(f"{_packages()[0]}.utilities.rank_zero").rank_zero_only
# Both packages have a class of their own; a logger of both is one for either trainer.
_Logger: Any = type("_Logger", tuple(module.Logger for module in _modules), {})


class RunbaseLogger(_Logger):
    """Logs a training of Lightning into a run.

    Only the process of rank zero logs.

    Args:
        experiment: the experiment. Default: the run that you have started, else that of `start_run`.
        log_model: log the best and the last checkpoint at the end (True), or each one that is saved (``"all"``).
        prefix: what the names of metrics begin with.
        options: `name`, `params`, `tags`, `run_id`, `run` and others; see `held.RunArguments`.
    """

    def __init__(
        self,
        experiment: str | None = None,
        *,
        log_model: bool | str = False,
        prefix: str = "",
        **options: Unpack[RunArguments],
    ) -> None:
        super().__init__()
        self.held = HeldRun(experiment, **options)
        self._log_model = check_log_model(log_model)
        self._prefix = f"{prefix}/" if prefix else ""
        self._callback: Any = None
        self._saved: dict[str, tuple[Any, dict[str, Any]]] = {}

    @property
    def run(self) -> Run:
        """The open run; it begins here if it must."""
        return self.held.run

    @property
    @_modules[0].rank_zero_experiment
    def experiment(self) -> Run:
        """The open run, for its own methods; on other ranks than zero an object whose methods do nothing."""
        return self.held.run

    @property
    def name(self) -> str | None:
        """The experiment."""
        return self.held.run.experiment if _is_zero() else self.held.experiment

    @property
    def version(self) -> str | None:
        """The id of the run; None on other ranks than zero, which take the folder of checkpoints from rank zero."""
        return self.held.run.id if _is_zero() else self.held.id

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers at a step."""
        if _is_zero():
            self.held.log({f"{self._prefix}{key}": value for key, value in metrics.items()}, step)

    def log_hyperparams(self, params: Any = None, *args: Any, **kwargs: Any) -> None:
        """Set parameters: a mapping, a namespace or a dataclass; nested ones are flattened with ``/``."""
        if _is_zero() and params:
            self.held.log_params(params)

    def log_image(
        self, key: str, images: Sequence[Any], step: int | None = None, **kwargs: Any
    ) -> None:
        """Log images: one as `key`, several as `key/0`, `key/1`, …"""
        if _is_zero():
            for name, image in _named(key, images):
                self.held.run.log_image(name, image, step)

    def log_text(self, key: str, text: Any, step: int | None = None) -> None:
        """Log a text."""
        if _is_zero():
            self.held.run.log_text(key, text, step)

    def log_table(
        self, key: str, rows: Any, columns: Sequence[str] | None = None, step: int | None = None
    ) -> None:
        """Log a table."""
        if _is_zero():
            self.held.run.log_table(key, rows, columns, step)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Log the checkpoints that are new, or remember them for the end."""
        if not self._log_model or not _is_zero():
            return
        self._callback = checkpoint_callback
        for path, score in _checkpoints(checkpoint_callback).items():
            if path not in self._saved or path == getattr(
                checkpoint_callback, "last_model_path", None
            ):
                step = getattr(checkpoint_callback, "_last_global_step_saved", None)
                self._saved[path] = (step, score)
                if self._log_model == "all":
                    self._log_checkpoint(path)

    def _log_checkpoint(self, path: str) -> None:
        step, score = self._saved[path]
        direction = getattr(self._callback, "mode", None)
        self.held.log_saved_model(path, step, scores=score, direction=direction)

    def finalize(self, status: str) -> None:
        """End the run: as failed if an exception is being handled; not before a job is queued again."""
        if not _is_zero() or not self.held.is_open:
            return
        if self._log_model is True and self._callback is not None:
            ends = (self._callback.last_model_path, self._callback.best_model_path)
            for path in dict.fromkeys(path for path in ends if path):
                self._saved.setdefault(path, (None, {}))
                self._log_checkpoint(path)
        if status == "finished":  # Slurm queues the job again; the run goes on
            self.held.flush()
        elif status == "failed":
            self.held.finish(sys.exc_info()[1] or "the training failed")
        else:
            self.held.finish()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_callback": None}  # a weak reference


def _is_zero() -> bool:
    return _zero.rank == 0


def _named(key: str, items: Sequence[Any]) -> list[tuple[str, Any]]:
    return [
        (key if len(items) == 1 else f"{key}/{place}", item) for place, item in enumerate(items)
    ]


def _checkpoints(callback: Any) -> dict[str, dict[str, Any]]:
    """Return the checkpoints of a callback: path → the metric that is monitored and its value."""
    monitor = getattr(callback, "monitor", None)
    found: dict[str, dict[str, Any]] = {}
    last = getattr(callback, "last_model_path", "")
    best = getattr(callback, "best_model_path", "")
    for path, score in {
        last: getattr(callback, "current_score", None),
        best: getattr(callback, "best_model_score", None),
        **getattr(callback, "best_k_models", {}),
    }.items():
        if path:
            found[str(path)] = {} if monitor is None or score is None else {monitor: score}
    return found
