"""Run folders of training tools, scanned into a store; `recorded` has files that the tools wrote."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase.status import Status

RECORDED = Path(__file__).parent / "recorded"
LONG_AGO = time.time() - 3600
HEADER = "epoch,time,train/box_loss,metrics/mAP50(B),lr/pg0\n"
ARGS = "task: detect\nmode: train\nmodel: yolo11n.pt\nepochs: 3\nlr0: 0.01\nproject: null\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[runbase.Store]:
    with runbase.open(tmp_path / "tools.db") as opened:
        yield opened


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    return folder


def copy(name: str, tree: Path) -> Path:
    """Copy recorded files, as files that have not changed for an hour."""
    target = tree / name
    shutil.copytree(RECORDED / name, target, dirs_exist_ok=True)
    rest(target)
    return target


def rest(*folders: Path) -> None:
    """Make all files an hour old."""
    for folder in folders:
        for path in folder.rglob("*"):
            os.utime(path, (LONG_AGO, LONG_AGO))


def curve(store: runbase.Store, run: Any, key: str) -> list[tuple[float, float]]:
    series = store.metrics(run, key)
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def statuses(store: runbase.Store, run: Any) -> list[str]:
    return [change.status.value for change in store.run(run).history]


def scanned(store: runbase.Store, tree: Path) -> Any:
    report = store.scan(tree)
    assert report.problems == []
    [run] = store.runs()
    return run


# Ultralytics


def ultralytics(tree: Path, rows: int, *, seconds: float = 2.0) -> Path:
    """A folder in the documented format: the epochs count from 1, `time` is the seconds since the start."""
    folder = tree / "runs" / "detect" / "train"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "args.yaml").write_text(ARGS)
    text = HEADER + "".join(
        f"{n},{seconds * n:.6g},{1 / n:.6g},{n / 10:.6g},0.01\n" for n in range(1, rows + 1)
    )
    (folder / "results.csv").write_text(text)
    return folder


def test_ultralytics(store: runbase.Store, tree: Path) -> None:
    folder = ultralytics(tree, 3)
    rest(tree)
    run = scanned(store, tree)
    assert (run.experiment, run.name, run.status) == ("detect", "train", Status.COMPLETED)
    assert (run.params["lr0"], run.params["model"]) == (0.01, "yolo11n.pt")
    assert curve(store, run, "train/box_loss") == [(1, 1), (2, 0.5), (3, 0.333333)]
    assert curve(store, run, "metrics/mAP50(B)") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    times = store.metrics(run, "train/box_loss").times
    assert times[2] == pytest.approx(LONG_AGO, abs=0.01)
    assert (times[2] - times[0]) == pytest.approx(4)
    ultralytics(tree, 5)  # it is resumed
    run = scanned(store, tree)
    assert (run.status, run.metrics["train/box_loss"].count) == (Status.RUNNING, 5)
    rest(folder)
    assert scanned(store, tree).status is Status.COMPLETED
    assert store.scan(tree, full=True).points == 0
    assert statuses(store, run) == ["RUNNING", "COMPLETED", "RUNNING", "COMPLETED"]


def test_ultralytics_before_the_first_epoch_and_other_args(
    store: runbase.Store, tree: Path
) -> None:
    folder = ultralytics(tree, 1)
    table = (folder / "results.csv").read_text()
    (folder / "results.csv").unlink()
    (folder / "events.out.tfevents.1.host").write_bytes(b"")  # not a second run
    other = tree / "timm"
    other.mkdir()
    (other / "args.yaml").write_text("aa: null\nlr: 0.1\n")
    (other / "results.csv").write_text("epoch,loss\n1,1\n")
    run = scanned(store, tree)
    assert (run.status, run.params["epochs"], run.metrics) == (Status.RUNNING, 3, {})
    spaces = "\n".join(
        ",".join(f"{cell:>22}" for cell in line.split(",")) for line in table.splitlines()
    )
    (folder / "results.csv").write_text(spaces + "\n")  # as earlier versions wrote it
    assert curve(store, scanned(store, tree), "train/box_loss") == [(1, 1)]


def test_ultralytics_without_epochs_is_reported(store: runbase.Store, tree: Path) -> None:
    folder = ultralytics(tree, 1)
    (folder / "results.csv").write_text("a,b\n1,2\n")
    report = store.scan(tree)
    assert report.invalid == 1
    assert "results.csv has no column epoch" in report.problems[0]


# Ray Tune


def test_ray_tune(store: runbase.Store, tree: Path) -> None:
    copy("ray", tree)
    report = store.scan(tree)
    assert (report.found, report.new, report.problems) == (2, 2, [])
    runs = {run.params["lr"]: run for run in store.runs(experiment="tuned")}
    assert set(runs) == {0.25, 0.5}
    assert (runs[0.25].status, runs[0.5].status) == (Status.COMPLETED, Status.FAILED)
    assert runs[0.25].params["net/width"] == 8
    for lr, run in runs.items():
        assert curve(store, run, "loss") == [(n + 1, pytest.approx(lr / (n + 1))) for n in range(3)]
        assert curve(store, run, "nested/a") == [(1, 0), (2, 1), (3, 2)]
        assert set(run.metrics) == {"loss", "nested/a"}
        assert store.metrics(run, "loss").times[0] == 1795826288
    error = runs[0.5].error
    assert error is not None
    assert (error["type"], error["message"]) == ("ValueError", "too fast")
    assert "in objective" in error["traceback"]
    assert "\x1b" not in json.dumps(error)
    assert store.scan(tree, full=True).points == 0
    assert statuses(store, runs[0.25]) == ["RUNNING", "COMPLETED"]


def test_a_trial_of_ray_that_grows_and_is_tried_again(store: runbase.Store, tree: Path) -> None:
    source = RECORDED / "ray" / "tuned" / "objective_1"
    lines = (source / "result.json").read_text().splitlines(keepends=True)
    folder = tree / "tuned" / "objective_1"
    folder.mkdir(parents=True)
    shutil.copy(source / "params.json", folder)
    results = folder / "result.json"
    results.write_text("")
    assert scanned(store, tree).status is Status.RUNNING
    results.write_text(lines[0] + lines[1][:50])
    run = scanned(store, tree)
    assert (run.status, run.metrics["loss"].count) == (Status.RUNNING, 1)
    results.write_text(lines[0] + "nonsense\n" + lines[1])
    report = store.scan(tree)
    assert "not a valid result" in report.problems[0]
    assert store.runs()[0].metrics["loss"].count == 2
    shutil.copy(source / "error.txt", folder)
    now = time.time()
    os.utime(folder / "error.txt", (now + 1, now + 1))
    assert scanned(store, tree).status is Status.FAILED
    with results.open("a") as file:  # Tune begins it again
        file.write(lines[2].replace('"done": false', '"done": true'))
    os.utime(results, (now + 2, now + 2))
    run = scanned(store, tree)
    assert (run.status, run.metrics["loss"].count) == (Status.COMPLETED, 3)
    assert store.scan(tree, full=True).points == 0
    assert statuses(store, run) == ["RUNNING", "FAILED", "RUNNING", "COMPLETED"]


def test_damaged_parameters_of_ray(store: runbase.Store, tree: Path) -> None:
    folder = copy("ray", tree) / "tuned" / "objective_0"
    shutil.rmtree(folder.parent / "objective_1")
    (folder / "params.json").write_text('{"lr": ')
    report = store.scan(tree)
    assert "not valid parameters" in report.problems[0]
    [run] = store.runs()
    assert (run.params, run.metrics["loss"].count) == ({}, 3)


# transformers


def test_transformers(store: runbase.Store, tree: Path) -> None:
    folder = copy("transformers", tree) / "tiny"
    run = scanned(store, tree)
    assert (run.experiment, run.name, run.status) == ("transformers", "tiny", Status.COMPLETED)
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    for ours, theirs in {
        "train/loss": "loss",
        "train/grad_norm": "grad_norm",
        "eval/loss": "eval_loss",
        "train/epoch": "epoch",
        "train_loss": "train_loss",
    }.items():
        wanted = {(row["step"], row[theirs]) for row in history if theirs in row}
        assert wanted
        assert set(curve(store, run, ours)) == wanted, ours
    assert (run.params["n_embd"], run.params["max_steps"]) == (8, 12)
    assert store.scan(tree, full=True).points == 0


def test_a_training_of_transformers_grows(store: runbase.Store, tree: Path) -> None:
    folder = copy("transformers", tree) / "tiny"
    (folder / "trainer_state.json").unlink()
    kept = tree.parent / "kept"
    shutil.move(folder / "checkpoint-12", kept)
    os.utime(folder / "checkpoint-6" / "trainer_state.json")
    run = scanned(store, tree)
    assert (run.status, run.metrics["train/loss"].count) == (Status.RUNNING, 2)
    shutil.move(kept, folder / "checkpoint-12")
    shutil.rmtree(folder / "checkpoint-6")  # as save_total_limit does
    run = scanned(store, tree)
    assert (run.status, run.missing_at) == (Status.COMPLETED, None)
    assert [step for step, _ in curve(store, run, "train/loss")] == [3, 6, 9, 12]
    assert run.metrics["train/loss"].count == 4


def test_a_training_of_transformers_that_began_again(store: runbase.Store, tree: Path) -> None:
    folder = copy("transformers", tree) / "tiny"
    store.scan(tree)
    for path in folder.rglob("trainer_state.json"):
        path.write_text(path.read_text().replace('"loss": ', '"loss": 1'))
    run = scanned(store, tree)
    assert curve(store, run, "train/loss")[0] == (3, pytest.approx(12.7011241912841797))
    (folder / "trainer_state.json").write_text('{"log_hist')
    report = store.scan(tree)
    assert "trainer_state.json is damaged or incomplete" in report.problems[0]


def test_event_files_of_transformers_are_one_run(store: runbase.Store, tree: Path) -> None:
    """The folder `runs` of a Trainer is read instead of the state, which has the same figures."""
    from tensorboardX import SummaryWriter

    folder = copy("transformers", tree) / "tiny"
    with SummaryWriter(str(folder / "runs" / "Nov28_host")) as writer:
        writer.add_scalar("train/loss", 0.5, 3)
    assert scanned(store, tree).name == "Nov28_host"


def test_other_runs_beside_checkpoints_are_found(store: runbase.Store, tree: Path) -> None:
    copy("transformers/tiny", tree)
    work = tree / "transformers" / "tiny"
    with runbase.start_run(
        "own", name="mine", home=work / ".runbase", store="none", capture=False
    ) as run:
        run.log({"loss": 1.0}, step=0)
    store.scan(tree)
    assert {run.name for run in store.runs()} == {"tiny", "mine"}


# DVCLive


def test_dvclive(store: runbase.Store, tree: Path) -> None:
    copy("dvclive", tree)
    run = scanned(store, tree)
    assert (run.name, run.status) == ("tree", Status.COMPLETED)
    assert run.params == {"lr": 0.25, "net/width": 8}
    assert curve(store, run, "acc") == [(0, 0), (1, 0.25), (2, 0.5), (3, 0.75)]
    assert curve(store, run, "train/loss") == [(n, pytest.approx(1 / (n + 1))) for n in range(4)]
    assert curve(store, run, "best") == [(3, 0.5)]  # it has no table
    assert store.metrics(run, "train/loss").times[0] == pytest.approx(1795826465.316)
    assert store.scan(tree, full=True).points == 0


def test_dvclive_grows(store: runbase.Store, tree: Path) -> None:
    folder = copy("dvclive", tree)
    table = folder / "plots" / "metrics" / "acc.tsv"
    whole = table.read_text()
    table.write_text(whole[:20])  # a row is being written
    run = scanned(store, tree)
    assert (run.status, set(run.metrics)) == (Status.RUNNING, {"acc", "train/loss"})
    assert run.metrics["acc"].count == 1
    table.write_text(whole)
    (folder / "plots" / "metrics" / "new.tsv").write_text("step\tnew\n3\t7\n")
    (folder / "metrics.json").write_text('{"step": 3, "best": 0.')
    run = scanned(store, tree)
    assert (run.metrics["acc"].count, run.metrics["new"].last) == (4, 7)
    (folder / "params.yaml").write_text("lr: 0.5\n")
    (folder / "metrics.json").write_text('{"step": 3, "best": 0.75}')
    assert scanned(store, tree).params["lr"] == 0.5
    rest(folder)
    run = scanned(store, tree)
    assert (run.status, run.metrics["best"].last) == (Status.COMPLETED, 0.75)
    with table.open("a") as file:
        file.write("4\t1.0\n")
    assert scanned(store, tree).status is Status.RUNNING
    assert statuses(store, run) == ["RUNNING", "COMPLETED", "RUNNING"]


def test_a_damaged_table_of_dvclive(store: runbase.Store, tree: Path) -> None:
    folder = copy("dvclive", tree)
    (folder / "plots" / "metrics" / "acc.tsv").write_text("0\t1\n1\t2\n")
    report = store.scan(tree)
    assert "acc.tsv is not a header" in report.problems[0]
    [run] = store.runs()
    assert run.metrics["train/loss"].count == 4


# stable-baselines3


def test_stable_baselines3(store: runbase.Store, tree: Path) -> None:
    path = copy("sb3", tree) / "cart_1" / "progress.csv"
    run = scanned(store, tree)
    assert (run.experiment, run.name, run.status) == ("sb3", "cart_1", Status.COMPLETED)
    assert curve(store, run, "rollout/ep_rew_mean")[:2] == [(64, 25), (128, 30)]
    assert [step for step, _ in curve(store, run, "train/loss")] == [128, 192, 256]
    with path.open("a") as file:
        file.write("320,500,1,20.0,20.0,5,1.0,,,,,,,,,\n")
    run = scanned(store, tree)
    assert (run.status, run.metrics["train/loss"].count) == (Status.RUNNING, 4)
    assert store.scan(tree, full=True).points == 0


def test_other_tables_named_progress_are_left_alone(store: runbase.Store, tree: Path) -> None:
    (tree / "progress.csv").write_text("Epoch,Return\n1,2\n")
    assert store.scan(tree).found == 0


# Hydra


def nested(tree: Path) -> Path:
    """A folder of Lightning inside a job of Hydra."""
    folder = copy("hydra", tree) / "one" / "lightning_logs" / "version_0"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("epoch,loss,step\n0,1.0,10\n")
    (folder / "hparams.yaml").write_text("lr: 0.125\n")
    return folder


def test_the_configuration_of_hydra(store: runbase.Store, tree: Path) -> None:
    nested(tree)
    inside = tree / "sb3"  # a job that is a run folder itself
    copy("sb3", tree)
    (inside / "cart_1" / ".hydra").mkdir()
    (inside / "cart_1" / ".hydra" / "config.yaml").write_text("algo: {gamma: 0.5}\nname: a-${x}\n")
    own = tree / "hydra" / "one" / ".runbase"
    with runbase.start_run("own", name="ours", home=own, store="none", capture=False) as run:
        run.log({"loss": 1.0}, step=0)
    report = store.scan(tree)
    assert (report.found, report.problems) == (3, [])
    runs = {run.name: run for run in store.runs()}
    lightning = runs["lightning_logs/version_0"]
    assert lightning.params == {"lr": 0.125, "net/width": 8}  # the tool's own value counts
    assert runs["cart_1"].params == {"algo/gamma": 0.5, "name": "a-${x}"}
    assert runs["ours"].params == {}
    assert store.scan(tree, full=True).points == 0


def test_a_damaged_configuration_of_hydra(store: runbase.Store, tree: Path) -> None:
    nested(tree)
    (tree / "hydra" / "one" / ".hydra" / "config.yaml").write_text("lr: [1\n")
    report = store.scan(tree)
    assert "not a valid configuration" in report.problems[0]
    [run] = store.runs()
    assert (run.params, run.metrics["loss"].count) == ({"lr": 0.125}, 1)


@pytest.mark.parametrize("name", ["ray", "transformers", "dvclive", "sb3"])
def test_files_of_random_bytes_stop_nothing(store: runbase.Store, tree: Path, name: str) -> None:
    copy("hydra", tree)
    nested(tree)
    for path in sorted(copy(name, tree).rglob("*")):
        if path.is_file():
            path.write_bytes(bytes(range(256)) * 4)
    store.scan(tree)
    assert store.runs(experiment="lightning_logs")[0].metrics["loss"].count == 1
