"""Shared code of the commands: options, opening the store, and output as text or JSON."""

import re
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

import msgspec
import typer
from rich.console import Console
from rich.markup import escape as rich_escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from runbase.errors import NotFound, StoreUnavailable
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


def complete_runs(incomplete: str) -> list[str]:
    """Return names of runs for shell completion; none if there is no store."""
    return _names("select name from runs where deleted_at is null order by id desc", incomplete)


def complete_experiments(incomplete: str) -> list[str]:
    """Return names of experiments for shell completion."""
    query = "select name from experiments where deleted_at is null order by id desc"
    return _names(query, incomplete)


def complete_targets(incomplete: str) -> list[str]:
    """Return names of experiments and runs for shell completion."""
    return [*complete_experiments(incomplete), *complete_runs(incomplete)]


RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run: its id, a prefix of the id, or its name.",
        autocompletion=complete_runs,
    ),
]
ExperimentName = Annotated[
    str,
    typer.Argument(
        help="An experiment: its name, its id, or a prefix of the id.",
        autocompletion=complete_experiments,
    ),
]
Target = Annotated[
    str,
    typer.Argument(
        help="A run or an experiment, by id, prefix or name.",
        autocompletion=complete_targets,
    ),
]
Targets = Annotated[
    list[str],
    typer.Argument(
        help="Runs and experiments, by id, prefix or name.",
        autocompletion=complete_targets,
    ),
]

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

COLOURS = {Phase.WAITING: "yellow", Phase.ACTIVE: "cyan", Phase.ENDED: "red"}


def visible(text: str) -> str:
    """Return text with control characters escaped, so that no stored text can control the terminal."""
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def escape(text: str) -> str:
    """Return text that Rich prints literally, with control characters escaped."""
    return rich_escape(visible(text))


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
        raise NotFound(
            f"no .runbase folder in {Path.cwd()} or above; start a run, create a home with "
            "`runbase init`, or pass one with --home"
            if home is None
            else f"no home for runs at {home}; create one with `runbase init`"
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
        for message in opened.storage.unknown_keys(Query(where=where, order_by=order_by)):
            say(f"runbase: {message}", file=sys.stderr)


@contextmanager
def progress(text: str) -> Generator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal; yield a function to call with the amount done and the total."""
    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    quiet = Console(stderr=True)
    with Progress(*columns, console=quiet, transient=True, disable=not quiet.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def step(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield step


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


def state_text(run: Run) -> str:
    """Return the status of a run in its colour, with a mark if its heartbeat is overdue."""
    silent = run.status.phase is Phase.ACTIVE and not run.alive
    return status_text(run.status) + (" [dim]silent[/]" if silent else "")


def number(value: Scalar | None) -> str:
    """Format a number with six significant digits."""
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def headline(runs: Iterable[Run], most: int = 4) -> list[str]:
    """Choose the metrics to show: validation metrics first, then those that most runs have."""
    counts: dict[str, int] = {}
    for run in runs:
        for key in run.metrics:
            counts[key] = counts.get(key, 0) + 1
    ranked = sorted(counts, key=lambda k: (-("val" in k or "test" in k), -counts[k], k))
    return ranked[:most]


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
    """Format how long ago a time was."""
    if moment is None:
        return "–"
    seconds = (datetime.now(UTC) - moment).total_seconds()
    return (
        "just now"
        if seconds < 5
        else f"{duration(seconds).split('.')[0].rstrip('s')}s ago"
        if seconds < 60
        else f"{duration(seconds)} ago"
    )


def size(count: int) -> str:
    """Format a number of bytes."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def tags_text(tags: Mapping[str, str | None]) -> str:
    """Format tags: baseline, stage=prod."""
    return ", ".join(key if value is None else f"{key}={value}" for key, value in tags.items())


def when(moment: Any) -> str:
    """Format a time, as returned by either database."""
    if isinstance(moment, datetime):
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return str(moment)[:19].replace("T", " ")


def _names(query: str, incomplete: str) -> list[str]:
    try:
        with store(None, None, sync=False) as opened:
            names = [str(row[0]) for row in opened.sql(query, timeout=1.0)]
    except Exception:  # completion must never print a traceback
        return []
    return [name for name in names if name.startswith(incomplete)][:100]


def _spelled(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {k: _spelled(v) for k, v in value.items()}  # pyright: ignore
    if isinstance(value, list | tuple):
        return [_spelled(v) for v in value]  # pyright: ignore
    return value
