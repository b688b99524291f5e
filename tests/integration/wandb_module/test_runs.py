"""Runs: log, config, summary, resume; the same script with W&B itself, imported; programs that import W&B."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

import runbase
import runbase.wandb as wandb
from runbase.errors import RunbaseWarning
from tests.patience import PATIENCE

from .programs import curves, media, run_module

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
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
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
