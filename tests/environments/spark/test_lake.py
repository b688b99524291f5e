"""The three questions of the page about the lake, asked by Spark and compared with the store."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import runbase
from runbase.store.lake import export_lake


def fill(home: Path, lake: Path) -> None:
    """Log three runs and write them to a lake."""
    with runbase.open(home=home) as store:
        for number in range(3):
            with runbase.start_run("mnist", name=f"run-{number}", home=home, capture=False) as run:
                for step in range(100):
                    run.log({"loss": (number + 1) / (step + 1), "acc": step / 100}, step=step)
        export_lake(store, str(lake))


def test_the_iceberg_table_of_the_page(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also after runs were added to a file: twice the runs, each point once."""
    page = Path(__file__).parents[3] / "docs/how-to/lake.md"
    code = (
        page.read_text().split("## As an Iceberg table")[1].split("```python\n")[1].split("```")[0]
    )
    monkeypatch.chdir(tmp_path)
    for turn in (1, 2):
        fill(home, tmp_path / "lake")
        capsys.readouterr()
        exec(code, {})
        assert capsys.readouterr().out == f"{3 * 3 * turn}\n"


def test_the_questions_of_the_page(home: Path, tmp_path: Path) -> None:
    fill(home, tmp_path / "lake")
    spark = (
        SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    )
    spark.read.parquet(str(tmp_path / "lake" / "points")).createOrReplaceTempView("points")
    spark.read.parquet(str(tmp_path / "lake" / "runs.parquet")).createOrReplaceTempView("runs")
    best = spark.sql(
        "select r.name, min(p.value) as loss from points p join runs r using (run_id) "
        "where p.key = 'loss' group by r.name order by loss"
    ).collect()
    assert [row.name for row in best] == ["run-0", "run-1", "run-2"]
    assert [row.loss for row in best] == pytest.approx([0.01, 0.02, 0.03])
    curve = spark.sql(
        "select step, value from points p join runs r using (run_id) "
        "where r.name = 'run-1' and key = 'loss' order by step"
    ).collect()
    assert [(row.step, row.value) for row in curve] == [
        (step, 2 / (step + 1)) for step in range(100)
    ]
    (mean,) = spark.sql(
        "select avg(value) as mean from points where key = 'acc' and step = 50"
    ).collect()
    assert mean.mean == 0.5
    spark.stop()
