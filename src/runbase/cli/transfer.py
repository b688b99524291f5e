"""`runbase export`, `import` and `copy`: write runs to files, import them, and copy them between stores."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from runbase.cli import common
from runbase.cli.scan import command as scan
from runbase.errors import NotFound, StoreError, UsageError, counted
from runbase.ingest.readers import (
    SYSTEMS,
    check_store_file,
    folder_formats,
    importer_for,
    unknown,
)
from runbase.ingest.scan import has_runs
from runbase.store.store import Store
from runbase.store.store import open as open_store
from runbase.store.transfer import Copied

EXPORT_EXAMPLES = (
    "Examples:\n"
    "\n    runbase export runs.csv"
    "\n    runbase export best.db 'metrics.loss < 0.1'"
    "\n    runbase export points.parquet --what metrics -e mnist"
    "\n    runbase export images/ --what records"
    "\n    runbase export --lake s3://lab/lake"
    "\n    runbase export --lake lake/ 'tags.paper is not null'"
)
IMPORT_EXAMPLES = (
    "Examples:\n"
    "\n    runbase import best.db"
    "\n    runbase import laptop.db --store postgresql://lab"
    "\n    runbase import mlruns"
    "\n    runbase import http://mlflow:5000"
    "\n    runbase import wandb/"
    "\n    runbase import log.csv -e mnist --map epoch=step --map lr=param"
)
SHOWN = 20
COPY_EXAMPLES = (
    "Examples:\n"
    "\n    runbase copy . postgresql://me@lab/runs"
    "\n    runbase copy laptop.db team.db 'tags.paper is not null'"
)


def export(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="The file: .csv, .parquet, .jsonl, or .db for everything; a folder with --what records. Not with --lake.",
            show_default=False,
        ),
    ] = None,
    where: Annotated[str | None, typer.Argument(help="A filter; see `runbase runs`.")] = None,
    experiment: common.OfExperiment = None,
    what: Annotated[
        str,
        typer.Option(
            "--what", help="runs (one row per run), metrics (one row per point) or records."
        ),
    ] = "runs",
    format: Annotated[
        str | None, typer.Option("--format", help="parquet, csv, jsonl or sqlite.")
    ] = None,
    lake: Annotated[
        str | None,
        typer.Option(
            "--lake",
            help="Write the points of ended runs, and tables of these runs, as Parquet files to this folder or URL; "
            "runs that it has already are not written again.",
        ),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="With --lake: remove runs that are deleted from the store."),
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Write runs to a file. A .db file contains everything and is a store of its own."""
    if lake is not None:
        if where is not None:
            raise UsageError("with --lake, pass a filter only: runbase export --lake URL FILTER")
        _to_lake(lake, None if path is None else str(path), experiment, prune, home, url, json)
        return
    if path is None:
        raise UsageError("pass a file, or --lake with a folder or a URL")
    into_folder = what == "records" and format is None and not path.suffix
    with common.store(home, url) as store, common.progress("exporting runs") as step:
        if into_folder:
            files = store.export_records(path, where, experiment=experiment, progress=step)
            if json:
                common.print_json({"path": str(path), "records": files})
            else:
                common.say(f"Wrote {counted(files, 'record')} to {path}")
            return
        count = store.export(
            path, where, experiment=experiment, what=what, format=format, progress=step
        )
    if json:
        common.print_json({"path": str(path), "runs": count})
    else:
        common.say(f"Wrote {counted(count, 'run')} to {path} ({common.size(path.stat().st_size)})")


def _to_lake(
    lake: str,
    where: str | None,
    experiment: str | None,
    prune: bool,
    home: Path | None,
    url: str | None,
    json: bool,
) -> None:
    from runbase.store.lake import export_lake  # imported here: it needs PyArrow

    with common.store(home, url) as store, common.progress("writing runs") as step:
        done = export_lake(store, lake, where, experiment=experiment, prune=prune, progress=step)
    if json:
        common.print_json({name: getattr(done, name) for name in done.__struct_fields__})
        raise typer.Exit(bool(done.unreadable))
    common.say(
        f"{counted(done.new, 'new run')}, {done.grown} with more points, {done.unchanged} unchanged: wrote "
        f"{counted(done.points, 'point')} in {counted(done.files, 'file')} to {lake} ({common.size(done.bytes)})"
    )
    if done.running:
        common.say(f"{counted(done.running, 'run')} did not end yet; a later export writes them")
    if done.pruned:
        common.say(f"removed {counted(done.pruned, 'deleted run')}")
    if done.gone:
        common.say(
            f"{counted(done.gone, 'run')} of the lake are deleted from the store; --prune removes them"
        )
    if done.unreadable:
        first = next(iter(done.unreadable.values()))
        raise StoreError(
            f"{counted(len(done.unreadable), 'run')} {'was' if len(done.unreadable) == 1 else 'were'} left out, whose "
            f"points cannot be read; a later export writes them: {first}"
        )


def import_(
    source: Annotated[
        str,
        typer.Argument(
            help="A .db file of any store; a folder, file, database or server of another system; a .csv, .jsonl or .parquet table."
        ),
    ],
    where: Annotated[str | None, typer.Argument(help="A filter; see `runbase runs`.")] = None,
    experiment: Annotated[
        str | None,
        typer.Option(
            "--experiment",
            "-e",
            help="Only runs of this experiment; for a table: the experiment of its runs.",
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="COLUMN=ROLE",
            help="For a table: the role of a column or a pattern of columns. Roles: run, experiment, name, step, time, "
            "started, ended, status, notes, user, parent, key, value, param, metric, tag, text, ignore; param:lr names it.",
        ),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(
            "--from",
            help=f"The format of the source, if it is not detected: {', '.join([*SYSTEMS, *(format.NAME for format in folder_formats())])}.",
        ),
    ] = None,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Import the runs of another store, or of another system.

    Other systems: MLflow (mlruns, database, server), W&B's offline runs, Trackio, Neptune's Parquet export, GoodSeed,
    mlos_bench, SQLTrack, the experiment store, TensorBoard and other run folders, tables. Ids and times are kept.
    Import a source again to add what is new in it; nothing is imported twice.
    """
    formats = [format.NAME for format in folder_formats()]
    if system in formats:
        scan([Path(source)], home=home, url=url, json=json)
        return
    tool = importer_for(source, system)
    if tool is not None:
        if where is not None or (experiment is not None and tool != "table"):
            raise UsageError(f"an import from {tool} imports all runs; filter them afterwards")
        if columns and tool != "table":
            raise UsageError(f"--map is for tables only, and {source} is in the format of {tool}")
        _import_from(source, tool, home, url, json, _mapping(columns or []), experiment)
        return
    if Path(source).expanduser().is_dir() and system is None:
        if not has_runs(Path(source).expanduser()):
            raise unknown(source)
        scan([Path(source)], home=home, url=url, json=json)
        return
    path = Path(source)
    check_store_file(path.expanduser())
    with (
        common.store_to_fill(home, url) as store,
        common.progress("importing runs") as step,
    ):
        done = store.import_file(path, where, experiment=experiment, progress=step)
    _report(done, str(path), store.url, json)


def _mapping(columns: list[str]) -> dict[str, str]:
    roles: dict[str, str] = {}
    for text in columns:
        column, sign, role = text.rpartition("=")
        if not sign or not column or not role:
            raise UsageError(f"--map {text!r} is not COLUMN=ROLE, such as epoch=step")
        roles[column] = role
    return roles


def _import_from(
    source: str,
    system: str,
    home: Path | None,
    url: str | None,
    json: bool,
    columns: dict[str, str],
    experiment: str | None,
) -> None:
    with common.store_to_fill(home, url) as store:
        with common.progress(f"importing from {system}") as step:
            report = store.import_from(
                source, system, columns=columns, experiment=experiment, progress=step
            )
        if json:
            common.print_json(report)
            return
        common.say(
            f"{report.runs:,} {'run' if report.runs == 1 else 'runs'} of {system}: {report.new:,} new, {report.updated:,} updated, "
            f"{report.unchanged:,} unchanged; {counted(report.points, 'new point')} → {store.url.removeprefix('sqlite:///')}"
        )
        more = {"experiments": report.experiments, **report.counts}
        if counts := ", ".join(
            counted(number, kind.removesuffix("s")) for kind, number in more.items() if number
        ):
            common.say(f"also new: {counts}")
        for what, number in report.left_out.items():
            common.say(f"left out: {number:,} {what}" if number > 1 else f"left out: {what}")
        for problem in report.problems[:SHOWN]:
            common.say(f"not read: {problem}")
        if len(report.problems) > SHOWN:
            common.say(f"… and {len(report.problems) - SHOWN} more")


def copy(
    source: Annotated[
        str, typer.Argument(help="A database URL, a .db file, or a folder with a .runbase.")
    ],
    target: Annotated[str, typer.Argument(help="The same; created if it does not exist.")],
    where: Annotated[str | None, typer.Argument(help="A filter; see `runbase runs`.")] = None,
    experiment: common.OfExperiment = None,
    json: common.Json = False,
) -> None:
    """Copy runs from one store into another, for example from a laptop to the store of a team.

    Ids are kept and nothing is duplicated. The copy can be interrupted and started again. Files are
    not copied.
    """
    with place(source, create=False) as origin, _filled(target) as goal:
        if origin.url == goal.url:
            raise UsageError(f"{origin.url} cannot be copied into itself")
        if origin.home is not None:
            common.update(origin, None)
        with common.progress("copying runs") as step:
            done = origin.copy_to(goal, where, experiment=experiment, progress=step)
        urls = origin.url, goal.url
    _report(done, *urls, json)


@contextmanager
def _filled(word: str) -> Generator[Store]:
    """Open the store to copy into; create it if it does not exist."""
    if "://" in word or not Path(word).expanduser().is_dir():
        with common.store_to_fill(None, word) as store:
            yield store
    else:
        with place(word, create=True) as store:
            yield store


def place(word: str, *, create: bool) -> Store:
    """Open the store at a URL, a file, or a folder that is or contains a home."""
    if "://" in word:
        return open_store(word, sync=False, create=create)
    path = Path(word).expanduser()
    if path.is_dir():
        home = path if path.name == ".runbase" or (path / "runs").is_dir() else path / ".runbase"
        if not home.is_dir() and not create:
            raise NotFound(f"no .runbase folder in {path.absolute()}")
        return open_store(f"sqlite:///{home.absolute() / 'runbase.db'}", home=home, sync=False)
    if not create and not path.is_file():
        raise NotFound(f"store {word!r} not found: no such file, folder or URL")
    return open_store(path, sync=False, create=create)


def _report(done: Copied, source: str, target: str, json: bool) -> None:
    if json:
        common.print_json(done)
        return
    common.say(f"{source} → {target}")
    common.say(
        f"{counted(done.runs, 'run')} of {counted(done.experiments, 'experiment')}, "
        f"{counted(done.points, 'point')}: {done.new:,} new, {done.fuller:,} with more points "
        "than before"
    )
