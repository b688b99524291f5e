"""Runs: lists, tables, single runs, changes of one and of many."""

import re
import time
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import UNSET, Struct, UnsetType

from runbase.errors import Conflict, UsageError
from runbase.model import Run
from runbase.server.bodies import finite
from runbase.server.principals import Principal
from runbase.server.scope import id_of_experiment, run_for, trashed_run_for, visible, without_hidden
from runbase.server.threads import in_thread
from runbase.storage.points_protocol import KnownKey
from runbase.store.store import Store

Caller = Request[Principal, Any, Any]
Limit = Annotated[int, QueryParameter(ge=1, le=1000)]
MOST_COLUMNS = 500
WHOLE_ID = re.compile("[0-9a-f]{32}")


class RunPage(Struct, frozen=True):
    """A page of runs. `cursor` is the argument `after` of the next page; null on the last one."""

    runs: list[Run]
    cursor: str | None
    total: int | None = None


class TableRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which columns of which runs.

    Attributes:
        where: a filter.
        columns: names as in filters, such as `params.lr` and `metrics."val/loss".min`; null: the fields of runs.
        order_by: sort keys.
        group_by: columns whose values the runs of a group share.
        experiment: an experiment.
        limit: the maximum number of rows.
        after: the cursor of the previous page.
        total: whether to count the runs that match.
    """

    where: str | None = None
    columns: list[str] | None = None
    order_by: str | None = None
    group_by: list[str] | None = None
    experiment: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    after: str | None = None
    total: bool = False


class TableAnswer(Struct, frozen=True, kw_only=True):
    """Columns of runs: name → one value a row. `ids` is empty for groups. NaN and infinities are text."""

    columns: dict[str, list[Any]]
    ids: list[str]
    cursor: str | None
    total: int | None
    took_ms: float


class RunPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes of a run (JSON Merge Patch, RFC 7396): null in `tags` and `params` removes a key."""

    name: str | UnsetType = UNSET
    notes: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    tags: dict[str, Any] | UnsetType = UNSET
    params: dict[str, Any] | UnsetType = UNSET


class NewRun(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run to be created, which a process starts later by its id."""

    experiment: str
    name: str | None = None
    params: dict[str, Any] = {}
    tags: dict[str, str | None] = {}
    notes: str = ""


class Bulk(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of many runs.

    Attributes:
        action: what to do.
        where: the runs, by a filter.
        ids: the runs, by id.
        tags: for tag and untag: the tags.
        dry_run: only count.
    """

    action: Literal["tag", "untag", "delete", "restore"]
    where: str | None = None
    ids: list[str] | None = None
    experiment: str | None = None
    tags: dict[str, str | None] = {}
    dry_run: bool = False


class Count(Struct, frozen=True):
    """How many runs were changed, or would be."""

    count: int


@get("/api/runs", opt={"permission": "read"})
@in_thread
def list_runs(
    request: Caller,
    store: NamedDependency[Store],
    where: FromQuery[str | None] = None,
    order_by: FromQuery[str | None] = None,
    experiment: FromQuery[str | None] = None,
    after: FromQuery[str | None] = None,
    limit: Limit = 100,
    deleted: FromQuery[bool] = False,
) -> RunPage:
    """Return whole records of runs, newest first unless ordered."""
    found = store.runs(
        visible(request.user, where),
        order_by=order_by,
        experiment=experiment,
        after=after,
        limit=limit,
        deleted=deleted,
    )
    return RunPage(list(found), found.cursor)


@post("/api/table", opt={"permission": "read"}, status_code=200)
@in_thread
def table(
    request: Caller, store: NamedDependency[Store], data: JSONBody[TableRequest]
) -> TableAnswer:
    """Return columns of runs, or of groups of runs with mean, standard deviation and count."""
    if data.columns is not None and len(data.columns) > MOST_COLUMNS:
        raise UsageError(f"{len(data.columns)} columns; ask for {MOST_COLUMNS} at most")
    began = time.perf_counter()
    where = visible(request.user, data.where)
    found = store.table(
        where,
        columns=data.columns,
        order_by=data.order_by,
        limit=data.limit,
        after=data.after,
        experiment=data.experiment,
        group_by=data.group_by,
    )
    total = store.count(where, experiment=data.experiment) if data.total else None
    return TableAnswer(
        columns={
            name: [finite(value) for value in values] for name, values in found.columns.items()
        },
        ids=found.ids,
        cursor=found.cursor,
        total=total,
        took_ms=round((time.perf_counter() - began) * 1000, 2),
    )


@get("/api/keys", opt={"permission": "read"})
@in_thread
def keys(
    request: Caller,
    store: NamedDependency[Store],
    kind: FromQuery[Literal["metric", "param", "tag", "telemetry"]] = "metric",
    text: FromQuery[str] = "",
    experiment: FromQuery[str | None] = None,
    limit: Limit = 200,
    newest: FromQuery[int | None] = None,
) -> list[KnownKey]:
    """Return the keys that runs have, with counts, types and ranges, those of most runs first.

    `newest` limits the look to so many of the newest runs; then the time does not grow with the number of runs.
    """
    if not request.user.may_everywhere("read"):
        if experiment is None:
            raise UsageError("you may read some experiments only: pass experiment=")
        request.user.require("read", store.experiment(experiment).id)
    return store.known_keys(kind, text, experiment=experiment, limit=limit, newest=newest)


@get("/api/runs/{run:str}", opt={"permission": "read"})
@in_thread
def one_run(request: Caller, store: NamedDependency[Store], run: FromPath[str]) -> Response[Run]:
    """Return a run with everything: artifacts, history, links, attributes."""
    found = run_for(store, request.user, run)
    shown = without_hidden(store.storage, request.user, found)
    return Response(shown, headers={"ETag": etag(found)})


def etag(run: Run) -> str:
    """Return the version of a run, for `If-Match` and `If-None-Match`."""
    return f'"{run.id}-{int(run.updated_at.timestamp() * 1e6):x}"'


@patch("/api/runs/{run:str}", opt={"permission": "write"})
@in_thread
def change_run(
    request: Caller, store: NamedDependency[Store], run: FromPath[str], data: JSONBody[RunPatch]
) -> Response[Run]:
    """Change name, notes, status, tags and parameters; with `If-Match`, only if nobody else did meanwhile."""
    found = run_for(store, request.user, run, "write")
    wanted = request.headers.get("if-match")
    if wanted not in (None, "*", etag(found)):
        raise Conflict(f"run {found.name} was changed meanwhile; read it again")
    if data.name is not UNSET:
        store.rename(found, data.name)
    if data.notes is not UNSET:
        store.note(found, data.notes)
    for family in ("tags", "params"):
        changes: dict[str, Any] | UnsetType = getattr(data, family)
        if changes is UNSET:
            continue
        removed = [
            key for key, value in changes.items() if value is None and key in getattr(found, family)
        ]
        added = {key: value for key, value in changes.items() if value is not None}
        if removed:
            store.remove_from_run(found, **{family: removed})
        if added:
            store.add_to_run(found, **{family: added})
    if data.status is not UNSET:
        store.set_status(found, data.status)
    changed = without_hidden(store.storage, request.user, store.run(found.id))
    return Response(changed, headers={"ETag": etag(changed)})


@post("/api/runs", opt={"permission": "write"})
@in_thread
def create_run(request: Caller, store: NamedDependency[Store], data: JSONBody[NewRun]) -> Run:
    """Create a run that waits for its start."""
    request.user.require("write", id_of_experiment(store.storage, data.experiment))
    return store.create_run(
        data.experiment, name=data.name, params=data.params, tags=data.tags, notes=data.notes
    )


@delete("/api/runs/{run:str}", opt={"permission": "write"}, status_code=200)
@in_thread
def delete_run(request: Caller, store: NamedDependency[Store], run: FromPath[str]) -> Count:
    """Move a run to the trash."""
    return Count(store.delete(run_for(store, request.user, run, "write")))


@post("/api/runs/{run:str}/restore", opt={"permission": "write"}, status_code=200)
@in_thread
def restore_run(request: Caller, store: NamedDependency[Store], run: FromPath[str]) -> Count:
    """Take a run out of the trash."""
    return Count(store.restore(trashed_run_for(store, request.user, run)))


@post("/api/bulk", opt={"permission": "write"}, status_code=200)
@in_thread
def bulk(request: Caller, store: NamedDependency[Store], data: JSONBody[Bulk]) -> Count:
    """Tag, delete or restore many runs, by a filter or by ids."""
    if (data.where is None) == (data.ids is None):
        raise UsageError("pass either where or ids")
    ids = _chosen(request, store, data)
    if data.dry_run or not ids:
        return Count(len(ids))
    match data.action:
        case "delete":
            return Count(store.storage.delete("run", ids))
        case "restore":
            return Count(store.storage.delete("run", ids, back=True))
        case "tag":
            return Count(store.storage.tag_runs(ids, data.tags))
        case "untag":
            return Count(store.storage.tag_runs(ids, {}, list(data.tags)))


def _chosen(request: Caller, store: Store, data: Bulk) -> list[str]:
    """Return the ids of the runs to change."""
    where = visible(request.user, data.where, "write")
    if data.action == "restore":
        if data.ids is not None:
            return [trashed_run_for(store, request.user, run).id for run in data.ids]
        return [run.id for run in store.runs(where, experiment=data.experiment, deleted=True)]
    if data.ids is not None:
        whole = [run for run in data.ids if WHOLE_ID.fullmatch(run)]
        listed = ", ".join(f"'{run}'" for run in whole) or "''"
        where = visible(request.user, f"id in ({listed})", "write")
        found = set(store.table(where, columns=["id"]).ids)  # all at once
        rest = [
            run_for(store, request.user, run, "write").id for run in data.ids if run not in found
        ]
        return list(dict.fromkeys([*(run for run in whole if run in found), *rest]))
    return store.table(where, columns=["id"], experiment=data.experiment).ids


ROUTES: tuple[Any, ...] = (
    list_runs, table, keys, one_run, change_run, create_run, delete_run, restore_run, bulk,
)  # fmt: skip
