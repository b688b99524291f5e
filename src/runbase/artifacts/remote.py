"""Locations of artifacts besides the run's folder: object stores by obstore, all other URLs by fsspec.

fsspec supports sftp, hdfs and forty more through further packages, which its errors name.
"""

from pathlib import Path
from typing import Any, cast

from runbase.artifacts import multipart
from runbase.artifacts.multipart import UploadRecord
from runbase.artifacts.objects import bucket_of
from runbase.errors import StoreError, UsageError
from runbase.settings import cache_folder
from runbase.storage.address import is_server
from runbase.storage.remote import files


def store_file(
    path: Path, url: str, sha256: str | None = None, record: UploadRecord | None = None
) -> None:
    """Copy a file to a URL, completely or with an error.

    Args:
        path: the file.
        url: the place.
        sha256: the file's hash, if it is known.
        record: where the id of an unfinished upload is kept, so that the next attempt continues it.
    """
    if is_server(url):
        files.upload(path, url)
        return
    if record is not None and multipart.put(path, url, sha256, record):
        return
    if (found := bucket_of(url)) is not None:
        bucket, key = found
        bucket.put(path, key)
        return
    system, place = _system(url)
    system.makedirs(system._parent(place), exist_ok=True)
    system.put_file(str(path), place)
    size = system.size(place)
    if size != path.stat().st_size:
        raise StoreError(f"{url} has {size} bytes instead of {path.stat().st_size}")


def fetch(place: str, path: Path, *, resume: bool = False) -> None:
    """Copy a file from a path or a URL.

    Args:
        place: the path or URL.
        path: the file to write.
        resume: append to what the file has, where the place can be read from there.
    """
    if not resume:
        path.unlink(missing_ok=True)
    found = bucket_of(place)
    try:
        if found is not None:
            bucket, key = found
            bucket.get(key, path)
        else:
            system, inner = _system(place)
            system.get_file(inner, str(path))
    except FileNotFoundError as error:
        raise StoreError(f"{place} does not exist any more") from error


def signed(url: str, seconds: int) -> str | None:
    """Return a URL by which anybody can read an object for some seconds.

    Args:
        url: the place of the object.
        seconds: how long the URL is valid.

    Returns:
        None if the place is not an object store, or its credentials cannot sign.
    """
    found = bucket_of(url)
    return None if found is None else found[0].sign(found[1], seconds)


def remove(url: str) -> None:
    """Delete the file at a URL; a file that does not exist is ignored. A server deletes its files itself."""
    if is_server(url):
        return
    if (found := bucket_of(url)) is not None:
        bucket, key = found
        bucket.remove(key)
        return
    system, place = _system(url)
    try:
        system.rm_file(place)
    except FileNotFoundError:
        pass


def cached(sha256: str | None, name: str) -> Path:
    """Return the path in this machine's cache for a file with this hash."""
    key = sha256 or "unchecked"
    return cache_folder() / "artifacts" / key[:2] / key / Path(name).name


def _system(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs  # pyright: ignore[reportUnknownVariableType]
    except ImportError as error:
        raise UsageError(f"{url} needs fsspec: pip install 'runbase[artifacts]'") from error
    try:
        system_and_path = cast("tuple[Any, str]", url_to_fs(url))
    except ImportError as error:  # the error names the missing package, such as s3fs
        raise UsageError(f"{url} cannot be reached: {error}") from error
    except ValueError as error:
        raise UsageError(f"{url} is not a location that fsspec supports: {error}") from error
    return system_and_path
