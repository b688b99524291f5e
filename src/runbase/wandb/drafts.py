"""The files of an artifact that is not logged yet."""

import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import unquote, urlsplit

import msgspec

from runbase.artifacts import remote
from runbase.artifacts.files import safe_name
from runbase.typing import JsonObject
from runbase.values import to_parameter
from runbase.wandb.errors import UsageError
from runbase.wandb.media import Media
from runbase.wandb.table import Table
from runbase.wandb.terms import warn_once

REFERENCES = "references.json"
"""The file that lists references, so that an artifact with other references is another version."""
FOLDER = "files"
MEDIA_SOURCES = ("image", "audio", "video", "data")
"""The attributes of media that may be the path of a file."""


class Entry:
    """A file of an artifact, or a reference.

    Attributes:
        path: its name in the artifact.
        ref: the address, for a reference.
        local_path: the file that it was added from.
    """

    def __init__(
        self,
        path: str,
        copy: Callable[[Path], object],
        root: "Callable[[str | os.PathLike[str] | None], Path]",
        source: Path | None = None,
        ref: str | None = None,
    ) -> None:
        self.path = self.name = path
        self.ref = ref
        self.local_path = None if source is None else str(source)
        self._copy, self._root = copy, root

    def download(self, root: "str | os.PathLike[str] | None" = None, **options: Any) -> str:
        """Copy the file to a folder, and return its path."""
        del options
        target = self._root(root) / safe_name(self.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._copy(target)
        return str(target)

    def ref_target(self) -> str:
        """Return the address of a reference."""
        if self.ref is None:
            raise ValueError(f"{self.path!r} is a file, not a reference")
        return self.ref

    def __repr__(self) -> str:
        return f"<Entry {self.path}>"


class Draft:
    """An artifact to which files are added."""

    def __init__(
        self,
        name: str,
        type: str,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        incremental: bool = False,
        use_as: str | None = None,
        **more: Any,
    ) -> None:
        del use_as, more
        if incremental:
            warn_once("incremental artifacts are not supported: each version is complete")
        self._name, self.type, self.description = name, type, description
        self.metadata: JsonObject = dict(metadata or {})
        self.aliases: list[str] = []
        self.tags: list[str] = []
        self._references: dict[str, str] = {}
        self._staging: tempfile.TemporaryDirectory[str] | None = None

    def add_file(
        self,
        local_path: "str | os.PathLike[str]",
        name: str | None = None,
        is_tmp: bool | None = False,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        overwrite: bool = False,
    ) -> "Entry":
        """Add a file.

        Args:
            local_path: the file.
            name: its name in the artifact. Default: its own.
            is_tmp: ignored.
            skip_cache: ignored.
            policy: ``mutable`` copies the file now; with ``immutable``, it must not change until it is logged.
            overwrite: ignored; a file of the same name is replaced.

        Raises:
            UsageError: there is no such file, or the artifact is logged.
        """
        del is_tmp, skip_cache, overwrite
        source = Path(local_path).expanduser()
        if not source.is_file():
            raise UsageError(
                f"{source} is not a file and cannot be added to artifact {self._name!r}"
            )
        inner = name or source.name
        target = self._place(inner)
        if policy == "immutable":
            target.symlink_to(source.absolute())
        else:
            shutil.copyfile(source, target)
        return self._entry(inner, source)

    def add_dir(
        self,
        local_path: "str | os.PathLike[str]",
        name: str | None = None,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        merge: bool = False,
    ) -> None:
        """Add the files of a folder; the arguments are those of `add_file`."""
        del merge
        root = Path(local_path).expanduser()
        if not root.is_dir():
            raise UsageError(
                f"{root} is not a folder and cannot be added to artifact {self._name!r}"
            )
        for path in sorted(root.rglob("*")):
            if path.is_file():
                inner = path.relative_to(root).as_posix()
                self.add_file(path, f"{name}/{inner}" if name else inner, policy=policy)
        del skip_cache

    def add_reference(
        self,
        uri: "Entry | str | os.PathLike[str]",
        name: str | None = None,
        checksum: bool = True,
        max_objects: int | None = None,
    ) -> "Sequence[Entry]":
        """Add the address of a file that stays where it is.

        Args:
            uri: such as ``s3://bucket/data.parquet``, or a path.
            name: its name in the artifact. Default: the last part of the address.
            checksum: ignored; the bytes are not read.
            max_objects: ignored.
        """
        del checksum, max_objects
        address = str(uri)
        if "://" not in address:
            address = Path(address).absolute().as_uri()
        inner = name or Path(unquote(urlsplit(address).path)).name or "reference"
        self._references[inner] = address
        self._write_references()
        return [self._entry(inner, None, address)]

    @contextmanager
    def new_file(
        self, name: str, mode: str = "x", encoding: str | None = None
    ) -> Generator[IO[Any]]:
        """Open a new file of the artifact for writing.

        Args:
            name: its name in the artifact.
            mode: as for `open`.
            encoding: as for `open`. Default for texts: UTF-8.
        """
        text = None if "b" in mode else encoding or "utf-8"
        with self._place(name).open(mode.replace("x", "w"), encoding=text) as file:
            yield file

    def add(self, obj: Any, name: str, overwrite: bool = False) -> "Entry":
        """Add a table, as the JSON file ``NAME.table.json``, or the file of a medium."""
        del overwrite
        if isinstance(obj, Table):
            inner = f"{name}.table.json"
            document = to_parameter(name, obj.to_document())
            self._place(inner).write_bytes(msgspec.json.encode(document))
            return self._entry(inner, self._folder() / inner)
        source = next((getattr(obj, a) for a in MEDIA_SOURCES if hasattr(obj, a)), None)
        if isinstance(obj, Media) and isinstance(source, str | os.PathLike):
            path = Path(cast("str", source))
            return self.add_file(path, name if Path(name).suffix else f"{name}{path.suffix}")
        raise UsageError(
            f"a {type(obj).__name__} cannot be added to an artifact; write it to a file and call add_file"
        )

    def remove(self, item: "str | os.PathLike[str] | Entry") -> None:
        """Remove a file or a reference from a draft."""
        name = item.path if isinstance(item, Entry) else str(item)
        self._references.pop(name, None)
        path = self._place(name)
        if path.is_dir():
            shutil.rmtree(path)

    def finalize(self) -> None:
        """Do nothing: an artifact is complete when it is logged."""

    @property
    def is_draft(self) -> bool:
        """Whether it was not logged yet."""
        return True

    def _about(self) -> JsonObject:
        about: JsonObject = {
            "aliases": self.aliases,
            "tags": self.tags,
            "description": self.description,
            "references": self._references,
        }
        return {key: value for key, value in about.items() if value}

    def _folder(self) -> Path:
        if self._staging is None:
            self._staging = tempfile.TemporaryDirectory(prefix="runbase-artifact-")
        folder = Path(self._staging.name) / FOLDER
        folder.mkdir(exist_ok=True)
        return folder

    def _place(self, name: str) -> Path:
        """Return the path for a file of a draft, whose folder exists; an earlier file is removed."""
        if not self.is_draft:
            raise UsageError(f"artifact {self._name!r} is logged; make a new one to add files")
        path = self._folder() / safe_name(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            path.unlink(missing_ok=True)
        return path

    def _write_references(self) -> None:
        document = msgspec.json.encode(dict(sorted(self._references.items())))
        self._place(REFERENCES).write_bytes(msgspec.json.format(document, indent=2))

    def _drafted(self) -> list[Entry]:
        """Return the files and references of a draft."""
        root = self._folder()
        paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
        found = [self._entry(path.relative_to(root).as_posix(), path) for path in paths]
        return [*self._referred(), *found]

    def _referred(self) -> list[Entry]:
        return [self._entry(name, None, uri) for name, uri in self._references.items()]

    def _entry(self, name: str, source: Path | None, ref: str | None = None) -> Entry:
        def copy(target: Path) -> None:
            if ref is not None:
                copy_reference(ref, target)
            elif source is not None:
                shutil.copyfile(source, target)
            else:
                self.fetch(name, target)

        return Entry(name, copy, self._root, source, ref)

    def fetch(self, name: str, target: Path) -> None:
        """Copy one file."""
        shutil.copyfile(self._folder() / name, target)

    def _root(self, root: "str | os.PathLike[str] | None") -> Path:
        """Return the folder for copies."""
        if root is not None:
            return Path(root)
        base = Path(os.environ.get("WANDB_ARTIFACT_DIR") or "artifacts")
        return base / self._name.replace("/", "-")


def copy_reference(uri: str, target: Path) -> None:
    """Copy the file at an address."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        shutil.copyfile(unquote(parts.path), target)
    else:
        remote.fetch(uri, target)
