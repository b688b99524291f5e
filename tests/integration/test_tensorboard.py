"""TensorBoard's event files, written by a real writer, scanned into a store."""

import os
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboardX import SummaryWriter
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.proto.tensor_pb2 import TensorProto

import runbase
from runbase.integrations.tensorboard.tfevents import Damaged, events
from runbase.status import Status

LONG_AGO = time.time() - 3600


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with runbase.open(tmp_path / "tb.db") as opened:
        yield opened


def tensor(tag: str, plugin: str, **fields: Any) -> Summary:
    """A summary as TensorFlow 2 writes it."""
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin))
    value = Summary.Value(tag=tag, metadata=metadata, tensor=TensorProto(**fields))
    return Summary(value=[value])


def test_what_is_kept(store: runbase.Store, tmp_path: Path) -> None:
    logs = tmp_path / "logs" / "mnist" / "run1"
    writer = SummaryWriter(str(logs))
    for step in range(2000):
        writer.add_scalar("loss/train", 1 / (step + 1), step)
    writer.add_scalar("nan", float("nan"), 3)
    writer.add_text("note", "hello **world**", 7)
    writer.add_histogram("weights", np.arange(100.0), 1)
    writer.add_hparams({"lr": 0.1, "bs": 32, "opt": "adam", "flag": True}, {"best": 0.9}, name="hp")
    file = writer.file_writer
    file.add_summary(tensor("tf2", "scalars", dtype=1, float_val=[0.25]), 4)
    file.add_summary(tensor("raw", "scalars", dtype=2, tensor_content=struct.pack("<d", 0.75)), 5)
    file.add_summary(tensor("whole", "scalars", dtype=9, int64_val=[-7]), 6)
    file.add_summary(tensor("said", "text", dtype=7, string_val=[b"by tensor"]), 6)
    writer.close()
    report = store.scan(tmp_path / "logs")
    assert (report.found, report.new, report.problems) == (2, 2, [])  # hparams make a run within
    [run] = store.runs("name = 'run1'")
    assert (run.experiment, run.status) == ("mnist", Status.RUNNING)
    series = store.metrics(run, "loss/train")
    assert series.values == pytest.approx([1 / (n + 1) for n in range(2000)], rel=1e-6)
    assert series.steps.tolist() == list(range(2000))
    assert abs(series.times[0] - time.time()) < 120
    assert np.isnan(store.metrics(run, "nan").values).all()
    assert store.metrics(run, "tf2").values.tolist() == [0.25]
    assert store.metrics(run, "raw").values.tolist() == [0.75]
    assert store.metrics(run, "whole").values.tolist() == [-7]
    assert [
        (r["key"], r["step"], r["value"]) for r in store.records(run) if r["kind"] == "text"
    ] == [
        ("note", 7, "hello **world**"),
        ("said", 6, "by tensor"),
    ]
    [inner] = store.runs("name = 'hp'")
    assert inner.params == {"lr": 0.1, "bs": 32, "opt": "adam", "flag": True}
    assert inner.metrics["best"].last == pytest.approx(0.9)
    assert "weights" not in run.metrics


def test_histograms_images_and_sounds_come_along(store: runbase.Store, tmp_path: Path) -> None:
    logs = tmp_path / "logs" / "run"
    writer = SummaryWriter(str(logs))
    values = np.concatenate([np.arange(100.0), [-3.0, 0.0, 0.0]])
    writer.add_histogram("weights", values, 1, bins="auto")
    writer.add_histogram("weights", values, 2)
    pixels = np.zeros((3, 4, 5), dtype="uint8")
    pixels[0] = 200
    writer.add_image("sample", pixels, 3)
    writer.add_images("grid/../many", np.stack([pixels, pixels]), 4)
    png, jpeg = b"\x89PNG\r\n\x1a\n1", b"\xff\xd8\xff2"
    file = writer.file_writer
    strings = [b"4", b"5", png, jpeg]
    file.add_summary(tensor("tf2/images", "images", dtype=7, string_val=strings), 5)
    file.add_summary(tensor("sound", "audio", dtype=7, string_val=[b"RIFFx", b"label"]), 6)
    buckets = struct.pack("<6d", 0.0, 1.0, 3.0, 1.0, 2.0, 4.0)
    shape = TensorProto(dtype=2, tensor_content=buckets)
    file.add_summary(tensor("tf2/h", "histograms", dtype=2, tensor_content=buckets), 7)
    file.add_summary(tensor("curve", "pr_curves", dtype=1, float_val=[0.5, 0.5]), 8)
    file.add_summary(tensor("ones", "scalars", dtype=1, float_val=[1.0, 1.0]), 8)
    writer.close()
    del shape
    report = store.scan(tmp_path / "logs")
    assert report.problems == []
    assert report.left_out == {"pr curves": 1, "scalars": 1}
    [run] = store.runs()
    records = {(r["key"], r["step"]): r for r in store.records(run)}
    for step in (1, 2):
        found = records["weights", step]
        counts, edges = found["value"]["counts"], found["value"]["edges"]
        assert found["kind"] == "histogram"
        assert (sum(counts), len(edges)) == (103, len(counts) + 1)
        assert (edges[0], edges[-1]) == (-3.0, 99.0)
        assert edges == sorted(edges)
    assert records["tf2/h", 7]["value"] == {
        "counts": [3.0, 4.0],
        "edges": [0.0, 1.0, 2.0],
        "not_finite": 0,
    }
    image = records["sample", 3]
    assert (image["kind"], image["path"]) == ("image", "media/sample.3.png")
    from PIL import Image

    assert np.array(Image.open(store.download("run/media/sample.3.png")))[0, 0].tolist() == [
        200,
        0,
        0,
    ]
    assert store.download("run/media/tf2/images/0.5.png").read_bytes() == png
    assert records["tf2/images/1", 5]["path"] == "media/tf2/images/1.5.jpg"
    assert records["sound", 6]["kind"] == "audio"
    assert store.download("run/media/sound.6.wav").read_bytes() == b"RIFFx"
    made = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert all(path.is_relative_to(tmp_path / "tb-files") for path in made if "media" in path.parts)
    assert all(artifact.sha256 for artifact in store.artifacts(run))
    assert store.scan(tmp_path / "logs", full=True).points == 0
    assert len(store.records(run)) == len(records)


def test_it_is_followed(
    store: runbase.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SummaryWriter(str(tmp_path / "made"))
    for step in range(30):
        writer.add_scalar("x", step, step)
    writer.close()
    [made] = (tmp_path / "made").iterdir()
    whole = made.read_bytes()
    logs = tmp_path / "logs" / "live"
    logs.mkdir(parents=True)
    path = logs / made.name
    counts = []
    for size in range(50, len(whole) + 97, 97):  # mostly in the middle of a record
        path.write_bytes(whole[:size])
        store.scan(logs)
        counts += [run.metrics["x"].count for run in store.runs() if "x" in run.metrics]
    assert counts == sorted(counts)
    assert len(set(counts)) > 10
    assert counts[-1] == 30
    with monkeypatch.context() as patch:  # three minutes later
        patch.setattr("runbase.integrations.tensorboard.reader.STILL", -1.0)
        store.scan(logs)
    assert store.runs()[0].status is Status.COMPLETED
    again = SummaryWriter(str(logs), filename_suffix=".resumed")
    again.add_scalar("x", 30, 30)
    again.close()
    store.scan(logs)
    [run] = store.runs()
    assert (run.status, run.metrics["x"].count) == (Status.RUNNING, 31)
    assert store.scan(logs).points == 0


def test_damage_is_named(store: runbase.Store, tmp_path: Path) -> None:
    logs = tmp_path / "logs" / "torn"
    writer = SummaryWriter(str(logs))
    for step in range(10):
        writer.add_scalar("x", step, step)
    writer.close()
    [path] = logs.iterdir()
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)
    os.utime(path, (LONG_AGO, LONG_AGO))
    report = store.scan(tmp_path)
    assert report.found == 1
    [run] = store.runs()
    assert run.status is Status.COMPLETED
    assert 0 < run.metrics["x"].count < 10  # what is damaged is not taken for a value
    assert store.metrics(run, "x").values.tolist() == store.metrics(run, "x").steps.tolist()
    assert len(report.problems) == 1


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_any_bytes_are_read_or_refused(tail: bytes, place: int, byte: int) -> None:
    raw = bytearray(_sample() + tail)
    raw[place % len(raw)] = byte
    seen = 0
    try:
        for end, _ in events(bytes(raw)):
            assert seen < end <= len(raw)
            seen = end
    except Damaged as damage:
        assert str(seen) in str(damage)


def _sample() -> bytes:
    if not _SAMPLE:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            writer = SummaryWriter(folder)
            writer.add_scalar("a", 1.0, 1)
            writer.add_text("b", "text", 2)
            writer.close()
            _SAMPLE.append(next(Path(folder).iterdir()).read_bytes())
    return _SAMPLE[0]


_SAMPLE: list[bytes] = []


def test_a_finished_run_is_not_running_whatever_its_files_times_say(
    store: runbase.Store, tmp_path: Path
) -> None:
    logs = tmp_path / "logs" / "run"
    with SummaryWriter(str(logs)) as writer:
        writer.add_scalar("loss", 1.0, 0, walltime=time.time() + 1000)
    store.scan(tmp_path / "logs")
    for file in logs.iterdir():
        os.utime(file, (LONG_AGO, LONG_AGO))
    store.scan(tmp_path / "logs")
    assert [run.status for run in store.runs()] == [Status.COMPLETED]


def test_a_run_that_nobody_scans_again_ends_by_itself(
    store: runbase.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runbase.ingest import liveness
    from runbase.ingest.liveness import check_liveness

    with SummaryWriter(str(tmp_path / "logs" / "run")) as writer:
        writer.add_scalar("loss", 1.0, 0)
    store.scan(tmp_path / "logs")
    (run,) = store.runs()
    assert run.status is Status.RUNNING
    monkeypatch.setattr(liveness, "SILENCE", 0.0)
    check_liveness(store.storage, tmp_path)
    (run,) = store.runs()
    assert (run.status, run.alive) == (Status.COMPLETED, False)
    assert "does not say how it ended" in (store.run(run.id).history[-1].reason or "")
    monkeypatch.setattr(liveness, "SILENCE", 180.0)
    with SummaryWriter(str(tmp_path / "logs" / "run")) as writer:
        writer.add_scalar("loss", 1.0, 1)
    store.scan(tmp_path / "logs")
    assert store.runs()[0].status is Status.RUNNING
