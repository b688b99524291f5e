"""Several processes that store the same new runs, in batches of different orders, do not deadlock."""

import random
import threading

import pytest

from runbase.events import Opened, Points, Process
from runbase.ids import new_id
from runbase.storage.open import open_storage
from runbase.storage.postgres import driver
from runbase.storage.types import Delivery

ROUNDS, RUNS, WRITERS = 12, 24, 4


def opening(run: str, journal: str, experiment: str) -> list[Delivery]:
    """Two deliveries of a journal: its beginning, and a point."""
    opened = Opened(
        time=1.0,
        version=1,
        journal=journal,
        run=run,
        experiment=experiment,
        name=run,
        process=Process("here", 1),
    )
    point = Points(time=2.0, keys=("loss",), steps=[1], times=[2.0], columns=[[0.5]])
    return [
        Delivery(run=run, journal=journal, events=[opened], start=0, offset=10, lines=1),
        Delivery(run=run, journal=journal, events=[point], start=10, offset=20, lines=1),
    ]


def test_no_batch_deadlocks(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "ATTEMPTS", 1)  # a deadlock is an error
    storages = [open_storage(postgres) for _ in range(WRITERS)]
    barrier = threading.Barrier(WRITERS)
    wrong: list[Exception] = []
    rounds = [
        [opening(new_id(), new_id(), f"e{n % 3}") for n in range(RUNS)] for _ in range(ROUNDS)
    ]

    def write(number: int) -> None:
        rng = random.Random(number)
        for runs in rounds:
            barrier.wait(60)
            for size in (7, RUNS):  # some of the runs, then all: some exist, and some do not
                chosen = rng.sample(runs, size)
                try:
                    storages[number].apply([one for run in chosen for one in run])
                except Exception as error:
                    wrong.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = [
        storages[0].sql(f"select count(*) from {table}")[0][0] for table in ("runs", "metrics")
    ]
    for storage in storages:
        storage.close()
    assert wrong == []
    assert counted == [ROUNDS * RUNS] * 2
