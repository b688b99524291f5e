"""Runs that a test logged in this process, read from the store."""

from typing import Any

import runbase


def stored(run: runbase.Run) -> Any:
    run.finish()
    with runbase.open(home=run.folder.parents[2]) as store:
        return store.run(run.id)


def values(run: runbase.Run, key: str = "loss") -> list[float]:
    run.finish()
    with runbase.open(home=run.folder.parents[2]) as store:
        return store.metrics(run.id, key, every=True).values.tolist()
