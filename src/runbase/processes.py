"""Objects after fork: which process an object belongs to, and what a child must not close."""

import os


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


_INHERITED: list[object] = []
