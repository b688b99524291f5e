"""What is measured. Each function runs in a process of its own and prints one JSON object.

`python -m benchmarks.measures NAME` runs one.
"""

import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEYS = ("train/loss", "train/accuracy", "lr", "grad_norm")
CALLS = 300_000
POINTS = 1_000_000


def rows(count: int = 1000) -> list[dict[str, float]]:
    """Log calls of 4 values with all their digits, as training makes them."""
    dice = random.Random(0)
    return [{key: dice.random() for key in KEYS} for _ in range(count)]


def latencies(log: Callable[[dict[str, float], int], object], calls: int) -> dict[str, float]:
    """Median and 99th percentile of a call, in microseconds, without the clock's own cost."""
    values, clock = rows(), time.perf_counter_ns
    taken = [0] * calls
    for i in range(calls):
        row = values[i % 1000]
        began = clock()
        log(row, i)
        taken[i] = clock() - began
    idle = [0] * 10_000
    for i in range(10_000):
        began = clock()
        idle[i] = clock() - began
    taken.sort()
    idle.sort()
    cost = idle[5000]
    return {
        "p50": (taken[calls // 2] - cost) / 1000,
        "p99": (taken[calls * 99 // 100] - cost) / 1000,
    }


def size_of(database: Path) -> int:
    """Bytes of a SQLite file with its write-ahead log folded in."""
    connection = sqlite3.connect(database)
    connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()
    return database.stat().st_size


def log_limit(folder: Path) -> dict[str, float]:
    """The least that a kill-safe log call can be: encode a line, one write(2)."""
    import msgspec

    encode, write, now = msgspec.json.Encoder().encode, os.write, time.time
    fd = os.open(folder / "lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    return latencies(lambda row, step: write(fd, encode(("m", step, now(), row)) + b"\n"), CALLS)


def log_runbase(folder: Path) -> dict[str, float]:
    """run.log of 4 values, while the ingest thread runs."""
    import runbase

    run = runbase.start_run("bench", home=folder / "home", capture=False)
    found = latencies(run.log, CALLS)
    run.finish()
    return found


def first_second(folder: Path) -> dict[str, float]:
    """run.log of 4 values in the first run of a process, which takes 0.15 s, with all of its capture."""
    import runbase

    values, clock, taken = rows(), time.perf_counter_ns, list[int]()
    run = runbase.start_run("bench", home=folder / "home")
    end = clock() + 150_000_000
    while (began := clock()) < end:
        run.log(values[len(taken) % 1000], len(taken))
        taken.append(clock() - began)
        while clock() - began < 12_000:  # the work of a step
            pass
    run.finish()
    taken.sort()
    return {"p50": taken[len(taken) // 2] / 1000, "p99": taken[len(taken) * 99 // 100] / 1000}


def loop_of_runs(folder: Path) -> dict[str, float]:
    """Short runs one after the other: 20 parameters, 5 tags, 100 points, all of the capture."""
    import runbase

    home, params = folder / "home", {f"p{n}": n * 0.1 if n % 2 else "adam" for n in range(20)}
    tags = [f"t{n}" for n in range(5)]
    for number in range(110):
        if number == 10:
            began = time.process_time()
        run = runbase.start_run("bench", home=home, params=params, tags=tags)
        for step in range(100):
            run.log({"loss": 1 / (step + 1)}, step=step)
        run.finish()
    cpu = (time.process_time() - began) / 100
    journals = sum(path.stat().st_size for path in home.glob("runs/*/*/*"))
    return {"cpu_ms": cpu * 1000, "bytes": (size_of(home / "runbase.db") + journals) / 110}


def log_bare_sqlite(folder: Path) -> dict[str, float]:
    """A row a point in bare SQLite: one commit a call, write-ahead log, relaxed sync."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")
    connection.execute("create table metrics(key text, step integer, time real, value real)")

    def log(row: dict[str, float], step: int) -> None:
        now = time.time()
        connection.execute("begin")
        connection.executemany(
            "insert into metrics values (?, ?, ?, ?)", [(k, step, now, v) for k, v in row.items()]
        )
        connection.execute("commit")

    return latencies(log, CALLS // 10)


def ingest(folder: Path) -> dict[str, float]:
    """CPU per value from the journal into SQLite, and what it takes on the disk."""
    import runbase

    home = folder / "home"
    run = runbase.start_run("bench", home=home, store="none", capture=False)
    values = rows()
    for step in range(POINTS // 4):
        run.log(values[step % 1000], step=step)
    run.finish()
    cpu, wall = time.process_time(), time.perf_counter()
    runbase.open(home=home)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    size = size_of(home / "runbase.db")
    return {
        "cpu_us_per_value": cpu / POINTS * 1e6,
        "values_per_second": POINTS / wall,
        "bytes_per_point": size / POINTS,
        "journal_bytes_per_point": (run.folder / "journal.jsonl").stat().st_size / POINTS,
    }


def ingest_bare_sqlite(folder: Path) -> dict[str, float]:
    """The same values as rows of bare SQLite, a clustered row a point, in large transactions."""
    connection = sqlite3.connect(folder / "bare.db")
    connection.execute("pragma journal_mode = wal")
    connection.execute(
        "create table metrics(series integer, step integer, time real, value real, "
        "primary key (series, step)) without rowid"
    )
    values = rows()
    now = time.time()
    data = [
        (i, step, now + step * 1e-6, values[step % 1000][key])
        for i, key in enumerate(KEYS)
        for step in range(POINTS // 4)
    ]
    cpu = time.process_time()
    for start in range(0, POINTS, 100_000):
        with connection:
            connection.executemany(
                "insert into metrics values (?, ?, ?, ?)", data[start : start + 100_000]
            )
    cpu = time.process_time() - cpu
    size = size_of(folder / "bare.db")
    import numpy as np

    began = time.perf_counter()
    found = connection.execute(
        "select step, time, value from metrics where series = 0 and step < 100000 order by step"
    ).fetchall()
    array = np.array(found)
    read = time.perf_counter() - began
    assert array.shape == (100_000, 3)
    return {
        "cpu_us_per_value": cpu / POINTS * 1e6,
        "bytes_per_point": size / POINTS,
        "read_ms": read * 1000,
    }


def one_metric(folder: Path) -> dict[str, float]:
    """One metric a call, a million points: bytes a point, reading, charting."""
    import runbase

    home = folder / "home"
    run = runbase.start_run("bench", home=home, store="none", capture=False)
    dice = random.Random(0)
    for step in range(POINTS):
        run.log({"loss": dice.random()}, step=step)
    run.finish()
    store = runbase.open(home=home)
    size = size_of(home / "runbase.db")

    def median(work: Callable[[], object]) -> float:
        taken = []
        for _ in range(9):
            began = time.perf_counter()
            work()
            taken.append(time.perf_counter() - began)
        return sorted(taken)[4] * 1000

    assert len(store.metrics(run.id, "loss", end=99_999)) == 100_000
    return {
        "bytes_per_point": size / POINTS,
        "read_ms": median(lambda: store.metrics(run.id, "loss", end=99_999)),
        "chart_ms": median(lambda: store.metrics(run.id, "loss", resolution=1000)),
        "sql_ms": median(lambda: store.sql("select max(value) from metrics")),
    }


def short_runs(folder: Path) -> dict[str, float]:
    """The weak case of blocks: 500 runs of 20 steps, each metric logged alone."""
    import runbase

    home = folder / "home"
    for _ in range(500):
        run = runbase.start_run("bench", home=home, store="none", capture=False)
        for step in range(20):
            for key in KEYS:
                run.log({key: step * 0.1}, step=step)
        run.finish()
    began = time.perf_counter()
    runbase.open(home=home)
    wall = time.perf_counter() - began
    size = size_of(home / "runbase.db")
    return {"bytes_per_point": size / 40_000, "seconds": wall}


def start(folder: Path) -> dict[str, float]:
    """start_run with every part of capture, after the first one of the process."""
    import runbase

    taken = []
    for _ in range(8):
        began = time.perf_counter()
        run = runbase.start_run("bench", home=folder / "home")
        taken.append(time.perf_counter() - began)
        run.finish()
    return {"first_ms": taken[0] * 1000, "ms": sorted(taken[1:])[3] * 1000}


def folders(folder: Path) -> dict[str, float]:
    """Open a home of 10,000 finished runs, and scan as many folders of another format; nothing is new in either."""
    import runbase

    home, tree = folder / "home", folder / "tree" / "runs"
    with runbase.start_run("bench", home=home, store="none", capture=False) as run:
        run.log({"loss": 1.0})
    journal = (run.folder / "journal.jsonl").read_text()
    long_ago = time.time() - 3600
    for number in range(10_000):
        run_id, journal_id = f"{number:032x}", f"{number + 2**64:032x}"
        target = home / "runs" / f"group{number % 20}" / run_id
        target.mkdir(parents=True)
        (target / "journal.jsonl").write_text(_renamed(journal, run.id, run_id, journal_id))
        told = tree / f"group{number % 20}" / run_id
        told.mkdir(parents=True)
        (told / "sidecar.json").write_text(f'{{"run_id": "{run_id}", "status": "completed"}}')
        for path in (target, told):
            os.utime(path, (long_ago, long_ago))
    runbase.open(home=home).close()
    store = runbase.open(folder / "scanned.db")
    store.scan(tree.parent)
    opened, scanned = [], []
    for _ in range(5):
        began = time.perf_counter()
        runbase.open(home=home).close()
        opened.append(time.perf_counter() - began)
        began = time.perf_counter()
        store.scan(tree.parent)
        scanned.append(time.perf_counter() - began)
    return {"open_ms": sorted(opened)[2] * 1000, "scan_ms": sorted(scanned)[2] * 1000}


def _renamed(journal: str, run: str, run_id: str, journal_id: str) -> str:
    """A journal as that of another run: its first line has other ids and a new checksum."""
    head, _, rest = journal.partition("\n")
    told = json.loads(head)
    text = head[: head.rindex(',"sum":')] + "}"
    text = text.replace(run, run_id).replace(told["journal"], journal_id)
    return f'{text[:-1]},"sum":{zlib.adler32(text.encode())}}}\n{rest}'


def imports(folder: Path) -> dict[str, float]:
    """`import runbase`, and that of start_run with all it needs, beyond bare Python."""
    del folder

    def wall(code: str) -> float:
        taken = []
        for _ in range(9):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            taken.append(time.perf_counter() - began)
        return sorted(taken)[4] * 1000

    bare = wall("pass")
    return {
        "ms": wall("import runbase") - bare,
        "start_ms": wall("import runbase; runbase.start_run") - bare,
    }


def sixteen(folder: Path) -> dict[str, float]:
    """16 processes log 5,000 steps of 4 values into one SQLite home: wall time, and what is lost."""
    code = (
        "import sys, runbase\n"
        "with runbase.start_run('b', home=sys.argv[1], capture=False) as run:\n"
        "    for s in range(5000): run.log({'a': s, 'b': s * .5, 'c': -s, 'd': 1.0}, step=s)\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(folder / "home")]
    began = time.perf_counter()
    environment = {**os.environ, "RUNBASE_QUIET": "1"}
    running = [subprocess.Popen(command, env=environment) for _ in range(16)]
    failed = sum(process.wait() != 0 for process in running)
    wall = time.perf_counter() - began
    import runbase

    with runbase.open(home=folder / "home") as store:
        lost = 16 * 5000 * 4 - store.totals()["points"]
    return {"seconds": wall, "lost": lost, "failed": failed}


def main() -> None:
    """Run one measure in a folder of its own."""
    os.environ["RUNBASE_QUIET"] = "1"
    measure: Callable[[Path], Any] = globals()[sys.argv[1]]
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
        print(json.dumps(measure(Path(folder))))


if __name__ == "__main__":
    main()
