"""`Run`: a run of runbase with the interface of W&B's."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import msgspec

from runbase.errors import InvalidValue, RunbaseError, RunFinished
from runbase.events import Scalar
from runbase.ids import name_for
from runbase.run import background, exit_hooks
from runbase.run.alerts import AlertLog
from runbase.storage.address import is_server, server_of
from runbase.typing import JsonObject
from runbase.values import to_text
from runbase.wandb.configuration import Config
from runbase.wandb.definitions import Metric
from runbase.wandb.errors import UsageError
from runbase.wandb.files import FileMethods
from runbase.wandb.options import Origin
from runbase.wandb.rows import Rows, attempt
from runbase.wandb.state import attached
from runbase.wandb.summaries import Summary, numbers
from runbase.wandb.terms import warn_once
from runbase.wandb.watching import Watcher

if TYPE_CHECKING:
    from runbase.run.run import Run as Recorder

SUMMARY, DEFINITIONS = "wandb.summary", "wandb.metrics"
"""The JSON records with the values that a script sets in the summary, and with its definitions of metrics."""


class Run(FileMethods):
    """A run. `init` returns it.

    Attributes:
        id: the id of the run.
        project: the experiment of the run.
        entity: the entity, which is recorded as the tag `wandb.entity`.
        config: its parameters.
        summary: one value for each metric.
        group: the tag `group`.
        job_type: the tag `job_type`.
        resumed: whether the run existed before.
        start_time: when this process began the run, in seconds since the epoch.
    """

    def __init__(self, recorder: "Recorder | None", origin: Origin) -> None:
        super().__init__(recorder, origin)
        self.project, self.entity = origin.project, origin.entity or ""
        self.group, self.job_type = origin.group or "", origin.job_type or ""
        self.resumed, self.sweep_id = origin.resumed, origin.sweep_id
        self.id = origin.run_id if recorder is None else recorder.id
        self.start_time = time.time()
        self.starting_step = origin.step
        self.config = Config(None if recorder is None else self._log_config)
        self.summary = Summary(self._log_summary)
        self._rows = Rows(recorder, self.summary, origin.step)
        self._tags = tuple(origin.tags)
        self._notes, self._name = origin.notes or "", origin.name
        self._watcher = Watcher(self._log_aside)
        self._preempting = self._has_ended = False
        if recorder is not None:
            exit_hooks.register(self)

    # Log.

    def log(
        self,
        data: Any,
        step: int | None = None,
        commit: bool | None = None,
        sync: bool | None = None,
    ) -> None:
        """Log values to a row.

        Args:
            data: key → number, text, list, array, figure, data frame or medium. The keys of nested mappings are joined
                with ``.``. A value of another type is recorded as text.
            step: the row. Default: the current one. A step before the current one is recorded at its step, with a
                warning; W&B drops such values.
            commit: whether the row is complete, so that the next call without a step begins another. Default: if no
                step is passed.
            sync: ignored.

        Raises:
            TypeError: `data` is not a mapping.
            UsageError: the run has finished.
        """
        del sync
        if not isinstance(data, Mapping):
            raise TypeError(f"log needs a dictionary, not {type(data).__name__}")
        if self._has_ended:
            raise UsageError(f"run {self.name} has finished; call log before finish, or init again")
        try:
            self._rows.log(cast("Mapping[Any, Any]", data), step, commit)
        except RunFinished as error:
            raise UsageError(str(error)) from error

    def define_metric(
        self,
        name: str,
        step_metric: "str | Metric | None" = None,
        step_sync: bool | None = None,
        hidden: bool | None = None,
        summary: str | None = None,
        goal: str | None = None,
        overwrite: bool | None = None,
        **more: object,
    ) -> Metric:
        """Say how a metric is shown.

        Args:
            name: the name of the metric, or a pattern such as ``val/*``.
            step_metric: the metric that it is shown against. If its name ends with ``step``, its value is the step at
                which the metric is recorded.
            step_sync: whether the last value of the step metric is added to rows that lack it. Default: True.
            hidden: recorded only.
            summary: what the summary keeps: min, max, mean, last, first, best, copy or none, separated by commas.
            goal: minimize or maximize, for `best`.
            overwrite: whether to forget an earlier definition of this name.
            more: ignored.

        Returns:
            The definition.

        Raises:
            Error: the summary is not known.
        """
        del more
        metric = self._rows.definitions.define(
            name,
            step_metric=step_metric,
            step_sync=step_sync,
            hidden=hidden,
            summary=summary,
            goal=goal,
            overwrite=overwrite,
        )
        self._log_document(DEFINITIONS, self._rows.definitions.as_dict())
        return metric

    def watch(
        self,
        models: Any,
        criterion: Any = None,
        log: str | None = "gradients",
        log_freq: int = 1000,
        idx: int | None = None,
        log_graph: bool = False,
    ) -> None:
        """Log histograms of the gradients and parameters of PyTorch models.

        Args:
            models: a model or several.
            criterion: ignored.
            log: gradients, parameters, all, or None.
            log_freq: the number of backward passes from one histogram to the next.
            idx: the number in the names of the histograms, for several models.
            log_graph: ignored; the graph is not recorded.
        """
        del criterion, log_graph
        self._watcher.watch(models, log, log_freq, idx)

    def unwatch(self, models: Any = None) -> None:
        """Stop to log histograms of some models, or of all."""
        self._watcher.unwatch(models)

    def alert(
        self, title: str, text: str = "", level: Any = None, wait_duration: Any = None
    ) -> None:
        """Raise an alert; see `runbase.Run.alert`.

        Args:
            title: what happened.
            text: the details.
            level: INFO, WARN or ERROR.
            wait_duration: seconds, or a timedelta, in which an alert of the same title is dropped.
        """
        wait = getattr(wait_duration, "total_seconds", lambda: wait_duration or 0)()
        if self._recorder is not None:
            raised: AlertLog = self._recorder
            attempt(title, lambda: raised.alert(title, text, level or "info", wait=float(wait)))

    # The end.

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """End the run. A second call does nothing.

        Args:
            exit_code: the exit code of the process; the run has failed if it is not 0.
            quiet: ignored.
        """
        del quiet
        self._finish(None, exit_code)

    join = finish
    """Another name of `finish`."""

    def end_because(self, error: BaseException | None, exit_code: int | None) -> None:
        """End the run with the process; called by the exit hooks of runbase."""
        self._finish(error, exit_code)

    def _finish(self, error: BaseException | None, exit_code: int | None) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        self._watcher.unwatch(None)
        recorder = self._recorder
        if recorder is None:
            self._remove_files()
            return
        exit_hooks.unregister(self)
        if not recorder.finished:
            attempt("the summary", self._log_last_values)
            attempt("the files of the run", self._log_files)
        failed = (error is not None and not isinstance(error, SystemExit)) or bool(exit_code)
        status = "PREEMPTED" if self._preempting and failed else None
        recorder.finish(status, error, exit_code=exit_code)

    def mark_preempting(self) -> None:
        """Say that the run is about to be preempted: if it fails from now on, its status is PREEMPTED."""
        self._preempting = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        del kind, trace
        code = error.code if isinstance(error, SystemExit) else None
        self._finish(error, code if isinstance(code, int) else None)
        return False

    # What the run is.

    @property
    def name(self) -> str:
        """The display name. Setting it renames the run in the database."""
        if self._name is not None:
            return self._name
        return f"dummy-{self.id}" if self._recorder is None else self._recorder.name

    @name.setter
    def name(self, name: str) -> None:
        self._name = to_text(name)
        recorder = self._recorder
        if recorder is None:
            return
        recorder.name = self._name
        url = self._store_url
        if url is None:
            warn_once(
                f"the name {name!r} is not recorded: the run writes files only; pass it to init"
            )
            return
        try:
            recorder.flush()
            background.storage_for(url).update("run", self.id, {"name": self._name})
        except RunbaseError as error:
            warn_once(f"the run could not be renamed: {error}")

    @property
    def notes(self) -> str:
        """The notes."""
        return self._notes

    @notes.setter
    def notes(self, notes: str) -> None:
        self._notes = to_text(notes)
        if self._recorder is not None:
            self._recorder.note(self._notes)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags. Setting them adds and removes tags."""
        return self._tags

    @tags.setter
    def tags(self, tags: Sequence[str]) -> None:
        wanted = tuple(dict.fromkeys(map(to_text, tags)))
        if self._recorder is not None:
            removed = [tag for tag in self._tags if tag not in wanted]
            if removed:
                self._recorder.untag(*removed)
            self._recorder.tag(*wanted)
        self._tags = wanted

    @property
    def step(self) -> Scalar:
        """The number of the current row."""
        return self._rows.step

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self._has_ended or (self._recorder is not None and self._recorder.finished)

    @property
    def disabled(self) -> bool:
        """Whether nothing is recorded."""
        return self._recorder is None

    @property
    def offline(self) -> bool:
        """Whether the run writes files only."""
        return self._recorder is not None and self._recorder.store is None

    @property
    def url(self) -> str | None:
        """The address of the run on a server; None without one."""
        store = None if self._recorder is None else self._recorder.store
        if store is not None and is_server(store):
            return f"{server_of(store)}/run/{self.id}"
        return None

    @property
    def project_url(self) -> str | None:
        """None: a project has no address of its own."""
        return None

    sweep_url = project_url

    @property
    def path(self) -> str:
        """`entity/project/id`, without an entity if there is none."""
        return "/".join(part for part in (self.entity, self.project, self.id) if part)

    @property
    def config_static(self) -> JsonObject:
        """A copy of the config."""
        return self.config.as_dict()

    @property
    def settings(self) -> "Any":
        """The settings that the run began with."""
        return self._origin.settings

    def get_url(self) -> str | None:
        """Return the address of the run."""
        return self.url

    def get_project_url(self) -> str | None:
        """Return None: a project has no address of its own."""
        return None

    def project_name(self) -> str:
        """Return the project."""
        return self.project

    def status(self) -> str:
        """Return the status of the run."""
        return "disabled" if self._recorder is None else self._recorder.status.value

    def display(self, height: int = 420, hidden: bool = False) -> bool:
        """Return False: use `runbase.show` to show the page in a notebook."""
        del height, hidden
        return False

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """Return a line of HTML that names the run."""
        del height, hidden
        return f"<p>runbase: run {self.name} of {self.project}</p>"

    def write_logs(self, text: str) -> None:
        """Print a text; the output of the process is recorded."""
        print(text)

    def pin_config_keys(self, keys: Sequence[str] = ()) -> None:
        """Do nothing: the page has no pinned keys."""
        del keys

    def _label(self, *_: object, **__: object) -> None:
        """Do nothing; W&B's integrations name themselves here."""

    # What the parts above record.

    @property
    def _attach_id(self) -> str:
        """What another process needs to log to this run."""
        home = "" if self._recorder is None else str(self._recorder.folder.parents[2])
        known: JsonObject = {
            "id": self.id,
            "home": home,
            "project": self.project,
            "step": self.step,
            "definitions": self._rows.definitions.as_dict(),
        }
        return msgspec.json.encode(known).decode()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the id: in another process, the copy logs to the same run."""
        return attached, (self._attach_id,)

    def define_again(self, definitions: Mapping[str, JsonObject]) -> None:
        """Add definitions that are recorded already."""
        self._rows.definitions.load(definitions)

    def _log_config(self, values: Mapping[str, object]) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        try:
            recorder.log_params(values)
        except RunFinished:
            warn_once(f"run {self.name} has finished; changes of its config are not recorded")
        except InvalidValue:  # one of them: log the others, and this one as text
            for key, value in values.items():
                attempt(key, lambda key=key, value=value: recorder.log_params({key: value}))

    def _log_summary(self, explicit: JsonObject) -> None:
        self._log_document(SUMMARY, explicit)

    def _log_document(self, key: str, document: JsonObject) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        if recorder.finished:
            warn_once(f"run {self.name} has finished; changes of its summary are not recorded")
            return
        attempt(key, lambda: recorder.log_dict(key, document, self._rows.last))

    def _log_last_values(self) -> None:
        """Log the values of the summary that no row had, as W&B's import does: one point at the last step."""
        recorder = self._recorder
        explicit = self.summary.explicit
        if recorder is None or not explicit:
            return
        at, known = self._rows.last, self._rows.keys
        points: dict[str, Scalar] = {}
        for key, value in numbers(explicit):
            if key in known or any(key.startswith(f"{other}.") for other in known):
                continue
            if isinstance(value, str):
                recorder.log_text(key, value, at)
            else:
                points[key] = value
        if points:
            recorder.log(points, at)

    def _log_aside(self, key: str, values: Any) -> None:
        """Log a histogram of the watcher to the current row."""
        if not self.is_over:
            self._rows.log({key: values}, commit=False)

    def __repr__(self) -> str:
        return f"<Run {self.name} of {self.project}, {self.id}>"


class RunDisabled(Run):
    """A run of the mode `disabled`: nothing is recorded, and all calls work."""

    def __init__(self, origin: Origin) -> None:
        super().__init__(
            None, msgspec.structs.replace(origin, name=origin.name or name_for(origin.run_id))
        )
