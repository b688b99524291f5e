"""The process: which one an object belongs to after a fork, what a child must not close, and its garbage collection."""

import gc
import os
from collections.abc import Generator
from contextlib import contextmanager


class Owner:
    """The process that owns an object with connections, files or threads.

    A forked child inherits the memory of its parent but not its threads, and it shares the parent's
    connections and file locks. An object asks `here` before it uses them.
    """

    __slots__ = ("pid",)

    def __init__(self) -> None:
        self.pid = os.getpid()

    @property
    def here(self) -> bool:
        """Whether the owner is this process; false in a forked child."""
        return self.pid == os.getpid()

    def adopt(self) -> None:
        """Make this process the owner."""
        self.pid = os.getpid()


def never_close(*objects: object) -> None:
    """Keep objects of the parent process referenced, so that no finalizer closes them in a child.

    A child that closes a SQLite connection releases the locks of its parent; one that closes a
    connection to PostgreSQL ends the session of its parent.
    """
    _INHERITED.extend(objects)


@contextmanager
def without_collection() -> Generator[None]:
    """Pause the search for reference cycles, for code that makes many objects and no cycle.

    Reading thousands of rows triggers it again and again, over all objects of the program: a third of the time of such a read
    in a program that has imported pandas.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


_INHERITED: list[object] = []
