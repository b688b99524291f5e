"""The interface between the storage and a driver, which connects to one kind of database."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from runbase.storage.sql.session import Session
from runbase.storage.types import Rows

T = TypeVar("T")


class Driver(Protocol):
    """The interface of a driver."""

    url: str
    dialect: str
    prepare: Callable[[Any], object]

    @property
    def crowded(self) -> bool:
        """Whether the database has few connections left, so that a process should use it rarely."""
        ...

    def new(self) -> bool: ...
    def elsewhere(self) -> str: ...
    def connect(self) -> Any: ...
    def write(self) -> AbstractContextManager[Session]: ...
    def read(self) -> AbstractContextManager[Session]: ...
    def autocommit(self) -> AbstractContextManager[Session]: ...
    def execute_once(self, name: str, /, **params: Any) -> int: ...
    def transact(self, work: Callable[[Any], T], *, bulk: bool = False) -> T: ...
    def sql(
        self,
        query: str,
        params: Mapping[str, Any] | Sequence[Any],
        write: bool,
        timeout: float | None,
        most: int | None = None,
    ) -> Rows: ...
    def errors(self) -> AbstractContextManager[None]: ...
    def await_change(self, timeout: float) -> None: ...
    def backup(self, path: Path, progress: Callable[[int, int], None] | None = None) -> None: ...
    def close(self) -> None: ...


class Served(Driver, Protocol):
    """A driver whose database is a server, so that statements can be sent without waiting for their results."""

    pooled: bool
    """Whether a pooler hands out a server connection for each transaction, so that none is of a process's own."""

    def dedicated(self) -> Any: ...
    def session(self, connection: Any, pipeline: Any, id_pool: dict[str, list[int]]) -> Session: ...
