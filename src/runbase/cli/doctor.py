"""`runbase doctor`: check the installation, the home and the database, and show the source of each setting."""

import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from runbase import __version__
from runbase.cli import common, tables
from runbase.errors import RunbaseError, StoreCorrupt, UsageError, counted
from runbase.filesystems import file_system, on_network
from runbase.ingest.cleanup import leftovers
from runbase.ingest.sync import waiting
from runbase.settings import DESCRIPTIONS, Settings, load
from runbase.storage.address import is_server
from runbase.store.rebuild import set_aside
from runbase.store.store import Store
from runbase.store.store import open as open_store

EXAMPLES = "Examples:\n\n    runbase doctor\n    runbase doctor --fix --dry-run\n    runbase doctor --sizes\n    runbase doctor --json"

SHOWN = 20
"""The maximum number of problem lines shown."""
LITTLE_SPACE = 2**30
"""Bytes of free disk space below which there is a warning."""
MOST_SKEW = 2.0
"""Seconds of clock difference to the database server above which there is a warning."""


def command(
    fix: Annotated[
        bool,
        typer.Option(
            "--fix", help="Repair what can be repaired; a damaged database is renamed and kept."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="With --fix: print what would be done, and do nothing."),
    ] = False,
    sizes: Annotated[
        bool,
        typer.Option("--sizes", help="Print where the bytes are: by experiment, run and table."),
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Check versions, settings, home, database and journals; exit with 1 if there is a problem."""
    if dry_run and not fix:
        raise UsageError("--dry-run needs --fix; without --fix nothing is changed")
    settings = load(home=home, store=url)
    if sizes:
        _print_sizes(settings, json=json)
        return
    repaired = _repair(settings, dry_run=dry_run) if fix else []
    facts: dict[str, Any] = {
        "runbase": __version__,
        "python": platform.python_version(),
        "file_system": file_system(settings.home),
    }
    problems, notes = _check_home(settings, facts)
    problems += _check_store(settings, facts)
    if json:
        shown = {
            name: {"value": settings.shown(name), "source": setting.source}
            for name, setting in settings.values.items()
        }
        document = {
            "facts": facts,
            "settings": shown,
            "problems": problems,
            "notes": notes,
            "repaired": repaired,
        }
        common.print_json(document)
    else:
        _print(settings, facts, problems, notes)
        for text in repaired:
            common.say(f"{'would' if dry_run else 'repair:'} {text}")
    if problems:
        sys.exit(1)


def _print_sizes(settings: Settings, *, json: bool) -> None:
    with open_store(settings.store, home=settings.home, sync=False, create=False) as store:
        found = store.sizes(SHOWN)
    if json:
        common.print_json(found)
        return
    out = common.console()
    for title, rows in (("Experiments", found.experiments), ("Runs", found.runs)):
        names = ["points", "database", "archive", "journals", "artifacts", "total"]
        names = ["runs", *names] if title == "Experiments" else names
        table = common.table([f"  {title[:-1].lower()}", *names], numbers=names)
        for row in rows:
            counts = [row.runs, row.points] if title == "Experiments" else [row.points]
            sizes = (row.database, row.archive, row.journals, row.artifacts, row.total)
            cells = [*(f"{count:,}" for count in counts), *map(common.size, sizes)]
            table.add_row(f"  {tables.escape(row.name)}", *cells)
        out.print(f"[bold]{title}[/]", table, "")
    table = common.table(["  table", "bytes"], numbers=["bytes"])
    for name, size in list(found.tables.items())[:SHOWN]:
        table.add_row(f"  {name}", common.size(size))
    out.print("[bold]Tables, with their indexes[/]", table)
    if found.archived_runs:
        out.print(
            f"\n{counted(found.archived_runs, 'run')} with {counted(found.archived_points, 'point')} "
            f"{'is' if found.archived_runs == 1 else 'are'} archived ({common.size(found.archived_bytes)})"
        )
    if found.old_runs:
        out.print(
            f"\n`runbase archive --older-than 30d` would move {counted(found.old_runs, 'run')} out of the database, "
            f"about {common.size(found.old_bytes)}"
        )
    out.print(
        "\n[dim]database: the points, at the average size of a point. journals: as ingested, before "
        "`runbase gc --journals` packs them.[/]"
    )


def _repair(settings: Settings, *, dry_run: bool) -> list[str]:
    """Rebuild a damaged SQLite file and remove partial files; return a description of each repair."""
    done: list[str] = []
    damage = _damage(settings)
    if damage:
        done.append(f"rebuild {settings.shown('store')} from the run folders: {damage[0]}")
        if not dry_run:
            aside = set_aside(settings.store, settings.home)
            with open_store(settings.store, home=settings.home, sync=False) as store:
                common.update(store, None)
                taken = store.salvaged
            done += [f"keep the old database as {path}" for path in aside[:1]]
            if taken is not None:
                done.append(
                    f"recover {counted(taken.runs, 'run')} from it, {taken.new:,} in no folder"
                )
                done += [f"lost: {text}" for text in taken.unreadable]
    if settings.home.is_dir():
        left = leftovers(settings.home, dry_run=dry_run)
        if left.files:
            done.append(f"remove {len(left.files):,} partial files ({common.size(left.bytes)})")
    return done


def _damage(settings: Settings) -> list[str]:
    """Return the damage of a SQLite file that can be rebuilt from run folders."""
    if not settings.store.startswith("sqlite:") or not (settings.home / "runs").is_dir():
        return []
    try:
        with open_store(settings.store, home=settings.home, sync=False) as store:
            return store.check()
    except StoreCorrupt as error:
        return [str(error).partition(";")[0]]
    except RunbaseError:
        return []


def _check_home(settings: Settings, facts: dict[str, Any]) -> tuple[list[str], list[str]]:
    home = settings.home
    problems: list[str] = []
    notes: list[str] = []
    if not home.exists():
        notes.append(f"no home yet; the first run creates {home}")
        return problems, notes
    try:
        probe = home / ".doctor"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        problems.append(f"cannot write to {home}: {error.strerror}; use another home")
    free = shutil.disk_usage(home).free
    facts["free_bytes"] = free
    if free < LITTLE_SPACE:
        problems.append(f"only {common.size(free)} free in {home}")
    if on_network(home):
        kind = file_system(home)
        notes.append(
            f"{home} is on {kind}, so runs write files only; the database is {settings.shown('store')}"
        )
    return problems, notes


def _check_store(settings: Settings, facts: dict[str, Any]) -> list[str]:
    if not settings.home.exists() and settings.values["store"].source == "default":
        return []
    problems = _network_problem(settings)
    url = None if settings.store == "none" else settings.store
    began = time.perf_counter()
    try:
        create = url is None or settings.values["store"].source == "default"
        with open_store(url, home=settings.home, sync=False, create=create) as store:
            facts["database"] = store.url
            facts["opened_in_ms"] = round((time.perf_counter() - began) * 1e3, 1)
            problems += _check_server(store, facts)
            problems += _check_replica(store, facts)
            if settings.home.is_dir():
                facts["journals_waiting"] = "{} ({})".format(*_waiting(store, settings))
                report = common.update(store)
                problems += report.unreadable
            facts |= store.totals()
            problems += [str(problem) for problem in store.problems(limit=SHOWN)]
            if facts["problems"] > SHOWN:
                problems.append(f"… and {facts['problems'] - SHOWN:,} more in the table problems")
            if not is_server(store.url):  # the server's own doctor does that
                problems += [*store.check(), *store.storage.archive_problems()]
    except RunbaseError as error:
        problems.append(str(error))
        if settings.home.is_dir():
            facts["journals_waiting"] = "{} ({}, all journals)".format(*_waiting(None, settings))
    return problems


def _network_problem(settings: Settings) -> list[str]:
    """Return a problem if a SQLite file is on a network file system."""
    if not settings.store.startswith("sqlite:"):
        return []
    path = Path(settings.store.partition("://")[2][1:])
    if not on_network(path):
        return []
    return [
        f"the SQLite file {path} is on {file_system(path)}, where file locks are not reliable; unset "
        "the store, or use a local path or PostgreSQL"
    ]


def _check_server(store: Store, facts: dict[str, Any]) -> list[str]:
    """Record the version of the database; return a problem if its clock differs from ours."""
    if is_server(store.url):
        facts["server"] = store.storage.dialect
        return []
    if store.url.startswith("sqlite:"):
        facts["sqlite"] = store.storage.sql("select sqlite_version()")[0][0]
        return []
    before = time.time()
    query = "select current_setting('server_version'), extract(epoch from clock_timestamp())"
    version, clock = store.storage.sql(query)[0]
    skew = float(clock) - (before + time.time()) / 2
    facts["postgres"] = version
    facts["role"] = _role(store)
    facts["clock_skew_seconds"] = round(skew, 3)
    if abs(skew) <= MOST_SKEW:
        return []
    return [
        f"the clock of the database differs from this machine's by {skew:+.1f} s, so times of runs from "
        "several machines cannot be compared; synchronize the clocks with NTP or chrony"
    ]


def _check_replica(store: Store, facts: dict[str, Any]) -> list[str]:
    """Record whether reads come from the replica, and its lag; return a problem if it cannot be used."""
    state = store.replica_state()
    if state is None:
        return []
    facts["read_store"] = state.url
    if state.problem is not None:
        return [f"reads come from {store.url}: {state.problem}"]
    known = state.lag is not None
    facts["replica_lag_seconds"] = round(state.lag or 0.0, 3) if known else "unknown"
    return []


_ROLE = """
select current_user, r.rolsuper, has_table_privilege(quote_ident(current_schema()) || '.runs', 'insert')
from pg_roles r where r.rolname = current_user
"""


def _role(store: Store) -> str:
    """Return the database role and its privileges; `sql()` only reads, independent of them."""
    name, is_superuser, writes = store.storage.sql(_ROLE)[0]
    if is_superuser:
        return f"{name}: superuser, can access files and programs of the server; use another role"
    return f"{name}: can write" if writes else f"{name}: read-only"


def _waiting(store: Store | None, settings: Settings) -> tuple[str, str]:
    count, size = waiting(None if store is None else store.storage, settings.home)
    return f"{count:,}", common.size(size)


def _print(
    settings: Settings, facts: dict[str, Any], problems: list[str], notes: list[str]
) -> None:
    out = common.console()
    for name, value in facts.items():
        shown = common.size(value) if name == "free_bytes" else value
        out.print(f"  {name.replace('_', ' '):<16} {tables.escape(str(shown))}")
    out.print("\n[bold]Settings[/]")
    table = common.table(["  setting", "value", "from", "description"])
    for name, setting in settings.values.items():
        value = "–" if setting.value is None else tables.escape(settings.shown(name) or "")
        table.add_row(
            f"  {name}", value, tables.escape(setting.source), f"[dim]{DESCRIPTIONS[name]}[/]"
        )
    out.print(table)
    for note in notes:
        out.print(f"\n[yellow]note[/]  {tables.escape(note)}")
    for problem in problems:
        out.print(f"\n[red]problem[/]  {tables.escape(problem)}")
    if not problems:
        out.print("\n[green]All is well.[/]")
