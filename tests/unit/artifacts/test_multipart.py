"""Uploads in parts to a service that fails at any call: the object is whole, and nothing is sent that the service has."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbase.artifacts import multipart
from runbase.artifacts.multipart import Stored, Unfinished, length

PART = 5
"""Bytes of a part, unless the service has another unit."""


class Cut(Exception):
    """The process is killed, or the network fails."""


class Service:
    """An object store with one object.

    Args:
        cuts: for each call, in order: None, or whether the call is carried out before it fails.
    """

    def __init__(self, cuts: list[bool | None], unit: int, concurrent: int) -> None:
        self.unit, self.most, self.concurrent = unit, 1000, concurrent
        self.cuts = cuts
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.object: bytes | None = None
        self.sha256: str | None = None
        self.sent: list[tuple[str, int]] = []

    def step(self) -> "bool | None":
        return self.cuts.pop(0) if self.cuts else None

    def expire(self) -> None:
        """Forget all uploads."""
        self.uploads.clear()


class Target:
    """The object, during one attempt."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.unit, self.most, self.concurrent = service.unit, service.most, service.concurrent

    def begin(self, size: int, sha256: str) -> str:
        cut = self.service.step()
        if cut is False:
            raise Cut
        upload = f"upload-{len(self.service.sent)}-{len(self.service.uploads)}"
        self.service.uploads[upload] = {}
        if cut:
            raise Cut
        return upload

    def stored(self, begun: Unfinished, size: int) -> set[int] | None:
        if self.service.step() is not None:
            raise Cut
        parts = self.service.uploads.get(begun.upload)
        if parts is None:
            return None
        return {n for n, body in parts.items() if len(body) == length(begun, n, size)}

    def send(self, begun: Unfinished, number: int, body: bytes, size: int) -> None:
        cut = self.service.step()
        if cut is False:
            raise Cut
        parts = self.service.uploads[begun.upload]
        assert number not in parts, "a part that the service has is not sent again"
        parts[number] = body
        self.service.sent.append((begun.upload, number))
        if cut:
            raise Cut

    def complete(self, begun: Unfinished, sha256: str) -> None:
        cut = self.service.step()
        if cut is False:
            raise Cut
        parts = self.service.uploads.pop(begun.upload)
        assert list(range(1, len(parts) + 1)) == sorted(parts)
        self.service.object = b"".join(parts[n] for n in sorted(parts))
        self.service.sha256 = sha256
        if cut:
            raise Cut

    def abort(self, begun: Unfinished) -> None:
        self.service.uploads.pop(begun.upload, None)

    def head(self) -> Stored | None:
        if self.service.step() is not None:
            raise Cut
        found = self.service.object
        return None if found is None else Stored(len(found), self.service.sha256)


class Record:
    """The ticket of the upload, which survives a kill."""

    def __init__(self, wanted: int) -> None:
        self.unfinished: Unfinished | None = None
        self._wanted = wanted

    def read(self) -> Unfinished | None:
        return self.unfinished

    def write(self, unfinished: Unfinished) -> None:
        self.unfinished = unfinished

    def wanted(self) -> bool:
        self._wanted -= 1
        return self._wanted >= 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def uploaded(service: Service, path: Path, digest: str, record: Record) -> int:
    """Upload until an attempt succeeds; return the number of attempts."""
    attempts = 0
    while True:
        attempts += 1
        try:
            upload = multipart._Upload(path, Target(service), digest, record)
            if not upload.is_complete():
                upload.send()
        except Cut:
            continue
        return attempts


@settings(deadline=None, max_examples=300)
@given(
    size=st.integers(PART + 1, 60),
    cuts=st.lists(st.sampled_from([None, None, True, False]), max_size=40),
    unit=st.sampled_from([1, 4]),
    concurrent=st.sampled_from([1, 2]),
    expires=st.booleans(),
)
def test_the_object_is_whole(
    folder: Path, size: int, cuts: list[bool | None], unit: int, concurrent: int, expires: bool
) -> None:
    path = folder / "file"
    path.write_bytes(os.urandom(size))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    service, record = Service(cuts, unit, concurrent), Record(10**9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multipart, "part_size", lambda: PART)
        uploaded(service, path, digest, record)
        assert service.object == path.read_bytes()
        assert service.sha256 == digest
        assert record.unfinished is not None
        assert record.unfinished.part == -(-PART // unit) * unit
        sent = len(service.sent)
        if expires:
            service.expire()
        uploaded(service, path, digest, record)
        assert len(service.sent) == sent, "a complete object is not sent again"


@pytest.mark.parametrize("wanted", [0, 1, 2, 3])
def test_an_upload_that_is_not_wanted_any_more_is_aborted(folder: Path, wanted: int) -> None:
    path = folder / "file"
    path.write_bytes(bytes(3 * PART))
    service = Service([], 1, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multipart, "part_size", lambda: PART)
        uploaded(service, path, "digest", Record(wanted))
    assert service.object is None
    assert service.uploads == {}
    assert len(service.sent) == wanted


def test_parts_of_a_file_that_is_larger_than_the_most(folder: Path) -> None:
    path = folder / "file"
    path.write_bytes(os.urandom(999))
    service, record = Service([], 4, 2), Record(10**9)
    service.most = 10
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multipart, "part_size", lambda: PART)
        uploaded(service, path, "digest", record)
    assert service.object == path.read_bytes()
    assert record.unfinished is not None
    assert record.unfinished.part == 100
    assert len(service.sent) == 10


def test_a_file_that_changes_is_not_stored(folder: Path) -> None:
    path = folder / "file"
    path.write_bytes(bytes(3 * PART))
    service, record = Service([], 1, 1), Record(10**9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multipart, "part_size", lambda: PART)
        upload = multipart._Upload(path, Target(service), "digest", record)
        path.write_bytes(bytes(PART))
        with pytest.raises(multipart.StoreError, match="changed while it was uploaded"):
            upload.send()
    assert service.object is None
