"""Open the backend that a URL names. Only this module knows all backends."""

import re
from pathlib import Path
from typing import cast
from urllib.parse import unquote

from runbase.capture.secrets import mask_text
from runbase.errors import UsageError
from runbase.storage.address import without_password
from runbase.storage.protocol import Storage


def open_storage(url: str, *, create: bool = True, timeout: float = 60.0) -> Storage:
    """Open the storage at `sqlite:///relative.db`, `sqlite:////absolute.db`, `sqlite://` (memory), a path or a PostgreSQL URL.

    Args:
        url: a database URL or the path of a SQLite file.
        create: create or migrate the schema if necessary.
        timeout: seconds that a writer waits for other writers.

    Raises:
        UsageError: the URL is not one of a supported database.
    """
    scheme, separator, rest = url.partition("://")
    if not separator and re.match(r"\w[\w+]*:?//", url):
        raise UsageError(
            f"{mask_text(url)!r} is not a database URL: the scheme must be followed by ://, as in "
            "postgresql://user@host/database"
        )
    if not separator:
        scheme, rest = "sqlite", f"/{url}"
    if scheme.split("+")[0] == "sqlite":
        from runbase.storage.sql.storage import SqlStorage
        from runbase.storage.sqlite.driver import SqliteDriver

        name = unquote(rest[1:])
        memory = name in ("", ":memory:")
        path = None if memory else Path(name).expanduser().absolute()
        return SqlStorage(SqliteDriver(path, create=create, timeout=timeout), create=create)
    if scheme.split("+")[0] in ("postgresql", "postgres"):
        from runbase.storage.address import postgres_address
        from runbase.storage.sql.storage import SqlStorage

        try:
            from runbase.storage.postgres.driver import PostgresDriver
        except ImportError as error:
            raise UsageError(
                "a PostgreSQL store needs psycopg: pip install 'runbase[postgres]'"
            ) from error
        driver = PostgresDriver(postgres_address(url), create=create, timeout=timeout)
        return SqlStorage(driver, create=create)
    if scheme in ("http", "https"):
        from runbase.storage.remote.storage import RemoteStorage

        return cast("Storage", RemoteStorage(url, timeout))
    raise UsageError(
        f"{mask_text(without_password(url))!r} is not a store that runbase supports; use sqlite:///path/runbase.db, a path to "
        "a file, postgresql://user@host/database, or the https:// address of a runbase server"
    )


def open_reader(storage: Storage, url: str, *, certain: bool = True) -> Storage:
    """Return a storage that reads from a replica of a PostgreSQL database.

    Args:
        storage: the storage of the database.
        url: the URL of the replica.
        certain: whether the replica is meant for this database; if not, one of another database is ignored without a warning.

    Raises:
        UsageError: one of the two is not a PostgreSQL database.
    """
    postgres = ("postgresql", "postgres")
    if storage.url.partition(":")[0] not in postgres:
        raise UsageError(f"a replica belongs to a PostgreSQL store, and {storage.url} is none")
    if url.partition(":")[0].split("+")[0] not in postgres:
        shown = mask_text(without_password(url))
        raise UsageError(
            f"{shown!r} is not a replica that runbase supports; use postgresql://user@host/database"
        )
    from runbase.storage.postgres.replica import ReplicaReader
    from runbase.storage.sql.storage import SqlStorage

    return cast("Storage", ReplicaReader(cast("SqlStorage", storage), url, certain=certain))
