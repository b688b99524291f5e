"""`Artifact`: files under a name with versions and aliases."""

import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from runbase import model
from runbase.errors import NotFound
from runbase.store.store import Store
from runbase.store.store import open as open_store
from runbase.typing import JsonObject
from runbase.wandb.drafts import REFERENCES, Draft, Entry
from runbase.wandb.errors import CommError, UsageError
from runbase.wandb.state import state
from runbase.wandb.table import Table
from runbase.wandb.terms import warn_once

if TYPE_CHECKING:
    from runbase.run.run import Run as Recorder

ABOUT = "wandb"
"""The key in the metadata with what W&B keeps beside them: aliases, tags, description, references."""
_VERSION = re.compile(r"v(\d+)")


class Artifact(Draft):
    """Files under a name. `run.log_artifact` records them as a version; `run.use_artifact` returns a version.

    Args:
        name: the name: letters, digits, ``-``, ``_`` and ``.``.
        type: such as model or dataset.
        description: what it is.
        metadata: name → value.
        incremental: not supported; each version is complete.
        use_as: ignored.
        more: ignored.
    """

    record: model.Artifact | None = None
    home: Path | None = None
    _project: str | None = None
    _recorder: "Recorder | None" = None

    def save(self, project: str | None = None, settings: Any = None) -> None:
        """Log the artifact to the current run, or to a new one."""
        if not self.is_draft:
            warn_once("changes of a logged artifact are not recorded; log a new version")
        elif state.run is not None:
            state.run.log_artifact(self)
        else:
            with state.init(project=project, job_type="auto", settings=settings) as run:
                run.log_artifact(self)

    def log_to(self, recorder: "Recorder", project: str) -> None:
        """Record the artifact with a run; called by `Run.log_artifact`."""
        if self.record is not None:
            recorder.use_artifact(self.record, download=False)
            return
        folder = self._folder()
        metadata: JsonObject = {**self.metadata, ABOUT: self._about()}
        recorder.log_artifact(folder, kind=self.type, metadata=metadata, version_of=self._name)
        self._recorder, self._project = recorder, project
        self.home = recorder.folder.parents[2]

    def wait(self, timeout: int | None = None) -> Self:
        """Wait until the version is known."""
        del timeout
        self._load()
        return self

    @property
    def is_draft(self) -> bool:
        """Whether it was not logged yet."""
        return self.record is None and self._recorder is None

    @property
    def name(self) -> str:
        """The name; of a version, ``NAME:v2``."""
        version = None if self.record is None else self.record.version
        return self._name if version is None else f"{self._name}:v{version}"

    @property
    def version(self) -> str:
        """The version: ``v1`` for the first one."""
        return f"v{self._load().version}"

    @property
    def id(self) -> str:
        """The id of the run that logged it, and its path."""
        record = self._load()
        return f"{record.run_id}/{record.path}"

    @property
    def digest(self) -> str:
        """The SHA-256 of the files."""
        return self._load().sha256 or ""

    commit_hash = digest

    @property
    def size(self) -> int:
        """The size in bytes."""
        if self.record is None:
            return sum(path.stat().st_size for path in self._folder().rglob("*") if path.is_file())
        return self.record.size

    @property
    def created_at(self) -> str:
        """When it was logged, as ISO text."""
        return self._load().created_at.isoformat()

    updated_at = created_at

    @property
    def project(self) -> str:
        """The project."""
        return self._project or ""

    @property
    def entity(self) -> str:
        """Empty: runbase has no entities."""
        return ""

    @property
    def qualified_name(self) -> str:
        """``project/name:v2``."""
        return f"{self.project}/{self.name}" if self.project else self.name

    source_name = name
    source_qualified_name = qualified_name
    source_version = version
    source_project = project

    @property
    def state(self) -> str:
        """PENDING or COMMITTED."""
        return "PENDING" if self.is_draft else "COMMITTED"

    @property
    def file_count(self) -> int:
        """The number of files."""
        return len(self.files())

    @property
    def manifest(self) -> "Manifest":
        """The files by name."""
        return Manifest({entry.path: entry for entry in self.files()})

    def files(self, names: Sequence[str] | None = None, per_page: int = 50) -> "list[Entry]":
        """Return the files and references.

        Args:
            names: only these.
            per_page: ignored.
        """
        del per_page
        if self.is_draft:
            found = self._drafted()
        else:
            found = [*self._referred(), *(self._entry(name, None) for name in self._parts())]
        known = [entry for entry in found if entry.path != REFERENCES]
        return [entry for entry in known if names is None or entry.path in names]

    def get_entry(self, name: "str | os.PathLike[str]") -> "Entry":
        """Return a file or reference by its name; KeyError if there is none."""
        for entry in self.files():
            if entry.path == str(name):
                return entry
        raise KeyError(f"artifact {self.name} has no file {str(name)!r}")

    get_path = get_entry

    def get(self, name: str) -> Any:
        """Return a table that was added with `add`; None if there is none."""
        entries = self.files([name, f"{name}.table.json"])
        for entry in entries:
            if entry.path.endswith(".table.json"):
                document = msgspec.json.decode(Path(entry.download()).read_bytes())
                return Table(columns=document["columns"], data=document["data"])
        return None

    def file(self, root: str | None = None) -> str:
        """Return the path of the only file, copied to a folder."""
        entries = self.files()
        if len(entries) != 1:
            raise UsageError(f"artifact {self.name} has {len(entries)} files; use download")
        return entries[0].download(root)

    def download(
        self,
        root: "str | os.PathLike[str] | None" = None,
        allow_missing_references: bool = False,
        skip_cache: bool | None = None,
        path_prefix: "str | os.PathLike[str] | None" = None,
        multipart: bool | None = None,
    ) -> str:
        """Copy the files to a folder, checked against their SHA-256, and return its path.

        Args:
            root: the folder. Default: ``artifacts/NAME:VERSION`` in WANDB_ARTIFACT_DIR or the working folder.
            allow_missing_references: whether references that cannot be read are left out.
            skip_cache: ignored.
            path_prefix: only files whose name begins with it.
            multipart: ignored.
        """
        del skip_cache, multipart
        target = self._root(root)
        for entry in self.files():
            if path_prefix is not None and not entry.path.startswith(str(path_prefix)):
                continue
            try:
                entry.download(target)
            except (OSError, NotFound):
                if entry.ref is None or not allow_missing_references:
                    raise
        target.mkdir(parents=True, exist_ok=True)
        return str(target)

    checkout = download

    def verify(self, root: str | None = None) -> None:
        """Raise an error if a file is not the one that was logged."""
        del root
        with tempfile.TemporaryDirectory(prefix="runbase-") as folder:
            self.download(folder)

    def logged_by(self) -> Any:
        """Return the run that logged it."""
        return state.api(self.home).run(self._load().run_id)

    def used_by(self) -> list[Any]:
        """Return the runs that use it."""
        record = self._load()
        with self._open() as store:
            uses = store.uses(record.run_id)
        users = [
            use.run_id for use in uses if use.owner_id == record.run_id and use.path == record.path
        ]
        api = state.api(self.home)
        return [api.run(user) for user in dict.fromkeys(users)]

    def delete(self, delete_aliases: bool = False) -> None:
        """Raise an error: an artifact is deleted with its run."""
        del delete_aliases
        raise UsageError("an artifact is deleted with its run: runbase rm RUN")

    def link(self, target_path: str, aliases: Sequence[str] | None = None) -> Self:
        """Add the name of a collection to the aliases of a draft."""
        self.aliases += [*(aliases or ()), target_path.rpartition("/")[2]]
        return self

    @classmethod
    def of(cls, record: model.Artifact, home: Path | None, project: str) -> "Artifact":
        """Return the artifact of a record."""
        metadata = dict(record.metadata)
        about: JsonObject = metadata.pop(ABOUT, None) or {}
        metadata.pop("files", None)
        artifact = cls(record.name or record.path, record.kind, about.get("description"), metadata)
        artifact.aliases, artifact.tags = [*about.get("aliases", ())], [*about.get("tags", ())]
        artifact.record, artifact.home, artifact._project = record, home, project
        artifact._references = dict(about.get("references", {}))
        return artifact

    def fetch(self, name: str, target: Path) -> None:
        """Copy one file of a version."""
        record = self._load()
        path = f"{record.path}{name}" if record.path.endswith("/") else record.path
        with self._open() as store:
            for part in store.artifacts(record.run_id):
                if part.path == path:
                    store.download(part, target)
                    return
        raise NotFound(f"artifact {self.name} has no file {name!r}")

    def _load(self) -> model.Artifact:
        """Return the record; ask the store for that of an artifact that this process has logged."""
        if self.record is not None:
            return self.record
        recorder = self._recorder
        if recorder is None:
            raise UsageError(f"artifact {self._name!r} is not logged")
        if not recorder.finished:
            recorder.flush()
        with self._open() as store:
            own = [a for a in store.artifacts(recorder.id) if a.name == self._name]
        if not own:
            raise CommError(f"artifact {self._name!r} is not in the database yet")
        self.record = max(own, key=lambda record: (record.version or 0, record.created_at))
        return self.record

    def _parts(self) -> list[str]:
        record = self._load()
        if not record.path.endswith("/"):
            return [Path(record.path).name]
        with self._open() as store:
            paths = [part.path for part in store.artifacts(record.run_id)]
        inner = [path.removeprefix(record.path) for path in paths if path.startswith(record.path)]
        return sorted(path for path in inner if path)

    def _open(self) -> Store:
        return open_store(home=self.home, create=False)

    def __repr__(self) -> str:
        return f"<Artifact {self.qualified_name}, {self.type}>"

    def _root(self, root: "str | os.PathLike[str] | None") -> Path:
        if root is not None or self.is_draft:
            return super()._root(root)
        folder = super()._root(None)
        return folder.with_name(f"{folder.name}:{self.version}")


class Manifest:
    """The files of an artifact by name."""

    def __init__(self, entries: dict[str, Entry]) -> None:
        self.entries = entries


def find(name: str, home: Path | None, project: str | None = None) -> Artifact:
    """Return a version of an artifact.

    Args:
        name: ``[entity/][project/]name[:alias]``; the alias is latest, a version, or an alias.
        home: the folder of the store; None: the default one.
        project: the project that is searched first.

    Raises:
        CommError: there is none.
    """
    *path, last = name.split("/")
    title, _, alias = last.partition(":")
    wanted = path[-1] if path else project
    with open_store(home=home, create=False) as store:
        versions = versions_of(store, title, wanted)
        if not versions and not path:
            versions = versions_of(store, title, None)
        chosen = _chosen(versions, alias or "latest")
        if chosen is None:
            known = ", ".join(f"v{record.version}" for record in versions) or "none"
            raise CommError(f"artifact {name!r} not found; versions of {title!r}: {known}")
        return Artifact.of(chosen, store.home, store.run(chosen.run_id).experiment)


def versions_of(store: Store, title: str, project: str | None) -> list[model.Artifact]:
    """Return the versions of an artifact, oldest first, in a project or in all; empty if there is none."""
    with suppress(NotFound):
        return store.artifact_versions(title, project)
    return []


def _chosen(versions: Sequence[model.Artifact], alias: str) -> model.Artifact | None:
    if alias == "latest":
        return versions[-1] if versions else None
    number = _VERSION.fullmatch(alias)
    for record in reversed(versions):
        about: JsonObject = record.metadata.get(ABOUT) or {}
        if (number and record.version == int(number[1])) or alias in about.get("aliases", ()):
            return record
    return None
