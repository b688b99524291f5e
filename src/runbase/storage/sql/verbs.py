"""Make methods of the storage from functions of a session; each call runs in a transaction of its own."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from runbase.storage.sql.driver import Driver
from runbase.storage.sql.own_columns import OwnColumns
from runbase.storage.sql.session import Session

P = ParamSpec("P")
T = TypeVar("T")
Verb = Callable[Concatenate[Session, P], T]
Method = Callable[Concatenate["HasDriver", P], T]


class HasDriver(Protocol):
    """What these methods need of the storage."""

    driver: Driver
    own: OwnColumns


def reads(verb: Verb[P, T]) -> Method[P, T]:
    """Make a method that calls `verb` in a transaction that reads one state of the database."""

    @wraps(verb)
    def method(self: HasDriver, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self.driver.read() as session:
            session.own = self.own
            return verb(session, *args, **kwargs)

    return method


def autocommits(verb: Verb[P, T]) -> Method[P, T]:
    """Make a method that calls `verb` without a transaction, which is fastest for a single statement."""

    @wraps(verb)
    def method(self: HasDriver, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self.driver.autocommit() as session:
            session.own = self.own
            return verb(session, *args, **kwargs)

    return method


def writes(verb: Verb[P, T], *, bulk: bool = False) -> Method[P, T]:
    """Make a method that calls `verb` in a transaction that writes; a transaction that conflicts with another is repeated.

    Args:
        verb: the function.
        bulk: send its statements together if the database is a server.
    """

    @wraps(verb)
    def method(self: HasDriver, /, *args: P.args, **kwargs: P.kwargs) -> T:
        def work(session: Any) -> T:
            session.own = self.own
            return verb(session, *args, **kwargs)

        return self.driver.transact(work, bulk=bulk)

    return method
