"""Module-level functions (`runbase.log`, `runbase.tag`, …) for the current run of this thread or task."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from runbase.errors import UsageError
from runbase.run import context
from runbase.run.run import Run
from runbase.run.start import start_run
from runbase.status import Status
from runbase.typing import JsonObject, StepLike


def current_run() -> "Run | None":
    """Return the current run of this thread or task; if it started none, the only run of the process."""
    return cast("Run | None", context.active_run())


def required_run(what: str) -> "Run":
    """Return the current run; raise UsageError if there is none."""
    run = current_run()
    if run is None:
        several = f"{len(context.runs)} runs are active and none was started by this thread; use run.{what}"
        none = f"no active run for {what}; start one: runbase.start_run('my-experiment')"
        raise UsageError(several if context.runs else none)
    return run


def log(
    values: Mapping[str, object], step: StepLike = None, *, progress: float | None = None
) -> None:
    """Log numbers to the current run; see `Run.log`."""
    required_run("log").log(values, step, progress=progress)


log_metrics = log
"""Another name of `log`."""


def log_metric(key: str, value: object, step: StepLike = None) -> None:
    """Log one number to the current run."""
    required_run("log").log({key: value}, step)


def log_params(values: Mapping[str, object]) -> None:
    """Set parameters of the current run."""
    required_run("log_params").log_params(values)


def log_param(key: str, value: object) -> None:
    """Set one parameter of the current run."""
    required_run("log_params").log_params({key: value})


def log_text(key: str, text: str, step: StepLike = None) -> None:
    """Log a text to the current run."""
    required_run("log_text").log_text(key, text, step)


def log_dict(key: str, value: object, step: StepLike = None) -> None:
    """Log a JSON document to the current run."""
    required_run("log_dict").log_dict(key, value, step)


def log_table(
    key: str, rows: object, columns: Sequence[str] | None = None, step: StepLike = None
) -> None:
    """Log a table to the current run; see `Run.log_table`."""
    required_run("log_table").log_table(key, rows, columns, step)


def log_histogram(key: str, values: object, step: StepLike = None, bins: int = 64) -> None:
    """Log the distribution of an array to the current run; see `Run.log_histogram`."""
    required_run("log_histogram").log_histogram(key, values, step, bins)


def log_image(key: str, image: object, step: StepLike = None) -> None:
    """Log an image to the current run; see `Run.log_image`."""
    required_run("log_image").log_image(key, image, step)


log_figure = log_image
"""Another name of `log_image`."""


def log_artifact(
    path: "str | os.PathLike[str]",
    *,
    name: str | None = None,
    kind: str = "file",
    step: StepLike = None,
    metadata: Mapping[str, object] | None = None,
) -> None:
    """Copy a file or folder into the current run; see `Run.log_artifact`."""
    run = required_run("log_artifact")
    run.log_artifact(path, name=name, kind=kind, step=step, metadata=metadata)


def log_telemetry(values: Mapping[str, object], at: float | None = None) -> None:
    """Log measurements of the machine to the current run; see `Run.log_telemetry`."""
    required_run("log_telemetry").log_telemetry(values, at)


def tag(*tags: str | Mapping[str, object], **more: object) -> None:
    """Add tags to the current run."""
    required_run("tag").tag(*tags, **more)


def note(text: str, *, append: bool = False) -> None:
    """Set the notes of the current run; with `append`, add a line to them."""
    required_run("note").note(text, append=append)


def finish(
    status: Status | str | int | None = None, error: BaseException | str | None = None
) -> None:
    """End the current run; do nothing if there is none."""
    run = current_run()
    if run is not None:
        run.finish(status, error)


def init(
    project: str | None = None,
    *,
    name: str | None = None,
    config: Mapping[str, object] | None = None,
    tags: Iterable[str] | None = None,
    notes: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    id: str | None = None,
    resume: "bool | str | None" = None,
    dir: "str | os.PathLike[str] | None" = None,
    mode: str | None = None,
) -> Run:
    """Start a run with the arguments of `wandb.init`; see `start_run`.

    Args:
        project: the experiment.
        name: the display name.
        config: parameters.
        tags: tags.
        notes: free text.
        group: recorded as the tag `group`.
        job_type: recorded as the tag `job_type`.
        id: the run id.
        resume: with an `id`, resume that run; ``"must"`` raises NotFound if it does not exist.
        dir: the folder that contains the home `.runbase`.
        mode: ``"offline"`` writes files only.

    Returns:
        The run.
    """
    all_tags: JsonObject = dict.fromkeys(tags or ())
    all_tags |= {k: v for k, v in {"group": group, "job_type": job_type}.items() if v is not None}
    resuming = resume not in (None, False, "never") and id is not None
    return start_run(
        project,
        name=name,
        params=config,
        tags=all_tags,
        notes=notes,
        run_id=None if resume == "must" else id,
        resume=id if resuming and resume == "must" else None,
        home=None if dir is None else os.path.join(os.fspath(dir), ".runbase"),  # noqa: PTH118
        store="none" if mode == "offline" else None,
    )
