"""`runbase demo`: real models train on real data, then the database answers questions."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from runbase.cli import common, plot, runs, sql
from runbase.errors import StoreError, UsageError
from runbase.settings import load
from runbase.store.store import Runs, Store

EXAMPLES = "Example: runbase demo"

TRIALS = [{"hidden": hidden, "lr": lr} for hidden in (16, 64, 128) for lr in (0.0003, 0.003)]
QUERIES = {
    "How many points has each metric, and how far did it get?": (
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
    home: common.Home = None,
    json: common.Json = False,
) -> None:
    """Train six small networks on handwritten digits, two at a time, and look at what came out."""
    missing = [m for m in ("sklearn", "matplotlib") if importlib.util.find_spec(m) is None]
    if missing:
        raise UsageError(f"the demo needs {' and '.join(missing)}: pip install 'runbase[demo]'")
    place = load(home=home).home
    began = time.perf_counter()
    train(place, epochs)
    with common.store(place, None) as store:
        found = store.runs("tags.demo is not null", experiment="digits", limit=len(TRIALS))
        if json:
            common.print_json([{"id": run.id, "name": run.name} for run in found])
            return
        look(common.console(), store, found, time.perf_counter() - began)


def train(home: Path, epochs: int) -> None:
    """Run the training script once per setting, as processes of their own."""
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


def look(out: Console, store: Store, found: Runs, seconds: float) -> None:
    """The runs, a curve, three questions, and what to try next."""
    points = sum(metric.count for run in found for metric in run.metrics.values())
    out.print(
        f"\n[bold]{len(found)} runs, {points:,} points, {seconds:.0f} seconds.[/] "
        f"[dim]{store.url.removeprefix('sqlite:///')}[/]\n"
    )
    runs.show(found, mark=["val/accuracy", "val/loss", "train/loss"])
    out.print()
    best = store.runs(
        "tags.demo is not null",
        experiment="digits",
        order_by='metrics."val/accuracy" desc',
        limit=1,
    )
    ids = [run.id for run in found]
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
        "\n[bold]Now it is yours.[/] Try:\n"
        f"  {program} show {best[0].name}\n"
        f"  {program} plot val/accuracy\n"
        f"  {program} runs 'params.lr < 0.001' --sort 'metrics.\"val/loss\" asc'\n"
        f'  sqlite3 {shown} "{FIRST_QUERY}"',
        soft_wrap=True,
    )


def _train_one(home: Path, trial: dict[str, float], epochs: int) -> None:
    options = [f"--{name}={value}" for name, value in {**trial, "epochs": epochs}.items()]
    # One thread each: two processes that fight over two cores are slower than one.
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
