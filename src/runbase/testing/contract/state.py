"""The status of runs: resumed, lost, found again, alive."""

# pyright: basic
import time

import pytest

from runbase.events import Ended, Process, Started, StatusChanged
from runbase.ids import new_id
from runbase.status import Status
from runbase.storage.protocol import Storage
from runbase.storage.types import Query
from runbase.testing.contract.base import OnStorage
from runbase.testing.contract.journal import T0, Journal, points


class StateContract(OnStorage):
    """Read the status of runs after reports in any order."""

    def test_the_latest_report_counts_in_whatever_order_it_comes(self, storage: Storage) -> None:
        run = new_id()
        later = Journal(storage, run)
        later.write(
            Started(time=T0 + 100, resumed=True), Ended(time=T0 + 200, status=Status.COMPLETED)
        )
        earlier = Journal(storage, run)
        error = {"type": "ValueError", "message": "x", "traceback": ""}
        earlier.write(
            Started(time=T0), Ended(time=T0 + 50, status=Status.FAILED, error=error, exit_code=1)
        )
        (record,) = storage.runs()
        assert record.status is Status.COMPLETED
        assert record.error is None
        assert record.seconds == 200.0
        states = [change.status.value for change in storage.history(run)]
        assert states == ["RUNNING", "FAILED", "RUNNING", "COMPLETED"]

    def test_a_resumed_run_runs_again(self, storage: Storage) -> None:
        journal = Journal(storage)
        error = {"type": "ValueError", "message": "x", "traceback": ""}
        journal.write(Started(time=T0), Ended(time=T0 + 5, status=Status.FAILED, error=error))
        assert storage.runs()[0].error == error
        Journal(storage, journal.run).write(Started(time=T0 + 9, resumed=True))
        (record,) = storage.runs()
        assert (record.status, record.error, record.ended_at) == (Status.RUNNING, None, None)

    def test_a_resumed_run_comes_later_whatever_the_clocks_say(self, storage: Storage) -> None:
        journal = Journal(storage)  # on a machine whose clock is an hour ahead
        journal.write(Started(time=T0 + 3600), Ended(time=T0 + 3700, status=Status.PREEMPTED))
        later = Journal(storage, journal.run)
        later.write(Started(time=T0 + 110, resumed=True))
        assert storage.runs()[0].status is Status.RUNNING
        later.write(Ended(time=T0 + 200, status=Status.COMPLETED))
        (record,) = storage.runs()
        assert (record.status, record.alive) == (Status.COMPLETED, False)
        states = [change.status.value for change in storage.history(journal.run)]
        assert states == ["RUNNING", "PREEMPTED", "RUNNING", "COMPLETED"]

    def test_lost_and_found_again(self, storage: Storage) -> None:
        journal = Journal(storage)
        journal.write(Started(time=T0), points([1.0], times=[T0 + 5]))
        (live,) = storage.live_runs()
        assert (live.id, live.lost, live.seen) == (journal.run, False, T0 + 5)
        assert live.processes == [Process("elsewhere", 1, "1", "boot ns")]
        storage.mark_lost(journal.run, live.seen, "gone")
        (record,) = storage.runs()
        assert record.status is Status.NODE_FAIL
        assert record.ended_at is not None
        assert record.ended_at.timestamp() == T0 + 5
        assert storage.live_runs()[0].lost
        storage.mark_alive(journal.run, T0 + 60)
        assert storage.runs()[0].status is Status.RUNNING
        storage.mark_lost(journal.run, T0 + 70, "gone")
        journal.write(Ended(time=T0 + 65, status=Status.COMPLETED))
        assert storage.runs()[0].status is Status.COMPLETED
        storage.mark_lost(journal.run, T0 + 90, "gone")
        assert storage.runs()[0].status is Status.COMPLETED
        assert storage.live_runs() == []

    def test_alive_by_the_databases_clock(self, storage: Storage) -> None:
        began = (
            time.time() - 3600
        )  # a host whose clock is an hour late, or nobody there for so long
        journals = [Journal(storage, time=began) for _ in range(3)]
        for journal in journals:
            journal.write(Started(time=began), points([1.0], times=[began]))
        journals[2].write(Ended(time=time.time(), status=Status.COMPLETED))
        first, second, ended = (journal.run for journal in journals)
        assert not any(run.alive for run in storage.runs())
        assert storage.live_runs()[0].silent is None

        storage.heartbeat([first, ended])
        assert {run.id: run.alive for run in storage.runs()} == {
            first: True,
            second: False,
            ended: False,
        }
        for where in ("alive", "alive = true", "alive = 1", "not not alive", "alive is true"):
            assert [run.id for run in storage.runs(Query(where=where))] == [first]
        for where in ("not alive", "alive = false", "alive <> 1"):
            assert storage.count_runs(Query(where=where)) == 2
        assert storage.runs(Query(order_by="alive desc, id"))[0].id == first
        silent = {run.id: run.silent for run in storage.live_runs()}
        assert silent[first] == pytest.approx(0, abs=30)
        seen = storage.get_runs([first])[0].seen_at
        assert seen is not None
        assert seen.timestamp() > began + 3000

    def test_a_beat_finds_the_lost(self, storage: Storage) -> None:
        journal = Journal(storage)
        journal.write(Started(time=T0))
        storage.mark_lost(journal.run, T0, "gone")
        storage.heartbeat([journal.run, "0" * 32])
        assert storage.runs()[0].status is Status.RUNNING
        assert storage.runs()[0].alive

    def test_a_status_in_between(self, storage: Storage) -> None:
        journal = Journal(storage)
        journal.write(
            Started(time=T0), StatusChanged(time=T0 + 1, status=Status.SUSPENDED, reason="nice")
        )
        assert storage.runs()[0].status is Status.SUSPENDED
