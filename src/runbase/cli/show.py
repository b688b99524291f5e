"""`runbase show`: print the details of one run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from runbase.cli import common, tables
from runbase.events import Problem
from runbase.model import Run

SHOWN = 10
"""The maximum number of problems shown."""
EXAMPLES = "Examples:\n\n    runbase show brisk-heron-42\n    runbase show 01a1fb --json"


def command(
    run: common.RunName,
    lines: Annotated[int, typer.Option("--lines", help="Number of last lines of output.")] = 10,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Show a run: parameters, metrics, artifacts, status, and its last lines of output."""
    with common.store(home, url) as store:
        record = store.run(run)
        folder = store.folder(record)
        output = tail(folder / "output.log", lines) if folder else []
        problems = store.problems(record, limit=SHOWN + 1)
        if json:
            document: dict[str, Any] = msgspec.to_builtins(record, enc_hook=str)
            rest = {"seconds": record.seconds, "output": output, "problems": problems}
            common.print_json({**document, **rest})
            return
        print_run(common.console(), record, folder, output)
        print_problems(common.console(), problems)


def print_run(out: Console, run: Run, folder: Path | None, output: list[str]) -> None:
    """Print a run and the last lines of its output."""
    _print_head(out, run, folder)
    _print_error(out, run)
    _print_body(out, run)
    if output:
        out.print("\n[bold]Output[/]")
        for line in output:
            out.print(f"  [dim]{tables.escape(line)}[/]")


def print_problems(out: Console, problems: Sequence[Problem]) -> None:
    """Print the lines of a run that could not be stored."""
    if problems:
        out.print("\n[bold red]Could not be stored[/]")
        for problem in problems[:SHOWN]:
            out.print(f"  {tables.escape(str(problem))}")
        if len(problems) > SHOWN:
            out.print("  … and more; see the table problems")


def _print_head(out: Console, run: Run, folder: Path | None) -> None:
    out.print(
        f"[bold]{tables.escape(run.name)}[/]  {common.state_text(run)}  "
        f"[dim]{tables.escape(run.experiment)} #{run.number} · {run.id}[/]"
    )
    facts = {
        "started": f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC ({common.ago(run.started_at)})"
        if run.started_at
        else "–",
        "took": _took(run),
        "by": f"{run.user or '?'} on {run.host}, process {run.pid or '?'}" if run.host else "",
        "folder": str(folder or run.folder or "–"),
        "tags": common.tags_text(run.tags),
        "notes": run.notes,
        "git": _git(run.git),
        "command": " ".join(run.args.get("argv", [])),
        "slurm": _slurm(run.system.get("slurm") or {}),
        "parent": run.parent_id or "",
    }
    for name, value in facts.items():
        if value:
            out.print(f"  [dim]{name:<8}[/] {tables.escape(value)}")


def _print_error(out: Console, run: Run) -> None:
    if run.error:
        out.print(
            f"\n[bold red]{tables.escape(run.error['type'])}[/]: {tables.escape(run.error['message'])}"
        )
        for line in str(run.error.get("traceback", "")).rstrip().splitlines()[-6:-1]:
            out.print(f"  [dim]{tables.escape(line)}[/]")
    elif run.status.value == "NODE_FAIL" and run.history:
        out.print(
            f"\n[red]Lost[/]: {tables.escape(run.history[-1].reason or '')}; last seen {run.ended_at}"
        )


def _print_body(out: Console, run: Run) -> None:
    if run.params:
        out.print("\n[bold]Parameters[/]")
        width = max(map(len, run.params))
        for key, value in run.params.items():
            out.print(f"  {tables.escape(key):<{width}}  {tables.escape(str(value))}")
    if run.metrics:
        out.print("\n[bold]Metrics[/]")
        out.print(_metrics(run))
    if run.artifacts:
        out.print("\n[bold]Artifacts[/]")
        table = common.table(["  path", "kind", "size", "sha256"], numbers=["size"])
        for item in run.artifacts:
            digest = (item.sha256 or "")[:12]
            table.add_row(
                f"  {tables.escape(item.path)}", item.kind, common.size(item.size), digest
            )
        out.print(table)
    for scope, values in run.attributes.items():
        if scope.startswith("_"):  # internal data of a tool
            continue
        out.print(f"\n[bold]Attributes[/] [dim]of {tables.escape(scope)}[/]")
        for key, value in values.items():
            out.print(f"  {tables.escape(key)}  {tables.escape(_short(value))}")
    if len(run.history) > 1:
        steps = [f"{h.time:%H:%M:%S} {h.status.value}" for h in run.history]
        out.print(f"\n[bold]History[/]  {' → '.join(steps)}")


def _metrics(run: Run) -> Any:
    columns = ["  metric", "points", "last", "at step", "min", "at", "max", "at ", "mean"]
    table = common.table(columns, numbers=columns[1:])
    for key, m in run.metrics.items():
        numbers = (m.count, m.last, m.last_step, m.min, m.min_step, m.max, m.max_step, m.mean)
        nans = f" [yellow]({m.nans} NaN)[/]" if m.nans else ""
        table.add_row(f"  {tables.escape(key)}{nans}", *map(common.number, numbers))
    return table


def _took(run: Run) -> str:
    took = common.duration(run.seconds)
    if not run.dead_seconds:
        return took
    return f"{took} (resumed; {common.duration(run.elapsed)} from start to end)"


def _git(git: dict[str, Any]) -> str:
    if not git.get("commit"):
        return ""
    dirty = " with uncommitted changes" if git.get("dirty") else ""
    return f"{git['commit'][:10]} on {git.get('branch') or 'no branch'}{dirty}"


def _slurm(job: dict[str, Any]) -> str:
    """Return the Slurm job of a run in one line; empty outside of Slurm."""
    if not job.get("job_id"):
        return ""
    task = (
        f" (task {job['array_task_id']} of array {job['array_job_id']})"
        if job.get("array_job_id")
        else ""
    )
    places = {"partition": "partition", "nodes": "on", "tasks": "tasks", "restarts": "restarts"}
    more = [f"{word} {job[key]}" for key, word in places.items() if job.get(key)]
    return ", ".join([f"job {job['job_id']}{task}", *more])


def _short(value: Any, longest: int = 200) -> str:
    text = str(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


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
