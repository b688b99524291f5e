"""The last write of this process to each database: its reads from a replica wait for that."""

_written: dict[str, object] = {}
"""URL → the last write of this process."""
_streamed: set[str] = set()
"""URLs to which this process also writes without waiting, so that a write is possible at any time."""


def note_write(url: str) -> None:
    """Note that this process has written to a database."""
    _written[url] = object()


def note_stream(url: str) -> None:
    """Note that this process will write to a database without waiting for each statement."""
    _streamed.add(url)


def written(url: str) -> object:
    """Return the last write of this process to a database; two writes are not the same object."""
    return object() if url in _streamed else _written.setdefault(url, object())
