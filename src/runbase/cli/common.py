"""Shared code of the commands: options, opening the store, and output as text or JSON."""

import re
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from runbase.cli import completing
from runbase.cli.tables import escape, visible
from runbase.errors import NotFound, StoreUnavailable, UsageError
from runbase.model import Run, Scalar
from runbase.settings import load
from runbase.status import Phase, Status
from runbase.storage.types import Query
from runbase.store.store import PATIENCE, Store
from runbase.store.store import open as open_store

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Folder with the runs. Default: the nearest .runbase, here or above."
    ),
]
Url = Annotated[
    str | None,
    typer.Option("--store", help="Database URL or path. Default: the database of the home."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run: its id, a prefix of the id, or its name.",
        autocompletion=completing.runs,
    ),
]
ExperimentName = Annotated[
    str,
    typer.Argument(
        help="An experiment: its name, its id, or a prefix of the id.",
        autocompletion=completing.experiments,
    ),
]
OfExperiment = Annotated[
    str | None,
    typer.Option(
        "--experiment",
        "-e",
        help="Only runs of this experiment.",
        autocompletion=completing.experiments,
    ),
]
Target = Annotated[
    str,
    typer.Argument(
        help="A run or an experiment, by id, prefix or name.",
        autocompletion=completing.targets,
    ),
]
Targets = Annotated[
    list[str],
    typer.Argument(
        help="Runs and experiments, by id, prefix or name.",
        autocompletion=completing.targets,
    ),
]

UNSEEN = 0.5
"""Seconds for which a command works before it shows a progress bar."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
"""Seconds of each unit of a duration."""
COLOURS = {Phase.WAITING: "yellow", Phase.ACTIVE: "cyan", Phase.ENDED: "red"}


def say(text: object = "", *, end: str = "\n", file: Any = None, flush: bool = False) -> None:
    """Print a line with control characters escaped, on standard output by default."""
    print(visible(str(text)), end=end, file=file, flush=flush)


def console() -> Console:
    """Return a Rich console for standard output; plain text if it is not a terminal or NO_COLOR is set."""
    out = Console(highlight=False)
    if not out.is_terminal:
        out.width = max(out.width, 160)
    return out


def store(home: Path | None, url: str | None, *, sync: bool = True) -> Store:
    """Open the store of a command and ingest new journal entries, with a progress bar."""
    settings = load(home=home, store=url)
    if not settings.home.is_dir() and settings.values["store"].source == "default":
        source = settings.values["home"].source
        named = {"argument": "--home", "environment": "RUNBASE_HOME"}.get(source, source)
        raise NotFound(
            f"no .runbase folder in {Path.cwd()} or above; start a run, create a home with "
            "`runbase init`, or pass one with --home"
            if source == "default"
            else f"no home for runs at {settings.home}, which {named} names; create one with `runbase init`"
        )
    # The database of an existing home may be created; other databases must exist.
    own = settings.values["store"].source == "default"
    opened = open_store(url, home=home, sync=False, create=own or _in_home(settings.store))
    if sync and opened.home is not None and opened.home.is_dir():
        update(opened)
    return opened


@contextmanager
def store_to_fill(home: Path | None, url: str | None) -> Generator[Store]:
    """Open the store that a command writes runs to; create it, with a message, if it does not exist.

    A store that was created is removed again if the command fails before anything was stored.
    """
    folders: list[Path] = []
    try:
        open_store(url, home=home, sync=False, create=False).close()
        created = False
    except StoreUnavailable as error:
        if "no such store" not in str(error):
            raise
        created = True
        folders = _missing_folders(load(home=home, store=url).store)
    with open_store(url, home=home, sync=False) as opened:
        if created:
            say(f"Creating a new store: {opened.url}", file=sys.stderr)
        try:
            yield opened
        except BaseException:
            empty = not any(opened.totals()[name] for name in ("runs", "experiments"))
            if created and empty:
                _remove_store(opened, folders)
            raise


def _missing_folders(url: str) -> list[Path]:
    """Return the folders that must be created for a SQLite file, innermost first."""
    path = _sqlite_path(url)
    return [] if path is None else [p for p in path.parents if not p.exists()]


def _remove_store(opened: Store, folders: Sequence[Path]) -> None:
    """Remove a new, empty store: a SQLite file, or a schema of PostgreSQL."""
    path = _sqlite_path(opened.url)
    if path is None:
        schema = str(opened.sql("select current_schema()")[0][0])
        if schema != "public":
            name = schema.replace('"', '""')
            opened.sql(f'drop schema "{name}" cascade', write=True)
        return
    opened.close()
    for suffix in ("", "-wal", "-shm", ".lock"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _sqlite_path(url: str) -> Path | None:
    scheme, separator, rest = url.partition("://")
    if separator and not scheme.startswith("sqlite"):
        return None
    return Path(unquote(rest.removeprefix("/")) if separator else url).expanduser().absolute()


def _in_home(url: str) -> bool:
    """Return whether a SQLite file is in a home for runs, so that it can be rebuilt from them."""
    path = _sqlite_path(url)
    return path is not None and (path.parent / "runs").is_dir()


def update(opened: Store, patience: float | None = PATIENCE) -> Any:
    """Ingest new journal entries, with a progress bar on a terminal.

    A command that only reads does not wait long for other writers: it shows what is stored, with a
    message.
    """
    with progress("reading journals") as step:
        report = opened.sync(step, patience=patience)
    if report.late:
        say(
            "runbase: the database is busy; the newest points are not shown yet",
            file=sys.stderr,
        )
    return report


def hint(opened: Store, where: str | None, order_by: str | None = None) -> None:
    """Print which parameters, metrics and tags of a filter no run has: nothing can match them."""
    if where or order_by:
        for message in opened.reader.unknown_keys(Query(where=where, order_by=order_by)):
            say(f"runbase: {message}", file=sys.stderr)


@contextmanager
def progress(text: str) -> Generator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal if the work takes long; yield a function to call with the amount done and the total."""
    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    quiet = Console(stderr=True)
    bar = Progress(*columns, console=quiet, transient=True, disable=not quiet.is_terminal)
    task = bar.add_task("", total=None)
    began = time.monotonic()

    def step(done: int, total: int) -> None:
        if time.monotonic() - began > UNSEEN:
            bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield step
    finally:
        if bar.live.is_started:
            bar.stop()


def print_json(value: Any) -> None:
    """Print one JSON document on standard output, with NaN and infinities as text."""
    sys.stdout.write(msgspec.json.format(encode(value), indent=2).decode() + "\n")


def encode(value: Any) -> bytes:
    """Return a value as JSON, with NaN and infinities as text, spelled as in the journal."""
    return msgspec.json.encode(_spelled(msgspec.to_builtins(value, enc_hook=str)))


def table(columns: Sequence[str], *, numbers: Sequence[str] = ()) -> Table:
    """Return an empty table in the common style; columns in `numbers` are right-aligned."""
    empty = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        empty.add_column(
            visible(name), justify="right" if name in numbers else "left", overflow="fold"
        )
    return empty


def status_text(status: Status) -> str:
    """Return a status as Rich markup, in its colour."""
    colour = "green" if status is Status.COMPLETED else COLOURS[status.phase]
    return f"[{colour}]{status.value}[/]"


def coloured(status: str) -> str:
    """Return the word of a status, of a run or an experiment, as Rich markup."""
    known = status in Status.__members__.values()
    return status_text(Status(status)) if known else escape(status)


def state_text(run: Run, separator: str = " ") -> str:
    """Return the status of a run in its colour, with a mark if its heartbeat is overdue."""
    silent = run.status.phase is Phase.ACTIVE and not run.alive
    return status_text(run.status) + (f"{separator}[dim]silent[/]" if silent else "")


def number(value: Scalar | None) -> str:
    """Format a number with six significant digits."""
    if value is None:
        return "–"
    if value != value:
        return "NaN"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def metric_value(run: Run, key: str, figure: str = "last") -> float | None:
    """Return a statistic of a run's metric, or None if the run does not have it."""
    metric = run.metrics.get(key)
    return None if metric is None else getattr(metric, figure)


def duration(seconds: float | None) -> str:
    """Format seconds: 4.2s, 3m07s, 2h05m, 3d04h."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, left = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{left:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 48 else f"{hours // 24}d{hours % 24:02d}h"


def ago(moment: datetime | None) -> str:
    """Format how long ago a time was, in its largest unit: just now, 9s ago, 21m ago, 5h ago, 3d ago."""
    if moment is None:
        return "–"
    seconds = int((datetime.now(UTC) - moment).total_seconds())
    if seconds < 5:
        return "just now"
    for unit, length, most in (("s", 1, 60), ("m", 60, 60), ("h", 3600, 48)):
        if seconds < most * length:
            return f"{seconds // length}{unit} ago"
    return f"{seconds // 86400}d ago"


def span(option: str, text: str) -> int:
    """Return the seconds of a duration such as 12h, 30d or 4w, which an option has."""
    match = re.fullmatch(r"(\d+)\s*([smhdw])", text.strip())
    if match is None:
        raise UsageError(f"{option} {text!r} is not a duration; use 12h, 30d or 4w")
    return int(match[1]) * UNITS[match[2]]


def size(count: int) -> str:
    """Format a number of bytes."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def tags_text(tags: Mapping[str, str | None], separator: str = ", ") -> str:
    """Format tags: baseline, stage=prod."""
    return separator.join(key if value is None else f"{key}={value}" for key, value in tags.items())


def when(moment: Any) -> str:
    """Format a time, as returned by either database."""
    if isinstance(moment, datetime):
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return str(moment)[:19].replace("T", " ")


def _spelled(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {k: _spelled(v) for k, v in value.items()}  # pyright: ignore
    if isinstance(value, list | tuple):
        return [_spelled(v) for v in value]  # pyright: ignore
    return value
