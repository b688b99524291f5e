"""A folder for files of points, on disk or at any URL: a file is there whole or not at all."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from runbase.capture.secrets import mask_text
from runbase.errors import StoreError, UsageError
from runbase.extras import load
from runbase.storage.address import without_password

PARTIAL = ".partial"
"""The end of the name of a file that is being written."""


class Place:
    """A folder on disk, or at a URL that fsspec supports.

    Args:
        url: a path or a URL, such as `s3://lab/lake`.
    """

    def __init__(self, url: str) -> None:
        if not url.strip():
            raise UsageError("the place of the files is empty; give a folder or a URL")
        files = load("pyarrow.fs", "analysis", "a lake")
        self.url = url
        self.local = "://" not in url
        if self.local:
            self._root = str(Path(url).expanduser().absolute())
            self._system: Any = files.LocalFileSystem()
        else:
            load("fsspec", "artifacts", url)
            from fsspec.core import url_to_fs  # pyright: ignore[reportUnknownVariableType]

            try:
                system, self._root = cast("tuple[Any, str]", url_to_fs(url))
            except (
                ImportError,
                ValueError,
            ) as error:  # a package that is missing, or no such protocol
                shown = mask_text(without_password(url))
                raise UsageError(f"{shown} cannot be used: {error}") from error
            self._system = files.PyFileSystem(files.FSSpecHandler(system))
        self._selector, self._kinds = files.FileSelector, files.FileType

    def list(self, folder: str) -> list[str]:
        """Return the names of the files below a folder, relative to the place."""
        chosen = self._selector(f"{self._root}/{folder}", allow_not_found=True, recursive=True)
        found = [
            info.path
            for info in self._system.get_file_info(chosen)
            if info.type == self._kinds.File
        ]
        return sorted(path[len(self._root) :].lstrip("/") for path in found)

    def entries(self) -> Iterator[tuple[str, int, float]]:
        """Yield name, size in bytes and time of change (seconds since the epoch) of the files of the place itself."""
        chosen = self._selector(self._root, allow_not_found=True)
        for info in self._system.get_file_info(chosen):
            if info.type == self._kinds.File:
                yield info.base_name, info.size, info.mtime.timestamp() if info.mtime else 0.0

    def size(self, name: str) -> int:
        """Return the size of a file in bytes; raises FileNotFoundError if there is none."""
        info = self._system.get_file_info(f"{self._root}/{name}")
        if info.type != self._kinds.File:
            raise FileNotFoundError(f"{self.url}/{name} does not exist")
        return info.size

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None if there is none."""
        try:
            with self._system.open_input_stream(f"{self._root}/{name}") as file:
                return file.read()
        except (FileNotFoundError, OSError):
            return None

    def write(self, name: str, work: Callable[[Any], None]) -> int:
        """Write a file by a function that gets an open file; return its size in bytes.

        On disk it gets its name when it is whole and synced; an object store shows an object when its upload is complete.

        Raises:
            StoreError: the place cannot be written to.
        """
        try:
            return self._write(name, work)
        except OSError as error:
            raise StoreError(f"cannot write to {self.url}: {error.strerror or error}") from error

    def _write(self, name: str, work: Callable[[Any], None]) -> int:
        path = f"{self._root}/{name}"
        if not self.local:
            with self._system.open_output_stream(path) as file:
                work(file)
            return self._system.get_file_info(path).size
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}{PARTIAL}")
        try:
            with partial.open("wb") as file:
                work(file)
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            partial.replace(target)
        except BaseException:  # also Ctrl-C
            partial.unlink(missing_ok=True)
            raise
        return size

    def remove(self, name: str) -> None:
        """Delete a file."""
        self._system.delete_file(f"{self._root}/{name}")

    def remove_partial(self, folder: str) -> None:
        """Delete what writers that were killed left below a folder."""
        for name in self.list(folder):
            if name.endswith(PARTIAL):
                self.remove(name)

    def open(self, name: str) -> Any:
        """Open a file to read any part of it."""
        return self._system.open_input_file(f"{self._root}/{name}")
