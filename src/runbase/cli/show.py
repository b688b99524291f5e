"""`runbase show`: print the details of one run."""

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from runbase.capture import slurm
from runbase.cli import common, details, tables
from runbase.cli.tracebacks import folded
from runbase.events import Problem
from runbase.model import Run
from runbase.storage.address import is_server
from runbase.store.store import Store

SHOWN = 10
"""The maximum number of problems shown."""
EXAMPLES = (
    "Examples:\n"
    "\n    runbase show brisk-heron-42"
    "\n    runbase show brisk-heron-42 --all"
    "\n    runbase show 01a1fb --json"
)


def command(
    run: common.RunName,
    lines: Annotated[int, typer.Option("--lines", help="Number of last lines of output.")] = 10,
    everything: Annotated[
        bool,
        typer.Option("--all", "-a", help="Show the whole traceback and all children and files."),
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Show a run: parameters, metrics, media, artifacts, related runs, status, and its last output.

    Of a traceback, the frames of your own code are shown; --all shows those of libraries as well.
    """
    with common.store(home, url) as store:
        record = store.run(run)
        if json:
            document: dict[str, Any] = msgspec.to_builtins(record, enc_hook=str)
            output = last_output(store, record, lines)
            problems = store.problems(record, limit=SHOWN + 1)
            alerts = details.alerts_of(store, record)
            rest = {
                "seconds": record.seconds,
                "output": output,
                "problems": problems,
                "alerts": alerts,
            }
            common.print_json({**document, **rest})
            return
        print_run(common.console(), store, record, lines=lines, everything=everything)


def print_run(
    out: Console, store: Store, run: Run, *, lines: int = 0, everything: bool = False
) -> None:
    """Print a run and the last lines of its output."""
    _print_head(out, store, run)
    _print_error(out, run, everything)
    details.print_alerts(out, details.alerts_of(store, run), everything)
    details.print_params(out, run)
    details.print_metrics(out, store, run)
    details.print_files(out, store, run, everything)
    details.print_relations(out, store, run, everything)
    details.print_attributes(out, run)
    output = last_output(store, run, lines) if lines > 0 else []
    if output:
        out.print("\n[bold]Output[/]")
        width = tables.terminal_width(out)
        for row in output:
            for part in tables.wrapped(row, None if width is None else width - 2):
                out.print(f"  [dim]{tables.escape(part)}[/]", soft_wrap=True)
    print_problems(out, store.problems(run, limit=SHOWN + 1))


def _is_gone(run: Run) -> bool:
    """Return whether the processes of a run were killed and Slurm told the final state of their job."""
    return "; Slurm job " in (run.history[-1].reason or "")


def print_problems(out: Console, problems: Sequence[Problem]) -> None:
    """Print the lines of a run that could not be stored."""
    if problems:
        out.print("\n[bold red]Could not be stored[/]")
        for problem in problems[:SHOWN]:
            out.print(f"  {tables.escape(str(problem))}")
        if len(problems) > SHOWN:
            out.print("  … and more; see the table problems")


def last_output(store: Store, run: Run, lines: int) -> list[str]:
    """Return the last lines of a run's output; none if its folder is not on this machine."""
    folder = store.folder(run)
    return tail(folder / "output.log", lines) if folder else []


def _print_head(out: Console, store: Store, run: Run) -> None:
    out.print(
        f"[bold]{tables.escape(run.name)}[/]  {common.state_text(run)}  "
        f"[dim]{tables.escape(run.experiment)} #{run.number}[/]",
        soft_wrap=True,
    )
    started = run.started_at
    cwd = run.args.get("cwd")
    facts = {
        "id": run.id,
        "started": f"{started:%Y-%m-%d %H:%M:%S} UTC ({common.ago(started)})" if started else "–",
        "took": _took(run),
        "history": _history(run),
        "tags": common.tags_text(run.tags),
        "notes": run.notes,
        "parent": details.name_of(store, run.parent_id) if run.parent_id else "",
        "command": _command(run.args.get("argv", [])),
        "where": _where(run, cwd),
        "machine": _machine(run.system),
        "slurm": _slurm(run),
        "git": _git(run.git),
        "folder": _folder(store.folder(run) or run.folder),
        "points": _archived(store, run),
        "exit code": str(run.exit_code) if run.exit_code else "",
    }
    details.print_facts(out, facts)


def _print_error(out: Console, run: Run, everything: bool) -> None:
    width = tables.terminal_width(out)
    if run.error:
        text = str(run.error.get("traceback", ""))
        out.print("\n[bold]Error[/]")
        whole = text.rstrip().splitlines()[:-1]
        for row in whole if everything else folded(text, run.args.get("cwd")):
            shown = row if everything else tables.cut(row, None if width is None else width - 2)
            out.print(f"  [dim]{tables.escape(shown)}[/]", soft_wrap=True)
        kind, message = str(run.error.get("type", "error")), str(run.error.get("message", ""))
        first, *rest = tables.wrapped(f"{kind}: {message}", None if width is None else width - 2)
        name, colon, begin = first.partition(":")
        out.print(f"  [bold red]{tables.escape(name)}[/]{colon}{tables.escape(begin)}")
        for row in rest:
            out.print(f"  {tables.escape(row)}", soft_wrap=True)
    elif run.history and (run.status.value == "NODE_FAIL" or _is_gone(run)):
        reason = tables.escape(run.history[-1].reason or "")
        out.print(f"\n[red]Lost[/]: {reason}; last seen {common.when(run.ended_at)}")


def _took(run: Run) -> str:
    took = common.duration(run.seconds)
    if not run.dead_seconds:
        return took
    return f"{took} (resumed; {common.duration(run.elapsed)} from start to end)"


def _history(run: Run) -> str:
    """Return the states of a run with their times, if there are several."""
    days = {f"{change.time:%Y-%m-%d}" for change in run.history}
    form = "%H:%M:%S" if len(days) == 1 else "%Y-%m-%d %H:%M"
    states = [f"{change.time.strftime(form)} {change.status.value}" for change in run.history]
    return " → ".join(states) if len(states) > 1 else ""


def _command(argv: Sequence[object]) -> str:
    return shlex.join(str(word) for word in argv)


def _where(run: Run, cwd: object) -> str:
    if not run.host:
        return str(cwd or "")
    folder = f", in {cwd}" if cwd else ""
    return f"{run.user or '?'} on {run.host}, process {run.pid or '?'}{folder}"


def _machine(system: dict[str, Any]) -> str:
    """Return the hardware and the Python version of a run in one line."""
    gpus: list[dict[str, Any]] = system.get("gpus") or []
    names = [str(gpu.get("name", "GPU")) for gpu in gpus]
    counts = {name: names.count(name) for name in names}
    memory = system.get("memory")
    parts = [
        *(f"{count} × {name}" for name, count in counts.items()),
        f"{system['cpus']} CPUs" if system.get("cpus") else "",
        f"{common.size(memory)} of memory" if isinstance(memory, int) else "",
        f"Python {system['python']}" if system.get("python") else "",
    ]
    return ", ".join(part for part in parts if part)


def _git(git: dict[str, Any]) -> str:
    if not git.get("commit"):
        return ""
    dirty = " with uncommitted changes" if git.get("dirty") else ""
    remote = f", {git['remote']}" if git.get("remote") else ""
    return f"{git['commit'][:10]} on {git.get('branch') or 'no branch'}{dirty}{remote}"


def _slurm(run: Run) -> str:
    """Return the Slurm job of a run in one line; empty outside of Slurm."""
    job: dict[str, Any] = run.system.get("slurm") or {}
    if not job.get("job_id"):
        return ""
    task = (
        f" (task {job['array_task_id']} of array {job['array_job_id']})"
        if job.get("array_job_id")
        else ""
    )
    places = {
        "job_name": "name",
        "partition": "partition",
        "nodes": "on",
        "tasks": "tasks",
        "restarts": "restarts",
        "cluster": "cluster",
        "submit_dir": "submitted in",
    }
    more = [f"{word} {job[key]}" for key, word in places.items() if job.get(key)]
    left = slurm.seconds_left(job, datetime.now(UTC)) if run.alive else None
    if left is not None:
        more.append(f"time limit in {common.duration(left)}")
    return ", ".join([f"job {job['job_id']}{task}", *more])


def _archived(store: Store, run: Run) -> str:
    """Return where the points of an archived run are; nothing if they are in the database."""
    archived = [] if is_server(store.url) else store.storage.archives([run.id])
    return f"archived in {archived[0].uri}" if archived else ""


def _folder(folder: Path | str | None) -> str:
    """Return a folder, relative to the working folder if it is below it."""
    if folder is None:
        return ""
    path = Path(folder)
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a file; none if it cannot be read."""
    if not path.is_file():
        return []
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - 2**16, 0))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    # A progress bar overwrites its line after a carriage return: keep only its last state.
    rows = [row.rpartition("\r")[2] for row in text.replace("\r\n", "\n").split("\n")]
    while rows and not rows[-1].strip():
        rows.pop()
    return rows[-lines:] if lines > 0 else []
