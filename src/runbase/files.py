"""Files of a run's folder: copied in whole, hashed on the way, confined to the folder."""

import hashlib
import mimetypes
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, cast

from msgspec import Struct

from runbase.errors import InvalidValue

_CHUNK = 2**20


class Copied(Struct, frozen=True):
    """A file that was copied: its name within the run, size in bytes, SHA-256 and MIME type."""

    path: str
    size: int
    sha256: str
    mime: str | None


def safe_name(name: str) -> str:
    """A relative path that stays where it is put; InvalidValue for one that would not."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise InvalidValue(
            f"{name!r} is no name for an artifact: it must stay below the run's folder"
        )
    return path.as_posix()


def sources(path: Path, name: str) -> Iterator[tuple[Path, str]]:
    """The files that a path stands for, each with its name within the run."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                yield file, f"{name}/{file.relative_to(path).as_posix()}"
    elif path.exists():
        yield path, name
    else:
        raise InvalidValue(f"there is no file {path} to log as an artifact")


def copy(source: Path, target_folder: Path, name: str) -> Copied:
    """Copy a file to `target_folder/name`, whole or not at all."""
    target = target_folder / safe_name(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    digest, size = hashlib.sha256(), 0
    try:
        with source.open("rb") as reader, partial.open("wb") as writer:
            while chunk := reader.read(_CHUNK):
                digest.update(chunk)
                writer.write(chunk)
                size += len(chunk)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return Copied(name, size, digest.hexdigest(), mimetypes.guess_type(name)[0])


def describe(path: Path) -> tuple[int, str, str | None]:
    """Size in bytes, SHA-256 and MIME type of a file."""
    data = path.read_bytes()
    return len(data), hashlib.sha256(data).hexdigest(), mimetypes.guess_type(path.name)[0]


def digest(path: Path) -> str:
    """The SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_image(image: Any, path: Path) -> None:
    """A figure (savefig), a PIL image (save), bytes or a path, or an array of pixels, as PNG.

    Arrays are (height, width) or (height, width, 1 | 3 | 4), of uint8, or of floats from 0 to 1.
    """
    if hasattr(image, "savefig"):
        image.savefig(path, format="png", bbox_inches="tight")
    elif hasattr(image, "save") and not hasattr(image, "__array_interface__"):
        image.save(path, format="PNG")
    elif isinstance(image, bytes):
        path.write_bytes(image)
    elif isinstance(image, str | os.PathLike):
        path.write_bytes(Path(cast("str", image)).read_bytes())
    else:
        _save_pixels(image, path)


def _save_pixels(image: Any, path: Path) -> None:
    import numpy as np

    try:
        from PIL import Image
    except ImportError as error:
        raise InvalidValue(
            "an array becomes an image by way of Pillow: pip install pillow"
        ) from error
    pixels: Any = np.asarray(image)
    if pixels.dtype.kind == "f":
        pixels = (np.clip(pixels, 0, 1) * 255).round()
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise InvalidValue(f"an array of shape {pixels.shape} is no image")
    Image.fromarray(pixels.astype(np.uint8)).save(path, format="PNG")
