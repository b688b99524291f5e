"""Files in a run's folder: copy them completely, compute their hashes, and confine them to the folder."""

import hashlib
import mimetypes
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from msgspec import Struct

from runbase.artifacts.hashes import digest
from runbase.errors import InvalidValue
from runbase.filesystems import atomic_write
from runbase.values import plain_text

_CHUNK = 2**20


class Copied(Struct, frozen=True):
    """A copied file: its name within the run, size in bytes, SHA-256 and MIME type."""

    path: str
    size: int
    sha256: str
    mime: str | None


def safe_name(name: str) -> str:
    """Return a name as a relative path that stays inside its folder.

    Raises:
        InvalidValue: the path would leave the folder.
    """
    plain = plain_text(name.replace("\\", "/"))
    # Invalid UTF-8 is percent-encoded as in URLs: a backslash would be treated as a slash.
    path = PurePosixPath(plain.replace("\\udc", "%").replace("\\", "%"))
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise InvalidValue(
            f"{name!r} is not a valid name of an artifact: it must be a path below the run's folder"
        )
    return path.as_posix()


def sources(path: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Yield the files of a path (a file or a folder), each with its name within the run."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                yield file, safe_name(f"{name}/{file.relative_to(path).as_posix()}")
    elif path.is_file():
        yield path, name
    elif path.exists():
        raise InvalidValue(f"{path} is neither a file nor a folder, and cannot be an artifact")
    else:
        raise InvalidValue(f"{path} does not exist and cannot be logged as an artifact")


def copy(source: Path, target_folder: Path, name: str) -> Copied:
    """Copy a file to `target_folder/name`, completely or not at all."""
    name = safe_name(name)
    target = target_folder / name
    digest, size = hashlib.sha256(), 0
    with (
        atomic_write(target) as partial,
        source.open("rb") as reader,
        partial.open("wb") as writer,
    ):
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            writer.write(chunk)
            size += len(chunk)
    return Copied(name, size, digest.hexdigest(), mimetypes.guess_type(name)[0])


def describe(path: Path) -> tuple[int, str, str | None]:
    """Return the size in bytes, the SHA-256 and the MIME type of a file."""
    return path.stat().st_size, digest(path), mimetypes.guess_type(path.name)[0]
