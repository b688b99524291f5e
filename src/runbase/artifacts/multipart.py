"""Uploads in parts to S3, Azure and Google Cloud Storage. An interrupted upload is continued: a later attempt sends only what is missing.

obstore sends files in parts too, but gives no access to the id of an upload, so an interrupted one starts again. The packages
of the three services have the calls for this. They are loaded only for files that are larger than one part.
"""

import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from runbase.errors import StoreError
from runbase.settings import load

MEBIBYTE = 2**20
SMALLEST = 5 * MEBIBYTE
"""Bytes of the smallest part that S3 accepts, except for the last one; the others accept smaller ones."""
MODULES = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
}
"""The module `multipart_…` for each scheme of URLs."""


class Unfinished(Struct, frozen=True):
    """An upload that has begun: its id at the object store, and the bytes of a part."""

    upload: str
    part: int


class UploadRecord(Protocol):
    """Where the id of an upload is kept, so that another process can continue it."""

    def read(self) -> Unfinished | None:
        """Return the upload that has begun, if there is one."""
        ...

    def write(self, unfinished: Unfinished) -> None:
        """Keep the id of an upload."""
        ...

    def wanted(self) -> bool:
        """Return whether the file is still to be uploaded."""
        ...


class Stored(Struct, frozen=True):
    """What an object store has under a name."""

    size: int
    sha256: str | None
    """The metadata `sha256` of the object."""


class Target(Protocol):
    """One object of an object store, during one attempt of its upload.

    The methods raise the exceptions of the service's package.
    """

    unit: int
    """Bytes of which the size of a part is a multiple, except for the last one."""
    most: int
    """Parts that an object can have."""
    concurrent: int
    """Parts that may be sent at once; each is in memory."""

    def begin(self, size: int, sha256: str) -> str:
        """Begin an upload; return its id."""
        ...

    def stored(self, begun: Unfinished, size: int) -> set[int] | None:
        """Return the numbers (from 1) of the parts that the service has; None if the upload cannot be continued."""
        ...

    def send(self, begun: Unfinished, number: int, body: bytes, size: int) -> None:
        """Send a part of a file of a size."""
        ...

    def complete(self, begun: Unfinished, sha256: str) -> None:
        """Create the object of the parts."""
        ...

    def abort(self, begun: Unfinished) -> None:
        """Delete the parts; an upload that does not exist is ignored."""
        ...

    def head(self) -> Stored | None:
        """Return what the service has under the name; None if that is nothing, or cannot be read."""
        ...


def part_size() -> int:
    """Return the bytes of a part, from the setting `artifacts_part`."""
    return max(int(load().number("artifacts_part") * MEBIBYTE), SMALLEST)


def target(url: str) -> Target | None:
    """Return the object of a URL; None if the package of its service is not installed, or finds no credentials."""
    scheme, found, _ = url.partition("://")
    if not found or scheme not in MODULES:
        return None
    module = import_module(f"runbase.artifacts.multipart_{MODULES[scheme]}")
    if not _is_installed(module.PACKAGE):
        return None
    with _errors(url):
        return module.target(url)


def put(path: Path, url: str, sha256: str | None, record: UploadRecord) -> bool:
    """Upload a file that is larger than a part; the object is there when it is whole.

    Args:
        path: the file, which does not change.
        url: the URL of the object.
        sha256: the file's hash, kept as metadata of the object.
        record: where the id of the upload is kept.

    Returns:
        False if the file is small, or the URL is of another service: nothing was done.

    Raises:
        StoreError: the service cannot be reached, or refuses the upload. What it has of the upload is kept.
    """
    if path.stat().st_size <= part_size() or (found := target(url)) is None:
        return False
    with _errors(url):
        upload = _Upload(path, found, sha256 or "", record)
        if not upload.is_complete():
            upload.send()
    return True


def abort(url: str, unfinished: Unfinished) -> None:
    """Delete the parts of an upload that is not continued."""
    if (found := target(url)) is not None:
        with _errors(url):
            found.abort(unfinished)


class _Upload:
    """One attempt of an upload."""

    def __init__(self, path: Path, target: Target, sha256: str, record: UploadRecord) -> None:
        self._path, self._target, self._record, self._sha256 = path, target, record, sha256
        self._size = path.stat().st_size
        self._begun = record.read()
        self._stored = None if self._begun is None else target.stored(self._begun, self._size)

    def is_complete(self) -> bool:
        """Return whether an earlier attempt completed the upload, and was interrupted before it could record that."""
        if self._begun is None or self._stored is not None or not self._sha256:
            return False
        return self._target.head() == Stored(self._size, self._sha256)

    def send(self) -> None:
        """Send the missing parts, and put the object together."""
        begun, stored = self._begun, self._stored
        if begun is None or stored is None:
            begun, stored = self._begin(), set[int]()
        in_parallel(
            lambda number: self._send_part(begun, number),
            self._missing(begun, stored),
            self._target.concurrent,
        )
        if not self._record.wanted():
            self._target.abort(begun)
            return
        self._target.complete(begun, self._sha256)
        head = self._target.head()
        if head is None or head.size != self._size:
            has = "is not there" if head is None else f"has {head.size} bytes"
            raise StoreError(f"the object {has} instead of {self._size} bytes")

    def _begin(self) -> Unfinished:
        least = max(part_size(), -(-self._size // self._target.most))
        part = -(-least // self._target.unit) * self._target.unit
        begun = Unfinished(self._target.begin(self._size, self._sha256), part)
        self._record.write(begun)
        return begun

    def _missing(self, begun: Unfinished, stored: set[int]) -> Iterator[int]:
        for number in range(1, -(-self._size // begun.part) + 1):
            if number not in stored:
                if not self._record.wanted():
                    return
                yield number

    def _send_part(self, begun: Unfinished, number: int) -> None:
        with self._path.open("rb") as file:
            file.seek((number - 1) * begun.part)
            body = file.read(begun.part)
        if len(body) != length(begun, number, self._size):
            raise StoreError(f"{self._path} changed while it was uploaded")
        self._target.send(begun, number, body, self._size)


def length(begun: Unfinished, number: int, size: int) -> int:
    """Return the bytes of a part of a file of a size."""
    return min(begun.part, size - (number - 1) * begun.part)


def in_parallel(work: Callable[[int], None], numbers: Iterator[int], concurrent: int = 2) -> None:
    """Call `work` for each number, in some threads; raise the first error, after which no further call begins.

    The threads are daemons: those of a `ThreadPoolExecutor` would delay the end of the process.
    """
    guard, errors = threading.Lock(), list[Exception]()

    def run() -> None:
        while True:
            with guard:
                number = None if errors else next(numbers, None)
            if number is None:
                return
            try:
                work(number)
            except Exception as error:
                errors.append(error)

    threads = [
        threading.Thread(target=run, name=f"runbase-part-{number}", daemon=True)
        for number in range(concurrent)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def variable(*names: str) -> str | None:
    """Return the first environment variable that is set to something."""
    return next((value for name in names if (value := os.environ.get(name))), None)


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # a parent of it
        return False


@contextmanager
def _errors(url: str) -> Generator[None]:
    """Convert the exceptions of the packages, which have no common base that is known without them."""
    try:
        yield
    except Exception as error:
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise StoreError(f"{url} could not be stored: {said}") from error
