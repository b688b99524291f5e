"""`runbase.wandb`: scripts for W&B, read back from the store; the same script with W&B itself, imported."""

import math
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

import runbase
import runbase.wandb as wandb
from runbase.errors import RunbaseWarning
from runbase.wandb import terms
from runbase.wandb.state import state
from tests.conftest import close_storages
from tests.patience import PATIENCE

SCRIPT = """
import argparse, numpy as np, wandb

flags = argparse.ArgumentParser()
flags.add_argument("--lr", type=float)
run = wandb.init(
    project="mnist", name="first", notes="a note", tags=["a", "b"], group="g", job_type="train",
    config={"lr": 0.5, "opt": {"name": "sgd", "m": 0.9}, "layers": [1, 2], "flag": True, "none": None},
)
run.config.update(flags.parse_args(), allow_val_change=True)
run.config.setdefaults({"lr": 9, "z": 1})
run.define_metric("low", summary="min")
run.define_metric("val/*", step_metric="epoch")
for step in range(30):
    run.log({"loss": 1 / (step + 1), "nested": {"acc": step / 7, "deep": {"er": step}}, "low": abs(10 - step)})
    if step % 10 == 9:
        wandb.log({"val/acc": step / 30, "epoch": step // 10}, commit=False)
run.log({"half": 1}, commit=False)
run.log({"half2": np.float32(0.5), "i": np.int64(7), "b": True})
run.log({"nan": float("nan"), "inf": float("-inf"), "said": "hello", "list": [1, 2], "none": None}, step=400)
run.log({"same": 1}, step=401)
run.log({"same": 2, "other": 3}, step=401)
run.log({"joins": 4})
run.log({"after": 5})
run.log({"val/late": 5})
run.log({"h": wandb.Histogram([1, 2, 2, 3], num_bins=3), "small": np.arange(3)}, step=500)
run.log({"img": wandb.Image(np.full((4, 5, 3), 7, dtype="uint8"), caption="grey")})
run.log({"several": [wandb.Image(np.zeros((2, 2), dtype="uint8"), caption=str(n)) for n in range(2)]})
run.log({"table": wandb.Table(columns=["x", "y"], data=[[1, "a"], [2, "b"]])})
run.summary["best"] = 0.25
run.summary.update({"text": "words", "group": {"inner": 3}})
wandb.finish()
"""
FAILING = """
import wandb
wandb.init(project="mnist", name="broken")
wandb.log({"loss": 1.0})
raise ValueError("broke")
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable of W&B, no run and no earlier warning."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    terms._said.clear()
    yield
    if state.run is not None:
        state.run.finish()


def run_module(text: str, *arguments: str, code: int = 0, **environment: str) -> str:
    """Run a script with `python -m runbase.wandb`, and return what it prints."""
    Path("script.py").write_text(text)
    command = [sys.executable, "-m", "runbase.wandb", "script.py", *arguments]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def curves(store: runbase.Store, run: runbase.model.Run) -> dict[str, tuple[list[Any], list[Any]]]:
    """Return metric → steps and values, with NaN as text."""
    found = {}
    for key in run.metrics:
        series = store.metrics(run, key)
        values = ["nan" if math.isnan(v) else v for v in series.values.tolist()]
        found[key] = (series.steps.tolist(), values)
    return found


def media(store: runbase.Store, run: runbase.model.Run) -> dict[str, Any]:
    """Return (key, step) → kind and content, without what only this module records."""
    found: dict[str, Any] = {}
    for record in store.records(run):
        if record["key"] in ("wandb.metrics", "wandb.summary"):
            continue
        content = store.read_record(record)
        if record["kind"] == "image":
            content = (np.asarray(content.convert("RGB")).tolist(), record["value"])
        found[f"{record['key']}@{record['step']}"] = (record["kind"], content)
    return found


def test_the_same_as_wandb_itself(home: Path, tmp_path: Path) -> None:
    """The script runs with W&B offline, whose record is imported, and with this module: both runs are equal."""
    pytest.importorskip("wandb")
    offline = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    Path("script.py").write_text(SCRIPT)
    real = subprocess.Popen(
        [sys.executable, "script.py", "--lr", "0.1"],
        env={**os.environ, **offline},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    run_module(SCRIPT, "--lr", "0.1")
    _, errors = real.communicate(timeout=PATIENCE)
    assert real.returncode == 0, errors
    with (
        runbase.open(home=home) as ours,
        runbase.open(home=tmp_path / "other" / ".runbase") as other,
    ):
        report = other.import_from(str(tmp_path / "wandb"), "wandb")
        assert report.problems == []
        mine, theirs = ours.run("first"), other.run("first")
        assert theirs.tags.pop("wandb.id")
        for field in ("experiment", "name", "status", "params", "tags", "notes"):
            assert getattr(mine, field) == getattr(theirs, field), field
        assert mine.params["lr"] == 0.1
        assert mine.params["opt/m"] == 0.9
        assert curves(ours, mine) == curves(other, theirs)
        assert media(ours, mine) == media(other, theirs)
        summary = wandb.Api(home=home).run("mnist/first").summary
        assert summary["low"]["min"] == 0
        assert (summary["best"], summary["text"], summary["group"]["inner"]) == (0.25, "words", 3)


def test_failed_with_its_error(home: Path) -> None:
    run_module(FAILING, code=1)
    with runbase.open(home=home) as store:
        run = store.run("broken")
        assert (run.status.value, run.exit_code) == ("FAILED", 1) or run.status.value == "FAILED"
        assert run.error is not None
        assert (run.error["type"], run.error["message"]) == ("ValueError", "broke")
        assert 'raise ValueError("broke")' in run.error["traceback"]
    assert wandb.Api(home=home).run("broken").state == "failed"


def test_a_tool_finds_it_whether_wandb_is_installed_or_not() -> None:
    text = """
import sys
{hide}
import runbase.wandb
runbase.wandb.substitute()
runbase.wandb.substitute()
import importlib.metadata as metadata, importlib.util as util, pickle
assert metadata.version("wandb") == runbase.wandb.__version__ == "0.31.0"
assert metadata.distribution("wandb").metadata["Name"] == "wandb"
assert util.find_spec("wandb") is not None and util.find_spec("wandb.sdk.lib") is not None
import wandb, wandb.sdk.lib, wandb.env, wandb.plot
from wandb.wandb_run import Run
from wandb.sdk.lib import RunDisabled
from wandb.sdk.lib.config_util import ConfigError
from wandb.sdk.lib import telemetry
from wandb.errors import CommError, Error
from wandb.data_types import Image
assert wandb is sys.modules["runbase.wandb"] and wandb.run is None and hasattr(wandb, "run")
assert Run is runbase.wandb.Run and wandb.plot is runbase.wandb.plot and issubclass(CommError, Error)
with telemetry.context(run=None) as tel:
    tel.feature.lightning = True
run = wandb.init(mode="disabled")
assert isinstance(run, Run) and isinstance(run, RunDisabled) and wandb.run is run
try:
    import wandb.integration.keras
except ModuleNotFoundError as error:
    assert "is not a part" in str(error)
else:
    raise AssertionError("imported a part of the other package")
print("well")
"""
    hide = "sys.meta_path[:] = [f for f in sys.meta_path]\n"
    absent = """
import importlib.machinery as machinery
from importlib.metadata import MetadataPathFinder
real, names = machinery.PathFinder.find_spec, MetadataPathFinder.find_distributions
def hidden(name, *rest): return None if name.split(".")[0] == "wandb" else real(name, *rest)
machinery.PathFinder.find_spec = hidden
machinery.PathFinder.find_distributions = lambda *a, **k: iter(())
"""
    for part in (hide, absent):
        done = subprocess.run(
            [sys.executable, "-c", text.replace("{hide}", part)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.stdout == "well\n", done.stderr


def test_module_and_arguments_of_the_command(tmp_path: Path) -> None:
    Path("lab").mkdir()
    Path("lab/__init__.py").touch()
    Path("lab/train.py").write_text(
        "import sys, wandb, __main__\nprint(sys.argv[1:], wandb.__name__, __name__)"
    )
    command = [sys.executable, "-m", "runbase.wandb"]

    def done(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)

    assert done("-m", "lab.train", "--x", "1").stdout == "['--x', '1'] runbase.wandb __main__\n"
    assert "Examples:" in done("--help").stdout
    assert done().returncode == 2
    missing = done("nowhere.py")
    assert missing.returncode == 2
    assert "no file nowhere.py" in missing.stderr


# What log does, against a small model.

CALLS = some.lists(
    some.tuples(
        some.dictionaries(some.sampled_from("abc"), some.integers(-5, 5), min_size=0, max_size=3),
        some.one_of(some.none(), some.integers(0, 12)),
        some.sampled_from([None, True, False]),
    ),
    max_size=12,
)


def model(calls: list[Any]) -> dict[str, dict[int, int]]:
    """Return key → step → value, as W&B documents `log`, but with steps that go back."""
    row, table = 0, {}
    for values, step, commit in calls:
        if step is not None and step > row:
            row = step
        place = row if step is None else step
        for key, value in values.items():
            table.setdefault(key, {})[place] = value
        if place == row and (commit if commit is not None else step is None):
            row += 1
    return table


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(calls=CALLS)
@pytest.mark.filterwarnings("ignore::runbase.errors.RunbaseWarning")
def test_rows_as_wandb_counts_them(calls: list[Any], home: Path) -> None:
    run = wandb.init(project="rows", settings={"root_dir": str(home.parent)})
    for values, step, commit in calls:
        run.log(values, step=step, commit=commit)
    expected = model(calls)
    run.finish()
    with runbase.open(home=home) as store:
        found = {
            key: dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))
            for key in store.run(run.id).metrics
            for series in [store.metrics(run.id, key)]
        }
    assert found == expected
    for key, points in expected.items():
        last = [v for values, _, _ in calls for k, v in values.items() if k == key][-1]
        assert run.summary[key] == last, points


def test_step_metrics(home: Path) -> None:
    run = wandb.init(project="steps")
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    run.log({"loss": 1.0, "trainer/global_step": 10})
    run.log({"loss": 0.5, "trainer/global_step": 20.0})
    run.log({"val": 0.7})
    run.log({"said": "hi", "trainer/global_step": 30})
    run.finish()
    with runbase.open(home=home) as store:
        record = store.run(run.id)
        found = curves(store, record)
        assert found["loss"] == ([10, 20], [1.0, 0.5])
        assert found["val"] == ([20], [0.7])
        assert found["trainer/global_step"] == ([10, 20, 30], [10, 20, 30])
        assert [r["step"] for r in store.records(run.id, "said")] == [30]


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_odd_values_do_not_stop_a_run(home: Path) -> None:
    run = wandb.init(project="odd", config={"big": 10**400, "odd": Unprintable(), "path": home})
    itself: dict[str, Any] = {}
    itself["itself"] = itself
    with pytest.warns(RunbaseWarning) as warned:
        run.log(
            {
                "odd": Unprintable(),
                3: 4,
                "img": wandb.Image("/nowhere.png"),
                "../up": wandb.Image(np.zeros((2, 2))),
            }
        )
        run.log(
            {"big": 10**400, "itself": itself, "empty": {}, "shape": np.zeros((0, 3)), "set": {1}}
        )
        run.log({"a": 1}, step="x")  # type: ignore[arg-type]
        run.log({"a": 2}, step=-5)
        run.log({"a": 3}, step=float("nan"))  # type: ignore[arg-type]
        run.summary["odd"] = Unprintable()
        run.watch(object())
        run.alert("", "no title")
    assert any("W&B drops such values" in str(one.message) for one in warned)
    run.finish(exit_code=0)
    with pytest.raises(TypeError, match="dictionary"):
        wandb.init(project="odd").log(5)
    wandb.finish()
    with runbase.open(home=home) as store:
        found = curves(store, store.run(run.id))
        assert found["3"] == ([0], [4])
        assert found["a"] == ([-5, 2], [2, 3])
        assert store.run(run.id).status.value == "COMPLETED"


def test_config() -> None:
    run = wandb.init(project="config", config={"a": {"b": 1}, "c": 2})
    assert wandb.config is run.config
    run.config["c"] = 2
    with pytest.raises(wandb.ConfigError, match="allow_val_change"):
        run.config.c = 3
    with pytest.raises(wandb.ConfigError):
        run.config.update({"new": 1, "c": 4})
    assert "new" not in run.config
    run.config.update({"c": 5}, allow_val_change=True)
    run.config.setdefaults({"c": 9, "z": 1})
    run.config.y = np.float64(0.5)
    assert run.config.as_dict() == {"a": {"b": 1}, "c": 5, "z": 1, "y": 0.5}
    assert run.config.get("nope", 3) == 3
    assert run.config.a == {"b": 1}
    with pytest.raises(AttributeError):
        run.config.nope
    run.finish()
    with pytest.raises(wandb.Error, match="before"):
        wandb.config.c
    with pytest.raises(wandb.Error, match="before log"):
        wandb.log({"a": 1})
    api = wandb.Api()
    assert api.run(run.id).config == {"a": {"b": 1}, "c": 5, "z": 1, "y": 0.5}


def test_config_from_files() -> None:
    Path("config-defaults.yaml").write_text(
        "lr: {value: 0.1, desc: rate}\nepochs: 3\nwandb_version: 1\n"
    )
    Path("own.yaml").write_text("lr: 0.5\n")
    with wandb.init(project="config", config="own.yaml") as run:
        assert run.config.as_dict() == {"epochs": 3, "lr": 0.5}
    with wandb.init(project="config", config={"a": 1, "b": 2}, config_exclude_keys=["b"]) as run:
        assert "b" not in run.config


def test_summary(home: Path) -> None:
    run = wandb.init(project="summary")
    run.define_metric("loss", summary="min,max")
    run.define_metric("acc", summary="best", goal="maximize")
    run.define_metric("hidden", summary="none")
    run.define_metric("err", summary="mean,first")
    with pytest.raises(wandb.Error, match="summary is 'worst'"):
        run.define_metric("x", summary="worst")
    for value in (3, 1, 2):
        run.log({"loss": value, "acc": value, "hidden": value, "err": value, "plain": value})
    run.summary["mine"] = np.float32(0.5)
    run.summary["nested"] = {"a": 1}
    run.summary["nested"]["b"] = 2
    expected = {
        "loss": {"min": 1, "max": 3},
        "acc": {"best": 3},
        "err": {"mean": 2, "first": 3},
        "plain": 2,
        "mine": 0.5,
        "nested": {"a": 1, "b": 2},
    }
    shown = {k: dict(v) if hasattr(v, "keys") else v for k, v in run.summary.items()}
    assert shown == expected
    run.summary["plain"] = 7
    run.finish()
    stored = wandb.Api().run(run.id).summary
    shown = {k: dict(v) if hasattr(v, "keys") else v for k, v in stored.items()}
    assert shown == {**expected, "plain": 7}
    with runbase.open(home=home) as store:
        record = store.run(run.id)
        assert record.metrics["plain"].last == 2  # the curve has what was logged
        assert record.metrics["mine"].last == 0.5
        assert record.metrics["nested.b"].last == 2
        assert record.metrics["mine"].last_step == 2


def test_disabled_records_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with wandb.init(project="none", config={"a": 1}) as run:
        run.log({"x": 1})
        run.summary["y"] = 2
        Path(run.dir, "note.txt").write_text("x")
        run.log_artifact(wandb.Artifact("x", "y"))
        run.save("*.py")
        run.alert("title")
        assert (run.summary["x"], run.summary["y"], run.config.a, run.disabled) == (1, 2, 1, True)
        run.name = "other"
        assert run.name == "other"
    assert not home.exists()
    assert wandb.run is None


def test_resume(home: Path) -> None:
    with pytest.raises(wandb.UsageError, match="there is no run"):
        wandb.init(project="p", id="one", resume="must")
    with wandb.init(project="p", id="one", resume="allow", config={"lr": 1, "o": {"m": 2}}) as run:
        assert not run.resumed
        run.log({"loss": 3})
        run.log({"loss": 2})
        run.summary["best"] = 9
    with pytest.raises(wandb.UsageError, match="pass another id"):
        wandb.init(project="p", id="one", resume="never")
    run = wandb.init(project="p", id="one", resume="must", config={"lr": 5})
    assert (run.resumed, run.step, run.config.as_dict()) == (True, 2, {"lr": 5, "o": {"m": 2}})
    assert (run.summary["best"], run.summary["loss"]) == (9, 2)
    run.log({"loss": 1})
    run.finish(exit_code=1)
    other = wandb.init(project="q", id="one", resume="allow")
    assert (other.resumed, other.project) == (False, "q")
    other.finish()
    assert wandb.init(project="q", id="one", resume="allow").id == other.id
    wandb.finish()
    with runbase.open(home=home) as store:
        assert curves(store, store.run("one"))["loss"] == ([0, 1, 2], [3, 2, 1])
        assert store.run("one").status.value == "FAILED"


def test_resume_auto() -> None:
    first = wandb.init(project="p", resume="auto")
    first.finish(exit_code=1)
    second = wandb.init(project="p", resume=True)
    assert second.id == first.id
    second.finish()
    third = wandb.init(project="p", resume="auto")
    assert third.id != first.id
    third.finish()


def test_reinit() -> None:
    first = wandb.init(project="p")
    with pytest.warns(RunbaseWarning, match="is active"):
        assert wandb.init(project="p", config={"a": 1}) is first
    second = wandb.init(project="p", reinit=True)
    assert second is not first
    assert first.status() == "COMPLETED"
    third = wandb.init(project="p", reinit="create_new")
    assert wandb.run is second
    third.finish()
    assert wandb.run is second


def test_environment(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    for name, value in {
        "PROJECT": "from-env",
        "NAME": "named",
        "RUN_ID": "id-1",
        "RESUME": "allow",
        "RUN_GROUP": "g",
        "JOB_TYPE": "j",
        "TAGS": "x, y",
        "NOTES": "n",
        "ENTITY": "lab",
        "MODE": "offline",
    }.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    run = wandb.init()
    assert (run.project, run.name, run.id, run.group, run.job_type) == (
        "from-env",
        "named",
        "id-1",
        "g",
        "j",
    )
    assert (run.tags, run.notes, run.entity, run.path) == (
        ("x", "y"),
        "n",
        "lab",
        "lab/from-env/id-1",
    )
    run.tags += ("z",)
    run.name, run.notes = "renamed", "other"
    run.finish()
    with runbase.open(home=home) as store:
        record = store.run("id-1")
        assert record.tags == {
            "x": None,
            "y": None,
            "z": None,
            "group": "g",
            "job_type": "j",
            "wandb.entity": "lab",
        }
        assert (record.name, record.notes) == ("renamed", "other")


def test_files_artifacts_and_lineage(home: Path) -> None:
    Path("data").mkdir()
    Path("data/a.txt").write_text("a")
    Path("data/sub").mkdir()
    Path("data/sub/b.txt").write_text("b")
    with wandb.init(project="files") as run:
        Path(run.dir, "inside.txt").write_text("inside")
        assert run.save("data/*.txt") == ["data/a.txt"]
        run.save("later-*.txt")
        artifact = wandb.Artifact("digits", "dataset", metadata={"n": 2}, description="two files")
        artifact.add_dir("data")
        artifact.add_reference("s3://bucket/c.bin")
        with artifact.new_file("made.txt") as file:
            file.write("made")
        table = wandb.Table(columns=["x"], data=[[1]])
        artifact.add(table, "rows")
        Path("data/a.txt").unlink()
        assert run.log_artifact(artifact, aliases=["first"]).wait().version == "v1"
        (Path("later-1.txt")).write_text("later")
    names = {"a.txt", "sub/b.txt", "made.txt", "rows.table.json", "c.bin"}
    with wandb.init(project="files", job_type="use") as user:
        used = user.use_artifact("digits:first", type="dataset")
        assert {entry.path for entry in used.files()} == names
        folder = Path(used.download("copy", path_prefix="sub"))
        assert (folder / "sub/b.txt").read_text() == "b"
        assert used.get("rows").data == [[1]]
        assert (used.metadata, used.description, used.aliases) == ({"n": 2}, "two files", ["first"])
        assert Path(used.get_entry("a.txt").download("copy")).read_text() == "a"
        again = wandb.Artifact("digits", "dataset")
        again.add_file("copy/a.txt")
        assert user.log_artifact(again).wait().name == "digits:v2"
        with pytest.raises(wandb.CommError, match="has the type"):
            user.use_artifact("digits:latest", type="model")
        with pytest.raises(wandb.CommError, match="versions of 'digits': v1, v2"):
            user.use_artifact("digits:v9")
        user.log_model("copy/a.txt", name="net")
        assert Path(user.use_model("net:latest")).read_text() == "a"
    api = wandb.Api()
    assert api.artifact("files/digits:first").logged_by().id == run.id
    assert [one.id for one in api.artifact("digits:v1").used_by()] == [user.id]
    assert [one.version for one in api.artifacts("dataset", "files/digits")] == ["v2", "v1"]
    assert not api.artifact_exists("files/none")
    files = {file.name for file in api.run(run.id).files()}
    assert {"inside.txt", "a.txt", "later-1.txt"} <= files
    assert api.run(run.id).file("inside.txt").download("got").read() == "inside"
    assert [a.name for a in api.run(user.id).used_artifacts()] == ["digits:v1", "net:v1"]


def test_media_and_charts(home: Path) -> None:
    import matplotlib.pyplot as plt
    import plotly.graph_objects as go

    table = wandb.Table(columns=["k", "v.x"], data=[["a", 1], ["b", 2]])
    shares = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]]
    mixed = wandb.Table(columns=["n", "img"])
    mixed.add_data(1, wandb.Image(np.zeros((2, 2))))
    plt.figure()
    plt.plot([1, 2])
    with wandb.init(project="media") as run:
        run.log(
            {
                "bar": wandb.plot.bar(table, "k", "v.x", title="bars"),
                "cm": wandb.plot.confusion_matrix(
                    y_true=[0, 1, 1], preds=[0, 1, 0], class_names=["x", "y"]
                ),
                "roc": wandb.plot.roc_curve([0, 1, 1, 0], shares),
                "pr": wandb.plot.pr_curve([0, 1, 1, 0], shares),
                "lines": wandb.plot.line_series([1, 2], [[3, 4], [5, 6]], keys=["p", "q"]),
                "hist": wandb.plot.histogram(table, "v.x"),
                "custom": wandb.plot_table("wandb/scatter/v0", table, {"x": "v.x", "y": "v.x"}),
                "plotly": go.Figure(go.Scatter(x=[1], y=[2])),
                "plt": plt,
                "html": wandb.Html("<p>hi"),
                "points": wandb.Object3D(np.zeros((2, 3))),
                "audio": wandb.Audio(np.zeros(80), sample_rate=8000, caption="hush"),
                "video": wandb.Video(np.zeros((2, 3, 4, 4), dtype="uint8"), fps=4),
                "mixed": mixed,
                "big": np.arange(100.0),
            }
        )
    with runbase.open(home=home) as store:
        found = media(store, store.run(run.id))
    kinds = {key.split("@")[0]: kind for key, (kind, _) in found.items()}
    assert kinds["bar"] == kinds["roc"] == kinds["plotly"] == "plot"
    assert kinds["plt"] == "image"
    assert (kinds["html"], kinds["points"], kinds["big"]) == ("html", "object3D", "histogram")
    assert found["cm_table@0"][1]["rows"] == [
        ["x", "x", 1],
        ["x", "y", 0],
        ["y", "x", 1],
        ["y", "y", 1],
    ]
    assert found["bar@0"][1]["figure"]["encoding"]["x"]["field"] == "v\\.x"
    roc = [row for row in found["roc_table@0"][1]["rows"] if row[0] == "1"]
    assert [row[1:] for row in roc] == [[0, 0], [0, 0.5], [0, 1], [0.5, 1], [1, 1]]
    assert found["pr_table@0"][1]["columns"] == ["class", "precision", "recall"]
    assert found["mixed@0"][1]["rows"] == [[1, "mixed/img/0"]]
    assert kinds["mixed/img/0"] == "image"
    assert found["points@0"][1] == [[0, 0, 0], [0, 0, 0]]


def sweep_config(**more: Any) -> dict[str, Any]:
    return {
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {
            "lr": {"values": [0.1, 0.2]},
            "opt": {"parameters": {"m": {"min": 1, "max": 2}}},
            "fixed": {"value": 5},
        },
        **more,
    }


def train() -> None:
    with wandb.init(config={"lr": 9, "epochs": 2}) as run:
        assert (run.config.fixed, run.config.epochs) == (5, 2)
        for _ in range(run.config.epochs):
            run.log({"loss": run.config.lr * run.config["opt"]["m"]})
        if run.config.lr == 0.2 and run.config["opt"]["m"] == 2:
            raise ValueError("bad luck")


@pytest.mark.filterwarnings("ignore::runbase.errors.RunbaseWarning")
def test_sweep(home: Path) -> None:
    key = wandb.sweep(sweep_config(method="grid"), project="digits")
    wandb.agent(key, function=train)
    wandb.agent(key, function=train)  # the grid is exhausted
    api = wandb.Api()
    runs = api.runs("digits", order="+config.lr")
    tried = sorted((run.config["lr"], run.config["opt"]["m"], run.state) for run in runs)
    assert tried == [
        (0.1, 1, "finished"),
        (0.1, 2, "finished"),
        (0.2, 1, "finished"),
        (0.2, 2, "failed"),
    ]
    assert all(run.config["fixed"] == 5 and run.sweep_name == key for run in runs)
    failed = next(run for run in runs if run.state == "failed")
    assert failed.error is not None
    assert (failed.error["type"], failed.error["message"]) == ("ValueError", "bad luck")
    assert api.runs("digits", include_sweeps=False) == []
    best = api.sweep(key).best_run()
    assert best is not None
    assert best.config["lr"] == 0.1
    assert best.config["opt"]["m"] == 1
    with runbase.open(home=home) as store:
        experiment = store.experiment(key)
        assert [objective.metric for objective in experiment.objectives] == ["loss"]
        assert experiment.best_trials(1)[0].values == {"loss": 0.1}


@pytest.mark.parametrize("method", ["random", "bayes"])
@pytest.mark.filterwarnings("ignore::runbase.errors.RunbaseWarning")
def test_sweep_by_sampler(method: str) -> None:
    config = sweep_config(method=method, run_cap=3)
    config["parameters"]["lr"] = {"min": 0.001, "max": 0.1, "distribution": "log_uniform_values"}
    key = wandb.sweep(config, project="digits")
    wandb.agent(f"lab/digits/{key}", function=train, count=5)
    rates = [run.config["lr"] for run in wandb.Api().sweep(key).runs]
    assert len(rates) == len(set(rates)) == 3
    assert all(0.001 <= rate <= 0.1 for rate in rates)


def test_sweeps_that_cannot_be_run() -> None:
    with pytest.raises(wandb.UsageError, match="method of the sweep"):
        wandb.sweep(sweep_config(method="custom"))
    for parameter, message in [
        ({"distribution": "normal", "mu": 0, "sigma": 1}, "min and max"),
        ({}, "has no values"),
        ({"distribution": "beta", "min": 0, "max": 1}, "distribution 'beta'"),
    ]:
        with pytest.raises(wandb.UsageError, match=message):
            wandb.sweep({"method": "random", "parameters": {"x": parameter}})
    with pytest.raises(wandb.UsageError, match="needs values"):
        wandb.sweep({"method": "grid", "parameters": {"x": {"min": 0.0, "max": 1.0}}})
    with pytest.raises(wandb.UsageError, match="needs a function"):
        wandb.agent("x")
    with pytest.raises(wandb.CommError, match="could not find sweep"):
        wandb.agent("nowhere", function=train)


def test_api() -> None:
    for number, rate in enumerate([0.3, 0.1, 0.2]):
        with wandb.init(
            project="read",
            name=f"r{number}",
            config={"lr": rate, "opt": {"m": number}},
            tags=["t"] * (number % 2),
        ) as run:
            for step in range(10):
                run.log({"loss": rate * step})
                run.log({"acc": step}, commit=False)
    api = wandb.Api()

    def names(filters: dict[str, Any], order: str = "+created_at") -> list[str]:
        return [run.name for run in api.runs("lab/read", filters, order)]

    assert names({}) == ["r0", "r1", "r2"]
    assert names({}, "-summary_metrics.loss") == ["r0", "r2", "r1"]
    assert names({"config.lr": {"$lt": 0.25}}, "+config.lr") == ["r1", "r2"]
    assert names({"config.opt.m": {"$in": [0, 2]}}) == ["r0", "r2"]
    assert names({"$or": [{"tags": "t"}, {"display_name": {"$regex": "2$"}}]}) == ["r1", "r2"]
    assert names({"summary_metrics.loss": {"$gte": 1.8, "$lte": 2}, "state": "finished"}) == ["r2"]
    assert names({"tags": {"$nin": ["t"]}, "config.nope": {"$exists": False}}) == ["r0", "r2"]
    assert names({"$not": {"name": {"$ne": run.id}}}) == ["r2"]
    assert names({"created_at": {"$gt": "2020-01-01"}, "jobType": None}) == ["r0", "r1", "r2"]
    with pytest.raises(wandb.UsageError, match=r"\$near"):
        names({"config.lr": {"$near": 1}})
    with pytest.raises(wandb.CommError, match="could not find project"):
        api.runs("nowhere")
    with pytest.raises(wandb.CommError, match="could not find run"):
        api.run("read/nowhere")
    stored = api.run(f"lab/read/{run.id}")
    rows = [*stored.scan_history(["_step", "loss"])]
    assert rows == [{"_step": step, "loss": pytest.approx(0.2 * step)} for step in range(10)]
    frame = stored.history(samples=5)
    assert frame["_step"].tolist() == [0, 2, 5, 8, 10]
    assert (frame["_runtime"] >= 0).all()
    assert stored.lastHistoryStep == 10
    stored.tags.append("added")
    stored.config["later"] = 1
    stored.notes = "read again"
    stored.update()
    again = wandb.Api().run(run.id)
    assert (again.tags, again.config["later"], again.notes) == (["added"], 1, "read again")
    assert again.config["opt"] == {"m": 2}
    assert again.config["opt/m"] == again.config.get("opt/m") == 2
    assert "opt/x" not in again.config


def test_a_program_on_the_queue(home: Path) -> None:
    """`runbase worker NAME -- python -m runbase.wandb train.py`: the config is that of the trial."""
    with runbase.open(home=home) as store:
        experiment = store.create_experiment("queue", objectives={"loss": "min"})
        trial = experiment.new_trial({"lr": 0.25, "opt/m": 3})
        text = """
import wandb
run = wandb.init(project="queue", config={"lr": 9, "extra": 1})
assert run.config["opt"]["m"] == 3
run.log({"loss": run.config.lr})
"""
        Path("train.py").write_text(text)
        program = [sys.executable, "-m", "runbase.wandb", "train.py"]
        worker = [sys.executable, "-m", "runbase", "worker", "queue", "--wait", "0", "--"]
        done = subprocess.run([*worker, *program], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        store.sync()
        run = store.run(trial.id)
        assert (run.params, run.status.value) == ({"lr": 0.25, "opt/m": 3, "extra": 1}, "COMPLETED")
        assert run.metrics["loss"].last == 0.25


def test_the_home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of a tool's output keeps the home of the script; another folder has one of its own."""
    with wandb.init(project="p", dir="outputs/one") as run:
        assert Path(run.sync_dir).is_relative_to(home)
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    with wandb.init(project="p", dir=outside) as run:
        assert Path(run.sync_dir).is_relative_to(outside / ".runbase")
    monkeypatch.setenv("RUNBASE_HOME", str(home))
    with wandb.init(project="p", dir=outside) as run:
        assert Path(run.sync_dir).is_relative_to(home)


class Parameter:
    """As a parameter of PyTorch: calls its hook with its gradient."""

    requires_grad = True

    def __init__(self) -> None:
        self.hooks: list[Any] = []

    def register_hook(self, hook: Any) -> "Parameter":
        self.hooks.append(hook)
        return self

    def remove(self) -> None:
        self.hooks.clear()

    def detach(self) -> "Parameter":
        return self

    def float(self) -> Any:
        return np.arange(4.0)


def test_watch(home: Path) -> None:
    parameter = Parameter()

    class Model:
        def named_parameters(self) -> list[tuple[str, Parameter]]:
            return [("w", parameter)]

    with wandb.init(project="watch") as run:
        run.watch(Model(), log="all", log_freq=2)
        for step in range(4):
            for hook in parameter.hooks:
                hook(parameter)
            run.log({"loss": step})
        run.unwatch()
        assert parameter.hooks == []
    with runbase.open(home=home) as store:
        steps = [(r["key"], r["step"]) for r in store.records(run.id, kind="histogram")]
    assert steps == [(f"{kind}/w", step) for kind in ("gradients", "parameters") for step in (1, 3)]


CHILD = """
import pickle, sys
run = pickle.loads(bytes.fromhex(sys.argv[1]))
run.log({"child": 5})
run.finish()
"""


def test_another_process_logs_to_the_run(home: Path) -> None:
    with wandb.init(project="spawn") as run:
        run.define_metric("child", step_metric="trainer/step")
        run.log({"loss": 1})
        assert pickle.loads(pickle.dumps(run)) is run
        assert wandb._attach(run._attach_id) is run
        subprocess.run(
            [sys.executable, "-c", CHILD, pickle.dumps(run).hex()], check=True, timeout=PATIENCE
        )
        run.log({"loss": 2})
    with runbase.open(home=home) as store:
        assert curves(store, store.run(run.id)) == {"loss": ([0, 1], [1, 2]), "child": ([1], [5])}
        assert store.run(run.id).status.value == "COMPLETED"


def test_preempted_and_alerts(home: Path) -> None:
    run = wandb.init(project="end")
    run.alert("loss is NaN", "at step 3", level=wandb.AlertLevel.WARN, wait_duration=60)
    run.mark_preempting()
    run.log_code(".", include_fn=lambda path: path.endswith(".none"))
    run.finish(exit_code=143)
    with runbase.open(home=home) as store:
        assert store.run(run.id).status.value == "PREEMPTED"
        assert [(a.title, a.level) for a in store.alerts()] == [("loss is NaN", "warning")]
    close_storages()


def test_what_is_ignored_says_so() -> None:
    with pytest.warns(RunbaseWarning, match="sync_tensorboard") as warned:
        wandb.init(project="p", sync_tensorboard=True, magic=True, anonymous="allow").finish()
    assert any("magic has no meaning" in str(one.message) for one in warned)
    assert not any("anonymous" in str(one.message) for one in warned)
    with pytest.raises(AttributeError, match="callback of Keras"):
        wandb.keras
    with pytest.raises(wandb.UnsupportedError):
        wandb.controller()
    assert wandb.login()
    wandb.require("core")
    assert wandb.setup().settings.mode == "online"
