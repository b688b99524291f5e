"""The store that a contract is tested on, and runs to fill it with."""

# pyright: basic
from typing import Any

import pytest

from runbase.events import Ended, Params, Started, Tags
from runbase.status import Status
from runbase.testing.contract import T0, Journal, points


class OnStore:
    """A test class on a store; override `store`."""

    @pytest.fixture
    def store(self) -> Any:
        """An empty store."""
        raise NotImplementedError("give this class a store fixture")

    def sync(self, store: Any) -> Any:
        """The store itself, where `store` is an async one in disguise."""
        return store

    def storage(self, store: Any) -> Any:
        """The storage that deliveries are applied to."""
        return self.sync(store).storage

    def logged(self, store: Any, **more: Any) -> str:
        """A finished run's id."""
        params, tags = more.pop("params", {}), more.pop("tags", {})
        values, keys = more.pop("values", [1.0]), more.pop("keys", ("loss",))
        journal = Journal(self.storage(store), **more)
        events: list[Any] = [Started(time=T0)]
        if params:
            events.append(Params(time=T0, values=params))
        if tags:
            events.append(Tags(time=T0, set=tags))
        events += [points(values, key=key) for key in keys if values]
        journal.write(*events, Ended(time=T0 + 10, status=Status.COMPLETED))
        return journal.run

    @staticmethod
    def of(table: str) -> str:
        """Which rows of a table belong to a run."""
        if table == "blocks":
            return "series_id in (select id from series where run_id = :run)"
        return "run_id = :run"
