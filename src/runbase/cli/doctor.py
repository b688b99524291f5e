"""`runbase doctor`: is everything as it should be, and where does each setting come from?"""

import platform
import shutil
import sqlite3
import sys
from typing import Any

from rich.markup import escape

from runbase import __version__
from runbase.cli import common
from runbase.client import open as open_store
from runbase.errors import RunbaseError
from runbase.settings import DESCRIPTIONS, Settings, file_system, load, on_network

EXAMPLES = "Examples: runbase doctor · runbase doctor --json"

LITTLE_SPACE = 2**30


def command(
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Check versions, settings, home, database and journals. Exits with 1 if something is wrong."""
    settings = load(home=home, store=url)
    facts: dict[str, Any] = {
        "runbase": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "file_system": file_system(settings.home),
    }
    problems, notes = _check_home(settings, facts)
    problems += _check_store(settings, facts)
    if json:
        shown = {k: {"value": v.value, "source": v.source} for k, v in settings.values.items()}
        document = {"facts": facts, "settings": shown, "problems": problems, "notes": notes}
        common.print_json(document)
    else:
        _print(settings, facts, problems, notes)
    if problems:
        sys.exit(1)


def _check_home(settings: Settings, facts: dict[str, Any]) -> tuple[list[str], list[str]]:
    home = settings.home
    problems: list[str] = []
    notes: list[str] = []
    if not home.exists():
        notes.append(f"there is no home yet; the first run makes {home}")
        return problems, notes
    try:
        probe = home / ".doctor"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        problems.append(f"{home} cannot be written: {error.strerror}; use another home")
    free = shutil.disk_usage(home).free
    facts["free_bytes"] = free
    if free < LITTLE_SPACE:
        problems.append(f"only {common.size(free)} are free in {home}")
    if on_network(home):
        kind = file_system(home)
        notes.append(
            f"{home} is on {kind}: runs write files only, the database is {settings.store}"
        )
        if settings.values["store"].source != "default" and str(home) in settings.store:
            problems.append(
                f"the SQLite file {settings.store} is on {kind}, where its locks do not hold; leave "
                "the store unset, or use a local path"
            )
    return problems, notes


def _check_store(settings: Settings, facts: dict[str, Any]) -> list[str]:
    if not settings.home.exists() and settings.values["store"].source == "default":
        return []
    problems: list[str] = []
    try:
        with open_store(
            None if settings.store == "none" else settings.store, home=settings.home, sync=False
        ) as store:
            facts["store"] = store.url
            report = common.update(store)
            facts |= store.totals()
            facts["new_lines"] = report.lines
            problems += store.check()
            problems += [str(problem) for problem in report.problems]
            problems += report.unreadable
    except RunbaseError as error:
        problems.append(str(error))
    return problems


def _print(
    settings: Settings, facts: dict[str, Any], problems: list[str], notes: list[str]
) -> None:
    out = common.console()
    for name, value in facts.items():
        shown = common.size(value) if name == "free_bytes" else value
        out.print(f"  {name.replace('_', ' '):<16} {escape(str(shown))}")
    out.print("\n[bold]Settings[/]")
    table = common.table(["  setting", "value", "from", "what it is"])
    for name, setting in settings.values.items():
        value = "–" if setting.value is None else escape(str(setting.value))
        table.add_row(f"  {name}", value, escape(setting.source), f"[dim]{DESCRIPTIONS[name]}[/]")
    out.print(table)
    for note in notes:
        out.print(f"\n[yellow]note[/]  {escape(note)}")
    for problem in problems:
        out.print(f"\n[red]problem[/]  {escape(problem)}")
    if not problems:
        out.print("\n[green]All is well.[/]")
