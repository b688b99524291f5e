"""Which backend a URL names, opened. The only place that knows them all."""

from pathlib import Path
from urllib.parse import unquote

from runbase.errors import UsageError
from runbase.storage.protocol import Storage


def open_storage(url: str, *, create: bool = True, timeout: float = 60.0) -> Storage:
    """The storage at `sqlite:///relative.db`, `sqlite:////absolute.db`, `sqlite://` (memory) or a path."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "sqlite", f"/{url}"
    if scheme.split("+")[0] == "sqlite":
        from runbase.storage.sql.store import SqlStorage
        from runbase.storage.sqlite import SqliteDriver

        name = unquote(rest[1:])
        memory = name in ("", ":memory:")
        path = None if memory else Path(name).expanduser().absolute()
        return SqlStorage(SqliteDriver(path, create=create, timeout=timeout))
    if scheme.split("+")[0] in ("postgresql", "postgres"):
        raise UsageError(
            "PostgreSQL is not part of this version yet; use a SQLite file: sqlite:///path/runbase.db"
        )
    raise UsageError(
        f"{url!r} is no database runbase knows; use sqlite:///path/runbase.db, or a path to a file"
    )
