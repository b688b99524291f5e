"""`Api`: read runs, artifacts and sweeps of the store."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runbase.errors import NotFound
from runbase.store.store import Store
from runbase.store.store import open as open_store
from runbase.trials.experiment import Experiment
from runbase.typing import JsonObject
from runbase.wandb.artifacts import Artifact, find, versions_of
from runbase.wandb.errors import CommError
from runbase.wandb.filters import matches
from runbase.wandb.public_run import PublicRun, look
from runbase.wandb.terms import warn_once


class Api:
    """Reads the store of the home, or of the setting `store`.

    Args:
        overrides: defaults for `project` and `entity`.
        timeout: ignored.
        api_key: ignored.
        home: the folder of the store. Default: the setting `home`.
        more: ignored.
    """

    def __init__(
        self,
        overrides: Mapping[str, Any] | None = None,
        timeout: int | None = None,
        api_key: str | None = None,
        *,
        home: Path | None = None,
        **more: Any,
    ) -> None:
        del timeout, api_key, more
        self.settings: JsonObject = {"entity": "", "project": "", **(overrides or {})}
        self._home = home
        self._opened: Store | None = None

    @property
    def default_entity(self) -> str:
        """The entity of `overrides`."""
        return str(self.settings["entity"])

    def flush(self) -> None:
        """Ingest what runs have logged since the last call."""
        if self._opened is not None:
            self._opened.sync()

    def run(self, path: str = "") -> PublicRun:
        """Return a run.

        Args:
            path: ``[entity/][project/]id``; the id can also be a name or a prefix of the id.

        Raises:
            CommError: there is none.
        """
        parts = [part for part in path.split("/") if part and part != "runs"]
        if not parts:
            raise CommError("the path of a run is empty; pass 'project/id'")
        project = parts[-2] if len(parts) > 1 else None
        try:
            record = self._store.run(parts[-1])
            if project is not None and record.experiment != project:
                record = self._store.run(parts[-1], project)
        except NotFound as error:
            raise CommError(f"could not find run {path!r}: {error}") from error
        return PublicRun(self._store, record)

    def runs(
        self,
        path: str | None = None,
        filters: Mapping[str, Any] | None = None,
        order: str = "+created_at",
        per_page: int = 50,
        include_sweeps: bool = True,
        **more: Any,
    ) -> "Runs":
        """Return the runs of a project, with those of its sweeps.

        Args:
            path: ``[entity/]project``. Default: all projects.
            filters: a filter of MongoDB's form over state, name, display_name, tags, group, jobType, username,
                created_at, ``config.KEY`` and ``summary_metrics.KEY``.
            order: a field to sort by, with ``+`` or ``-`` before it.
            per_page: ignored.
            include_sweeps: whether to include the runs of the project's sweeps.
            more: ignored.

        Raises:
            CommError: there is no such project.
            UsageError: an operator of the filter is not known.
        """
        del per_page, more
        project = (path or self.settings["project"] or "").rpartition("/")[2]
        found = [
            PublicRun(self._store, record) for record in self._records(project, include_sweeps)
        ]
        chosen = [run for run in found if matches(look(run), filters or {})]
        key = order.lstrip("+-")
        chosen.sort(key=lambda run: (_sort_key(look(run)(key)), run.number))
        if order.startswith("-"):
            chosen.reverse()
        return Runs(chosen)

    def projects(self, entity: str | None = None, per_page: int = 200) -> list["Project"]:
        """Return the projects."""
        del entity, per_page
        return [Project(one.name, one.id) for one in self._store.experiments()]

    def project(self, name: str, entity: str | None = None) -> "Project":
        """Return a project."""
        del entity
        one = self._store.experiment(name)
        return Project(one.name, one.id)

    def sweep(self, path: str = "") -> "Sweep":
        """Return a sweep by its id.

        Raises:
            CommError: there is none.
        """
        try:
            return Sweep(self._store, self._store.experiment(path.rpartition("/")[2]))
        except NotFound as error:
            raise CommError(f"could not find sweep {path!r}: {error}") from error

    def artifact(self, name: str, type: str | None = None) -> Artifact:
        """Return a version of an artifact: ``[entity/][project/]name[:alias]``.

        Raises:
            CommError: there is none, or it has another type.
        """
        artifact = find(name, self._store.home, self.settings["project"] or None)
        if type is not None and artifact.type != type:
            raise CommError(f"artifact {name!r} has the type {artifact.type!r}, not {type!r}")
        return artifact

    def artifact_exists(self, name: str, type: str | None = None) -> bool:
        """Return whether there is a version of this name."""
        try:
            self.artifact(name, type)
        except CommError:
            return False
        return True

    def artifacts(
        self, type_name: str | None = None, name: str = "", per_page: int = 50, **more: Any
    ) -> list[Artifact]:
        """Return the versions of an artifact, the newest first."""
        del per_page, more
        *path, title = name.partition(":")[0].split("/")
        project = path[-1] if path else None
        found = versions_of(self._store, title, project)
        artifacts = [Artifact.of(record, self._store.home, project or "") for record in found]
        return [one for one in reversed(artifacts) if type_name in (None, one.type)]

    artifact_versions = artifacts

    def sync_tensorboard(self, *_: object, **__: object) -> None:
        """Say what reads event files."""
        warn_once("sync_tensorboard is not supported; `runbase scan LOGDIR` reads event files")

    @property
    def _store(self) -> Store:
        if self._opened is None:
            self._opened = open_store(home=self._home)
        return self._opened

    def _records(self, project: str, sweeps: bool) -> list[Any]:
        if not project:
            return [*self._store.runs()]
        try:
            own = self._store.experiment(project)
        except NotFound as error:
            raise CommError(f"could not find project {project!r}: {error}") from error
        records = [*self._store.runs(experiment=own)]
        if sweeps:
            for child in self._store.descendants(own):
                if child.distance == 1 and "sweep" in self._store.experiment(child.id).tags:
                    records += self._store.runs(experiment=child.id)
        return records


class Runs(list[PublicRun]):
    """Runs, sorted and filtered."""

    def histories(
        self,
        samples: int = 500,
        keys: Sequence[str] | None = None,
        x_axis: str = "_step",
        format: str = "default",
    ) -> Any:
        """Return the histories of all runs: rows with `run_id`, or a data frame with ``format="pandas"``."""
        rows = [
            {**row, "run_id": run.id}
            for run in self
            for row in run.history(samples, [*keys] if keys else None, x_axis, pandas=False)
        ]
        if format != "pandas":
            return rows
        import pandas as pd

        return pd.DataFrame(rows)


class Project:
    """A project.

    Attributes:
        name: the name of the experiment.
        id: its id.
    """

    def __init__(self, name: str, id: str) -> None:
        self.name, self.id, self.entity = name, id, ""

    def __repr__(self) -> str:
        return f"<Project {self.name}>"


class Sweep:
    """A sweep: an experiment with a search space.

    Attributes:
        id: the id of the experiment.
        name: its name.
        config: what `sweep` was called with.
    """

    def __init__(self, store: Store, experiment: Experiment) -> None:
        self._store, self._experiment = store, experiment
        self.id, self.name = experiment.id, experiment.name
        self.config: JsonObject = experiment.config.get("sweep", {})

    @property
    def runs(self) -> Runs:
        """The runs of the sweep."""
        return Runs(PublicRun(self._store, run) for run in self._store.runs(experiment=self.id))

    @property
    def state(self) -> str:
        """RUNNING, or FINISHED if it has as many runs as its `run_cap`."""
        cap = self.config.get("run_cap")
        return "FINISHED" if cap is not None and len(self.runs) >= cap else "RUNNING"

    @property
    def expected_run_count(self) -> int | None:
        """The `run_cap`."""
        return self.config.get("run_cap")

    def best_run(self, order: str | None = None) -> PublicRun | None:
        """Return the run with the best value of the metric of the sweep, or of `order`."""
        if order is None:
            best = self._experiment.best_trials(1)
            return PublicRun(self._store, self._store.run(best[0].run)) if best else None
        runs = sorted(self.runs, key=lambda run: _sort_key(look(run)(order.lstrip("+-"))))
        return (runs[-1] if order.startswith("-") else runs[0]) if runs else None

    def __repr__(self) -> str:
        return f"<Sweep {self.name}>"

    def __iter__(self) -> Iterator[PublicRun]:
        return iter(self.runs)


def _sort_key(value: Any) -> tuple[int, Any]:
    """Return a key that sorts numbers before texts, and both before what is missing."""
    if value is None:
        return 2, 0
    return (0, value) if isinstance(value, int | float) else (1, str(value))
