"""The run's verbs as functions of the package: they act on the current run of this thread or task."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, cast

from runbase.errors import UsageError
from runbase.run import context
from runbase.run.run import Run
from runbase.run.start import start_run
from runbase.status import Status


def current_run() -> "Run | None":
    """The current run of this thread or task; in one that began none, the process's only run."""
    return cast("Run | None", context.active_run())


def required_run(what: str) -> "Run":
    """The current run; UsageError says how to begin one."""
    run = current_run()
    if run is None:
        several = (
            f"{len(context.runs)} runs are active and none is this thread's own; use run.{what}"
        )
        none = f"there is no run to {what} to; begin one: runbase.start_run('my-experiment')"
        raise UsageError(several if context.runs else none)
    return run


def log(values: Mapping[str, Any], step: Any = None, *, progress: float | None = None) -> None:
    """Log numbers to the current run; see `Run.log`."""
    required_run("log").log(values, step, progress=progress)


log_metrics = log


def log_metric(key: str, value: Any, step: Any = None) -> None:
    """Log one number to the current run."""
    required_run("log").log({key: value}, step)


def log_params(values: Mapping[str, Any]) -> None:
    """Set parameters of the current run."""
    required_run("log_params").log_params(values)


def log_param(key: str, value: Any) -> None:
    """Set one parameter of the current run."""
    required_run("log_params").log_params({key: value})


def log_text(key: str, text: str, step: Any = None) -> None:
    """Keep a text of the current run."""
    required_run("log_text").log_text(key, text, step)


def log_dict(key: str, value: Any, step: Any = None) -> None:
    """Keep a JSON document of the current run."""
    required_run("log_dict").log_dict(key, value, step)


def log_table(key: str, rows: Any, columns: Any = None, step: Any = None) -> None:
    """Keep a table of the current run; see `Run.log_table`."""
    required_run("log_table").log_table(key, rows, columns, step)


def log_histogram(key: str, values: Any, step: Any = None, bins: int = 64) -> None:
    """Keep the distribution of an array; see `Run.log_histogram`."""
    required_run("log_histogram").log_histogram(key, values, step, bins)


def log_image(key: str, image: Any, step: Any = None) -> None:
    """Keep an image of the current run; see `Run.log_image`."""
    required_run("log_image").log_image(key, image, step)


log_figure = log_image


def log_artifact(
    path: "str | os.PathLike[str]",
    *,
    name: str | None = None,
    kind: str = "file",
    step: Any = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Copy a file or folder into the current run; see `Run.log_artifact`."""
    run = required_run("log_artifact")
    run.log_artifact(path, name=name, kind=kind, step=step, metadata=metadata)


def log_telemetry(values: Mapping[str, Any], at: float | None = None) -> None:
    """Figures about the machine, for the current run; see `Run.log_telemetry`."""
    required_run("log_telemetry").log_telemetry(values, at)


def tag(*tags: str | Mapping[str, Any], **more: Any) -> None:
    """Add tags to the current run."""
    required_run("tag").tag(*tags, **more)


def note(text: str) -> None:
    """Set the notes of the current run."""
    required_run("note").note(text)


def finish(
    status: Status | str | int | None = None, error: BaseException | str | None = None
) -> None:
    """End the current run; without one, nothing happens."""
    run = current_run()
    if run is not None:
        run.finish(status, error)


def init(
    project: str | None = None,
    *,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    tags: Iterable[str] | None = None,
    notes: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    id: str | None = None,
    resume: "bool | str | None" = None,
    dir: "str | os.PathLike[str] | None" = None,
    mode: str | None = None,
) -> Run:
    """`start_run` under the names that W&B's users know; `group` and `job_type` become tags."""
    found: dict[str, Any] = dict.fromkeys(tags or ())
    found |= {k: v for k, v in {"group": group, "job_type": job_type}.items() if v is not None}
    going_on = resume not in (None, False, "never") and id is not None
    return start_run(
        project,
        name=name,
        params=config,
        tags=found,
        notes=notes,
        run_id=None if resume == "must" else id,
        resume=id if going_on and resume == "must" else None,
        home=None if dir is None else os.path.join(os.fspath(dir), ".runbase"),  # noqa: PTH118
        store="none" if mode == "offline" else None,
    )
