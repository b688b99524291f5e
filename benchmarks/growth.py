"""How costs grow: the same question at several sizes of the store, with the exponent k of cost ~ size^k.

Runs are stored by deliveries, as journals deliver them, up to a thousand; more are copied from those by SQL, with the rows
of all tables, since storing 100,000 takes minutes.
"""

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import runbase
from benchmarks.stores import deliveries, fill, opened, tidy, timed
from runbase.errors import FilterError
from runbase.events import Opened, Points
from runbase.ids import new_id
from runbase.ingest.liveness import this_process
from runbase.storage.types import Delivery

RUNS = (1_000, 10_000, 100_000)
FOLDERS = (1_000, 10_000)
KEYS = (1_000, 10_000)
TRIALS = (10_000, 100_000)
POINTS = (100_000, 1_000_000, 10_000_000)
TEMPLATE = 1_000
CLONED = {
    "runs": "id",
    "params": "run_id",
    "run_tags": "run_id",
    "series": "run_id",
    "journals": "run_id",
}

Row = tuple[str, str, dict[int, float], float | None]
"""What, unit, size → cost, the budget at the largest size."""


def clone(store: runbase.Store, copies: range) -> None:
    """Copy the first thousand runs, once for each number."""
    lite = store.url.startswith("sqlite")
    connection = store.connect()
    mark = "printf('%04x', :k + 4096)" if lite else "to_hex(%(k)s::int + 4096)"
    first = "(select id from runs where number <= 1000)"
    for k in copies:
        for table, key in CLONED.items():
            names = [
                name
                for name in columns(connection, table, lite=lite)
                if not (table == "series" and name == "id")
            ]
            values = {name: f't."{name}"' for name in names}
            values[key] = f"{mark} || substr(t.{key}, 5)"
            if table == "runs":
                values["number"] = f"t.number + {TEMPLATE * k}"
            if table == "journals":
                values["id"] = f"{mark} || substr(t.id, 5)"
            into = ", ".join(f'"{name}"' for name in names)
            chosen = ", ".join(values[name] for name in names)
            query = f"insert into {table} ({into}) select {chosen} from {table} t where t.{key} in {first}"
            connection.execute(query, {"k": k})
        connection.commit()
    connection.close()
    tidy(store)


def columns(connection: Any, table: str, *, lite: bool) -> list[str]:
    """The names of a table's columns."""
    if lite:
        return [row[1] for row in connection.execute(f"pragma table_info({table})")]
    query = (
        "select column_name from information_schema.columns "
        "where table_schema = current_schema() and table_name = %s"
    )
    return [row[0] for row in connection.execute(query, [table])]


def of_runs(store: runbase.Store, sizes: tuple[int, ...]) -> Iterator[Row]:
    """Questions that people ask of a store, at several numbers of runs."""
    costs: dict[str, dict[int, float]] = {}
    fill(store, deliveries(TEMPLATE, params=10, metrics=5))
    done = 1
    for size in sizes:
        clone(store, range(done, size // TEMPLATE))
        done = size // TEMPLATE
        for name, ask in questions(store).items():
            costs.setdefault(name, {})[size] = timed(ask, 5)
    for name, figures in costs.items():
        yield name, "ms", figures, BUDGETS.get(name)


BUDGETS = {
    "one run by its id": 2.0,
    "newest 20 runs": 5.0,
    "filter and sort, 20 runs": 200.0,
    "100 rows × 12 columns, filtered and sorted": 200.0,
    "experiments with their runs": 5.0,
    "message for an unknown name": 20.0,
    "nothing changed": 0.1,
    "liveness of active runs": 1.0,
    "claim behind all trials": 3.0,
    "home with nothing new": 50.0,
    "keys of one run, a call each": 1000.0,
    "chart, 1,000 px": 10.0,
}


def questions(store: runbase.Store) -> dict[str, Callable[[], object]]:
    """Questions by name."""
    [run] = store.runs(limit=1, offset=3)
    cursor = store.changes().cursor
    where = "params.p0 = 'adam' and metrics.m2 > 0.5"
    chosen = ["name", "status", "started_at", "seconds"]
    chosen += [f"params.p{n}" for n in range(4)] + [f"metrics.m{n}" for n in range(4)]

    def unknown() -> None:
        with suppress(FilterError):
            store.runs("lernrate > 1", limit=1)

    return {
        "one run by its id": lambda: store.run(run.id),
        "newest 20 runs": lambda: store.runs(limit=20),
        "filter and sort, 20 runs": lambda: store.runs(where, order_by="metrics.m1", limit=20),
        "100 rows × 12 columns, filtered and sorted": lambda: store.table(
            where, columns=chosen, order_by="metrics.m1", limit=100
        ),
        "sort all, 20 runs": lambda: store.runs(order_by="metrics.m1", limit=20),
        "experiments with their runs": store.experiments,
        "message for an unknown name": unknown,
        "nothing changed": lambda: store.changes(cursor),
        "liveness of active runs": store.storage.live_runs,
    }


def of_trials(store: runbase.Store, sizes: tuple[int, ...]) -> Iterator[Row]:
    """A claim behind trials that are reserved for another runner, and behind those due later."""
    figures: dict[int, float] = {}
    experiment = store.create_experiment("queue")
    done = 0
    for size in sizes:
        for start in range(done, size // 2, 10_000):
            count = min(10_000, size // 2 - start)
            trials = [{"x": start + n} for n in range(count)]
            experiment.new_trials(trials, runner="another")
            experiment.new_trials(trials, at=time.time() + 86400)
        done = size // 2
        experiment.new_trials([{"x": -n} for n in range(10)])
        tidy(store)
        figures[size] = timed(lambda: experiment.claim_trial("me"), 7)
    yield "claim behind all trials", "ms", figures, BUDGETS["claim behind all trials"]


def beginning(run: str, journal: str, name: str) -> Opened:
    """The first event of a journal."""
    return Opened(
        time=1.7e9,
        version=1,
        journal=journal,
        run=run,
        experiment=name,
        name=name,
        process=this_process(),
    )


def of_keys(store: runbase.Store, sizes: tuple[int, ...]) -> Iterator[Row]:
    """One run with many metrics, each logged in a call of its own."""
    figures: dict[int, float] = {}
    for size in sizes:
        journal, run = new_id(), new_id()
        head = beginning(run, journal, "keys")
        events = [
            Points(keys=(f"layer/{n}",), steps=[0], times=[1.7e9], columns=[[0.5]])
            for n in range(size)
        ]
        delivery = Delivery(run=run, events=[head, *events], journal=journal, start=0, offset=1)
        began = time.perf_counter()
        store.storage.apply([delivery])
        figures[size] = (time.perf_counter() - began) * 1e3
    yield "keys of one run, a call each", "ms", figures, BUDGETS["keys of one run, a call each"]


def long_curve(
    store: runbase.Store, size: int, values: list[float] | None = None
) -> tuple[str, float]:
    """Store a metric with a number of points in a run of its own; returns the run, and the CPU seconds that it took.

    `values` are repeated until there are enough.
    """
    journal, run = new_id(), new_id()
    head = beginning(run, journal, "points")
    piece = min(size, 50_000)
    values = values or [math.sin(n) * n for n in range(piece)]
    taken = 0.0
    for part, start in enumerate(range(0, size, piece)):
        steps = list(range(start, start + piece))
        times = [1.7e9 + step for step in steps]
        event = Points(
            keys=("loss",),
            steps=steps,
            times=times,
            columns=[values[start : start + piece] or values],
        )
        events = [head, event] if part == 0 else [event]
        delivery = Delivery(run=run, events=events, journal=journal, start=part, offset=part + 1)
        began = time.process_time()
        store.storage.apply([delivery])
        taken += time.process_time() - began
    return run, taken


def of_points(store: runbase.Store, sizes: tuple[int, ...]) -> Iterator[Row]:
    """Charts of one metric: the whole range, and a zoom to a tenth."""
    whole, zoomed, stored = dict[int, float](), dict[int, float](), dict[int, float]()
    for size in sizes:
        run, taken = long_curve(store, size)
        tidy(store)
        stored[size] = taken / size * 1e6
        chart = partial(store.storage.envelope, run, "loss")
        whole[size] = timed(chart, 5)
        zoomed[size] = timed(partial(chart, size // 2, size * 6 // 10), 5)
    yield "chart, 1,000 px", "ms", whole, BUDGETS["chart, 1,000 px"]
    yield "chart of a tenth", "ms", zoomed, BUDGETS["chart, 1,000 px"]
    yield "CPU per value to store", "µs", stored, None


def of_folders(folder: Path, sizes: tuple[int, ...]) -> Iterator[Row]:
    """Open a home in which nothing is new."""
    home, figures, done = folder / "home", dict[int, float](), 0
    os.environ["RUNBASE_QUIET"] = "1"
    for size in sizes:
        for _ in range(done, size):
            run = runbase.start_run("many", home=home, store="none", capture=False)
            run.log({"loss": 0.5})
            run.finish()
        done = size
        old = time.time() - 3600
        for path in (home / "runs").glob("*/*"):
            os.utime(path, (old, old))
        runbase.open(home=home).close()
        figures[size] = timed(lambda: runbase.open(home=home).close(), 5)
    yield "home with nothing new", "ms", figures, BUDGETS["home with nothing new"]


def exponent(figures: dict[int, float]) -> float:
    """The exponent between the smallest and the largest size."""
    (small, first), *_, (large, last) = sorted(figures.items())
    return math.log(last / first) / math.log(large / small)


def measure(backend: str, *, small: bool) -> Iterator[tuple[str, Row]]:
    """Every row of one backend. `small`: without the largest size, which takes minutes."""
    cut = slice(0, -1) if small else slice(None)
    parts: list[tuple[str, Callable[..., Iterator[Row]], tuple[int, ...]]] = [
        ("runs", of_runs, RUNS[cut]),
        ("trials", of_trials, TRIALS),
        ("keys", of_keys, KEYS),
        ("points", of_points, POINTS[cut]),
    ]
    for what, work, sizes in parts:
        with (
            tempfile.TemporaryDirectory(prefix="growth") as folder,
            opened(backend, Path(folder)) as store,
        ):
            for row in work(store, sizes):
                yield what, row
    if backend == "sqlite":
        with tempfile.TemporaryDirectory(prefix="growth") as folder:
            for row in of_folders(Path(folder), FOLDERS):
                yield "folders", row


def report(*, small: bool = False, backends: tuple[str, ...] = ("sqlite", "postgres")) -> None:
    """Measure, and print one table."""
    table = Table("", "database", "of", "sizes and costs", "exponent", "budget", box=None)
    for backend in backends:
        for what, (name, unit, figures, budget) in measure(backend, small=small):
            costs = "  ".join(f"{size:,}: {cost:.3g} {unit}" for size, cost in figures.items())
            last = [*figures.values()][-1]
            mark = (
                "" if budget is None else f"≤ {budget:g} {unit}" + (" ✗" if last > budget else "")
            )
            table.add_row(name, backend, what, costs, f"{exponent(figures):.2f}", mark)
            Console(stderr=True).print(f"{name}, {backend}: {costs}")
    Console(width=170).print(table)
