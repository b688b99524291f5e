"""What belongs to a run: files, artifacts, media, charts, gradients, reading, alerts, other processes."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runbase
import runbase.wandb as wandb
from runbase.errors import RunbaseWarning
from tests.conftest import close_storages
from tests.patience import PATIENCE

from .programs import curves, media


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
