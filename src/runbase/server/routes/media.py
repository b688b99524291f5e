"""What runs made: texts, images and other records, artifacts and where they went, and exports."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from anyio.to_thread import run_sync
from litestar import Request, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Stream
from msgspec import Struct

from runbase.errors import UsageError
from runbase.model import Artifact, Change, Link, Use
from runbase.server.principals import Principal
from runbase.server.routes.runs import Limit
from runbase.server.scope import among, run_for, visible, without_hidden
from runbase.server.threads import in_thread
from runbase.store.store import Store

Caller = Request[Principal, Any, Any]
PIECE = 2**18
MOST_RECORDS = 5000
MEDIA_TYPES = {
    "csv": "text/csv",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "sqlite": "application/vnd.sqlite3",
}


class MediaRecord(Struct, frozen=True, kw_only=True):
    """A text, table, histogram, image or other record of a run.

    Attributes:
        value: the content, unless it is a file.
        path: the path of the file below `/api/runs/{run}/files/`.
    """

    run: str
    key: str
    kind: str
    step: float | None
    time: Any
    value: Any
    path: str | None


class Records(Struct, frozen=True):
    """Records of a run, by key and step; `more` says whether there are more than the server returns."""

    records: list[MediaRecord]
    more: bool


@get("/api/runs/{run:str}/records", opt={"permission": "read"})
@in_thread
def records(
    request: Caller,
    store: NamedDependency[Store],
    run: FromPath[str],
    key: FromQuery[str | None] = None,
    kind: FromQuery[str | None] = None,
    start: FromQuery[float | None] = None,
    end: FromQuery[float | None] = None,
) -> Records:
    """Return texts, tables, histograms, images and other records of a run, between two steps if they are given."""
    found = run_for(store, request.user, run)
    rows = [
        MediaRecord(
            run=found.id,
            key=row["key"],
            kind=row["kind"],
            step=row["step"],
            time=row["time"],
            value=row["value"],
            path=row["path"],
        )
        for row in store.reader.records(found.id, key)
        if kind in (None, row["kind"]) and _within(row["step"], start, end)
    ]
    return Records(rows[:MOST_RECORDS], len(rows) > MOST_RECORDS)


def _within(step: float | None, start: float | None, end: float | None) -> bool:
    if step is None:
        return True
    return (start is None or step >= start) and (end is None or step <= end)


@get("/api/runs/{run:str}/keys", opt={"permission": "read"})
@in_thread
def keys_of_run(
    request: Caller,
    store: NamedDependency[Store],
    run: FromPath[str],
    kind: FromQuery[Literal["metric", "telemetry"]] = "metric",
) -> list[str]:
    """Return the keys of the metrics or of the telemetry of a run."""
    return store.keys(run_for(store, request.user, run), kind)


@get("/api/runs/{run:str}/history", opt={"permission": "read"})
@in_thread
def history(request: Caller, store: NamedDependency[Store], run: FromPath[str]) -> list[Change]:
    """Return the changes of the status of a run, oldest first."""
    return run_for(store, request.user, run).history


class Related(Struct, frozen=True, kw_only=True):
    """Another run, and how it is related. `kind`: parent, child, uses, used by, or the kind of a link.

    `artifact` is the path of the artifact that one run made and the other used.
    """

    id: str
    name: str
    status: str
    experiment: str
    kind: str
    artifact: str | None = None


class Lineage(Struct, frozen=True):
    """The runs around a run, its artifacts and links."""

    related: list[Related]
    artifacts: list[Artifact]
    links: list[Link]
    uses: list[Use]


@get("/api/runs/{run:str}/lineage", opt={"permission": "read"})
@in_thread
def lineage(request: Caller, store: NamedDependency[Store], run: FromPath[str]) -> Lineage:
    """Return parent, children, linked runs, and the runs whose artifacts it used or that used its artifacts."""
    found = without_hidden(store.storage, request.user, run_for(store, request.user, run))
    pairs: list[tuple[str, str, str | None]] = []
    if found.parent_id is not None:
        pairs.append((found.parent_id, "parent", None))
    children = store.runs(among("parent_id", [found.id]))
    pairs += [(child.id, "child", None) for child in children]
    for link in found.links:
        other = link.to_id if link.from_id == found.id else link.from_id
        pairs.append((other, link.kind, None))
    for use in found.uses:
        if use.run_id == found.id:
            pairs.append((use.owner_id, "uses", use.path))
        else:
            pairs.append((use.run_id, "used by", use.path))
    known = {other.id: other for other in store.storage.get_runs([*{run for run, _, _ in pairs}])}
    related = [
        Related(
            id=other.id,
            name=other.name,
            status=other.status.value,
            experiment=other.experiment,
            kind=kind,
            artifact=artifact,
        )
        for key, kind, artifact in pairs
        if (other := known.get(key)) is not None
        and request.user.may_read_run(other.id, other.experiment_id)
    ]
    return Lineage(related, found.artifacts, found.links, found.uses)


class ArtifactRow(Struct, frozen=True, kw_only=True):
    """An artifact of a run, with the name of the run."""

    run_id: str
    run: str
    experiment: str
    artifact: Artifact


@get("/api/artifacts", opt={"permission": "read"})
@in_thread
def artifacts(
    request: Caller,
    store: NamedDependency[Store],
    name: FromQuery[str | None] = None,
    where: FromQuery[str | None] = None,
    experiment: FromQuery[str | None] = None,
    limit: Limit = 200,
) -> list[ArtifactRow]:
    """Return the versions of a named artifact, newest first; or the artifacts of runs, newest runs first."""
    if name is not None:
        key = None if experiment is None else store.experiment(experiment).id
        versions = store.artifact_versions(name, key)[::-1]
        runs = {run.id: run for run in store.storage.get_runs([*{a.run_id for a in versions}])}
        return [
            _row(runs[artifact.run_id], artifact)
            for artifact in versions[:limit]
            if request.user.may("read", runs[artifact.run_id].experiment_id)
        ]
    found: list[ArtifactRow] = []
    condition = visible(request.user, where)
    for run in store.runs(condition, experiment=experiment, limit=limit):
        found += [_row(run, artifact) for artifact in store.reader.artifacts(run.id)]
        if len(found) >= limit:
            break
    return found[:limit]


def _row(run: Any, artifact: Artifact) -> ArtifactRow:
    return ArtifactRow(run_id=run.id, run=run.name, experiment=run.experiment, artifact=artifact)


@get("/api/export", opt={"permission": "read"})
async def export(
    request: Caller,
    store: NamedDependency[Store],
    format: FromQuery[Literal["csv", "jsonl", "parquet", "sqlite"]] = "csv",
    what: FromQuery[Literal["runs", "metrics", "records"]] = "runs",
    where: FromQuery[str | None] = None,
    experiment: FromQuery[str | None] = None,
) -> Stream:
    """Return runs, their points or their records as a file."""
    condition = visible(request.user, where)
    folder = TemporaryDirectory(prefix="runbase-export-")
    path = Path(folder.name) / f"{what}.{'db' if format == 'sqlite' else format}"

    def write() -> None:
        try:
            store.export(path, condition, experiment=experiment, what=what, format=format)
        except BaseException:
            folder.cleanup()
            raise

    await run_sync(write)

    def pieces() -> Iterator[bytes]:
        with folder, path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    return Stream(
        pieces(),
        media_type=MEDIA_TYPES[format],
        headers={
            "Content-Disposition": f'attachment; filename="{path.name}"',
            "X-Content-Type-Options": "nosniff",
        },
    )


@get("/api/runs/{run:str}/log", opt={"permission": "read"})
@in_thread
def log(
    request: Caller,
    store: NamedDependency[Store],
    run: FromPath[str],
    start: FromQuery[int] = -65536,
    length: FromQuery[int] = 65536,
) -> "LogPart":
    """Return a part of the captured output. A negative `start` counts from the end."""
    found = run_for(store, request.user, run)
    if not 1 <= length <= 4 * 2**20:
        raise UsageError("length is between 1 and 4194304 bytes")
    folder = store.folder(found)
    place = None if folder is None else folder / "output.log"
    if place is None or not place.is_file():
        return LogPart("", 0, 0, 0)
    with place.open("rb") as file:
        size = place.stat().st_size
        begin = max(size + start, 0) if start < 0 else min(start, size)
        file.seek(begin)
        data = file.read(length)
    return LogPart(data.decode("utf-8", "replace"), begin, begin + len(data), size)


class LogPart(Struct, frozen=True):
    """A part of the output of a run: bytes `start` to `end` of `size`, as text."""

    text: str
    start: int
    end: int
    size: int


ROUTES: tuple[Any, ...] = (
    records, keys_of_run, history, lineage, artifacts, export, log,
)  # fmt: skip
