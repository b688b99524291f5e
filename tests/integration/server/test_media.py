"""Records, artifacts, lineage, exports, output and the x axes of curves over HTTP."""

import io
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import runbase
from runbase.server.curves import encode
from runbase.store.store import Store

from .conftest import Http, on_both
from .test_api import curves


@on_both
def test_records_between_two_steps(http: Http, store: Store, home: Path) -> None:
    with runbase.start_run("media", home=home, name="m", capture=False) as run:
        for step in range(5):
            run.log_text("note", f"text {step}", step=step)
    store.sync()
    found = http.json("GET", "/api/runs/m/records?key=note&start=1&end=3")
    assert [record["value"] for record in found["records"]] == ["text 1", "text 2", "text 3"]
    assert found["more"] is False
    assert http.json("GET", "/api/runs/run-0/keys") == ["acc", "val/loss"]


@on_both
def test_lineage_names_the_runs_around(http: Http, store: Store, home: Path) -> None:
    with runbase.start_run("digits", home=home, name="user", capture=False) as run:
        run.use_artifact("secret/model.bin")
        with runbase.start_run("digits", home=home, name="kid", parent=run.id, capture=False):
            pass
    store.sync()
    store.link("user", "resumes", "run-1")
    related = http.json("GET", "/api/runs/user/lineage")["related"]
    kinds = {(other["kind"], other["name"], other["artifact"]) for other in related}
    assert kinds == {
        ("uses", "secret", "model.bin"),
        ("child", "kid", None),
        ("resumes", "run-1", None),
    }
    back = http.json("GET", "/api/runs/secret/lineage")["related"]
    assert [(other["kind"], other["name"]) for other in back] == [("used by", "user")]
    (row,) = http.json("GET", "/api/artifacts?experiment=other")
    assert (row["run"], row["artifact"]["path"]) == ("secret", "model.bin")


@pytest.mark.parametrize(("kind", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet)])
@on_both
def test_an_export_is_a_file(http: Http, kind: str, read: object) -> None:
    answer = http.send("GET", f"/api/export?format={kind}&where=experiment%20%3D%20'digits'")
    frame = read(io.BytesIO(answer.data))  # type: ignore[operator]
    assert sorted(frame["name"]) == ["run-0", "run-1", "run-2"]
    assert f"runs.{kind}" in answer.headers["Content-Disposition"]
    refused = http.json("GET", "/api/export?where=nonsense(", status=400)
    assert refused["error"] == "FilterError"


@on_both
def test_output_from_its_end(http: Http, store: Store, home: Path) -> None:
    with runbase.start_run("out", home=home, name="talker", capture=False) as run:
        folder = Path(run.folder)
    (folder / "output.log").write_text("one\ntwo\nthree\n")
    store.sync()
    part = http.json("GET", "/api/runs/talker/log?start=-6")
    assert part == {"text": "three\n", "start": 8, "end": 14, "size": 14}
    assert http.json("GET", "/api/runs/talker/log?start=4&length=3")["text"] == "two"
    assert http.json("GET", "/api/runs/run-0/log")["size"] == 0


@pytest.mark.parametrize("points", [300, 9000])
@pytest.mark.parametrize("x", ["time", "relative", "metric:epoch"])
@on_both
def test_curves_over_other_axes(store: Store, home: Path, x: str, points: int) -> None:
    """Each point lies in the column of its own x value, or within a block of it."""
    dice = np.random.default_rng(3)
    with runbase.start_run("axes", home=home, name="axis", capture=False) as run:
        for step in range(points):
            run.log({"y": float(dice.normal()), "epoch": step // 100}, step=step)
            if step % 1000 == 500:
                time.sleep(0.02)  # so that time and step are not proportional
    store.sync()
    found = store.run("axis")
    series = store.metrics(found, "y")
    start = found.started_at.timestamp() if x == "relative" else 0.0
    xs = np.arange(points) // 100 if x.startswith("metric") else series.times - start
    header, ((low, high),) = curves(encode(store.storage, [(found.id, "y")], 200, x=x))
    (curve,) = header["curves"]
    assert header["x"] == x
    if points == 300:
        np.testing.assert_allclose(low, xs, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(high, series.values)
        return
    assert curve["form"] == "grid"
    width = (header["to"] - header["from"]) / 200
    longest = (series.times[1024:] - series.times[:-1024]).max()
    slack = 1 if x == "metric:epoch" else int(longest / width) + 1
    for place, value in zip(xs, series.values, strict=True):
        column = min(int((place - header["from"]) / width), 199)
        near = slice(max(column - slack, 0), column + slack + 1)
        assert np.nanmin(low[near]) <= np.float32(value) <= np.nanmax(high[near])
    assert np.nanmax(high) == np.float32(series.values.max())
    middle = [float(xs[3000]), float(xs[3150])]
    header, ((some, ys),) = curves(encode(store.storage, [(found.id, "y")], 200, *middle, x=x))
    inside = (xs >= middle[0]) & (xs <= middle[1])
    np.testing.assert_allclose(some, xs[inside], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(ys, series.values[inside])


@on_both
def test_where_a_metric_is_nan_is_told(store: Store, home: Path) -> None:
    with runbase.start_run("axes", home=home, name="nan", capture=False) as run:
        for step in range(20_000):
            run.log({"y": float("nan") if step == 7777 else 1.0}, step=step)
    store.sync()
    run_id = store.run("nan").id
    for start, end, slack in ((None, None, 100), (7700, 7800, 0)):
        header, _ = curves(encode(store.storage, [(run_id, "y")], 100, start, end))
        (curve,) = header["curves"]
        assert curve["nans"] == 1
        (place,) = curve["nan_at"]
        assert abs(place - 7777) <= 2 * slack


@on_both
def test_where_the_bytes_are(http: Http) -> None:
    sizes = http.json("GET", "/api/sizes?most=2")
    assert [one["name"] for one in sizes["experiments"]] == ["digits", "other"]
    assert len(sizes["runs"]) == 2
    assert sizes["experiments"][0]["points"] == 18_000
