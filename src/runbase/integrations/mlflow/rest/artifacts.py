"""Files of runs and logged models, which clients send to the server and read from it.

A file of a run is an artifact of the run, and is in `artifacts` of its folder. A file of a model that a run made is an
artifact of this run below `models/ID`. Files of other models are in the folder `models` of the home.
"""

import hashlib
import mimetypes
import os
import re
import shutil
import time
from pathlib import Path
from urllib.parse import unquote

from msgspec import Struct

from runbase.artifacts.resolve import check_served
from runbase.events import ArtifactLogged, ArtifactRemoved
from runbase.ids import folder_name, new_id
from runbase.ingest.untrusted import is_inside
from runbase.integrations.mlflow.rest.calls import Call, Json
from runbase.integrations.mlflow.rest.deliveries import deliver, run_of
from runbase.integrations.mlflow.rest.errors import MlflowError, invalid, not_found
from runbase.integrations.mlflow.rest.models import model_of, run_of_model
from runbase.model import Artifact, Run

MODELS = "models"
_OF_MODEL = re.compile(r"(?:.*?/)?models/(m-[0-9a-f]{32})/artifacts(?:/(?P<path>.*))?")
_OF_RUN = re.compile(r"(?:^|/)(?=(?P<run>[A-Za-z0-9][\w\-]{0,255})/artifacts(?:/(?P<path>.*))?$)")
_HIDDEN = re.compile(r"models/m-[0-9a-f]{32}(/|$)")
"""Paths of a run's artifacts that are files of logged models."""


class Place(Struct, frozen=True):
    """Where a path of a request is.

    Attributes:
        run: the run with the artifacts; None: files of a model that no run made.
        folder: the folder with the files of the run or of the model.
        prefix: what is before the path in the names of the run's artifacts.
        path: the path below the artifacts of the run or of the model; empty: all of them.
    """

    run: Run | None
    folder: Path
    prefix: str
    path: str

    @property
    def name(self) -> str:
        """The path of the artifact in the run."""
        return f"{self.prefix}{self.path}"

    @property
    def file(self) -> Path:
        """The place of the file."""
        return self.folder / self.name


def checked(path: str) -> str:
    """Return a path of a request without a slash at its end.

    Raises:
        MlflowError: it may leave its folder, also if it is decoded once more.
    """
    plain, before = path, None
    while plain != before:
        before, plain = plain, unquote(plain)
    parts = plain.split("/")
    bad = (
        ".." in parts
        or plain.startswith("/")
        or "//" in plain
        or any(mark in plain for mark in "\\#\0")
        or re.match(r"[A-Za-z][A-Za-z0-9+.\-]*:/|file:", plain) is not None
    )
    if bad:
        raise invalid(f"Invalid path: {path!r}")
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def place_of(call: Call, path: str, permission: str = "read") -> Place | None:
    """Return where a path below the proxy's root is; None if it is not that of a run or of a model that exists."""
    whole = checked(path)
    model = _OF_MODEL.fullmatch(whole)
    if model is not None:
        return _place_of_model(call, model[1], model["path"] or "", permission)
    # Files of a run may be in folders called artifacts, too: the first folder that is named as a run is that of the run.
    places = [(match["run"], match["path"] or "") for match in _OF_RUN.finditer(whole)]
    known = {run.id for run in call.store.storage.get_runs([run for run, _ in places])}
    for run, rest in places:
        if run in known:
            return of_run(call, run, rest, permission)
    return None


def of_run(call: Call, run: str, path: str, permission: str = "read") -> Place:
    """Return the place of a path of a run."""
    found = run_of(call, run, permission, active=permission == "log")
    return Place(found, _folder(call, found) / "artifacts", "", checked(path))


def _place_of_model(call: Call, model: str, path: str, permission: str) -> Place:
    found = model_of(call, model, permission)
    key = run_of_model(found)
    runs = call.store.storage.get_runs([key]) if key else []
    if runs:
        return Place(runs[0], _folder(call, runs[0]) / "artifacts", f"{MODELS}/{model}/", path)
    return Place(None, home(call) / MODELS / model, "", path)


def home(call: Call) -> Path:
    """Return the folder of the server's files.

    Raises:
        MlflowError: it has none.
    """
    if call.store.home is None:
        raise MlflowError(
            "NOT_IMPLEMENTED", "this server has no folder for files: start it with --home"
        )
    return call.store.home


def _folder(call: Call, run: Run) -> Path:
    """Return the folder of a run below the home."""
    if run.folder is not None and is_inside(home(call) / run.folder, home(call)):
        return home(call) / run.folder
    return home(call) / own_folder(run)


def own_folder(run: Run) -> str:
    """Return the folder of a run that has none yet, relative to the home."""
    return f"runs/{folder_name(run.experiment)}/{run.id}"


# Uploads


class Upload:
    """A file that is being received.

    Args:
        place: where it belongs.
    """

    def __init__(self, place: Place) -> None:
        if not place.path or not is_inside(place.file, place.folder):
            raise invalid(f"Invalid path: {place.path!r}")
        self._place, self._size, self._hash = place, 0, hashlib.sha256()
        if place.file.is_dir():
            raise invalid(f"Invalid path: {place.path!r} is a folder")
        try:
            place.file.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise invalid(f"Invalid path: a part of {place.path!r} is a file") from error
        self._part = place.file.with_name(f".{new_id()}.part")
        self._file = self._part.open("wb")

    def write(self, piece: bytes) -> None:
        """Add a piece."""
        self._hash.update(piece)
        self._size += len(piece)
        self._file.write(piece)

    def finish(self, call: Call) -> None:
        """Give the file its name, and record it as an artifact of the run."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        place = self._place
        self._part.replace(place.file)
        if place.run is None:
            return
        if place.run.folder is None:
            call.store.storage.update("run", place.run.id, {"folder": own_folder(place.run)})
        below = (
            place.run.folder is None or place.folder == home(call) / place.run.folder / "artifacts"
        )
        event = ArtifactLogged(
            time=time.time(),
            path=place.name,
            kind="model" if place.prefix else "file",
            uri=f"artifacts/{place.name}" if below else str(place.file.absolute()),
            size=self._size,
            sha256=self._hash.hexdigest(),
            mime=mimetypes.guess_type(place.name)[0],
        )
        deliver(call, place.run.id, lambda _: [event])

    def cancel(self) -> None:
        """Remove what was received."""
        self._file.close()
        self._part.unlink(missing_ok=True)


# Lists


def listed(call: Call, place: Place | None) -> list[Json]:
    """Return the files and folders directly below a path, with their whole paths; of a file, nothing."""
    if place is None:
        return []
    sizes = _sizes(call, place)
    above = f"{place.path}/" if place.path else ""
    found: dict[str, Json] = {}
    for path, size in sizes.items():
        if not path.startswith(above):
            continue
        name, slash, _ = path.removeprefix(above).partition("/")
        found[name] = {"path": above + name, "is_dir": bool(slash)}
        if not slash:
            found[name]["file_size"] = size
    return [found[name] for name in sorted(found)]


def _sizes(call: Call, place: Place) -> dict[str, int]:
    """Return the files of the run or of the model: path → bytes."""
    if place.run is None:
        files = [file for file in place.folder.rglob("*") if file.is_file()]
        return {file.relative_to(place.folder).as_posix(): file.stat().st_size for file in files}
    return {
        artifact.path.removeprefix(place.prefix): artifact.size
        for artifact in _artifacts(call, place)
    }


def _artifacts(call: Call, place: Place) -> list[Artifact]:
    """Return the artifacts of the run that have content, are files, and belong to the run or to the model."""
    assert place.run is not None
    return [
        artifact
        for artifact in call.store.storage.artifacts(place.run.id)
        if artifact.removed_at is None
        and not artifact.path.endswith("/")
        and artifact.path.startswith(place.prefix)
        and (place.prefix or not _HIDDEN.match(artifact.path))
    ]


def list_of_run(call: Call) -> Json:
    """Return the files of a run, with their whole paths."""
    run = run_of(call, call.fields.either("run_id", "run_uuid"))
    place = of_run(call, run.id, call.fields.text("path"))
    root = call.numbers.of([run.experiment_id])[run.experiment_id].artifacts_of(run.id)
    return {"root_uri": root, "files": listed(call, place)}


def list_of_model(call: Call) -> Json:
    """Return the files of a logged model, with their whole paths."""
    model = model_of(call, call.parts["model_id"])
    path = checked(call.fields.text("artifact_directory_path"))
    place = _place_of_model(call, model.model_id, path, "read")
    return {"root_uri": model.body["artifact_uri"], "files": listed(call, place)}


def list_of_proxy(call: Call) -> Json:
    """Return the files below a path of the proxy, with their names only."""
    files = listed(call, place_of(call, call.fields.text("path")))
    return {"files": [{**file, "path": file["path"].rpartition("/")[2]} for file in files]}


# Files


def located(call: Call, place: Place | None, path: str) -> Path:
    """Return the file at a path, on this machine.

    Raises:
        MlflowError: it does not exist.
    """
    if place is not None and place.run is None and is_inside(place.file, place.folder):
        if place.path and place.file.is_file():
            return place.file
    elif place is not None:
        for artifact in _artifacts(call, place):
            if artifact.path == place.name:
                check_served(call.store.storage, artifact)
                return call.store.download(artifact)
    raise not_found(f"no artifact at {path!r}")


def remove(call: Call, place: Place | None, path: str) -> None:
    """Remove a file, or a folder with all of its files."""
    if place is None:
        raise not_found(f"no artifact at {path!r}")
    if place.run is None:
        if not is_inside(place.file, place.folder):
            raise invalid(f"Invalid path: {path!r}")
        if place.path and place.file.is_file():
            place.file.unlink()
        else:
            shutil.rmtree(place.file, ignore_errors=True)
        return
    names = [
        artifact.path
        for artifact in _artifacts(call, place)
        if not place.path
        or artifact.path == place.name
        or artifact.path.startswith(f"{place.name}/")
    ]
    if not names:
        raise not_found(f"no artifact at {path!r}")
    deliver(
        call,
        place.run.id,
        lambda _: [ArtifactRemoved(time=time.time(), path=name) for name in names],
    )
    for name in names:
        file = place.folder / name
        if is_inside(file, place.folder):
            file.unlink(missing_ok=True)
