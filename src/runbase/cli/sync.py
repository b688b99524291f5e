"""`runbase sync`: ingest journals into the database."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from runbase.artifacts.uploads import FOLDER, take_up
from runbase.cli import common
from runbase.errors import RunbaseError, StoreBusy, StoreOffline, UsageError, counted
from runbase.ingest.sync import run_folders, waiting
from runbase.settings import Settings, load
from runbase.store.rebuild import rebuildable, set_aside
from runbase.store.store import Store, home_of
from runbase.store.store import open as open_store
from runbase.store.transfer import Salvaged

EXAMPLES = (
    "Examples:\n"
    "\n    runbase sync"
    "\n    runbase sync --watch --store https://runbase.lab.example"
    "\n    runbase sync --rebuild --dry-run"
    "\n    runbase sync --rebuild"
)

SHOWN = 20
EVERY = 1.0
"""Seconds between two looks with --watch."""


def command(
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Rebuild the database from the run folders."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Continue, and ingest what is new every second.")
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Ingest new journal entries into the database, and mark runs whose process exited.

    With --watch and a server as the store, this sends the runs of all jobs of a machine that log to files only
    (RUNBASE_STORE=none).
    """
    settings = load(home=home, store=url)
    if home is None and url is not None:  # the store may be in a home of its own
        nearest = settings.home if settings.home.is_dir() else None
        home = home_of(settings.home, url, None) or nearest
    if watch:
        if rebuild or dry_run or json:
            raise UsageError("--watch goes with --home and --store only")
        _watch(settings)
        return
    if dry_run:
        _plan(settings, rebuild=rebuild, json=json)
        return
    lost = _own_parts(settings) if rebuild else []
    aside = set_aside(settings.store, settings.home) if rebuild else []
    uploaded, stuck = _upload(home, url)
    opened = open_store(home=home, sync=False) if url is None else common.store_to_fill(home, url)
    with opened as store:
        report = common.update(store, None)
        outlined = _outline(store)
        taken = store.salvaged
        totals = store.totals()
    if json:
        common.print_json(
            {
                "report": report,
                "totals": totals,
                "set_aside": [str(p) for p in aside],
                "taken_over": taken,
                "not_recovered": lost,
                "uploaded": uploaded,
                "not_uploaded": stuck,
                "outlined": outlined,
            }
        )
        return
    if uploaded:
        common.say(f"{counted(uploaded, 'artifact')} uploaded")
    for problem in stuck[:SHOWN]:
        common.say(f"not uploaded: {problem}")
    for path in aside:
        common.say(f"The old database is now {path}")
    if taken is not None:
        _say(taken)
    _say_missing(lost)
    _print(report, totals, store)


def _own_parts(settings: Settings) -> list[str]:
    """Return what users added to the schema of a database, which no run folder has."""
    try:
        with open_store(settings.store, home=settings.home, sync=False, create=False) as store:
            scripts = [
                row["name"]
                for row in store.setup_status()
                if row.get("owner") not in (None, "runbase")
            ]
            return [
                *(f"script {name}" for name in scripts),
                *(f"view {name}" for name in store.views()),
            ]
    except RunbaseError:
        return []


def _say_missing(lost: list[str]) -> None:
    if lost:
        common.say(
            f"Not recovered, because it is your own: {', '.join(lost)}. Run `runbase setup` with your scripts and "
            "`runbase view create` again; the old database still has the rows.",
            file=sys.stderr,
        )


def _watch(settings: Settings) -> None:
    """Ingest what is new every second, until Ctrl-C; a database that is away is tried again."""
    common.say(
        f"Sending the runs of {settings.home} to {settings.shown('store')}; Ctrl-C ends it",
        flush=True,
    )
    away = ""
    while True:
        try:
            take_up(settings.home)
            with open_store(settings.store, home=settings.home, sync=False) as store:
                while True:
                    report = store.sync()
                    if away:
                        common.say("The store answers again", flush=True)
                        away = ""
                    if report.lines:
                        common.say(
                            f"{report.lines:,} new lines of {counted(report.journals, 'journal')}",
                            flush=True,
                        )
                    for problem in report.problems[:SHOWN]:
                        common.say(f"not stored: {problem}", flush=True)
                    if any((folder / FOLDER).is_dir() for folder in run_folders(settings.home)):
                        take_up(settings.home)
                    time.sleep(max(EVERY, min(4 * report.seconds, 30.0)))
        except (StoreOffline, StoreBusy) as error:
            if not away:
                away = str(error)
                common.say(f"{error}; trying again", flush=True)
            time.sleep(2 * EVERY)


def _outline(store: Store) -> int:
    """Make the outlines of long metrics that an older runbase stored; returns how many."""
    missing = store.storage.unoutlined()
    if missing:
        with common.progress("summarizing long metrics for charts") as step:
            for done, (run, series, _) in enumerate(missing, 1):
                store.storage.build_outline(run, series)
                step(done, len(missing))
    return len(missing)


def _plan(settings: Settings, *, rebuild: bool, json: bool) -> None:
    """Print what would be done."""
    old = rebuildable(settings.store, settings.home) if rebuild else None
    if rebuild:
        count, size = waiting(None, settings.home)
    else:
        with open_store(settings.store, home=settings.home, sync=False) as store:
            count, size = waiting(store.storage, settings.home)
    if json:
        common.print_json({"journals": count, "bytes": size, "rebuild": old, "dry_run": True})
        return
    if old is not None:
        common.say(
            f"Would rename {old}, create a new database, and recover what is in no run folder"
        )
    common.say(f"Would ingest {counted(count, 'journal')} ({common.size(size)})")


def _upload(home: Path | None, url: str | None) -> tuple[int, list[str]]:
    """Upload artifacts that exited processes did not upload."""
    place = load(home=home, store=url).home
    if not place.is_dir():
        return 0, []
    with common.progress("uploading artifacts") as step:
        return take_up(place, step)


def _print(report: Any, totals: dict[str, int], store: Store) -> None:
    common.say(
        f"{counted(report.lines, 'new line')} from "
        f"{counted(report.journals, 'journal')} in "
        f"{counted(report.folders, 'run folder')}, {report.seconds:.2f} s"
    )
    if report.lost:
        lost = counted(report.lost, "run")
        common.say(f"{lost} exited without being closed: now NODE_FAIL")
    if report.found_alive:
        common.say(f"{counted(report.found_alive, 'run')} marked as lost: now alive again")
    refused = [str(problem) for problem in report.problems] + list(report.unreadable)
    for text in refused[:SHOWN]:
        common.say(f"not stored: {text}")
    if len(refused) > SHOWN:
        common.say(f"… and {len(refused) - SHOWN:,} more; all are in the table problems")
    common.say(
        f"{store.url}: {counted(totals['runs'], 'run')}, {counted(totals['points'], 'point')}"
    )


def _say(taken: Salvaged) -> None:
    common.say(
        f"Recovered from it: notes, tags and links of {counted(taken.runs, 'run')}, {taken.new:,} of them in no folder"
    )
    for text in taken.unreadable[:SHOWN]:
        common.say(f"lost: {text}")
    if len(taken.unreadable) > SHOWN:
        common.say(f"… and {len(taken.unreadable) - SHOWN:,} more")
