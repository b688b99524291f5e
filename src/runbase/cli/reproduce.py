"""`runbase reproduce`: restore the code and the packages of a run, and run it again."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from runbase.cli import common, completing
from runbase.errors import StoreError
from runbase.store import reproduction
from runbase.store.reproduction import Difference, Reproduction

EXAMPLES = (
    "Examples:\n"
    "\n    runbase reproduce brisk-heron-42 --dry-run"
    "\n    runbase reproduce brisk-heron-42"
    "\n    runbase reproduce brisk-heron-42 --run --tolerance 1e-3"
)


def command(
    run: Annotated[
        str, typer.Argument(help="The run: id, prefix or name.", autocompletion=completing.runs)
    ],
    into: Annotated[
        Path | None,
        typer.Option("--into", help="Folder for code and packages. Default: reproduce-NAME."),
    ] = None,
    run_it: Annotated[
        bool,
        typer.Option("--run", help="Run it as a child of the original, and compare the metrics."),
    ] = False,
    no_install: Annotated[
        bool, typer.Option("--no-install", help="Use this Python, and install no packages.")
    ] = False,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", help="Relative difference up to which metrics agree."),
    ] = 1e-6,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be restored, and do nothing.")
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Restore the code, the packages, the command line and the seeds of a run, and say what cannot be restored.

    The code is a git worktree at the commit of the run, with its uncommitted changes. With --run, the exit code is 1 if a
    metric differs by more than the tolerance.
    """
    with common.store(home, url) as store:
        original = store.run(run)
        made = reproduction.plan(store, original, into or Path(f"reproduce-{original.name}"))
        if not dry_run:
            reproduction.restore_code(made)
            if not no_install:
                with common.progress("installing packages") as step:
                    reproduction.install(made, step)
        if not json:
            _print(made, dry_run, no_install)
        if dry_run or not run_it:
            if json:
                common.print_json(made.as_json())
            return
        code = reproduction.run_again(made, store)
        common.update(store)
        again = reproduction.newest_child(store, original)
        if again is None:
            raise StoreError(f"the command ended with exit code {code}, and started no run")
        found = reproduction.compare(store.run(original.id), again, tolerance)
        if json:
            differences = [
                {"metric": d.metric, "original": d.original, "again": d.again, "equal": d.equal}
                for d in found
            ]
            common.print_json(
                {**made.as_json(), "again": again.id, "exit_code": code, "metrics": differences}
            )
        else:
            _print_differences(made, again.name, found)
    if code or not all(difference.equal for difference in found):
        raise typer.Exit(1)


def _print(made: Reproduction, dry_run: bool, no_install: bool) -> None:
    out = common.console()
    would = "would be " if dry_run else ""
    if made.commit is not None:
        changes = "" if made.diff is None else ", with the uncommitted changes of the run"
        out.print(
            f"[bold]Code[/]      {would}in {made.code}: commit {made.commit[:10]}{changes}",
            soft_wrap=True,
        )
    if not no_install:
        count = f"{len(made.packages)} packages, Python {made.python}"
        out.print(
            f"[bold]Packages[/]  {would}in {made.folder / reproduction.ENVIRONMENT}: {count}",
            soft_wrap=True,
        )
    if made.seeds is not None:
        out.print(
            "[bold]Seeds[/]     states of the random number generators at the start of the run"
        )
    out.print("[bold]Command[/]", soft_wrap=True)
    common.say(f"  cd {shlex.quote(str(made.cwd))}")
    for name, value in sorted(made.env.items()):
        common.say(f"  export {name}={shlex.quote(value)}")
    python = made.folder / reproduction.ENVIRONMENT / "bin" / "python"
    common.say(f"  {shlex.join([str(made.interpreter if no_install else python), *made.argv])}")
    if made.missing:
        out.print("\n[bold yellow]Not restored[/]")
        for reason in made.missing:
            out.print(f"  {common.escape(reason)}", soft_wrap=True)


def _print_differences(made: Reproduction, again: str, found: list[Difference]) -> None:
    out = common.console()
    different = [difference for difference in found if not difference.equal]
    table = common.table(["metric", made.run.name, again, ""], numbers=[made.run.name, again])
    for each in found:
        mark = "" if each.equal else "[red]differs[/]"
        table.add_row(each.metric, common.number(each.original), common.number(each.again), mark)
    out.print()
    out.print(table)
    agree = len(found) - len(different)
    out.print(f"\n{agree} of {len(found)} metrics agree.")
