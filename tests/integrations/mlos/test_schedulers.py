"""Several schedulers of mlos_bench share an experiment: each trial runs once."""

import multiprocessing
import os
import pickle
import signal
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from mlos_bench.environments.status import Status

from runbase.integrations.mlos import RunbaseStorage
from runbase.run.lease import LeaseRenewer
from tests.integrations.mlos.experiments import NOW, enter, tunables
from tests.patience import PATIENCE


def test_a_scheduler_of_mlos_bench_sees_its_own_trials_after_merging(
    storage: RunbaseStorage, root: Path
) -> None:
    old = enter(storage, root, "old")
    for _ in range(5):
        old.new_trial(tunables()).update(Status.SUCCEEDED, NOW, {"latency": 1.0, "throughput": 1})
    experiment = enter(storage, root)
    experiment.merge(["old"])
    seen, last = [], -1
    for n in range(4):  # as Scheduler does it
        ids, *_ = experiment.load(last)
        seen.append(len(ids))
        last = max(ids, default=last)
        trial = experiment.new_trial(tunables().assign({"readahead": n}))
        trial.update(Status.SUCCEEDED, NOW, {"latency": 1.0, "throughput": 1})
    assert seen == [5, 1, 1, 1]


def _schedule(address: str, root: str, told: Any) -> None:
    storage = RunbaseStorage({"store": address})
    experiment = enter(storage, Path(root))
    later = NOW + timedelta(days=1000)
    for trial in experiment.pending_trials(later, running=False):
        trial.config()
        told.put((trial.trial_id, os.getpid()))
        trial.update(Status.SUCCEEDED, NOW, {"latency": 1.0, "throughput": 1})


def test_two_schedulers_run_each_trial_once(storage: RunbaseStorage, root: Path) -> None:
    experiment = enter(storage, root)
    for n in range(100):
        experiment.new_trial(tunables().assign({"readahead": n}))
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    given = (storage.store.address, str(root), told)
    workers = [context.Process(target=_schedule, args=given) for _ in range(3)]
    for worker in workers:
        worker.start()
    ran = [told.get(timeout=PATIENCE) for _ in range(100)]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert sorted(number for number, _ in ran) == list(range(1, 101))
    assert told.empty()
    assert set(storage.experiments["tuning"].results_df["status"]) == {"SUCCEEDED"}


def test_a_scheduler_that_breaks_off_gives_its_trial_back(
    storage: RunbaseStorage, root: Path
) -> None:
    later = NOW + timedelta(days=1000)
    experiment = enter(storage, root)
    experiment.new_trial(tunables())
    experiment.new_trial(tunables())

    def state() -> list[Any]:
        rows = storage.store.sql("select status, attempt, runner is null from runs order by number")
        return [(status, attempt, bool(free)) for status, attempt, free in rows]

    waiting = experiment.pending_trials(later, running=False)
    trial = next(waiting)
    assert state()[0] == ("RUNNING", 1, False)
    waiting.close()  # it had only looked
    assert state() == [("PENDING", 1, True), ("PENDING", 1, True)]
    waiting = experiment.pending_trials(later, running=False)
    trial = next(waiting)
    trial.config()
    experiment.__exit__(None, None, None)  # it had begun
    assert state() == [("PENDING", 2, True), ("PENDING", 1, True)]
    with pytest.raises(RuntimeError, match="another scheduler has"):
        trial.update(Status.SUCCEEDED, NOW, {"latency": 1.0, "throughput": 1})
    assert state() == [("PENDING", 2, True), ("PENDING", 1, True)]


def _die(address: str, root: str) -> None:
    experiment = enter(RunbaseStorage({"store": address}), Path(root))
    for trial in experiment.pending_trials(NOW + timedelta(days=1000), running=False):
        trial.config()
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_scheduler_that_is_killed_gives_its_trial_back_in_time(
    storage: RunbaseStorage, root: Path
) -> None:
    later = NOW + timedelta(days=1000)
    experiment = enter(storage, root)
    experiment.new_trial(tunables())
    context = multiprocessing.get_context("spawn")
    worker = context.Process(target=_die, args=(storage.store.address, str(root)))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    assert (
        list(experiment.pending_trials(later, running=True)) == []
    )  # it may live, for all we know
    storage.store.sql(
        "update runs set lease_until = :then", {"then": "2001-01-01T00:00:00.000000Z"}, write=True
    )
    [trial] = experiment.pending_trials(later, running=False)
    assert trial.trial_id == 1
    assert storage.store.sql("select status, attempt from runs") == [("PENDING", 2)]


def test_a_claim_is_renewed_while_a_trial_runs(
    storage: RunbaseStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runbase.integrations.mlos.trial.LEASE", 1.0)
    renewed = threading.Event()
    inner = storage.store.storage.renew_claim

    def renew(*args: Any) -> bool:
        kept = inner(*args)
        if kept:
            renewed.set()
        return kept

    monkeypatch.setattr(storage.store.storage, "renew_claim", renew)
    experiment = enter(storage, root)
    experiment.new_trial(tunables())
    for trial in experiment.pending_trials(NOW + timedelta(days=1000), running=False):
        trial.config()
        assert renewed.wait(30)
        trial.update(Status.SUCCEEDED, NOW, {"latency": 1.0, "throughput": 1})
    assert storage.store.sql("select status, lease_until from runs") == [("COMPLETED", None)]


def test_a_keeper_ends_when_there_is_nothing_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runbase.run.lease.IDLE", 0.01)
    from runbase.run.lease import Held, Lease

    renewer = LeaseRenewer(lambda: pytest.fail("there is nothing to renew yet"))
    lease = Lease(Held(run="r", attempt=1, runner="me", seconds=600))
    renewer.add(lease)
    thread = renewer._thread
    assert thread is not None
    renewer.drop(lease)
    thread.join(30)
    assert not thread.is_alive()


def _in_child(pickled: bytes, told: Any) -> None:
    storage, experiment, trial, data = pickle.loads(pickled)
    trial.update(Status.SUCCEEDED, NOW, {"latency": 1.0, "throughput": 1})
    told.put((experiment.load()[0], list(storage.experiments), data.results_df["status"].tolist()))


def test_objects_pickle_to_another_process(storage: RunbaseStorage, root: Path) -> None:
    experiment = enter(storage, root)
    trial = experiment.new_trial(tunables())
    pickled = pickle.dumps((storage, experiment, trial, storage.experiments["tuning"]))
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    child = context.Process(target=_in_child, args=(pickled, told))
    child.start()
    assert told.get(timeout=PATIENCE) == ([1], ["tuning"], ["SUCCEEDED"])
    child.join(60)
    assert storage.experiments["tuning"].trials[1].status is Status.SUCCEEDED
