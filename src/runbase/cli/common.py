"""What the commands share: options, opening the store, and printing for people or for programs."""

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
from runbase.store.store import PATIENCE, Store
from runbase.store.store import open as open_store

Home = Annotated[
    Path | None,
    typer.Option("--home", help="Folder with the runs. Default: the nearest .runbase upwards."),
]
Url = Annotated[
    str | None,
    typer.Option("--store", help="Database URL or path. Default: the home's own database."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def complete_runs(incomplete: str) -> list[str]:
    """Names of runs, for the shell's completion; nothing where there is no store."""
    return _names("select name from runs where deleted_at is null order by id desc", incomplete)


def complete_experiments(incomplete: str) -> list[str]:
    """Names of experiments."""
    query = "select name from experiments where deleted_at is null order by id desc"
    return _names(query, incomplete)


def complete_targets(incomplete: str) -> list[str]:
    """Names of runs and of experiments."""
    return [*complete_experiments(incomplete), *complete_runs(incomplete)]


RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id, the beginning of one, or its name.",
        autocompletion=complete_runs,
    ),
]
ExperimentName = Annotated[
    str,
    typer.Argument(
        help="An experiment's name, id, or the beginning of one.",
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
    """Text with escapes for control characters: no name or value moves the cursor of a terminal."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def escape(text: str) -> str:
    """Text as Rich prints it literally, control characters made visible."""
    return rich_escape(visible(text))


def say(text: object = "", *, end: str = "\n", file: Any = None, flush: bool = False) -> None:
    """Print a line, on standard output unless said, with control characters made visible."""
    print(visible(str(text)), end=end, file=file, flush=flush)


def console() -> Console:
    """Standard output; plain where it is no terminal, or NO_COLOR is set."""
    made = Console(highlight=False)
    if not made.is_terminal:
        made.width = max(made.width, 160)
    return made


def store(home: Path | None, url: str | None, *, sync: bool = True) -> Store:
    """The store that a command is about, brought up to date with a progress bar if that takes long."""
    settings = load(home=home, store=url)
    if not settings.home.is_dir() and settings.values["store"].source == "default":
        raise NotFound(
            f"there are no runs: no .runbase in {Path.cwd()} or above; start a run, make a home with "
            "`runbase init`, or name one with --home"
            if home is None
            else f"there is no home for runs at {home}"
        )
    # A home that is there may have its database made; what is looked at elsewhere is not.
    own = settings.values["store"].source == "default"
    opened = open_store(url, home=home, sync=False, create=own or _in_home(settings.store))
    if sync and opened.home is not None and opened.home.is_dir():
        update(opened)
    return opened


@contextmanager
def store_to_fill(home: Path | None, url: str | None) -> Generator[Store]:
    """The store that a command brings runs into, made where it is not there yet, which is said.

    Where the command fails before anything came in, it is not there afterwards either.
    """
    folders: list[Path] = []
    try:
        open_store(url, home=home, sync=False, create=False).close()
        made = False
    except StoreUnavailable as error:
        if "no such store" not in str(error):
            raise
        made = True
        folders = _missing_folders(load(home=home, store=url).store)
    with open_store(url, home=home, sync=False) as opened:
        if made:
            say(f"Making a new store: {opened.url}", file=sys.stderr)
        try:
            yield opened
        except BaseException:
            empty = not any(opened.totals()[name] for name in ("runs", "experiments"))
            if made and empty:
                _unmake(opened, folders)
            raise


def _missing_folders(url: str) -> list[Path]:
    """The folders that are made with a SQLite file, innermost first."""
    path = _sqlite_path(url)
    return [] if path is None else [p for p in path.parents if not p.exists()]


def _unmake(opened: Store, folders: Sequence[Path]) -> None:
    """Remove a store that was made for nothing: a SQLite file, or a schema of PostgreSQL."""
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
    """Whether a SQLite file lies in a home for runs, from which it is made anew."""
    path = _sqlite_path(url)
    return path is not None and (path.parent / "runs").is_dir()


def update(opened: Store, patience: float | None = PATIENCE) -> Any:
    """Take in what journals hold, with a progress bar on a terminal.

    A command that looks does not wait for others that write: it shows what is there, and says so.
    """
    with progress("reading journals") as step:
        report = opened.sync(step, patience=patience)
    if report.late:
        say(
            "runbase: other processes keep the database busy; the newest points are missing",
            file=sys.stderr,
        )
    return report


@contextmanager
def progress(text: str) -> Generator[Callable[[int, int], None]]:
    """A progress bar, on a terminal; gives what is called with how much is done, and of how much."""
    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    quiet = Console(stderr=True)
    with Progress(*columns, console=quiet, transient=True, disable=not quiet.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def step(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield step


def print_json(value: Any) -> None:
    """One JSON document on standard output; NaN and infinities as text."""
    sys.stdout.write(msgspec.json.format(encode(value), indent=2).decode() + "\n")


def encode(value: Any) -> bytes:
    """A value as JSON, with NaN and infinities as text, as the journal spells them."""
    return msgspec.json.encode(_spelled(msgspec.to_builtins(value, enc_hook=str)))


def table(columns: Sequence[str], *, numbers: Sequence[str] = ()) -> Table:
    """An empty table in the house's style."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(
            visible(name), justify="right" if name in numbers else "left", overflow="fold"
        )
    return made


def status_text(status: Status) -> str:
    """A status in its colour."""
    colour = "green" if status is Status.COMPLETED else COLOURS[status.phase]
    return f"[{colour}]{status.value}[/]"


def state_text(run: Run) -> str:
    """A run's status in its colour, and whether it is silent for longer than a living one would be."""
    silent = run.status.phase is Phase.ACTIVE and not run.alive
    return status_text(run.status) + (" [dim]silent[/]" if silent else "")


def number(value: Scalar | None) -> str:
    """A number for reading: six significant digits."""
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def headline(found: Iterable[Run], most: int = 4) -> list[str]:
    """The metrics to show: validation first, then what most runs have."""
    counts: dict[str, int] = {}
    for run in found:
        for key in run.metrics:
            counts[key] = counts.get(key, 0) + 1
    ranked = sorted(counts, key=lambda k: (-("val" in k or "test" in k), -counts[k], k))
    return ranked[:most]


def metric_value(run: Run, key: str, figure: str = "last") -> float | None:
    """A figure of a run's metric, or None where it has none."""
    metric = run.metrics.get(key)
    return None if metric is None else getattr(metric, figure)


def duration(seconds: float | None) -> str:
    """Seconds for reading: 4.2s, 3m07s, 2h05m, 3d04h."""
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
    """How long ago, for reading."""
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
    """Bytes for reading."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def tags_text(tags: Mapping[str, str | None]) -> str:
    """Tags for reading: baseline, stage=prod."""
    return ", ".join(key if value is None else f"{key}={value}" for key, value in tags.items())


def when(moment: Any) -> str:
    """A moment for reading, however the database gives it."""
    if isinstance(moment, datetime):
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return str(moment)[:19].replace("T", " ")


def _names(query: str, incomplete: str) -> list[str]:
    try:
        with store(None, None, sync=False) as opened:
            names = [str(row[0]) for row in opened.sql(query, timeout=1.0)]
    except Exception:  # completion offers what it can, and never a traceback
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
