"""Functions of the module for the current run, and functions that mean nothing without W&B's service."""

from collections.abc import Sequence
from enum import Enum
from typing import Any

from runbase.wandb.artifacts import Artifact
from runbase.wandb.definitions import Metric
from runbase.wandb.errors import Error, UnsupportedError
from runbase.wandb.options import Settings, resolve
from runbase.wandb.runs import Run
from runbase.wandb.state import state


class AlertLevel(Enum):
    """The level of an alert."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


class BeforeInit:
    """What `config` and `summary` are without a run: each use raises an `Error`."""

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):
            raise AttributeError(key)
        raise Error(f"call init() before {object.__getattribute__(self, '_name')}.{key}")

    def __setattr__(self, key: str, value: object) -> None:
        raise Error(f"call init() before {object.__getattribute__(self, '_name')}.{key}")

    def __getitem__(self, key: str) -> Any:
        raise Error(f"call init() before {object.__getattribute__(self, '_name')}[{key!r}]")

    def __setitem__(self, key: str, value: object) -> None:
        self[key]


def required(what: str) -> Run:
    """Return the current run.

    Raises:
        Error: there is none.
    """
    run: Run | None = state.run
    if run is None:
        raise Error(f"call init() before {what}()")
    return run


def log(
    data: Any, step: int | None = None, commit: bool | None = None, sync: bool | None = None
) -> None:
    """Log values to a row of the current run; see `Run.log`."""
    required("log").log(data, step, commit, sync)


def define_metric(name: str, step_metric: Any = None, **options: Any) -> Metric:
    """Say how a metric of the current run is shown; see `Run.define_metric`."""
    return required("define_metric").define_metric(name, step_metric, **options)


def watch(
    models: Any,
    criterion: Any = None,
    log: str | None = "gradients",
    log_freq: int = 1000,
    **options: Any,
) -> None:
    """Log histograms of the gradients and parameters of models; see `Run.watch`."""
    required("watch").watch(models, criterion, log, log_freq, **options)


def unwatch(models: Any = None) -> None:
    """Stop to log histograms of models."""
    required("unwatch").unwatch(models)


def save(
    glob_str: Any = None, base_path: Any = None, policy: str = "live", **options: Any
) -> "bool | list[str]":
    """Record files of the current run; see `Run.save`."""
    return required("save").save(glob_str, base_path, policy, **options)


def restore(
    name: str, run_path: str | None = None, replace: bool = False, root: str | None = None
) -> Any:
    """Return a file of a run, open for reading; see `Run.restore`."""
    if state.run is not None:
        return state.run.restore(name, run_path, replace, root)
    if run_path is None:
        raise Error("restore needs run_path='project/id', or a run")
    return state.api(None).run(run_path).file(name).download(root or ".", replace, exist_ok=True)


def log_artifact(artifact_or_path: Any, *arguments: Any, **options: Any) -> Artifact:
    """Record an artifact of the current run; see `Run.log_artifact`."""
    return required("log_artifact").log_artifact(artifact_or_path, *arguments, **options)


def use_artifact(artifact_or_name: Any, *arguments: Any, **options: Any) -> Artifact:
    """Return an artifact that the current run uses; see `Run.use_artifact`."""
    return required("use_artifact").use_artifact(artifact_or_name, *arguments, **options)


def log_model(path: Any, name: str | None = None, aliases: Sequence[str] | None = None) -> None:
    """Record a model of the current run; see `Run.log_model`."""
    required("log_model").log_model(path, name, aliases)


def use_model(name: str) -> str:
    """Return the path of a model that the current run uses; see `Run.use_model`."""
    return required("use_model").use_model(name)


def link_model(path: Any, registered_model_name: str, *arguments: Any, **options: Any) -> Any:
    """Record a model; see `Run.link_model`."""
    return required("link_model").link_model(path, registered_model_name, *arguments, **options)


def alert(title: str, text: str = "", level: Any = None, wait_duration: Any = None) -> None:
    """Raise an alert about the current run; see `Run.alert`."""
    required("alert").alert(title, text, level, wait_duration)


def mark_preempting() -> None:
    """Say that the current run is about to be preempted."""
    required("mark_preempting").mark_preempting()


def finish(exit_code: int | None = None, quiet: bool | None = None) -> None:
    """End the current run; do nothing if there is none."""
    if state.run is not None:
        state.run.finish(exit_code, quiet)


def login(*_: object, **__: object) -> bool:
    """Return True: runbase needs no account. `runbase login` signs in at a runbase server."""
    return True


def require(requirement: Any = None, experiment: Any = None) -> None:
    """Do nothing: W&B enables features that are being tested here."""
    del requirement, experiment


def setup(settings: Any = None) -> "Setup":
    """Return the settings that a run would begin with."""
    return Setup(resolve(settings))


def teardown(exit_code: int | None = None) -> None:
    """End the current run."""
    finish(exit_code)


class Setup:
    """What `setup` returns.

    Attributes:
        settings: the settings.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings


def ensure_configured() -> None:
    """Do nothing."""


def controller(*_: object, **__: object) -> Any:
    """Raise an error: runbase has no controller of sweeps.

    Raises:
        UnsupportedError: always.
    """
    raise UnsupportedError(
        "runbase has no controller of sweeps; each agent chooses the next parameters"
    )


def helper_parse_config(params: Any, exclude: Any = None, include: Any = None) -> Any:
    """Return a config without some keys, or with some keys only."""
    if include:
        return {key: value for key, value in params.items() if key in include}
    return {key: value for key, value in params.items() if key not in (exclude or ())}


def pin_config_keys(keys: Sequence[str] = ()) -> None:
    """Do nothing: the page has no pinned keys."""
    del keys
