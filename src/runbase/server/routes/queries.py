"""SQL, the schema, and documents of the page."""

from typing import Any, Literal

from litestar import Request, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Struct

from runbase.server import console, limits
from runbase.server.bodies import finite
from runbase.server.options import ServerOptions
from runbase.server.principals import Principal
from runbase.server.routes.runs import Count
from runbase.server.scope import document_for
from runbase.server.threads import in_thread
from runbase.storage.server_protocol import Document
from runbase.store.archived_points import missing_points
from runbase.store.store import Store

Caller = Request[Principal, Any, Any]
Kind = Literal["view", "report", "query"]


class SqlRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A query that only reads, and values for its placeholders `:name`."""

    query: str
    params: dict[str, Any] = {}


class SqlAnswer(Struct, frozen=True):
    """Rows of a query. `more` says whether there were more than the server returns, `note` what they lack."""

    columns: list[str]
    rows: list[list[Any]]
    more: bool
    note: str | None


@post("/api/sql", opt={"permission": "read"}, status_code=200)
@in_thread
def sql(
    request: Caller,
    store: NamedDependency[Store],
    options: NamedDependency[ServerOptions],
    data: JSONBody[SqlRequest],
) -> SqlAnswer:
    """Run one query that only reads. It needs the permission to read the whole store."""
    request.user.require_everywhere("read")
    console.check(data.query)
    with limits.queries.taken(request.user.person):
        found = store.reader.first_rows(
            data.query, data.params, options.most_rows + 1, options.query_timeout
        )
    rows = [[_plain(value) for value in row] for row in found[: options.most_rows]]
    note = missing_points(store.reader, data.query)
    return SqlAnswer(list(found.columns), rows, len(found) > options.most_rows, note)


def _plain(value: Any) -> Any:
    """Return a value that JSON has."""
    return f"{len(value)} bytes" if isinstance(value, bytes) else finite(value)


@get("/api/schema", opt={"permission": "read"})
@in_thread
def schema(store: NamedDependency[Store]) -> list[dict[str, Any]]:
    """Return each table and view with its comment and columns."""
    return [table for table in store.tables() if table["name"] not in console.PRIVATE_TABLES]


class DocumentBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A view, report or query to be saved. `version` is the one that the change was made of; null: a new document."""

    kind: Kind
    name: str
    body: Any
    experiment: str | None = None
    version: int | None = None


@get("/api/documents", opt={"permission": "read"})
@in_thread
def documents(
    request: Caller,
    store: NamedDependency[Store],
    kind: FromQuery[Kind],
    experiment: FromQuery[str | None] = None,
) -> list[Document]:
    """Return the documents of a kind, of an experiment or of the store."""
    request.user.require("read", experiment)
    return store.storage.documents(kind, experiment)


@post("/api/documents", opt={"permission": "write"})
@in_thread
def add_document(
    request: Caller, store: NamedDependency[Store], data: JSONBody[DocumentBody]
) -> Document:
    """Save a new document."""
    request.user.require("write", data.experiment)
    owner = request.user.person
    return store.storage.put_document(data.kind, data.name, owner, data.body, data.experiment)


@get("/api/documents/{document:str}", opt={"permission": "read"})
@in_thread
def one_document(
    request: Caller, store: NamedDependency[Store], document: FromPath[str]
) -> Document:
    """Return a document."""
    return document_for(store, request.user, document)


@put("/api/documents/{document:str}", opt={"permission": "write"})
@in_thread
def change_document(
    request: Caller,
    store: NamedDependency[Store],
    document: FromPath[str],
    data: JSONBody[DocumentBody],
) -> Document:
    """Replace a document, if it still has the version of the change; 409 otherwise."""
    found = document_for(store, request.user, document)
    request.user.require("write", found.experiment)
    return store.storage.put_document(
        found.kind,
        data.name,
        found.owner,
        data.body,
        found.experiment,
        document=document,
        version=data.version,
    )


@delete("/api/documents/{document:str}", opt={"permission": "write"}, status_code=200)
@in_thread
def remove_document(
    request: Caller, store: NamedDependency[Store], document: FromPath[str]
) -> Count:
    """Remove a document."""
    found = document_for(store, request.user, document)
    request.user.require("write", found.experiment)
    return Count(int(store.storage.remove_document(document)))


ROUTES: tuple[Any, ...] = (
    sql, schema, documents, add_document, one_document, change_document, remove_document,
)  # fmt: skip
