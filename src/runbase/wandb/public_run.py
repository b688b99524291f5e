"""`PublicRun`: a run of the store in the form of W&B's `Api`."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from runbase.errors import UsageError as WrongCall
from runbase.model import Artifact as ArtifactRecord
from runbase.model import Run as Record
from runbase.storage.address import is_server, server_of
from runbase.store.store import Store
from runbase.typing import JsonObject
from runbase.wandb.artifacts import Artifact
from runbase.wandb.configuration import nested
from runbase.wandb.definitions import Definitions
from runbase.wandb.errors import CommError
from runbase.wandb.stored import recorded, state_of, summary_of
from runbase.wandb.summaries import SummaryDict

_OWN = ("group", "job_type", "wandb.entity", "wandb.id", "sweep")
"""Tags that are fields of a run of W&B."""


class PublicRun:
    """A run, as it was when it was read.

    Attributes:
        id: the id.
        name: the display name.
        number: the number in the experiment.
        project: the experiment.
        state: pending, running, finished, failed, crashed, killed or preempted.
        config: the parameters, nested.
        tags: the plain tags. Call `update` after a change.
        notes: the notes. Call `update` after a change.
    """

    def __init__(self, store: Store, record: Record) -> None:
        self._store = store
        self._read(record)

    def _read(self, record: Record) -> None:
        self._record = record
        self._summary: SummaryDict | None = None
        self.id = self.storage_id = record.id
        self.name, self.number = record.name, record.number
        self.project = record.experiment
        self.entity = record.tags.get("wandb.entity") or ""
        self.state = state_of(record)
        self.config = nested(record.params)
        self.tags = [key for key, value in record.tags.items() if value is None and key not in _OWN]
        self.notes = record.notes
        self.group, self.job_type = record.tags.get("group"), record.tags.get("job_type")
        self.sweep_name = record.tags.get("sweep")
        self.username = self.user = record.user
        self.metadata: JsonObject = {
            "host": record.host,
            "git": record.git,
            "args": record.args.get("argv"),
            **record.system,
        }

    @property
    def summary(self) -> SummaryDict:
        """The last value of each metric, or what `define_metric` says, and the values that the script has set."""
        if self._summary is None:
            explicit, defined = recorded(self._store.storage, self.id)
            definitions = Definitions()
            definitions.load(defined)
            values = summary_of(self._record, explicit, definitions.all())
            self._summary = SummaryDict(values, _refuse)
        return self._summary

    @property
    def summary_metrics(self) -> JsonObject:
        """The summary as a dictionary."""
        return dict(self.summary)

    @property
    def created_at(self) -> str:
        """When it was created, as ISO text in UTC."""
        return self._record.created_at.isoformat()

    @property
    def heartbeat_at(self) -> str:
        """When it was last seen, as ISO text in UTC."""
        return (self._record.seen_at or self._record.updated_at).isoformat()

    @property
    def lastHistoryStep(self) -> int:  # noqa: N802 (the name of W&B)
        """The last step; -1 if there is none."""
        steps = [m.last_step for m in self._record.metrics.values() if m.last_step is not None]
        return int(max(steps, default=-1))

    @property
    def path(self) -> list[str]:
        """Entity, project and id."""
        return [self.entity, self.project, self.id]

    @property
    def url(self) -> str:
        """The address on a server, or that of the page of `runbase ui`."""
        url = self._store.url
        return (
            f"{server_of(url)}/run/{self.id}"
            if is_server(url)
            else f"http://localhost:4400/run/{self.id}"
        )

    @property
    def error(self) -> JsonObject | None:
        """Type, message and traceback of the error that ended it."""
        return self._record.error

    @property
    def read_only(self) -> bool:
        """Whether the run has ended."""
        return self.state != "running"

    def history(
        self,
        samples: int = 500,
        keys: Sequence[str] | None = None,
        x_axis: str = "_step",
        pandas: bool = True,
        stream: str = "default",
    ) -> Any:
        """Return rows by step: metrics, `_step`, `_timestamp` and `_runtime`.

        Args:
            samples: the greatest number of rows, at equal distances.
            keys: only rows that have all these metrics. Default: all rows.
            x_axis: ignored; rows are sorted by step.
            pandas: whether to return a data frame.
            stream: ``system`` returns the figures of the machine by time.
        """
        del x_axis
        if stream in ("system", "events"):
            frame = self._store.telemetry_frame(self.id)
            return frame if pandas else frame.to_dict("records")
        rows = [*self.scan_history(keys)]
        if len(rows) > samples > 0:
            step = (len(rows) - 1) / max(samples - 1, 1)
            rows = [rows[round(number * step)] for number in range(samples)]
        if not pandas:
            return rows
        import pandas as pd

        return pd.DataFrame(rows)

    def scan_history(
        self,
        keys: Sequence[str] | None = None,
        page_size: int = 1000,
        min_step: int | None = None,
        max_step: int | None = None,
        use_cache: bool = True,
    ) -> Iterator[JsonObject]:
        """Yield all rows by step.

        Args:
            keys: only rows that have all these metrics, and only those. Default: all.
            page_size: ignored.
            min_step: the first step.
            max_step: the step after the last one.
            use_cache: ignored.
        """
        del page_size, use_cache
        plain = [key for key in keys or () if not key.startswith("_")]
        rows: dict[Any, JsonObject] = {}
        points = self._store.storage.points([self.id], plain or None)
        began = self._record.started_at or self._record.created_at
        for (_, key), series in points.items():
            columns = (series.steps.tolist(), series.times.tolist(), series.values.tolist())
            for step, time, value in zip(*columns, strict=True):
                if (min_step is not None and step < min_step) or (
                    max_step is not None and step >= max_step
                ):
                    continue
                row = rows.setdefault(step, {"_step": step, "_timestamp": 0.0})
                row[key] = value
                row["_timestamp"] = max(row["_timestamp"], time)
                row["_runtime"] = row["_timestamp"] - began.timestamp()
        for step in sorted(rows):
            if all(key in rows[step] for key in plain):
                yield rows[step] if not keys else {k: rows[step].get(k) for k in keys}

    def files(
        self, names: Sequence[str] | None = None, per_page: int = 50, **more: Any
    ) -> "list[File]":
        """Return the files of the run."""
        del per_page, more
        found = [a for a in self._store.artifacts(self.id) if not a.path.endswith("/")]
        return [File(self._store, one) for one in found if not names or one.path in names]

    def file(self, name: str) -> "File":
        """Return a file of the run.

        Raises:
            CommError: there is none.
        """
        found = self.files([name])
        if not found:
            raise CommError(f"run {self.name} has no file {name!r}")
        return found[0]

    def logged_artifacts(self, per_page: int = 100) -> list[Artifact]:
        """Return the versions that the run logged."""
        del per_page
        named = [one for one in self._store.artifacts(self.id) if one.name is not None]
        return [Artifact.of(one, self._store.home, self.project) for one in named]

    def used_artifacts(self, per_page: int = 100) -> list[Artifact]:
        """Return the versions that the run used."""
        del per_page
        found: list[Artifact] = []
        for use in self._store.uses(self.id):
            if use.run_id == self.id:
                owned = self._store.artifacts(use.owner_id)
                owner = self._store.run(use.owner_id).experiment
                found += [
                    Artifact.of(a, self._store.home, owner) for a in owned if a.path == use.path
                ]
        return found

    def update(self) -> None:
        """Record changed tags, notes, the name and new values of the config."""
        record = self._record
        plain = dict.fromkeys(self.tags)
        kept = {
            key: value for key, value in record.tags.items() if value is not None or key in _OWN
        }
        params = {**record.params, **_flat(self.config)}
        updated = self._store.update_run(
            self.id, name=self.name, notes=self.notes, tags={**kept, **plain}, params=params
        )
        self._read(updated)

    save = update

    def delete(self, delete_artifacts: bool = False) -> None:
        """Move the run to the trash."""
        del delete_artifacts
        self._store.delete(self.id)

    def load(self, force: bool = False) -> JsonObject:
        """Read the run again."""
        del force
        self._store.sync()
        self._read(self._store.run(self.id))
        return {"id": self.id, "state": self.state}

    def wait_until_finished(self) -> None:
        """Wait until the run has ended."""
        import time

        while self.state in ("running", "pending"):
            time.sleep(0.2)
            self.load()

    def __repr__(self) -> str:
        return f"<Run {'/'.join(part for part in self.path if part)} ({self.state})>"


class File:
    """A file of a run.

    Attributes:
        name: its name in the run.
        size: its size in bytes.
        mimetype: its media type.
    """

    def __init__(self, store: Store, record: ArtifactRecord) -> None:
        self._store, self._record = store, record
        self.name, self.size, self.mimetype = record.path, record.size, record.mime
        self.sha256 = record.sha256

    def download(
        self,
        root: "str | os.PathLike[str]" = ".",
        replace: bool = False,
        exist_ok: bool = False,
        **more: Any,
    ) -> IO[str]:
        """Copy the file to a folder, and return it open for reading.

        Args:
            root: the folder.
            replace: whether to replace a file that exists.
            exist_ok: whether to return a file that exists.
            more: ignored.

        Raises:
            CommError: the file exists.
        """
        del more
        target = Path(root) / self.name
        if target.exists() and not (replace or exist_ok):
            raise CommError(f"{target} exists; pass replace=True or exist_ok=True")
        if replace or not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            self._store.download(self._record, target)
        return target.open("r", encoding="utf-8", errors="replace")

    def __repr__(self) -> str:
        return f"<File {self.name}>"


def look(run: PublicRun) -> Callable[[str], Any]:
    """Return a function that returns a field of a run by the name that filters use."""
    names = {
        "display_name": "name",
        "displayName": "name",
        "name": "id",
        "jobType": "job_type",
        "createdAt": "created_at",
        "heartbeatAt": "heartbeat_at",
        "sweep": "sweep_name",
    }

    def field(key: str) -> Any:
        head, _, rest = key.partition(".")
        if head == "config":
            return _inside(run.config, rest.removesuffix(".value"))
        if head in ("summary_metrics", "summary", "summaryMetrics"):
            return _inside(dict(run.summary), rest)
        return getattr(run, names.get(key, key), None)

    return field


def _inside(values: JsonObject, path: str) -> Any:
    """Return a value by its key, or by the keys of nested mappings joined with dots."""
    if path in values:
        return values[path]
    head, dot, rest = path.partition(".")
    inner: Any = values.get(head)
    if dot and hasattr(inner, "keys"):
        return _inside(dict(inner), rest)
    return None


def _flat(values: JsonObject, prefix: str = "") -> JsonObject:
    flat: JsonObject = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= _flat(cast("JsonObject", value), f"{prefix}{key}/")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _refuse(values: JsonObject) -> None:
    raise WrongCall(f"the summary of a stored run cannot be changed: {', '.join(values)}")
