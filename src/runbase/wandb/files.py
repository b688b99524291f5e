"""The files of a run: its folder, `save`, code, and artifacts that it logs and uses."""

import glob as globs
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from runbase.errors import RunbaseError
from runbase.journal import files
from runbase.journal.packed import open_lines
from runbase.wandb.artifacts import Artifact, find
from runbase.wandb.errors import CommError, UsageError
from runbase.wandb.options import Origin
from runbase.wandb.rows import attempt
from runbase.wandb.state import state
from runbase.wandb.terms import warn_once

if TYPE_CHECKING:
    from runbase.run.run import Run as Recorder

CODE = (".py", ".ipynb", ".toml", ".cfg", "requirements.txt", "Dockerfile")
"""What the names of files end with that `log_code` records."""
_NOT_CODE = ("wandb", ".venv", "venv", "node_modules", "__pycache__", "site-packages")


class FileMethods:
    """The files of a run."""

    id: str
    project: str

    def __init__(self, recorder: "Recorder | None", origin: Origin) -> None:
        self._recorder, self._origin = recorder, origin
        self._logged: dict[str, tuple[int, int]] = {}
        self._watched: list[tuple[str, Path]] = []
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @property
    def dir(self) -> str:
        """A folder. Its files are recorded as artifacts when the run ends."""
        if self._recorder is None:
            if self._temporary is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="runbase-")
            return self._temporary.name
        folder = self._recorder.folder / "artifacts"
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    @property
    def sync_dir(self) -> str:
        """The folder of the run."""
        return self.dir if self._recorder is None else str(self._recorder.folder)

    def save(
        self,
        glob_str: "str | os.PathLike[str] | None" = None,
        base_path: "str | os.PathLike[str] | None" = None,
        policy: str = "live",
        glob: bool = True,
    ) -> "bool | list[str]":
        """Record files, now and, if they have changed by then, when the run ends.

        Args:
            glob_str: a path or a pattern.
            base_path: the folder that the names in the run are relative to. Default: the folder of the file; for a
                pattern, its part before the first wildcard.
            policy: ``now`` records them once; ``live`` and ``end`` also when the run ends.
            glob: whether the path is a pattern.

        Returns:
            The paths of the files.
        """
        if glob_str is None:
            return True
        pattern = str(glob_str) if glob else globs.escape(str(glob_str))
        base = _base(str(glob_str)) if base_path is None else Path(base_path)
        if policy != "now":
            self._watched.append((pattern, base))
        return [str(path) for path in self._save(pattern, base)]

    def log_artifact(
        self,
        artifact_or_path: "Artifact | str | os.PathLike[str]",
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
    ) -> Artifact:
        """Record an artifact as a version of its name; the same bytes are the same version.

        Args:
            artifact_or_path: an `Artifact`, or the path of a file or folder.
            name: the name, for a path.
            type: the type, for a path.
            aliases: names of this version, such as ``best``.
            tags: tags of this version.

        Returns:
            The artifact.
        """
        artifact = self._as_artifact(artifact_or_path, name, type)
        artifact.aliases = [*dict.fromkeys([*artifact.aliases, *_listed(aliases)])]
        artifact.tags = [*dict.fromkeys([*artifact.tags, *_listed(tags)])]
        recorder = self._recorder
        if recorder is not None:
            attempt(artifact.name, lambda: artifact.log_to(recorder, self.project))
        return artifact

    upsert_artifact = log_artifact

    def finish_artifact(self, *arguments: Any, **options: Any) -> Artifact:
        """Record an artifact; see `log_artifact`."""
        options.pop("distributed_id", None)
        return self.log_artifact(*arguments, **options)

    def use_artifact(
        self,
        artifact_or_name: "str | Artifact",
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        use_as: str | None = None,
    ) -> Artifact:
        """Record that the run uses an artifact, and return it.

        Args:
            artifact_or_name: ``name`` or ``name:latest``, ``name:v2``, ``name:ALIAS``, also with ``project/`` before it;
                or an artifact.
            type: the type that the artifact must have.
            aliases: ignored.
            use_as: ignored.

        Raises:
            CommError: no artifact has this name and alias, or it has another type.
        """
        del aliases, use_as
        if isinstance(artifact_or_name, Artifact):
            artifact = artifact_or_name
            if artifact.is_draft:
                return self.log_artifact(artifact)
        else:
            self._flush()
            artifact = find(artifact_or_name, self._origin.home, self.project)
        if type is not None and artifact.type != type:
            raise CommError(
                f"artifact {artifact.name} has the type {artifact.type!r}, not {type!r}"
            )
        recorder, record = self._recorder, artifact.record
        if recorder is not None and record is not None:
            attempt(artifact.name, lambda: recorder.use_artifact(record, download=False))
        return artifact

    def log_model(
        self,
        path: "str | os.PathLike[str]",
        name: str | None = None,
        aliases: Sequence[str] | None = None,
    ) -> None:
        """Record a file or folder as a version of a model."""
        self.log_artifact(
            path, name=name or self._default_name(path), type="model", aliases=aliases
        )

    def use_model(self, name: str) -> str:
        """Record that the run uses a model, and return the path of its file, or of its folder if it has several."""
        artifact = self.use_artifact(name)
        folder = Path(artifact.download())
        files = [path for path in folder.rglob("*") if path.is_file()]
        return str(files[0] if len(files) == 1 else folder)

    def link_artifact(
        self, artifact: Artifact, target_path: str, aliases: Sequence[str] | None = None
    ) -> Artifact:
        """Record an artifact; the collection that it is linked to becomes an alias."""
        names = [*_listed(aliases), target_path.rpartition("/")[2]]
        warn_once(
            "runbase links no artifacts to registries: the name of the collection becomes an alias"
        )
        return self.log_artifact(artifact, aliases=names)

    def link_model(
        self,
        path: "str | os.PathLike[str]",
        registered_model_name: str,
        name: str | None = None,
        aliases: Sequence[str] | None = None,
    ) -> Artifact:
        """Record a model; the name of the registered model becomes an alias."""
        artifact = self._as_artifact(path, name or self._default_name(path), "model")
        return self.link_artifact(artifact, registered_model_name, aliases)

    def log_code(
        self,
        root: str | None = ".",
        name: str | None = None,
        include_fn: Callable[..., bool] | None = None,
        exclude_fn: Callable[..., bool] | None = None,
    ) -> Artifact | None:
        """Record source files as an artifact of the type `code`.

        Args:
            root: the folder.
            name: the name of the artifact. Default: `source-PROJECT`.
            include_fn: whether to include a path. Default: Python files, notebooks and requirements.
            exclude_fn: whether to leave a path out. Default: environments and folders of runs.

        Returns:
            The artifact; None if there is no file.
        """
        folder = Path(root or ".").absolute()
        include: Callable[..., bool] = include_fn or _is_code
        artifact = Artifact(name or f"source-{self.project}", "code")
        for path, inner in _code_files(folder):
            if not _call(include, path, folder):
                continue
            if exclude_fn is not None and _call(exclude_fn, path, folder):
                continue
            artifact.add_file(path, name=inner)
        return self.log_artifact(artifact) if artifact.file_count else None

    def restore(
        self,
        name: str,
        run_path: str | None = None,
        replace: bool = False,
        root: str | None = None,
    ) -> Any:
        """Return a file of this run, or of another, open for reading.

        Args:
            name: the name of the file in the run.
            run_path: `project/id` of the run. Default: this one.
            replace: whether to replace a file that exists.
            root: the folder for the copy. Default: `dir`.

        Raises:
            UsageError: the run has no such file.
        """
        self._flush()
        api = state.api(self._origin.home)
        run = api.run(run_path or f"{self.project}/{self.id}")
        try:
            return run.file(name).download(root=root or self.dir, replace=replace, exist_ok=True)
        except RunbaseError as error:
            raise UsageError(f"run {run.id} has no file {name!r}: {error}") from error

    def _as_artifact(
        self, given: "Artifact | str | os.PathLike[str]", name: str | None, type: str | None
    ) -> Artifact:
        if isinstance(given, Artifact):
            return given
        path = Path(given)
        artifact = Artifact(name or self._default_name(path), type or "unspecified")
        if path.is_dir():
            artifact.add_dir(path)
        else:
            artifact.add_file(path)
        return artifact

    def _default_name(self, path: "str | os.PathLike[str]") -> str:
        return f"run-{self.id}-{Path(path).name}"

    def _flush(self) -> None:
        """Ingest what was logged, so that the database has it."""
        if self._recorder is not None and not self._recorder.finished:
            self._recorder.flush()

    @property
    def _store_url(self) -> str | None:
        return None if self._recorder is None else self._recorder.store

    def _save(self, pattern: str, base: Path) -> list[Path]:
        """Record the files that match a pattern and have changed since they were recorded."""
        paths = [Path(path) for path in sorted(_matching(pattern))]
        files = [path for path in paths if path.is_file()]
        for path in files:
            name = os.path.relpath(path, base)
            self._log_file(path, path.name if name.startswith("..") else name)
        return files

    def _log_file(self, path: Path, name: str) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        about = path.stat()
        mark = (about.st_mtime_ns, about.st_size)
        if self._logged.get(name) == mark:
            return
        attempt(name, lambda: recorder.log_artifact(path, name=name))
        self._logged[name] = mark
        inside = Path(self.dir) / name
        with suppress(OSError):  # the copy in `dir` is the one that was just recorded
            about = inside.stat()
            self._logged[name] = (about.st_mtime_ns, about.st_size) if inside == path else mark

    def _log_files(self) -> None:
        """Record the files of `dir` that are not recorded, and those of `save` that have changed."""
        for pattern, base in self._watched:
            self._save(pattern, base)
        recorder = self._recorder
        if recorder is None:
            return
        folder = recorder.folder / "artifacts"
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        names = {path.relative_to(folder).as_posix(): path for path in paths}
        new = [name for name in names if name not in self._logged and not name.endswith(".part")]
        known: set[str] = _recorded(recorder.folder) if new else set()
        for name in new:
            if name not in known:
                self._log_file(names[name], name)

    def _remove_files(self) -> None:
        """Delete the folder of a disabled run."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary.name, ignore_errors=True)


def _listed(values: "Sequence[str] | str | None") -> list[str]:
    return [values] if isinstance(values, str) else [*(values or ())]


def _base(pattern: str) -> Path:
    """Return the folder of a path; of a pattern, the part before the first wildcard."""
    path = Path(pattern)
    while globs.has_magic(str(path)):
        path = path.parent
        if not globs.has_magic(str(path)):
            return path
    return path.parent


def _code_files(folder: Path) -> list[tuple[Path, str]]:
    """Return the files below a folder with their names, without hidden folders, environments and run folders."""
    found: list[tuple[Path, str]] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _NOT_CODE)
        here = Path(place)
        found += [(here / f, (here / f).relative_to(folder).as_posix()) for f in sorted(names)]
    return found


def _matching(pattern: str) -> list[str]:
    return globs.glob(pattern, recursive=True)  # noqa: PTH207 (a pattern with or without a folder)


def _is_code(path: str) -> bool:
    return path.endswith(CODE)


def _call(choose: Callable[..., bool], path: Path, root: Path) -> bool:
    """Call a function of a path, or of a path and a root."""
    import inspect

    several = len(inspect.signature(choose).parameters) > 1
    return bool(choose(str(path), str(root)) if several else choose(str(path)))


def _recorded(folder: Path) -> set[str]:
    """Return the names of the artifacts that the journals of a run list."""
    known: set[str] = set()
    for journal in files(folder):
        with suppress(OSError), open_lines(journal) as lines:
            for line in lines:
                if b'"artifact"' in line:  # most lines are points, which need not be decoded
                    with suppress(msgspec.DecodeError):
                        known.add(str(msgspec.json.decode(line, type=dict[str, Any]).get("path")))
    return known
