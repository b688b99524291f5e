"""`runbase demo`: train small models, then query the database about them."""

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from runbase.cli import common, plot, runs, sql
from runbase.errors import StoreError, UsageError, counted
from runbase.settings import load
from runbase.store.store import Runs, Store
from runbase.store.store import open as open_store

EXAMPLES = (
    "Examples:\n"
    "\n    runbase demo"
    "\n    runbase demo --ui"
    "\n    runbase demo --epochs 3 --home /tmp/demo"
)

TRIALS = [{"hidden": hidden, "lr": lr} for hidden in (16, 64, 128) for lr in (0.0003, 0.003)]
QUERIES = {
    "How many points does each metric have, and what is its range?": (
        "select key, count(*) as points, min(value) as lowest, max(value) as highest\n"
        "from metrics group by key order by key"
    ),
    "Which setting was best, and how long did it take?": (
        "select name, params ->> 'hidden' as hidden, params ->> 'lr' as lr,\n"
        "       metrics ->> 'val/accuracy' as accuracy, seconds\n"
        "from run_summary where experiment = 'digits' order by accuracy desc limit 3"
    ),
    "At which step did each run first reach 95 % validation accuracy?": (
        "select r.name, min(m.step) as step\n"
        "from metrics m join runs r on r.id = m.run_id\n"
        "where m.key = 'val/accuracy' and m.value >= 0.95\n"
        "group by r.name order by step"
    ),
}

FIRST_QUERY = "select key, count(*), max(value) from metrics group by key"


def command(
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over the data.")] = 15,
    page: Annotated[
        bool,
        typer.Option("--ui", help="Open the web page first, and show the curves as they grow."),
    ] = False,
    home: common.Home = None,
    json: common.Json = False,
) -> None:
    """Train six small networks on handwritten digits, and show the results."""
    missing = [m for m in ("sklearn", "matplotlib") if importlib.util.find_spec(m) is None]
    if missing:
        raise UsageError(f"the demo needs {' and '.join(missing)}: pip install 'runbase[demo]'")
    place = load(home=home).home
    with _page(place) if page else nullcontext():
        _demo(place, epochs, json)


@contextmanager
def _page(home: Path) -> Generator[None]:
    """Serve the page of a home during a block and after it, until Ctrl-C."""
    from runbase.cli import ui

    with common.store_to_fill(home, None) as store, ui.serving_page(store) as address:
        ui.show(f"{address}/e/digits", open_browser=True)
        yield
        common.say(f"\nThe page is at {address}/e/digits; Ctrl-C ends it", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


def _demo(place: Path, epochs: int, json: bool) -> None:
    began = time.perf_counter()
    with open_store(home=place) as store:
        store.create_experiment(
            "digits",
            description="A small network on scikit-learn's handwritten digits.",
            objectives={"val/accuracy": "max"},
            exist_ok=True,
        )
    train(place, epochs)
    with common.store(place, None) as store:
        trained = store.runs("tags.demo is not null", experiment="digits", limit=len(TRIALS))
        if json:
            common.print_json([{"id": run.id, "name": run.name} for run in trained])
            return
        look(common.console(), store, trained, time.perf_counter() - began)


def train(home: Path, epochs: int) -> None:
    """Run the training script once per setting, each in its own process."""
    columns = (
        TextColumn("training 6 networks on 1,797 handwritten digits"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with (
        Progress(*columns, console=Console(stderr=True)) as bar,
        ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, len(TRIALS))) as pool,
    ):
        task = bar.add_task("", total=len(TRIALS))
        jobs = [pool.submit(_train_one, home, trial, epochs) for trial in TRIALS]
        for job in as_completed(jobs):
            job.result()
            bar.advance(task)


def look(out: Console, store: Store, trained: Runs, seconds: float) -> None:
    """Print the runs, a curve, three queries, and what to try next."""
    points = sum(metric.count for run in trained for metric in run.metrics.values())
    out.print(
        f"\n[bold]{len(trained)} runs, {counted(points, 'point')}, {seconds:.0f} seconds.[/] "
        f"[dim]{store.url.removeprefix('sqlite:///')}[/]\n"
    )
    runs.show(trained)
    out.print()
    best = store.runs(
        "tags.demo is not null",
        experiment="digits",
        order_by='metrics."val/accuracy" desc',
        limit=1,
    )
    ids = [run.id for run in trained]
    plot.draw("val/loss", store.curves("val/loss", ids), log=True)
    for question, query in QUERIES.items():
        out.print(f"\n[bold]{question}[/]")
        out.print("\n".join(f"  [cyan]{line}[/]" for line in query.splitlines()), soft_wrap=True)
        rows = store.sql(query)
        sql.show(rows.columns, rows)
    path = store.url.removeprefix("sqlite:///")
    shown = os.path.relpath(path) if not os.path.relpath(path).startswith("..") else path
    program = "runbase" if shutil.which("runbase") else os.path.relpath(sys.argv[0])
    out.print(
        "\n[bold]Next steps:[/]\n"
        f"  {program} ui                      # the web page: runs, curves, comparisons\n"
        f"  {program} show {best[0].name}\n"
        f"  {program} plot val/accuracy\n"
        f"  {program} best digits\n"
        f"  {program} runs 'params.lr < 0.001' --sort val/loss\n"
        f'  sqlite3 {shown} "{FIRST_QUERY}"',
        soft_wrap=True,
    )


def _train_one(home: Path, trial: dict[str, float], epochs: int) -> None:
    options = [f"--{name}={value}" for name, value in {**trial, "epochs": epochs}.items()]
    # One thread per process: several processes that compete for the same cores are slower.
    environment = {**os.environ, "RUNBASE_HOME": str(home), "RUNBASE_QUIET": "1"}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "runbase.cli.digits", *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StoreError(f"training with {' '.join(options)} failed:\n{done.stderr}")
