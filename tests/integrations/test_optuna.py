"""Optuna on runbase: its own conformance suite on both databases, studies of several processes, SQL."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import optuna
import optuna_dashboard
import pytest
from optuna.testing.pytest_storages import StorageTestCase

import runbase
from runbase.integrations.optuna import RunbaseArtifactStore, RunbaseStorage
from tests.patience import PATIENCE


class TestSqlite(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[Any]:
        with runbase.open(tmp_path / "optuna.db") as store:
            yield RunbaseStorage(store)


class TestPostgres(StorageTestCase):
    @pytest.fixture
    def storage(self, postgres: str) -> Iterator[Any]:
        with runbase.open(postgres) as store:
            yield RunbaseStorage(store)


@pytest.fixture(params=["sqlite", "postgres"])
def store(
    request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[runbase.Store]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if request.param == "postgres":
        monkeypatch.setenv("RUNBASE_STORE", request.getfixturevalue("postgres"))
    with runbase.open(home=home) as opened:
        yield opened


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -10, 10)
    kind = trial.suggest_categorical("kind", ["a", "b", None, 3])
    depth = trial.suggest_int("depth", 1, 9, log=True)
    for step in range(3):
        trial.report(x * step, step)
    trial.set_user_attr("note", {"kind": kind})
    if x > 9:
        raise optuna.TrialPruned
    return (x - 2) ** 2 + depth


def test_a_study_is_an_experiment(store: runbase.Store) -> None:
    study = optuna.create_study(
        study_name="quadratic",
        storage=RunbaseStorage(store),
        sampler=optuna.samplers.TPESampler(seed=1),
    )
    study.optimize(objective, n_trials=30)
    experiment = store.experiment("quadratic")
    assert [(o.metric, o.direction) for o in experiment.objectives] == [("value", "min")]
    assert experiment.runs == 30
    best = store.best("quadratic")
    assert best.number == study.best_trial.number + 1
    assert best.metrics["value"].last == study.best_value
    assert best.params == study.best_params
    curve = store.metrics(best, "intermediate_value")
    assert dict(zip(curve.steps.tolist(), curve.values.tolist(), strict=True)) == (
        study.best_trial.intermediate_values
    )
    rows = store.sql(
        "select params ->> 'kind' as kind, count(*) from trials where experiment = 'quadratic' "
        "group by params ->> 'kind'"
    )
    assert sum(row[1] for row in rows) == 30
    assert {run.status.value for run in store.runs(experiment="quadratic")} <= {
        "COMPLETED",
        "PRUNED",
    }
    assert experiment.load().numbers == [
        t.number + 1 for t in study.trials if t.state is optuna.trial.TrialState.COMPLETE
    ]
    again = optuna.load_study(study_name="quadratic", storage=RunbaseStorage(store))
    assert again.best_trial == study.best_trial
    again.optimize(objective, n_trials=2)
    assert [t.number for t in again.trials] == list(range(32))


def test_an_experiment_becomes_a_study(store: runbase.Store) -> None:
    experiment = store.create_experiment("tuned by hand", objectives={"acc": "max"})
    experiment.new_trial({"x": 0.5})
    experiment.claim_trial().finish(metrics={"acc": 0.7})
    study = optuna.load_study(study_name="tuned by hand", storage=RunbaseStorage(store))
    assert study.direction is optuna.study.StudyDirection.MAXIMIZE
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    assert [run.number for run in store.runs(experiment="tuned by hand", order_by="number")] == [
        1,
        2,
        3,
        4,
    ]
    store.create_experiment("no goal")
    with pytest.raises(KeyError, match="no objectives"):
        optuna.load_study(study_name="no goal", storage=RunbaseStorage(store))


def test_a_study_is_copied_into_another_store(store: runbase.Store, tmp_path: Path) -> None:
    study = optuna.create_study(
        study_name="laptop", storage=RunbaseStorage(store), directions=["minimize", "maximize"]
    )
    study.optimize(lambda t: (t.suggest_float("x", 0, 1), t.suggest_int("n", 1, 3)), n_trials=5)
    study.set_user_attr("who", {"name": "ada"})
    with runbase.open(tmp_path / "team.db", sync=False) as team:
        optuna.create_study(study_name="another", storage=RunbaseStorage(team))
        store.copy_to(team)
        store.copy_to(team)
        copied = optuna.load_study(study_name="laptop", storage=RunbaseStorage(team))
        assert copied._study_id != 1
        assert copied.directions == study.directions
        assert copied.user_attrs == {"who": {"name": "ada"}}
        for theirs, ours in zip(copied.trials, study.trials, strict=True):
            assert (theirs.params, theirs.values, theirs.distributions) == (
                ours.params,
                ours.values,
                ours.distributions,
            )
        copied.optimize(
            lambda t: (t.suggest_float("x", 0, 1), t.suggest_int("n", 1, 3)), n_trials=1
        )
        assert copied.trials[-1].number == 5


WORKER = """
import optuna, sys
from runbase.integrations.optuna import RunbaseArtifactStore, RunbaseStorage
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(study_name="shared", storage=RunbaseStorage())
study.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_int("n", 1, 3), n_trials=25)
"""


def test_four_processes_on_one_study(store: runbase.Store, script: Any) -> None:
    study = optuna.create_study(study_name="shared", storage=RunbaseStorage(store))
    for x in range(10):
        study.enqueue_trial({"x": x / 10})
    workers = [script(WORKER) for _ in range(4)]
    for worker in workers:
        _, err = worker.communicate(timeout=PATIENCE)
        assert worker.returncode == 0, err
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(100))
    assert {trial.state for trial in trials} == {optuna.trial.TrialState.COMPLETE}
    assert sorted(trial.params["x"] for trial in trials[:10]) == [x / 10 for x in range(10)]
    assert store.totals()["runs"] == 100


def test_stale_trials_are_found_and_tried_again(store: runbase.Store) -> None:
    storage = RunbaseStorage(
        store,
        heartbeat_interval=1,
        grace_period=2,
        heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(),
    )
    study = optuna.create_study(study_name="stale", storage=storage)
    lost = study.ask()
    lost.suggest_float("x", 0, 1)
    storage.record_heartbeat(lost._trial_id)
    assert storage._get_stale_trial_ids(study._study_id) == []
    then = "2001-01-01T00:00:00.000000+00:00"
    store.sql("update runs set beat_at = :then", {"then": then}, write=True)
    assert storage._get_stale_trial_ids(study._study_id) == [lost._trial_id]
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    first, second = study.trials
    assert first.state is optuna.trial.TrialState.FAIL
    assert second.state is optuna.trial.TrialState.COMPLETE
    assert second.params == first.params, "the same once more"
    for wrong in ({"heartbeat_interval": 0}, {"grace_period": -1}):
        with pytest.raises(ValueError, match="positive"):
            RunbaseStorage(store, **wrong)


def test_ids_are_never_given_twice(store: runbase.Store) -> None:
    storage = RunbaseStorage(store)
    study = optuna.create_study(study_name="once", storage=storage)
    first = study._study_id
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    optuna.delete_study(study_name="once", storage=storage)
    again = optuna.create_study(study_name="once", storage=storage)
    assert again._study_id > first
    assert again.trials == []
    store.restore(next(e.id for e in store.experiments(deleted=True)))
    assert len(storage.get_all_studies()) == 2, "a deleted study lies in the bin"


def test_trials_of_ours_are_a_study_too(store: runbase.Store) -> None:
    experiment = store.create_experiment(
        "native",
        objectives={"loss": "min", "speed": "max"},
        space={"x": runbase.space.Float(-5, 5), "kind": runbase.space.Categorical(["a", "b"])},
    )
    for n, metrics in enumerate(({"loss": 1.0, "speed": 2.0}, {"loss": 3.0}, None)):
        experiment.new_trial({"x": float(n), "kind": "a", "other": n})
        claim = experiment.claim_trial("me")
        assert claim is not None
        claim.finish("COMPLETED" if metrics else "FAILED", metrics=metrics)
    experiment.new_trial(experiment.suggest(sampler="optuna:tpe"))
    study = optuna.load_study(study_name="native", storage=RunbaseStorage(store))
    trials = study.trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "FAIL", "WAITING"]
    assert trials[0].values == [1.0, 2.0]
    assert trials[0].params == {"x": 0.0, "kind": "a"}
    assert trials[0].distributions["x"] == optuna.distributions.FloatDistribution(-5, 5)
    assert set(trials[3].params) == {"x", "kind"}
    study.optimize(lambda t: (t.suggest_float("x", -5, 5), 1.0), n_trials=2)
    assert [trial.state.name for trial in study.trials][3:] == ["COMPLETE", "COMPLETE"]


# Trials that this process runs: told without waiting


def _told_and_killed(address: str) -> None:
    study = optuna.load_study(study_name="told", storage=RunbaseStorage(address))
    trial = study.ask()
    for n in range(20):
        trial.suggest_float(f"x{n}", 0, 1)
        trial.report(n / 2, n)
    trial.set_user_attr("last", True)
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_was_told_survives_sigkill(store: runbase.Store) -> None:
    optuna.create_study(study_name="told", storage=RunbaseStorage(store))
    process = multiprocessing.get_context("spawn").Process(
        target=_told_and_killed, args=(store.address,)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    deadline = time.monotonic() + PATIENCE
    while True:  # the server may still be at it
        [trial] = optuna.load_study(study_name="told", storage=RunbaseStorage(store)).trials
        if trial.user_attrs or time.monotonic() > deadline:
            break
    assert trial.user_attrs == {"last": True}
    assert set(trial.params) == {f"x{n}" for n in range(20)}
    assert trial.intermediate_values == {n: n / 2 for n in range(20)}


def test_a_trial_that_others_end(store: runbase.Store) -> None:
    study = optuna.create_study(study_name="taken", storage=RunbaseStorage(store))
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    other = optuna.load_study(study_name="taken", storage=RunbaseStorage(store))
    other.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        for n in range(100):  # it is found out when the answers are read
            trial.set_user_attr("n", n)
    with pytest.raises((optuna.exceptions.UpdateFinishedTrialError, ValueError)):
        study.tell(trial, 1.0)
    assert [each.state.name for each in study.trials] == ["FAIL"]
    assert study.trials[0].user_attrs == {}


def test_a_connection_that_breaks_between_two_words(
    postgres: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runbase.open(postgres) as store:
        storage = RunbaseStorage(store)
        study = optuna.create_study(study_name="broken", storage=storage)
        cut = (
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'runbase' and pid <> pg_backend_pid()"
        )
        for when in ("param", "report", "end", "read"):
            trial = study.ask()
            trial.suggest_float("x", 0, 1)
            if when == "param":
                store.sql(cut)
            trial.suggest_float("y", 0, 1)
            if when == "report":
                store.sql(cut)
            trial.report(0.5, 1)
            if when == "end":
                store.sql(cut)
            study.tell(trial, 2.0)
            if when == "read":
                store.sql(cut)
            found = study.trials[-1]
            assert (found.state.name, found.values, set(found.params)) == (
                "COMPLETE",
                [2.0],
                {"x", "y"},
            )
            assert found.intermediate_values == {1: 0.5}
        assert store.sql("select count(*) from metrics where key = 'value'") == [(4,)]


def test_threads_share_a_lane(store: runbase.Store) -> None:
    study = optuna.create_study(study_name="threads", storage=RunbaseStorage(store))
    study.optimize(objective, n_trials=40, n_jobs=4)
    assert sorted(trial.number for trial in study.trials) == list(range(40))
    assert all(trial.state.is_finished() and "x" in trial.params for trial in study.trials)


def test_a_fork_has_a_lane_of_its_own(store: runbase.Store) -> None:
    storage = RunbaseStorage(store)
    study = optuna.create_study(study_name="forked", storage=storage)
    study.optimize(objective, n_trials=2)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            optuna.load_study(study_name="forked", storage=storage).optimize(objective, n_trials=3)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    study.optimize(objective, n_trials=2)
    assert [trial.number for trial in study.trials] == list(range(7))


# What Optuna's other tools do


def test_artifacts_are_files_of_the_run(store: runbase.Store, tmp_path: Path) -> None:
    storage = RunbaseStorage(store)
    study = optuna.create_study(study_name="files", storage=storage)
    artifacts = RunbaseArtifactStore(storage)
    (tmp_path / "model.bin").write_bytes(b"weights" * 1000)
    trial = study.ask()
    given = {"artifact_store": artifacts, "file_path": str(tmp_path / "model.bin")}
    first = optuna.artifacts.upload_artifact(study_or_trial=trial, **given)
    second = optuna.artifacts.upload_artifact(study_or_trial=trial, **given)
    of_study = optuna.artifacts.upload_artifact(study_or_trial=study, **given)
    study.tell(trial, 1.0)
    [run] = store.runs(experiment="files")
    found = store.artifacts(run)
    assert {each.path for each in found} == {"model.bin", f"{second}/model.bin"}
    assert {each.size for each in found} == {7000}
    assert store.download(f"{run.id}/model.bin").read_bytes() == b"weights" * 1000
    target = tmp_path / "back.bin"
    for key in (first, second, of_study):
        optuna.artifacts.download_artifact(
            artifact_store=artifacts, file_path=str(target), artifact_id=key
        )
        assert target.read_bytes() == b"weights" * 1000
        target.unlink()
    metas = optuna.artifacts.get_all_artifact_meta(study.trials[0], storage=storage)
    assert sorted(meta.artifact_id for meta in metas) == sorted([first, second])
    artifacts.remove(first)
    with pytest.raises(optuna.artifacts.exceptions.ArtifactNotFound):
        artifacts.open_reader(first)
    assert [a.removed_at is None for a in store.artifacts(run) if a.path == "model.bin"] == [False]
    with pytest.raises(runbase.UsageError, match="not an artifact id"):
        artifacts.open_reader("../../etc/passwd")


def test_artifacts_need_a_place(tmp_path: Path) -> None:
    with (
        runbase.open("sqlite://") as store,
        pytest.raises(runbase.UsageError, match="pass a folder for the artifacts"),
    ):
        RunbaseArtifactStore(store)


def test_optuna_dashboard(store: runbase.Store, tmp_path: Path) -> None:
    """The real dashboard, over HTTP, as its page asks it."""
    storage = RunbaseStorage(store)
    study = optuna.create_study(study_name="seen", storage=storage)
    study.optimize(objective, n_trials=20)
    app = optuna_dashboard.wsgi(
        storage, artifact_store=RunbaseArtifactStore(storage, tmp_path / "artifacts")
    )
    server = make_server("127.0.0.1", 0, app, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def ask(method: str, path: str, body: Any = None) -> Any:
        url = f"http://127.0.0.1:{server.server_port}/api/{path}"
        data = None if body is None else json.dumps(body).encode()
        head = {"Content-Type": "application/json"}
        asked = urllib.request.Request(url, data, head, method=method)
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    try:
        [summary] = ask("GET", "studies")["study_summaries"]
        assert summary["study_name"] == "seen"
        number = summary["study_id"]
        found = ask("GET", f"studies/{number}?after=0")
        assert len(found["trials"]) == 20
        done = [each for each in found["trials"] if each["state"] == "Complete"]
        assert {each["name"] for each in done[0]["params"]} == {"x", "kind", "depth"}
        assert len(done[0]["intermediate_values"]) == 3
        assert ask("GET", f"studies/{number}/param_importances")["param_importances"][0]
        ask("PUT", f"studies/{number}/note", {"body": "promising", "version": 1})
        ask("PUT", f"studies/{number}/{done[0]['trial_id']}/note", {"body": "best", "version": 1})
        assert ask("GET", f"studies/{number}?after=0")["note"]["body"] == "promising"
        trial = study.ask()
        ask("POST", f"trials/{trial._trial_id}/user-attrs", {"user_attrs": {"by": "hand"}})
        ask("POST", f"trials/{trial._trial_id}/tell", {"state": "Complete", "values": [0.5]})
        assert study.trials[-1].values == [0.5]
        assert study.trials[-1].user_attrs == {"by": "hand"}
        ask("POST", "studies", {"study_name": "made there", "directions": ["maximize"]})
        assert store.experiment("made there").objectives[0].direction == "max"
        ask("DELETE", f"studies/{number}")
        assert [each.name for each in store.experiments()] == ["made there"]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


def test_the_example_tunes_digits(store: runbase.Store) -> None:
    script = Path(__file__).parents[2] / "examples" / "digits-optuna" / "tune.py"
    given = {"capture_output": True, "text": True, "timeout": 240}
    for count in (14, 2):
        done: Any = subprocess.run([sys.executable, str(script), str(count)], check=False, **given)
        assert done.returncode == 0, done.stderr
    assert "accuracy by epoch" in done.stdout
    experiment = store.experiment("digits")
    assert len(experiment.trials()) == 16
    assert experiment.best_trials()[0].values["value"] > 0.9
