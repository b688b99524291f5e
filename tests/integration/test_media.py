"""Records beyond numbers: logged through the journal, listed, read back, exported, shown."""

import csv
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import runbase
from runbase.errors import InvalidValue, NotFound


@pytest.fixture
def logged(home: Path, tmp_path: Path) -> Any:
    """A run with one record of each kind, some of them large."""
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

    with runbase.start_run("media", name="all", home=home, capture=False) as run:
        run.log_text("prose", "a < b", step=1)
        run.log_text("prose", "long " * 50_000, step=2)
        run.log_dict("json", {"deep": [1, {"x": None}]}, step=1)
        run.log_table("table", {"n": list(range(20_000)), "s": ["x"] * 20_000}, step=1)
        run.log_histogram("bars", np.arange(100.0), step=1, bins=4)
        run.log_image("picture/noise", np.full((4, 6, 3), 0.5), step=3)
        sound = np.sin(np.linspace(0, 100, 800))
        run.log_audio("sound", sound, step=1, sample_rate=8000)
        run.log_video("film", np.arange(5 * 8 * 8).reshape(5, 8, 8) % 255, step=1, fps=5)
        (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
        run.log_video("clip", tmp_path / "clip.mp4", step=1)
        run.log_audio("voice", b"OggS and so on", step=1)
        run.log_plot("plotly", go.Figure(go.Scatter(x=[1, 2], y=[3, 4])), step=1)
        figure = Figure()
        figure.subplots().plot([1, 2, 3])
        run.log_plot("matplotlib", figure, step=1)
        with pytest.raises(InvalidValue, match="sample_rate"):
            run.log_audio("sound", sound)
        with pytest.raises(InvalidValue, match="not a plot"):
            run.log_plot("plotly", 3)
        with pytest.raises(InvalidValue, match="channels last or first"):
            run.log_video("film", np.zeros((2, 5, 3, 7)))
    return run


def test_read_back(logged: Any, home: Path) -> None:
    with runbase.open(home=home) as store:
        found = {(r["key"], r["step"]): r for r in store.records("all")}
        assert len(found) == 12

        def value(key: str, step: int = 1) -> Any:
            return store.read_record(found[key, step])

        assert value("prose") == "a < b"
        assert value("prose", 2) == "long " * 50_000
        assert value("json") == {"deep": [1, {"x": None}]}
        assert value("table")["columns"] == ["n", "s"]
        assert value("table")["rows"][19_999] == [19_999, "x"]
        assert value("bars")["counts"] == [25, 25, 25, 25]
        assert value("picture/noise", 3).size == (6, 4)
        assert value("picture/noise", 3).getpixel((0, 0)) == (128, 128, 128)
        with wave.open(str(value("sound"))) as sound:
            assert (sound.getframerate(), sound.getnframes(), sound.getnchannels()) == (
                8000,
                800,
                1,
            )
        with Image.open(value("film")) as film:
            assert (film.n_frames, film.size) == (5, (8, 8))
        assert value("clip").suffix == ".mp4"
        assert value("voice").suffix == ".ogg"
        assert value("plotly")["figure"]["data"][0]["type"] == "scatter"
        assert value("matplotlib").format is None or value("matplotlib").width > 100
        assert [r["kind"] for r in store.records("all", kind="image")] == ["image", "image"]
        with pytest.raises(NotFound, match="did you mean 'prose'"):
            store.records("all", "prosa")
        large = found["prose", 2]
        assert large["value"] is None
        assert {a.path for a in store.artifacts("all")} >= {large["path"]}
        assert (store.folder(store.run("all")) / large["path"]).stat().st_size > 200_000


def test_the_journal_holds_the_reference(logged: Any) -> None:
    assert (logged.folder / "journal.jsonl").stat().st_size < 40_000


def test_exported(logged: Any, home: Path, tmp_path: Path) -> None:
    with runbase.open(home=home) as store:
        assert store.export_records(tmp_path / "out") == 12
        [folder] = (tmp_path / "out").iterdir()
        names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        assert names == {
            "prose.1.txt",
            "prose.2.txt",
            "json.1.json",
            "table.1.csv",
            "bars.1.json",
            "picture/noise.3.png",
            "sound.1.wav",
            "film.1.webp",
            "clip.1.mp4",
            "voice.1.ogg",
            "plotly.1.json",
            "matplotlib.1.png",
        }
        with (folder / "table.1.csv").open() as file:
            assert list(csv.reader(file))[20_000] == ["19999", "x"]
        assert store.export(tmp_path / "r.jsonl", what="records") == 1
        rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
        assert len(rows) == 12
        long = next(r for r in rows if r["key"] == "prose" and r["step"] == 2)
        assert json.loads(long["value"]) == "long " * 50_000


def test_shown_in_a_notebook(logged: Any, home: Path) -> None:
    with runbase.open(home=home) as store:
        page = store.records("all")._repr_html_()
        assert page.count("<figure>") == 12
        assert "a &lt; b" in page
        assert page.count("data:image/png;base64,") == 2
        assert "<svg" in page
        assert "19950 more rows" in page
        (logged.folder / store.records("all", "table")[0]["path"]).unlink()
        assert "not on this machine" in store.records("all", "table")._repr_html_()


def test_captions_and_other_files(home: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.HTML"
    page.write_text("<p>all is well")
    with runbase.start_run("media", name="captions", home=home, capture=False) as run:
        run.log_image("cat", np.zeros((4, 4)), step=1, caption="a cat")
        run.log_audio("sound", [0, 1], step=1, sample_rate=8000, caption="a bark")
        run.log_video("film", np.zeros((2, 4, 4)), step=1, caption="a walk")
        run.log_file("report", page, step=2, kind="html", caption="how it went")
        run.log_counts("counted", [1, 2], [0, 0.5, 1], step=2, not_finite=3)
        with pytest.raises(InvalidValue, match="one edge more"):
            run.log_counts("counted", [1, 2], [0, 1])
        with pytest.raises(InvalidValue, match="not found"):
            run.log_file("report", tmp_path / "nowhere.html")
    with runbase.open(home=home) as store:
        records = {record["key"]: record for record in store.records("captions")}
        counted = store.read_record(records.pop("counted"))
        assert counted == {"counts": [1, 2], "edges": [0, 0.5, 1], "not_finite": 3}
        assert {key: record["value"]["caption"] for key, record in records.items()} == {
            "cat": "a cat",
            "sound": "a bark",
            "film": "a walk",
            "report": "how it went",
        }
        assert records["report"]["kind"] == "html"
        assert store.read_record(records["report"]).read_text() == "<p>all is well"
