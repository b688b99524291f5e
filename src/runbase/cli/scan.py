"""`runbase scan`: ingest run folders of any known format into the database."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from runbase.cli import common
from runbase.errors import NotFound, counted

EXAMPLES = (
    "Examples:\n"
    "\n    runbase scan /nfs/runs"
    "\n    runbase scan lightning_logs --watch"
    "\n    runbase scan a b --store postgresql://db/team"
)
SHOWN = 20


def command(
    paths: Annotated[
        list[Path], typer.Argument(help="Folders with runs, at any depth, of any known format.")
    ],
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Continue, and scan again as they grow.")
    ] = False,
    every: Annotated[float, typer.Option("--every", help="Seconds between two scans.")] = 5.0,
    full: Annotated[
        bool, typer.Option("--full", help="Also read folders that have not changed.")
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Ingest run folders of runbase and of other training tools.

    Known are those of stable-pretraining, Lightning's CSVLogger, Ultralytics, Ray Tune, transformers, DVCLive,
    stable-baselines3 and TensorBoard.

    Only what changed since the last scan is read, and nothing is written to the folders: there is no server and no
    lock, and any number of scans can run. Runs whose folder no longer exists are kept and marked with `missing_at`.
    """
    for path in paths:
        if not path.expanduser().is_dir():
            raise NotFound(f"{path} is not a folder")
    with common.store_to_fill(home, url) as store:
        while True:
            with common.progress("reading run folders") as step:
                report = store.scan(*paths, full=full, progress=step)
            if json:
                common.print_json(report)
            elif not watch or report.new or report.updated or report.missing or report.returned:
                _print(report, store.url)
            if not watch:
                return
            full = False
            time.sleep(every)


def _print(report: Any, url: str) -> None:
    parts = {
        "new": report.new,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "missing": report.missing,
        "found again": report.returned,
        "lost": report.lost,
        "unreadable": report.invalid,
    }
    counts = ", ".join(f"{count:,} {name}" for name, count in parts.items() if count)
    common.say(
        f"{counted(report.found, 'run folder')} ({counts or 'none'}), {counted(report.points, 'point')}, {report.seconds:.2f} s → {url}"
    )
    for what, number in report.left_out.items():
        common.say(f"left out: {number:,} {what}")
    for problem in report.problems[:SHOWN]:
        common.say(f"not read: {problem}")
    if len(report.problems) > SHOWN:
        common.say(f"… and {len(report.problems) - SHOWN} more")
