"""Upload artifacts to the location in the setting `artifacts`.

A file is first copied to the run's folder and logged; a ticket in `uploads/` records its destination. A thread processes the
tickets one by one. `runbase sync` processes those of killed processes. A ticket also has the id of an unfinished upload in parts. Only the end of the run waits for uploads, at most
`finish_timeout`.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from runbase.artifacts import multipart, remote
from runbase.artifacts.multipart import Unfinished
from runbase.errors import NotAllowed, RunbaseError, warn
from runbase.events import ArtifactLogged, Opened
from runbase.filesystems import atomic_write
from runbase.ids import new_id
from runbase.ingest.liveness import is_written, this_process
from runbase.ingest.sync import run_folders
from runbase.journal import VERSION, JournalWriter, files, opened
from runbase.processes import Owner
from runbase.storage.address import is_server

FOLDER = "uploads"
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between attempts while the location cannot be reached."""


class Ticket(Struct, frozen=True, kw_only=True):
    """One file to be copied to a URL or, with `remove`, deleted there."""

    artifact: ArtifactLogged
    url: str
    remove: bool = False
    unfinished: Unfinished | None = None
    """The upload in parts that a removal ends."""


class TicketRecord:
    """Keeps the id of an upload in parts in further lines of the ticket.

    Lines are appended to the existing file, so a kill leaves the ticket whole, and a ticket that was deleted meanwhile is not
    created again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Unfinished | None:
        """Return the upload that has begun, if there is one."""
        with suppress(OSError):
            for line in reversed(self._path.read_bytes().split(b"\n")[1:]):
                with suppress(msgspec.DecodeError):  # an empty line, or one that a kill cut off
                    return msgspec.json.decode(line, type=Unfinished)
        return None

    def write(self, unfinished: Unfinished) -> None:
        """Append the id of an upload; a ticket that was deleted stays deleted."""
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            return
        try:
            if "://" in unfinished.upload:  # everybody who knows the URL can write the object
                self._path.chmod(0o600)
            os.write(handle, b"\n" + msgspec.json.encode(unfinished) + b"\n")
        finally:
            os.close(handle)

    def wanted(self) -> bool:
        """Return whether the ticket is there."""
        return self._path.exists()


class Uploader:
    """Uploads a run's files, in a thread that exists while there are tickets.

    `logged` writes the new location of a file to the journal.
    """

    def __init__(self, folder: Path, root: str, logged: Callable[[ArtifactLogged], None]) -> None:
        self._folder = folder
        self._root = f"{root.rstrip('/')}/{folder.parent.name}/{folder.name}"
        self._logged = logged
        self._guard = threading.Lock()
        self._changed = threading.Condition(self._guard)
        self._busy = False
        self._refused = False
        self._closed = False
        self._warned = False
        self._owner = Owner()

    def add(self, artifact: ArtifactLogged) -> None:
        """Add a logged file to be uploaded."""
        # A server keeps the file at the place that it has in the run's folder.
        place = artifact.uri if is_server(self._root) else artifact.path
        self._drop(Ticket(artifact=artifact, url=f"{self._root}/{place}"))

    def remove(self, artifact: ArtifactLogged) -> None:
        """Add a file that was removed: it is not uploaded any more, or deleted at its location."""
        unfinished: Unfinished | None = None
        for path in tickets(self._folder):
            ticket = _read(path)
            if ticket is not None and ticket.artifact.path == artifact.path:
                unfinished = TicketRecord(path).read() or unfinished
                path.unlink(missing_ok=True)
        url = f"{self._root}/{artifact.path}"
        self._drop(Ticket(artifact=artifact, url=url, remove=True, unfinished=unfinished))

    def wait(self, seconds: float) -> int:
        """Wait until all files are uploaded, at most so many seconds; returns how many are not. No tickets are accepted after."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._busy and not self._refused and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            self._closed = True
        return len(tickets(self._folder))

    def _drop(self, ticket: Ticket) -> None:
        path = self._folder / FOLDER / f"{time.time_ns()}-{os.getpid()}.json"
        with atomic_write(path) as partial:
            partial.write_bytes(msgspec.json.encode(ticket))
        if not self._owner.here:
            return  # a forked child leaves the rest to its parent, or to the next sync
        with self._guard:
            if not self._busy:
                self._busy = True
                threading.Thread(target=self._run, name="runbase-upload", daemon=True).start()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            with self._changed:
                waiting = tickets(self._folder)
                if not waiting or self._closed:
                    self._busy = False
                    self._changed.notify_all()
                    return
            try:
                carry(self._folder, waiting[0], self._logged)
                pause = FIRST_PAUSE
            except Exception as error:  # no error of a network may reach the training
                self._warn_once(error)
                if isinstance(error, NotAllowed):  # waiting cannot help
                    with self._changed:
                        self._refused = True
                        self._changed.notify_all()
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _warn_once(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            warn(
                f"artifacts cannot be uploaded yet ({error}); they are safe in "
                f"{self._folder}, and are tried again",
            )


def carry(folder: Path, path: Path, logged: Callable[[ArtifactLogged], None]) -> None:
    """Process a ticket, and delete it. Processing it twice is safe."""
    ticket = _read(path)
    if ticket is None:
        path.unlink(missing_ok=True)
        return
    file = folder / ticket.artifact.uri
    if ticket.remove:
        if ticket.unfinished is not None:
            multipart.abort(ticket.url, ticket.unfinished)
        remote.remove(ticket.url)
    elif file.exists():
        try:
            remote.store_file(file, ticket.url, ticket.artifact.sha256, TicketRecord(path))
        except (RunbaseError, OSError):
            if path.exists():
                raise
        if not path.exists():  # it was removed meanwhile
            remote.remove(ticket.url)
            return
        if not is_server(ticket.url):
            logged(msgspec.structs.replace(ticket.artifact, uri=ticket.url))
    path.unlink(missing_ok=True)


def tickets(folder: Path) -> list[Path]:
    """Return a run's tickets, oldest first."""
    return sorted((folder / FOLDER).glob("*.json"))


def take_up(
    home: Path, progress: Callable[[int, int], None] | None = None
) -> tuple[int, list[str]]:
    """Upload files that terminated processes left; returns how many were uploaded, and the problems."""
    waiting = [
        (folder, path)
        for folder in run_folders(home)
        if (folder / FOLDER).is_dir() and not is_written(folder)
        for path in tickets(folder)
    ]
    done, problems = 0, list[str]()
    for number, (folder, path) in enumerate(waiting):
        try:
            _carry_for_another(folder, path)
            done += 1
        except (RunbaseError, OSError) as error:
            problems.append(f"{folder}: {error}")
        if progress is not None:
            progress(number + 1, len(waiting))
    return done, problems


def _carry_for_another(folder: Path, path: Path) -> None:
    """Process a ticket in another run's folder, with a journal of this process."""
    journal: JournalWriter | None = None

    def first_line() -> Opened:
        head = next(h for h in map(opened, files(folder)) if h is not None)
        return msgspec.structs.replace(
            head, time=time.time(), version=VERSION, journal=new_id(), process=this_process()
        )

    def logged(artifact: ArtifactLogged) -> None:
        nonlocal journal
        journal = JournalWriter(folder, first_line)
        journal.append(artifact)

    try:
        carry(folder, path, logged)
    finally:
        if journal is not None:
            journal.close()


def _read(path: Path) -> Ticket | None:
    """Return a ticket; None if it was deleted meanwhile, or is not one.

    Raises:
        OSError: it cannot be read, as it is of another user or the file system does not answer.
    """
    try:
        return msgspec.json.decode(path.read_bytes().partition(b"\n")[0], type=Ticket)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
