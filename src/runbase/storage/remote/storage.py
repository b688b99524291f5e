"""`RemoteStorage`: each method of `Storage` is one request to a runbase server."""

import functools
import inspect
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from runbase.errors import UsageError
from runbase.storage.protocol import Storage
from runbase.storage.remote import wire
from runbase.storage.remote.client import Client
from runbase.storage.sql.trial_writer import DirectTrialWriter
from runbase.storage.trial_protocol import TrialWriter

GLANCE = 0.5
"""Seconds between two looks for changes."""


class RemoteStorage:
    """The storage of a server, with the methods and guarantees of `Storage`.

    What an answer that was lost had done is not known: `apply` can be repeated, since offsets decide what is stored.

    Args:
        url: the server's URL.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, url: str, timeout: float = 60.0) -> None:
        self.client = Client(url, timeout)
        self.url = self.client.server
        about = self.call("describe")
        self.dialect: str = about["dialect"]
        self.crowded = False

    def call(self, name: str, body: bytes = b"") -> Any:
        """Send a call of a method that only the server has, and return the JSON of the answer."""
        answer = self.client.request("POST", f"/api/storage/{name}", body)
        return json.loads(answer.data)

    def send(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call a method of the server's storage."""
        body, kind = wire.encode_arguments(name, args, kwargs)
        answer = self.client.request("POST", f"/api/storage/{name}", body, {"Content-Type": kind})
        return wire.decode_result(name, answer.data, answer.headers.get("Content-Type", ""))

    def await_change(self, timeout: float) -> None:
        """Return after a moment: the caller then asks for changes."""
        time.sleep(min(timeout, GLANCE))

    def trial_writer(self) -> TrialWriter:
        """Return a writer that sends each statement as a request."""
        return DirectTrialWriter(cast("Storage", self))

    def connect(self) -> Any:
        """Refuse: a server gives no connection to its database."""
        raise UsageError(
            f"{self.url} is a server, which gives no connection to its database; use sql(), or open the database itself"
        )

    def backup(self, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """Refuse: backups are made beside the database."""
        del path, progress
        raise UsageError(f"make backups on the machine of {self.url}: runbase backup")

    def close(self) -> None:
        """Close the connections."""
        self.client.close()


def _remote(name: str) -> Callable[..., Any]:
    function = getattr(Storage, name)

    @functools.wraps(function)
    def call(self: RemoteStorage, /, *args: Any, **kwargs: Any) -> Any:
        return self.send(name, args, kwargs)

    return call


def _of_the_server(name: str) -> Callable[..., Any]:
    def refuse(self: RemoteStorage, /, *args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        raise UsageError(
            f"{self.url} keeps its users, tokens, rules, documents and archives itself: call this beside its database, with --store or --home"
        )

    refuse.__name__ = name
    return refuse


for _name in (name for own in wire.SERVERS for name in vars(own)):
    if _name in wire.LOCAL:
        setattr(RemoteStorage, _name, _of_the_server(_name))
for _name, _function in inspect.getmembers(Storage, inspect.isfunction):
    if not _name.startswith("_") and _name not in wire.LOCAL:
        setattr(RemoteStorage, _name, _remote(_name))
