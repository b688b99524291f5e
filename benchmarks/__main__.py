"""Measures everything in rounds, interleaved, and prints the medians as one table."""

import argparse
import datetime as dt
import itertools
import json
import platform
import sqlite3
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from benchmarks import archive, growth, lake, peers, server
from benchmarks.tables import print_table, text

OURS = [
    "log_limit",
    "log_runbase",
    "first_second",
    "loop_of_runs",
    "log_bare_sqlite",
    "ingest",
    "ingest_bare_sqlite",
    "one_metric",
    "short_runs",
    "start",
    "imports",
    "folders",
    "sixteen",
]
# What, unit, our measure and figure, the budget, the limit's measure and figure, the peers' figure.
ROWS: list[tuple[str, str, tuple[str, str], float | None, tuple[str, str] | None, str | None]] = [
    ("log, 4 values: median", "µs", ("log_runbase", "p50"), 2, ("log_limit", "p50"), "p50"),
    (
        "log, 4 values: 99th percentile",
        "µs",
        ("log_runbase", "p99"),
        20,
        ("log_limit", "p99"),
        "p99",
    ),
    (
        "log in the first 0.15 s of a process: median",
        "µs",
        ("first_second", "p50"),
        2.5,
        None,
        None,
    ),
    ("log in the first 0.15 s: 99th percentile", "µs", ("first_second", "p99"), 30, None, None),
    (
        "run of 100 points, 20 parameters, 5 tags: CPU",
        "ms",
        ("loop_of_runs", "cpu_ms"),
        4,
        None,
        None,
    ),
    ("… database and journal", "B", ("loop_of_runs", "bytes"), 8000, None, None),
    (
        "… beside one SQLite commit a call",
        "µs",
        ("log_runbase", "p50"),
        2,
        ("log_bare_sqlite", "p50"),
        None,
    ),
    (
        "CPU per value, journal to database",
        "µs",
        ("ingest", "cpu_us_per_value"),
        2,
        ("ingest_bare_sqlite", "cpu_us_per_value"),
        None,
    ),
    (
        "values per second, journal to database",
        "/s",
        ("ingest", "values_per_second"),
        None,
        None,
        None,
    ),
    (
        "bytes per point, 4 metrics per call",
        "B",
        ("ingest", "bytes_per_point"),
        26,
        ("ingest_bare_sqlite", "bytes_per_point"),
        "bytes_per_point",
    ),
    ("bytes per point, 1 metric per call", "B", ("one_metric", "bytes_per_point"), 26, None, None),
    ("bytes per point, runs of 20 steps", "B", ("short_runs", "bytes_per_point"), None, None, None),
    (
        "bytes per point in the journal",
        "B",
        ("ingest", "journal_bytes_per_point"),
        None,
        None,
        None,
    ),
    (
        "100,000 points to NumPy",
        "ms",
        ("one_metric", "read_ms"),
        15,
        ("ingest_bare_sqlite", "read_ms"),
        None,
    ),
    ("chart of 1,000,000 points, 1,000 px", "ms", ("one_metric", "chart_ms"), 10, None, None),
    ("max of 1,000,000 points in plain SQL", "ms", ("one_metric", "sql_ms"), None, None, None),
    ("16 processes × 20,000 values: wall time", "s", ("sixteen", "seconds"), None, None, None),
    ("… values lost", "", ("sixteen", "lost"), 0, None, None),
    ("open a home of 10,000 run folders", "ms", ("folders", "open_ms"), 50, None, None),
    ("scan 10,000 unchanged run folders", "ms", ("folders", "scan_ms"), 200, None, None),
    ("start_run, everything captured", "ms", ("start", "ms"), 50, None, None),
    ("import runbase", "ms", ("imports", "ms"), 60, None, "import_ms"),
    ("import, and start_run with all its imports", "ms", ("imports", "start_ms"), 60, None, None),
]

# What, unit, measure and figure of benchmarks.stores, the budget (SQLite, PostgreSQL).
STORE_ROWS: list[tuple[str, str, tuple[str, str], tuple[float | None, float | None]]] = [
    ("values per second, journal to database", "/s", ("ingest", "values_per_second"), (None, None)),
    ("CPU per value, runbase", "µs", ("ingest", "cpu_us_per_value"), (2, 2)),
    ("bytes per point", "B", ("ingest", "bytes_per_point"), (26, 20)),
    ("100,000 points to NumPy", "ms", ("ingest", "read_ms"), (15, None)),
    ("10,000 runs: filter, sort, top 20: median", "ms", ("search", "median_ms"), (20, 20)),
    ("… the slowest of seven queries", "ms", ("search", "worst_ms"), (20, 20)),
    ("1,000 runs × 10 metrics as a data frame", "ms", ("frames", "runs_ms"), (500, 500)),
    ("100 runs × 1,000 points as a data frame", "ms", ("frames", "points_ms"), (200, 200)),
    ("… aligned by step, one column per run", "ms", ("frames", "wide_ms"), (200, 200)),
    ("copy 1,000 runs × 1,000 points into the store", "s", ("copy", "seconds"), (None, None)),
    ("… copy again, nothing new", "s", ("copy", "again_s"), (None, None)),
    ("6,468,900 points: chart of a metric", "ms", ("large", "chart_ms"), (10, 10)),
    ("… one metric to NumPy", "ms", ("large", "read_ms"), (None, None)),
    ("… permanent deletion", "s", ("large", "purge_s"), (1, 1)),
    ("… memory for the deletion", "MB", ("large", "purge_mb"), (100, 100)),
]
LARGE_ROWS: list[tuple[str, str, tuple[str, str], tuple[float | None, float | None]]] = [
    ("100,000 runs: filter, sort, top 20: median", "ms", ("search_large", "median_ms"), (200, 200)),
    ("… the slowest of seven queries", "ms", ("search_large", "worst_ms"), (200, 200)),
    ("30,000 runs × 100 values: a page of 50", "ms", ("listing", "page_ms"), (None, None)),
    ("… filter, sort, top 50", "ms", ("listing", "search_ms"), (None, None)),
    ("… all of them, in pages of 1,000", "s", ("listing", "all_s"), (None, None)),
]
TRIALS = {
    "runbase": "SQLite",
    "runbase-postgres": "PostgreSQL",
    "runbase-mlos": "SQLite, by mlos_bench's interface",
    "runbase-mlos-postgres": "PostgreSQL, by mlos_bench's interface",
    "mlos": "mlos_bench's SqlStorage, SQLite",
    "optuna-journal": "Optuna's JournalStorage",
    "optuna-rdb": "Optuna's RDBStorage, SQLite",
}
TRIAL_ROWS = {
    "new": "create a trial, µs",
    "claim": "claim it, µs",
    "telemetry": "write a row of telemetry, µs",
    "end": "finish it with results, µs",
    "load": "load 1,000 × 10 parameters, s",
    "listing": "`trials` of 1,000, ms",
    "frame": "`results_df` of 1,000, ms",
    "poll": "`pending_trials`, none due, ms",
}
OPTUNA = ["runbase", "journal", "rdb", "runbase-postgres"]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--peers", action="store_true", help="measure other trackers as well")
    parser.add_argument("--no-store", action="store_true", help="leave the store's table out")
    parser.add_argument(
        "--large", action="store_true", help="100,000 and 30,000 runs as well (half an hour)"
    )
    parser.add_argument(
        "--optuna", action="store_true", help="Optuna's storages beside ours: trials a second"
    )
    parser.add_argument(
        "--trials", action="store_true", help="queues of trials: ours, mlos_bench's and Optuna's"
    )
    parser.add_argument(
        "--growth",
        action="store_true",
        help="measure how costs grow with runs, folders, keys, trials and points, and nothing else",
    )
    parser.add_argument(
        "--small",
        action="store_true",
        help="with --growth, --archive or --lake: without the largest sizes",
    )
    parser.add_argument(
        "--server",
        action="store_true",
        help="measure the server beside its budgets and other servers, and nothing else",
    )
    parser.add_argument(
        "--archive",
        action="store_true",
        help="measure 10^8 points before and after they are archived, and nothing else",
    )
    parser.add_argument(
        "--lake",
        action="store_true",
        help="ask DuckDB about 10^7 points of a lake and of Parquet written by hand, and nothing else",
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often (medians are shown)")
    parser.add_argument("--markdown", action="store_true", help="print the table for the docs")
    options = parser.parse_args()
    if options.growth:
        growth.report(small=options.small)
        return
    if options.archive:
        archive.report(small=options.small, markdown=options.markdown)
        return
    if options.lake:
        lake.report(small=options.small, markdown=options.markdown)
        return
    if options.server:
        server.report(markdown=options.markdown)
        return
    rows = [*STORE_ROWS, *(LARGE_ROWS if options.large else ())]
    measures = [] if options.no_store else list(dict.fromkeys(row[2][0] for row in rows))
    names = [*OURS, *(peers.PEERS if options.peers else ())]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("measuring", total=options.rounds * len(names) + 2 * len(measures))
        for _ in range(options.rounds):  # interleaved: the machine's moods hit everyone alike
            for name in names:
                bar.update(task, description=name)
                one = peers.measure(name) if name in peers.PEERS else measure(name)
                if one is not None:
                    found[name].append(one)
                bar.advance(task)
        stores: dict[tuple[str, str], dict[str, Any]] = {}
        for name in measures:
            for backend in ("sqlite", "postgres"):
                bar.update(task, description=f"{name}, {backend}")
                stores[backend, name] = measure(backend, name, module="benchmarks.stores")
                bar.advance(task)
        optuna: dict[tuple[str, str], dict[str, Any]] = {}
        for name, processes in itertools.product(OPTUNA, ("1", "4")) if options.optuna else ():
            bar.update(task, description=f"Optuna, {name}, {processes}")
            module = "benchmarks.optuna_storages"
            optuna[name, processes] = measure(name, processes, module=module)
        queues: dict[str, dict[str, Any]] = {}
        for name in TRIALS if options.trials else ():
            bar.update(task, description=f"trials, {TRIALS[name]}")
            queues[name] = measure(name, module="benchmarks.trials")
    show(found, markdown=options.markdown)
    if queues:
        body = [
            [TRIALS[name], *(text(one[f]) if f in one else "" for f in TRIAL_ROWS)]
            for name, one in queues.items()
        ]
        print_table(["queue", *TRIAL_ROWS.values()], body, markdown=options.markdown, width=190)
    if optuna:
        body = [
            [name, *(text(optuna[name, n]["trials_per_second"]) for n in ("1", "4"))]
            for name in OPTUNA
        ]
        head = ["Optuna storage, trials a second", "1 process", "4 processes"]
        print_table(head, body, markdown=options.markdown, width=100)
    if stores:
        show_stores(rows, stores, markdown=options.markdown)


def measure(*name: str, module: str = "benchmarks.measures") -> dict[str, Any]:
    """One of our own measures, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", module, *name],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    return json.loads(done.stdout.splitlines()[-1])


def show(found: dict[str, list[dict[str, Any]]], *, markdown: bool) -> None:
    """The table: figure, budget, the limit and how many times it, the peers and how many times us."""
    others = [peer for peer in peers.PEERS if found.get(peer)]
    head = ["what", "runbase", "budget", "limit", "× limit", *others]
    body: list[list[str]] = []
    for what, unit, (name, figure), budget, limit, theirs in ROWS:
        ours = median(found[name], figure)
        bound = median(found[limit[0]], limit[1]) if limit else None
        row = [what, f"{text(ours)} {unit}", "" if budget is None else f"≤ {budget}"]
        row += ["", ""] if bound is None else [text(bound), f"{ours / bound:.2f}"]
        for peer in others:
            value = median(found[peer], theirs) if theirs else None
            row.append("" if value is None else f"{text(value)} ({value / ours:.1f}×)")
        body.append(row)
    print_table(head, body, markdown=markdown, width=150 + 22 * len(others))
    print(f"\n{machine()}, medians of {len(found[OURS[0]])} interleaved rounds.")
    print(
        "The limit of log is to encode a line and write it; of the others, bare SQLite with a row a "
        "point."
    )


def show_stores(
    rows: list[tuple[str, str, tuple[str, str], tuple[float | None, float | None]]],
    stores: dict[tuple[str, str], dict[str, Any]],
    *,
    markdown: bool,
) -> None:
    """The store's table: SQLite beside PostgreSQL."""
    body: list[list[str]] = []
    for what, unit, (name, figure), budgets in rows:
        row = [what]
        for backend, budget in zip(("sqlite", "postgres"), budgets, strict=True):
            row.append(f"{text(stores[backend, name][figure])} {unit}")
            row.append("" if budget is None else f"≤ {budget:g}")
        body.append(row)
    print()
    head = ["what", "SQLite", "budget", "PostgreSQL", "budget"]
    print_table(head, body, markdown=markdown, width=120)


def median(rounds: list[dict[str, Any]], figure: str) -> float:
    """A figure's median over the rounds."""
    return statistics.median(one[figure] for one in rounds)


def machine() -> str:
    """Date, processor, system and versions."""
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return (
        f"{dt.date.today()}, {cpu}, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )


if __name__ == "__main__":
    main()
