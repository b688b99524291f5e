"""Where artifacts may live besides the run's folder: any place that fsspec can reach by a URL.

fsspec is the field's own: s3, gs, az, sftp and forty more by way of packages that it names.
"""

from pathlib import Path
from typing import Any, cast

from runbase.errors import StoreError, UsageError
from runbase.settings import cache_folder


def store_file(path: Path, url: str) -> None:
    """Put a file at a URL; it is there whole, or the call fails."""
    system, place = _system(url)
    system.makedirs(system._parent(place), exist_ok=True)
    system.put_file(str(path), place)
    there = system.size(place)
    if there != path.stat().st_size:
        raise StoreError(f"{url} has {there} bytes of {path.stat().st_size}")


def fetch(place: str, path: Path) -> None:
    """Get a file from a path or a URL."""
    system, inner = _system(place)
    try:
        system.get_file(inner, str(path))
    except FileNotFoundError as error:
        raise StoreError(f"{place} is gone") from error


def remove(url: str) -> None:
    """Delete a file at a URL; one that is gone does not matter."""
    system, place = _system(url)
    try:
        system.rm_file(place)
    except FileNotFoundError:
        pass


def cached(sha256: str | None, name: str) -> Path:
    """Where a file with such bytes is kept on this machine, once it was fetched."""
    key = sha256 or "unchecked"
    return cache_folder() / "artifacts" / key[:2] / key / Path(name).name


def _system(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs  # pyright: ignore[reportUnknownVariableType]
    except ImportError as error:
        raise UsageError(
            f"{url} is reached by way of fsspec: pip install 'runbase[artifacts]'"
        ) from error
    try:
        found = cast("tuple[Any, str]", url_to_fs(url))
    except ImportError as error:  # it names the package that is missing, such as s3fs
        raise UsageError(f"{url} cannot be reached: {error}") from error
    except ValueError as error:
        raise UsageError(f"{url} is not a location that fsspec supports: {error}") from error
    return found
