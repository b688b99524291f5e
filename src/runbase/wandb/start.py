"""`init` and `attach`: start a run, resume one, or log to the run of another process."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from runbase.errors import RunbaseError
from runbase.filesystems import atomic_write
from runbase.ids import derived_id, folder_name, new_id
from runbase.journal import files, opened
from runbase.model import Run as Record
from runbase.run import background
from runbase.run.start import start_run, store_url
from runbase.settings import find_home, load
from runbase.typing import JsonObject
from runbase.wandb.configuration import DEFAULTS, as_mapping, from_yaml, nested
from runbase.wandb.errors import Error, UsageError
from runbase.wandb.options import Origin, Settings, is_true, resolve
from runbase.wandb.runs import Run, RunDisabled
from runbase.wandb.state import state
from runbase.wandb.stored import recorded, summary_of
from runbase.wandb.terms import warn_once

if TYPE_CHECKING:
    from runbase.run.run import Run as Recorder

IGNORED = ("anonymous", "force", "allow_val_change", "id")
"""Arguments of W&B that mean nothing without its service."""


def init(
    entity: str | None = None,
    project: str | None = None,
    dir: Any = None,
    id: str | None = None,
    name: str | None = None,
    notes: str | None = None,
    tags: Sequence[str] | None = None,
    config: Any = None,
    config_exclude_keys: Sequence[str] | None = None,
    config_include_keys: Sequence[str] | None = None,
    allow_val_change: bool | None = None,
    group: str | None = None,
    job_type: str | None = None,
    mode: str | None = None,
    force: bool | None = None,
    reinit: bool | str | None = None,
    resume: bool | str | None = None,
    resume_from: str | None = None,
    fork_from: str | None = None,
    save_code: bool | None = None,
    tensorboard: bool | None = None,
    sync_tensorboard: bool | None = None,
    monitor_gym: bool | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
    **more: Any,
) -> Run:
    """Start a run, or return the current one.

    What is not passed comes from `settings`, then from the variables `WANDB_*`.

    Args:
        entity: recorded as the tag `wandb.entity`.
        project: the experiment. Default: that of runbase.
        dir: where the search for the home `.runbase` begins, if the setting `home` is not set.
        id: the id of the run.
        name: the display name.
        notes: free text.
        tags: tags.
        config: parameters: a mapping, a namespace, or the path of a YAML file.
        config_exclude_keys: keys of `config` to leave out.
        config_include_keys: the only keys of `config` to take.
        allow_val_change: ignored.
        group: recorded as the tag `group`.
        job_type: recorded as the tag `job_type`.
        mode: ``online``; ``offline`` sends nothing over a network; ``disabled`` records nothing.
        force: ignored.
        reinit: what to do if a run is active: ``return_previous`` (default), ``finish_previous`` (True; default in
            notebooks) or ``create_new``.
        resume: ``allow`` resumes the run of the id if it exists, ``must`` raises an error if it does not, ``never``
            raises one if it does; ``auto`` (True) resumes the last run of this project that did not succeed.
        resume_from: the run `ID?_step=N` to resume; later points are kept.
        fork_from: recorded as the tag `forked_from`.
        save_code: whether to record the main script.
        tensorboard: not supported; `runbase scan` reads event files.
        sync_tensorboard: not supported; `runbase scan` reads event files.
        monitor_gym: not supported.
        settings: settings by name, such as `run_group`.
        more: ignored.

    Raises:
        UsageError: `resume` does not fit the id.
    """
    del force, allow_val_change
    unknown = [key for key in more if key not in IGNORED]
    if unknown:
        warn_once(f"init: {', '.join(sorted(unknown))} has no meaning in runbase and is ignored")
    if tensorboard or sync_tensorboard:
        warn_once(
            "init: sync_tensorboard is not supported; `runbase scan LOGDIR` reads event files"
        )
    if monitor_gym:
        warn_once("init: monitor_gym is not supported; log videos with Video")
    wanted = resolve(
        settings,
        entity=entity,
        project=project,
        root_dir=dir,
        run_id=id,
        run_name=name,
        run_notes=notes,
        run_tags=tags,
        run_group=group,
        run_job_type=job_type,
        mode=mode,
        resume=resume,
    )
    values = _configured(config, config_exclude_keys, config_include_keys)
    previous = _previous(reinit if reinit is not None else wanted.reinit)
    if previous is not None:
        previous.config.update(values, allow_val_change=True)
        return previous
    tags_of_run = {"forked_from": fork_from} if fork_from else {}
    step = _step_of(wanted, resume_from)
    run = (
        RunDisabled(_origin(wanted))
        if wanted.mode == "disabled"
        else _start(wanted, tags_of_run, step)
    )
    run.config.setdefaults(_defaults())
    run.config.update(values, allow_val_change=True)
    if save_code or is_true(wanted.save_code):
        _save_script(run)
    if reinit != "create_new" or state.run is None:
        state.run = run
    return run


def attach(attach_id: str) -> Run:
    """Log to the run of another process.

    Args:
        attach_id: what `run._attach_id` is there.
    """
    about: JsonObject = msgspec.json.decode(attach_id)
    if state.run is not None and state.run.id == about["id"]:
        return state.run
    origin = Origin(run_id=about["id"], project=about["project"], step=about["step"])
    if not about["home"]:
        run: Run = RunDisabled(origin)
    else:
        home = Path(about["home"])
        recorder = start_run(about["project"], run_id=about["id"], home=home)
        run = Run(recorder, msgspec.structs.replace(origin, home=home))
        run.config.hold(nested(recorder.params))
    run.define_again(about["definitions"])
    state.run = run
    return run


def _previous(reinit: bool | str | None) -> Run | None:
    """Return the current run, if `init` returns it; else finish it if that is asked for."""
    current: Run | None = state.run
    if current is None or reinit == "create_new":
        return None
    if state.trial is not None and not state.trial.started:
        current.finish()
        return None
    in_notebook = "ipykernel" in sys.modules
    if reinit in (True, "finish_previous") or (reinit in (None, "default") and in_notebook):
        current.finish()
        return None
    warn_once(
        f"init returns run {current.name}, which is active; call finish first, or pass "
        "reinit='finish_previous' or 'create_new'"
    )
    return current


def _start(wanted: Settings, tags: Mapping[str, str], step: int | None) -> Run:
    home = _home(wanted.root_dir)
    if state.trial is not None and not state.trial.started:
        return _start_trial(wanted, home, tags)
    settings = load(home=home, experiment=wanted.project)
    url = store_url(settings)
    run_id, known = _identity(wanted, settings.home, url)
    offline = wanted.mode == "offline" and url is not None and not url.startswith("sqlite")
    recorder = start_run(
        wanted.project,
        name=wanted.run_name if known is None else None,
        tags={**_labels(wanted), **tags},
        notes=wanted.run_notes,
        home=home,
        run_id=run_id,
        store="none" if offline else None,
    )
    origin = _origin(wanted, recorder, known, step)
    run = Run(recorder, origin)
    if known is not None:
        _restore(run, recorder, url)
    elif recorder.number is not None:  # a trial that `runbase worker` has claimed
        run.config.hold(nested(recorder.params), locked_by="the trial")
    return run


def _start_trial(wanted: Settings, home: Path | None, tags: Mapping[str, str]) -> Run:
    """Start the trial that `agent` has claimed."""
    trial = state.trial
    assert trial is not None
    trial.started = True
    del home  # the run is in the home of the store that the trial is in
    labels = {**_labels(wanted), **tags, "sweep": trial.sweep_id}
    recorder = trial.claim.start(tags=labels, notes=wanted.run_notes)
    origin = msgspec.structs.replace(_origin(wanted, recorder), sweep_id=trial.sweep_id)
    run = Run(recorder, origin)
    run.config.hold(nested(trial.claim.params), locked_by="the sweep")
    fixed = trial.claim.config
    run.config.update(fixed, allow_val_change=True)
    run.config.hold(fixed, locked_by="the sweep")
    return run


def _origin(
    wanted: Settings,
    recorder: "Recorder | None" = None,
    known: "Found | None" = None,
    step: int | None = None,
) -> Origin:
    first = 0 if step is None else step
    return Origin(
        run_id=wanted.run_id or new_id()[-8:],
        project=wanted.project or "uncategorized" if recorder is None else recorder.experiment,
        home=None if recorder is None else recorder.folder.parents[2],
        step=known.step if known is not None and step is None else first,
        entity=wanted.entity,
        name=wanted.run_name,
        notes=wanted.run_notes,
        tags=wanted.run_tags,
        group=wanted.run_group,
        job_type=wanted.run_job_type,
        resumed=known is not None,
        settings=wanted,
    )


def _labels(wanted: Settings) -> dict[str, str | None]:
    """Return the tags of a run; the keys are those of W&B's import."""
    labels: dict[str, str | None] = dict.fromkeys(wanted.run_tags)
    about = {
        "group": wanted.run_group,
        "job_type": wanted.run_job_type,
        "wandb.entity": wanted.entity,
    }
    return labels | {key: str(value) for key, value in about.items() if value}


def _home(start: Any) -> Path | None:
    """Return the home for runs: the nearest one at or above a folder; None for the default of runbase."""
    if start in (None, "") or load().values["home"].source != "default":
        return None
    folder = Path(start).expanduser().absolute()
    found = find_home(folder)
    if not found.is_dir() and folder.is_relative_to(Path.cwd()):
        return None  # the output folder of a tool: its runs belong to the home of the script
    return found


class Found(msgspec.Struct):
    """A run that exists.

    Attributes:
        step: its next row.
    """

    step: int = 0


def _identity(wanted: Settings, home: Path, url: str | None) -> tuple[str | None, Found | None]:
    """Return the id of the run to start, and what is known of it if it exists.

    Raises:
        UsageError: `resume` does not fit.
    """
    how = wanted.resume
    run_id: str | None = wanted.run_id
    mark = home / "wandb-resume" / f"{folder_name(wanted.project or 'default')}.json"
    automatic = how in (True, "auto", "true", "True", "1")
    if automatic and run_id is None:
        with suppress(OSError, msgspec.DecodeError):
            run_id = msgspec.json.decode(mark.read_bytes(), type=str)
    if run_id is None:
        if how == "must":
            raise UsageError("resume='must' needs the id of a run: init(id=…, resume='must')")
        run_id = new_id() if automatic else None
    found = None if run_id is None else _find(home, url, run_id)
    if run_id is not None and found is not None and found.experiment != _experiment(wanted, found):
        run_id = derived_id(run_id, str(wanted.project))  # ids of W&B are unique in a project only
        found = _find(home, url, run_id)
    if automatic and found is not None and found.status == "COMPLETED" and wanted.run_id is None:
        run_id, found = new_id(), None
    if automatic and run_id is not None:
        with suppress(OSError), atomic_write(mark) as path:
            path.write_bytes(msgspec.json.encode(run_id))
    if how == "must" and found is None:
        raise UsageError(f"resume='must': there is no run {run_id!r} in {home}")
    if how == "never" and found is not None:
        raise UsageError(f"resume='never': there is a run {run_id!r}; pass another id")
    if found is not None and how in (None, False, "false", "False"):
        warn_once(
            f"run {run_id} exists and is resumed; W&B would replace it. Pass another id for a new run"
        )
    return run_id, None if found is None else Found(step=found.next_step)


class _Stored(msgspec.Struct):
    """A run as it was found in the home or the database."""

    experiment: str
    status: str
    next_step: int


def _find(home: Path, url: str | None, run_id: str) -> _Stored | None:
    record = _record(url, run_id)
    if record is not None and record.started_at is not None:
        steps = [m.last_step for m in record.metrics.values() if m.last_step is not None]
        following = int(max(steps, default=-1)) + 1
        return _Stored(record.experiment, record.status.value, following)
    for folder in sorted(home.glob("runs/*/*")):
        if folder.name == run_id:
            for path in files(folder):
                if (head := opened(path)) is not None:
                    return _Stored(head.experiment, "", 0)
    return None


def _record(url: str | None, run_id: str) -> Record | None:
    if url is None:
        return None
    with suppress(Exception):  # a database that is offline must not stop a run
        return next(iter(background.storage_for(url).get_runs([run_id])), None)
    return None


def _experiment(wanted: Settings, found: _Stored) -> str:
    return str(wanted.project) if wanted.project else found.experiment


def _restore(run: Run, recorder: "Recorder", url: str | None) -> None:
    """Give a resumed run its config and summary."""
    with suppress(Exception):  # a database that is offline must not stop a run
        recorder.flush()
        record = _record(url, recorder.id)
        if record is None or url is None:
            return
        recorder.params.hold(record.params)
        run.config.hold(nested(record.params))
        explicit, _ = recorded(background.storage_for(url), recorder.id)
        run.summary.restore(explicit, summary_of(record, explicit))


def _step_of(wanted: Settings, resume_from: str | None) -> int | None:
    """Return the first row after `ID?_step=N`, and set the id."""
    if not resume_from:
        return None
    run_id, _, moment = resume_from.partition("?_step=")
    wanted.update(run_id=run_id, resume="must")
    warn_once("resume_from: points after the step are kept, and later points of a step are read")
    return int(moment) + 1 if moment.isdecimal() else None


def _configured(
    config: Any, exclude: Sequence[str] | None, include: Sequence[str] | None
) -> JsonObject:
    if exclude and include:
        raise UsageError("pass config_exclude_keys or config_include_keys, not both")
    values = as_mapping(config)
    if include:
        return {key: value for key, value in values.items() if key in include}
    return {key: value for key, value in values.items() if key not in (exclude or ())}


def _defaults() -> JsonObject:
    """Return the values of `config-defaults.yaml` in the working folder."""
    path = Path(DEFAULTS)
    if not path.is_file():
        return {}
    try:
        return from_yaml(path)
    except (RunbaseError, OSError, ValueError) as error:
        warn_once(f"{path} cannot be read: {error}")
        return {}


def _save_script(run: Run) -> None:
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script and Path(script).is_file():
        with suppress(Error):
            run.save(script, policy="now")
