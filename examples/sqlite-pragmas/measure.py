"""A small mixed load on SQLite under the pragmas of a JSON file: what it took, as mlos_bench reads it.

python measure.py params.json results.csv telemetry.csv
"""

import csv
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

BATCHES, ROWS, READS = 20, 500, 100


def main(params_file: str, results_file: str, telemetry_file: str) -> None:
    """Measure once, and write both files."""
    params = json.loads(Path(params_file).read_text())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "load.db"
        batches = run(path, params)
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    seconds = [batch for _, batch in batches]
    results = {
        "seconds": sum(seconds),
        "slowest_batch": max(seconds),
        "median_batch": statistics.median(seconds),
        "file_bytes": size,
        "sqlite": f"SQLite {sqlite3.sqlite_version}",
    }
    with Path(results_file).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["metric", "value"])
        writer.writerows(results.items())
    with Path(telemetry_file).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["timestamp", "metric", "value"])
        for when, took in batches:
            # Always with microseconds: pandas expects the format of the first row in every row.
            writer.writerow((when.isoformat(timespec="microseconds"), "batch_seconds", took))


def run(path: Path, params: dict) -> list[tuple[datetime, float]]:
    """Inserts and reads in turns; when each batch ended, and the seconds it took."""
    rng = random.Random(1)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"pragma page_size = {int(params['page_size'])}")
    connection.execute(f"pragma journal_mode = {params['journal_mode']}")
    connection.execute(f"pragma synchronous = {params['synchronous']}")
    connection.execute(f"pragma cache_size = {int(params['cache_pages'])}")
    connection.execute(f"pragma mmap_size = {int(params['mmap_mib']) << 20}")
    connection.execute("create table t (id integer primary key, key integer, text text)")
    connection.execute("create index t_key on t (key)")
    batches = []
    for _ in range(BATCHES):
        began = time.perf_counter()
        connection.execute("begin")
        connection.executemany(
            "insert into t (key, text) values (?, ?)",
            [(rng.randrange(1 << 20), "x" * rng.randrange(10, 200)) for _ in range(ROWS)],
        )
        connection.execute("commit")
        for _ in range(READS):
            low = rng.randrange(1 << 20)
            connection.execute(
                "select count(*), max(text) from t where key between ? and ?", (low, low + 20_000)
            ).fetchone()
        batches.append((datetime.now(UTC), time.perf_counter() - began))
    connection.close()
    return batches


if __name__ == "__main__":
    main(*sys.argv[1:])
