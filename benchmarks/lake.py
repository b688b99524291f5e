"""The lake: three questions of DuckDB to exported points, and to Parquet that somebody wrote by hand from the same points.

`python -m benchmarks --lake` stores 100 runs of five metrics with 20,000 points each (20 with `--small`), exports them, and writes
the same points by pyarrow as one sorted table with its defaults. Questions are asked of both in turns.
"""

import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import runbase
from benchmarks.growth import beginning
from benchmarks.tables import print_table, text
from runbase.events import Points
from runbase.ids import new_id
from runbase.status import Status
from runbase.storage.types import Delivery
from runbase.store.lake import export_lake

KEYS = ("loss", "accuracy", "lr", "grad_norm", "throughput")
POINTS = 20_000
ROUNDS = 9
WAYS = ("lake", "by hand")
QUESTIONS = {
    "one metric of a run (ms)": "select step, value from {points} where run_id = '{run}' and key = 'loss' order by step",
    "least value of each run (ms)": "select run_id, min(value) as least from {points} where key = 'loss' group by run_id order by least",
    "mean curve of all runs (ms)": "select step, avg(value) as mean, stddev(value) as sd from {points} where key = 'loss' group by step order by step",
}


def log(store: runbase.Store, seed: int) -> str:
    """Store an ended run whose values are float32 with noise; returns its id."""
    dice = np.random.default_rng(seed)
    steps: Any = np.arange(POINTS)
    decay = np.exp(-3 * steps / POINTS)
    columns: list[list[Any]] = [
        (decay + dice.normal(0, 0.05, POINTS)).astype(np.float32).tolist() for _ in KEYS
    ]
    times = (1.7e9 + np.cumsum(dice.normal(0.01, 0.0003, POINTS))).tolist()
    journal, run = new_id(), new_id()
    event = Points(time=times[-1], keys=KEYS, steps=steps.tolist(), times=times, columns=columns)
    head = beginning(run, journal, f"r{seed}")
    store.storage.apply(
        [Delivery(run=run, events=[head, event], journal=journal, start=0, offset=1)]
    )
    store.set_status(run, Status.COMPLETED)
    return run


def write_by_hand(store: runbase.Store, runs: list[str], path: Path) -> None:
    """Write all points as one table, sorted by run, key and step, with the defaults of pyarrow."""
    pa: Any = import_module("pyarrow")
    pq: Any = import_module("pyarrow.parquet")
    parts: list[Any] = []
    for run in sorted(runs):
        for key in sorted(KEYS):
            found = store.metrics(run, key)
            count = len(found.steps)
            parts.append(
                pa.table(
                    {
                        "run_id": [run] * count,
                        "key": [key] * count,
                        "step": np.asarray(found.steps, dtype=np.float64),
                        "time": np.asarray(found.times, dtype=np.float64),
                        "value": np.asarray(found.values, dtype=np.float64),
                    }
                )
            )
    pq.write_table(pa.concat_tables(parts), path)


def measured(folder: Path, count: int) -> dict[str, dict[str, float]]:
    """Return question → way → figure."""
    duckdb: Any = import_module("duckdb")
    with runbase.open(home=folder / "home") as store:
        runs = [log(store, number) for number in range(count)]
        export_lake(store, str(folder / "lake"))
        write_by_hand(store, runs, folder / "hand.parquet")
    points = count * len(KEYS) * POINTS
    size = sum(path.stat().st_size for path in (folder / "lake" / "points").rglob("*.parquet"))
    sources = {
        "lake": f"read_parquet('{folder}/lake/points/*/*.parquet', hive_partitioning = true)",
        "by hand": f"read_parquet('{folder}/hand.parquet')",
    }
    found = {
        "bytes a point": {
            "lake": size / points,
            "by hand": (folder / "hand.parquet").stat().st_size / points,
        }
    }
    for name, query in QUESTIONS.items():
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        answers: dict[str, Any] = {}
        for turn in range(ROUNDS + 1):  # the first one opens files and is not counted
            for way in WAYS:
                began = time.perf_counter()
                answers[way] = duckdb.sql(
                    query.format(points=sources[way], run=runs[turn % count])
                ).fetchall()
                times[way].append((time.perf_counter() - began) * 1e3)
            assert len(answers["lake"]) == len(answers["by hand"]) > 0
        found[name] = {way: float(np.median(times[way][1:])) for way in WAYS}
    return found


def report(*, small: bool = False, markdown: bool = False) -> None:
    """Print the table."""
    count = 20 if small else 100
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), count)
    body = [
        [name, *(text(figures[way]) for way in WAYS), f"{figures['lake'] / figures['by hand']:.2f}"]
        for name, figures in found.items()
    ]
    head = [f"{count * len(KEYS) * POINTS:,} points, DuckDB", *WAYS, "ratio (budget 2)"]
    print_table(head, body, markdown=markdown, width=100)
