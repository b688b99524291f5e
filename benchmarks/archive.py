"""Archives: bytes a point, charts, zooms, reads and search of the same runs, before and after they are archived.

`python -m benchmarks --archive` stores 100 runs of 10^6 points each (10 with `--small`) and prints the table. The values are
float32 losses with noise, a call each 10 ms: what trainers log.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import runbase
from benchmarks.growth import beginning
from benchmarks.tables import print_table, text
from runbase.events import Points
from runbase.ids import new_id
from runbase.status import Status
from runbase.storage.types import Delivery

POINTS = 1_000_000
PIECE = 100_000
WAYS = ("rows", "archived")
BUDGETS = {"bytes a point": "≤ 5", "chart of 10^6 points, 1,000 px (ms)": "≤ 20"}


def curve(store: runbase.Store, name: str, seed: int) -> str:
    """Store an ended run with one metric of a million points; returns its id."""
    dice = np.random.default_rng(seed)
    steps = np.arange(POINTS)
    values = 2.5 * np.exp(-3 * steps / POINTS) + dice.normal(0, 0.05, POINTS)
    values = values.astype(np.float32).astype(np.float64)
    times = 1.7e9 + np.cumsum(dice.normal(0.01, 0.0003, POINTS))
    journal, run = new_id(), new_id()
    for part, start in enumerate(range(0, POINTS, PIECE)):
        chosen = slice(start, start + PIECE)
        event = Points(
            keys=("loss",),
            steps=steps[chosen].tolist(),
            times=times[chosen].tolist(),
            columns=[values[chosen].tolist()],
        )
        head = [beginning(run, journal, name)] if part == 0 else []
        store.storage.apply(
            [Delivery(run=run, events=[*head, event], journal=journal, start=part, offset=part + 1)]
        )
    store.set_status(run, Status.COMPLETED)
    return run


def median(work: Callable[[str], object], runs: list[str]) -> float:
    """Return the median time of a question about each of some runs, in milliseconds."""
    times: list[float] = []
    for run in runs:
        began = time.perf_counter()
        work(run)
        times.append((time.perf_counter() - began) * 1e3)
    return float(np.median(times))


def questions(store: runbase.Store, runs: list[str]) -> dict[str, float]:
    """Return the times of what people ask."""
    some = runs[:: max(len(runs) // 20, 1)]
    few = some[:5]
    store.metrics(runs[0], "loss", resolution=1000)  # opens the connection
    every = [(run, "loss") for run in runs[:100]]
    return {
        "chart of 10^6 points, 1,000 px (ms)": median(
            lambda run: store.metrics(run, "loss", resolution=1000), some
        ),
        "chart of a hundredth of it (ms)": median(
            lambda run: store.metrics(run, "loss", 300_000, 310_000, resolution=1000), some
        ),
        "read all 10^6 points (ms)": median(lambda run: store.metrics(run, "loss"), few),
        f"chart of {len(every)} curves (ms)": median(
            lambda _: store.storage.envelopes(every, None, None, 1000), few
        ),
        "search and sort by the metric (ms)": median(
            lambda _: store.table("metrics.loss < 10", order_by="metrics.loss", limit=50), some
        ),
    }


def size_of(home: Path) -> int:
    """Return the bytes of the database, and of the archive."""
    return sum(path.stat().st_size for path in (*home.glob("runbase.db*"), *home.glob("archive/*")))


def measured(home: Path, count: int) -> dict[str, dict[str, float]]:
    """Return question → way → figure."""
    found: dict[str, dict[str, float]] = {}

    def note(way: str, figures: dict[str, float]) -> None:
        for name, figure in figures.items():
            found.setdefault(name, {})[way] = figure

    with runbase.open(home=home) as store:
        runs = [curve(store, f"r{number}", number) for number in range(count)]
        note("rows", {"bytes a point": size_of(home) / count / POINTS} | questions(store, runs))
        before = store.metrics(runs[0], "loss", resolution=1000)
        began = time.perf_counter()
        report = store.archive()
        took = time.perf_counter() - began
        assert report.points == count * POINTS, report
        began = time.perf_counter()
        store.gc(vacuum=True)
        vacuum = time.perf_counter() - began
    with runbase.open(home=home) as store:
        after = store.metrics(runs[0], "loss", resolution=1000)
        assert (before.mean == after.mean).all()
        note("archived", {"bytes a point": size_of(home) / count / POINTS} | questions(store, runs))
        note("archived", {"CPU and disk to archive (µs a point)": took * 1e6 / count / POINTS})
        note("archived", {"vacuum afterwards (µs a point)": vacuum * 1e6 / count / POINTS})
    return found


def report(*, small: bool = False, markdown: bool = False) -> None:
    """Print the table."""
    count = 10 if small else 100
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), count)
    body = [
        [
            name,
            *(text(figures[way]) if way in figures else "–" for way in WAYS),
            BUDGETS.get(name, ""),
        ]
        for name, figures in found.items()
    ]
    head = [f"{count} runs of 10^6 points, SQLite", *WAYS, "budget"]
    print_table(head, body, markdown=markdown, width=110)
