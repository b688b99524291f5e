"""SummaryWriter: all methods of PyTorch's class, with the same arguments; scalars are compared with its event files."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter as Theirs

import runbase
from runbase.integrations.tensorboard import SummaryWriter
from tests.environments.integrations.conftest import points


def test_the_methods_and_their_arguments_are_the_same() -> None:
    names = [name for name in vars(Theirs) if name.startswith("add_")] + [
        "flush",
        "close",
        "get_logdir",
    ]
    assert len(names) >= 20
    for name in names:
        theirs = list(inspect.signature(getattr(Theirs, name)).parameters)
        ours = list(inspect.signature(getattr(SummaryWriter, name)).parameters)
        assert ours == theirs, name
    beginning = list(inspect.signature(Theirs.__init__).parameters)
    assert list(inspect.signature(SummaryWriter.__init__).parameters)[: len(beginning)] == beginning


def written(kind: Any, folder: Path) -> Any:
    """What a script writes."""
    writer = kind(log_dir=str(folder / "mnist_1"), comment="-a")
    for step in range(5):
        writer.add_scalar("train/loss", torch.tensor(1 / (step + 1)), step)
        writer.add_scalar("one", np.array([step]), step)
        writer.add_scalars("both", {"a": step, "b": 2 * step}, step)
    return writer


def test_scalars(store: runbase.Store, tmp_path: Path) -> None:
    theirs = written(Theirs, tmp_path / "theirs")
    theirs.close()
    ours = written(SummaryWriter, tmp_path / "ours")
    ours.close()
    (run,) = store.runs()
    assert (run.name, run.status.value) == ("mnist_1-a", "COMPLETED")
    events = EventAccumulator(str(tmp_path / "theirs" / "mnist_1"), {"scalars": 0}).Reload()
    for tag in ("train/loss", "one"):
        wanted = [(event.step, np.float32(event.value)) for event in events.Scalars(tag)]
        assert [(s, np.float32(v)) for s, v in points(store, run, tag)] == wanted
    assert points(store, run, "both/b") == [(step, 2 * step) for step in range(5)]


def test_all_other_kinds(store: runbase.Store) -> None:
    dice = np.random.default_rng(0)
    with SummaryWriter(experiment="kinds", name="all", params={"a": 1}) as writer:
        writer.add_hparams({"lr": 0.5, "net": "small"}, {"hparam/accuracy": 0.75}, global_step=3)
        writer.add_histogram("weights", torch.randn(100), 3)
        writer.add_histogram_raw("raw", 0, 2, 3, 3.0, 5.0, [1, 2], [1, 2], 3)
        writer.add_image("chw", torch.rand(3, 8, 8), 3)
        writer.add_image("hw", dice.integers(0, 255, (8, 8)).astype(np.uint8), 3, dataformats="HW")
        writer.add_images("several", torch.rand(2, 1, 8, 8), 3)
        writer.add_image_with_boxes(
            "boxed", torch.zeros(3, 32, 32), torch.tensor([[2, 2, 20, 20]]), 3
        )
        writer.add_video("film", torch.randint(0, 255, (1, 4, 3, 8, 8), dtype=torch.uint8), 3)
        writer.add_audio(
            "sound", torch.sin(torch.arange(800) / 10).reshape(1, -1), 3, sample_rate=8000
        )
        writer.add_text("words", "hello", 3)
        writer.add_tensor("tensor", torch.arange(4), 3)
        writer.add_graph(torch.nn.Linear(2, 1))
        writer.add_embedding(torch.rand(3, 2), ["a", "b", "c"], global_step=3)
        writer.add_pr_curve("pr", np.array([0, 1, 1]), np.array([0.1, 0.4, 0.9]), 3)
        counts = [np.array([2, 1]), np.array([1, 0]), np.array([0, 1]), np.array([0, 1])]
        writer.add_pr_curve_raw("pr_raw", *counts, np.array([0.66, 1]), np.array([1, 0.5]), 3)
        writer.add_mesh(
            "mesh", torch.rand(1, 4, 3), faces=torch.tensor([[[0, 1, 2]]]), global_step=3
        )
        writer.add_custom_scalars({"all": {"loss": ["Multiline", ["loss/.*"]]}})
        writer.add_custom_scalars_multilinechart(["a", "b"])
        writer.add_custom_scalars_marginchart(["a", "b", "c"])
        import matplotlib.pyplot as plt

        writer.add_figure("figure", plt.figure(), 3)
        writer.flush()
    (run,) = store.runs()
    assert (run.experiment, run.name, run.status.value) == ("kinds", "all", "COMPLETED")
    assert (run.params["lr"], run.params["net"], run.params["a"]) == (0.5, "small", 1)
    assert points(store, run, "hparam/accuracy") == [(3, 0.75)]
    kinds = {record["key"]: record["kind"] for record in store.records(run.id)}
    assert kinds == {
        "weights": "histogram", "raw": "histogram", "chw": "image", "hw": "image", "several/0": "image",
        "several/1": "image", "boxed": "image", "film": "video", "sound": "audio", "words": "text", "graph": "text",
        "embedding/default": "table", "pr": "table", "pr_raw": "table", "custom_scalars": "json", "figure": "image",
    }  # fmt: skip
    (raw,) = [record["value"] for record in store.records(run.id) if record["key"] == "raw"]
    assert (raw["edges"], raw["counts"]) == ([0, 1, 2], [1, 2])
    (curve,) = [record["value"] for record in store.records(run.id) if record["key"] == "pr"]
    assert len(curve["rows"]) == 127
    assert curve["rows"][0][:3] == [0.0, 2 / 3, 1.0]
    kept = {artifact.path for artifact in store.run(run.id).artifacts}
    assert {"tensors/tensor/3.npy", "meshes/mesh/3-0.ply"} <= kept


def test_it_continues_and_joins(store: runbase.Store) -> None:
    writer = SummaryWriter(experiment="again")
    writer.add_scalar("loss", 1.0, 0)
    writer.close()
    writer.add_scalar("loss", 0.5, 1)  # torch's writer opens another file
    writer.close()
    (run,) = store.runs(experiment="again")
    assert points(store, run, "loss") == [(0, 1.0), (1, 0.5)]
    with runbase.start_run("mine", home=store.home) as mine:
        SummaryWriter().add_scalar("loss", 2.0, 4, walltime=1_700_000_000.0)
    (found,) = store.runs(experiment="mine")
    assert points(store, mine, "loss") == [(4, 2.0)]
    series = store.metrics(found.id, "loss")
    assert series.times.tolist() == [1_700_000_000.0]
