"""Neptune's Parquet export, as its exporter's README describes it, imported and compared value by value."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import runbase
from runbase.ingest.readers import importer_for
from runbase.status import Status

SCHEMA = pa.schema(
    [
        ("project_id", pa.string()),
        ("run_id", pa.string()),
        ("attribute_path", pa.string()),
        ("attribute_type", pa.string()),
        ("step", pa.decimal128(18, 6)),
        ("timestamp", pa.timestamp("ms", "UTC")),
        ("int_value", pa.int64()),
        ("float_value", pa.float64()),
        ("string_value", pa.string()),
        ("bool_value", pa.bool_()),
        ("datetime_value", pa.timestamp("ms", "UTC")),
        ("string_set_value", pa.list_(pa.string())),
        ("file_value", pa.struct([("path", pa.string())])),
        (
            "histogram_value",
            pa.struct(
                [
                    ("type", pa.string()),
                    ("edges", pa.list_(pa.float64())),
                    ("values", pa.list_(pa.float64())),
                ]
            ),
        ),
    ]
)
BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def row(run: str, path: str, kind: str, value: Any, step: float | None = None) -> dict[str, Any]:
    column = {
        "float_series": "float_value",
        "string_series": "string_value",
        "histogram_series": "histogram_value",
        "file_series": "file_value",
    }.get(kind, f"{kind}_value")
    found: dict[str, Any] = {
        "project_id": "me/lab",
        "run_id": run,
        "attribute_path": path,
        "attribute_type": kind,
        column: value,
    }
    if step is not None:
        stamp = datetime.fromtimestamp(BEGAN.timestamp() + float(step), UTC)
        found |= {"step": Decimal(str(step)), "timestamp": stamp}
    return found


def run_rows(run: str, points: int) -> list[dict[str, Any]]:
    return [
        row(run, "sys/creation_time", "datetime", BEGAN),
        row(run, "sys/name", "string", "a name"),
        row(run, "sys/owner", "string", "ada"),
        row(run, "sys/tags", "string_set", ["best", "vit"]),
        row(run, "sys/description", "string", "a note"),
        row(run, "sys/failed", "bool", run == "LAB-2"),
        row(run, "sys/state", "string", "Inactive"),
        row(run, "params/lr", "float", 0.1),
        row(run, "params/layers", "int", 3),
        row(run, "params/opt", "string", "adam"),
        row(run, "params/flag", "bool", True),
        row(run, "files/data.json", "file", {"path": "data.json"}),
        row(run, "out", "string_series", "hello", 0),
        row(
            run,
            "h",
            "histogram_series",
            {"type": "COUNTING", "edges": [0, 1, 2], "values": [3, 4]},
            1,
        ),
        row(run, "monitoring/ab12/cpu", "float_series", 50.0, 1),
        row(run, "monitoring/ab12/hostname", "string", "node7"),
        *(row(run, "train/loss", "float_series", 1 / (n + 1), n / 2) for n in range(points)),
    ]


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """An export of two runs, the first in two parts."""
    data, files = (
        tmp_path / "exports" / "data" / "lab_1f",
        tmp_path / "exports" / "files" / "lab_1f",
    )
    data.mkdir(parents=True)
    files.mkdir(parents=True)
    (files / "data.json").write_text("{}")
    rows = run_rows("LAB-1", 300)
    for number, part in enumerate((rows[:100], rows[100:])):
        pq.write_table(pa.Table.from_pylist(part, SCHEMA), data / f"LAB-1_part_{number}.parquet")
    pq.write_table(
        pa.Table.from_pylist(run_rows("LAB-2", 10), SCHEMA), data / "LAB-2_part_0.parquet"
    )
    return tmp_path / "exports"


def test_value_by_value(export: Path, tmp_path: Path) -> None:
    assert importer_for(str(export)) == importer_for(str(export / "data")) == "neptune"
    with runbase.open(tmp_path / "ours.db") as store:
        report = store.import_from(str(export), "neptune")
        assert (report.new, report.points, report.problems) == (2, 310, [])
        run = store.run("LAB-1")
        assert (run.experiment, run.status, run.user) == ("me/lab", Status.COMPLETED, "ada")
        assert run.started_at == BEGAN
        assert run.params == {
            "params/lr": 0.1,
            "params/layers": 3,
            "params/opt": "adam",
            "params/flag": True,
        }
        assert run.tags == {"best": None, "vit": None, "name": "a name"}
        assert run.notes == "a note"
        assert run.system["hostname"] == "node7"
        loss = store.metrics(run, "train/loss")
        assert loss.values.tolist() == [1 / (n + 1) for n in range(300)]
        assert loss.steps.tolist() == [n / 2 for n in range(300)]
        assert loss.times[2] == BEGAN.timestamp() + 1
        assert "monitoring/ab12/cpu" not in run.metrics
        assert store.sql("select key, number from samples where run_id = ?", [run.id]) == [
            ("system/cpu", 50.0)
        ]
        assert [r["value"] for r in store.records(run, "out")] == ["hello"]
        assert store.records(run, "h")[0]["value"]["counts"] == [3, 4]
        (artifact,) = store.artifacts(run)
        assert store.download(artifact).read_text() == "{}"
        assert store.run("LAB-2").status is Status.FAILED
        again = store.import_from(str(export), "neptune")
        assert (again.unchanged, again.points) == (2, 0)


def test_damage_is_listed_and_the_rest_comes(export: Path, tmp_path: Path) -> None:
    (export / "data" / "lab_1f" / "LAB-1_part_1.parquet").write_bytes(b"PAR1 nothing")
    with runbase.open(tmp_path / "ours.db") as store:
        report = store.import_from(str(export), "neptune")
        assert (report.new, len(report.problems)) == (2, 1)
        assert "LAB-1_part_1" in report.problems[0]
        assert 0 < store.run("LAB-1").metrics["train/loss"].count < 300


def test_no_file_outside_of_the_export(export: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    path = export / "data" / "lab_1f" / "LAB-9_part_0.parquet"
    rows = [row("LAB-9", "f", "file", {"path": "../../../secret"})]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    with runbase.open(tmp_path / "ours.db") as store:
        store.import_from(str(export), "neptune")
        assert store.artifacts("LAB-9") == []
