"""`runbase rm`, `restore` and `gc`: the trash and disk space."""

import shlex
import sys
from typing import Annotated

import typer

from runbase.cli import common, completing
from runbase.errors import UsageError, counted
from runbase.store.trash import Purged

RM_EXAMPLES = (
    "Examples:\n"
    "\n    runbase rm brisk-heron-42"
    "\n    runbase rm old-experiment --purge --dry-run"
    "\n    runbase rm old-experiment --purge --yes"
)
RESTORE_EXAMPLES = (
    "Examples:\n"
    "\n    runbase restore brisk-heron-42"
    "\n    runbase restore old-experiment"
    "\n    runbase restore --archived 'tags.paper is not null'"
)
GC_EXAMPLES = (
    "Examples:\n"
    "\n    runbase gc"
    "\n    runbase gc --older-than 7d --dry-run"
    "\n    runbase gc --files --journals 30d"
    "\n    runbase gc --vacuum"
    "\n    runbase gc \"ended_at < ago('90 days') and tags.keep is null\" --dry-run"
)

SHOWN = 20


def rm(
    targets: common.Targets,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete permanently: rows, points, links and files.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be deleted, and do nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Move runs and experiments to the trash; with --purge, delete them permanently."""
    with common.store(home, url) as store:
        if not purge:
            if dry_run:
                raise UsageError(
                    "--dry-run needs --purge; without --purge, `runbase restore` undoes the deletion"
                )
            before = store.count()
            count = store.delete(*targets)
            runs = before - store.count()
            if json:
                common.print_json({"deleted": count})
            else:
                names = shlex.join(targets)
                common.say(
                    f"Moved to the trash: {names} ({counted(runs, 'run')}). "
                    f"To restore: runbase restore {names}"
                )
            return
        plan = store.purge(*targets, dry_run=True)
        if not dry_run:
            if not yes:
                _ask(f"Delete {_counts(plan)} permanently?")
            plan = store.purge(*targets)
    _report(plan, dry_run, json)


def restore(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            help="Runs and experiments in the trash, or archived.",
            autocompletion=completing.targets,
            show_default=False,
        ),
    ] = None,
    archived: Annotated[
        str | None,
        typer.Option("--archived", help="A filter: move the points of these archived runs back."),
    ] = None,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Restore runs and experiments from the trash, and points of archived runs from their files."""
    if not targets and archived is None:
        raise UsageError("name runs or experiments, or pass --archived with a filter")
    with common.store(home, url) as store, common.progress("restoring points") as step:
        before = store.count()
        count, moved = store.bring_back(*targets or [], progress=step)
        runs = store.count() - before
        if archived is not None:
            moved += store.unarchive(archived, progress=step)
    if json:
        common.print_json({"restored": count, "unarchived": moved})
        return
    if targets and (count or not moved):
        common.say(f"Restored: {' '.join(targets or [])} ({counted(runs, 'run')})")
    if archived is not None and not moved:
        common.say("No archived run matches")
    if moved:
        common.say(f"Moved the points of {counted(moved, 'archived run')} back into the database")


def gc(
    where: Annotated[
        str | None,
        typer.Argument(help="A filter: also delete these runs permanently, if they have ended."),
    ] = None,
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than", help="Purge what has been in the trash for longer: 12h, 30d, 4w."
        ),
    ] = "30d",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be deleted, and do nothing.")
    ] = False,
    files: Annotated[
        bool,
        typer.Option(
            "--files",
            help="Remove files of finished runs without a record, and partial files.",
        ),
    ] = False,
    journals: Annotated[
        str | None,
        typer.Option("--journals", help="Pack journals of runs that ended longer ago: 30d."),
    ] = None,
    vacuum: Annotated[
        bool,
        typer.Option(
            "--vacuum",
            help="Return free space of the database to the file system; its other writers wait meanwhile.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Free disk space: old trash and, on request, old runs, unused files and unpacked journals.

    Files that a running process may still write are never changed. Packed journals can be read as before.
    """
    if vacuum and dry_run:
        raise UsageError("--vacuum cannot be tried: --dry-run does nothing")
    age = common.span("--older-than", older_than)
    packing = None if journals is None else common.span("--journals", journals)
    with common.store(home, url) as store:
        if where is not None and not dry_run and not yes:
            _ask(f"Delete {_counts(store.gc(age, where=where, dry_run=True))} permanently?")
        with common.progress("checking run folders") as step:
            done = store.gc(
                age,
                where=where,
                files=files,
                journals=packing,
                vacuum=vacuum,
                dry_run=dry_run,
                progress=step,
            )
    _report(done, dry_run, json)


def _counts(plan: Purged) -> str:
    return (
        f"{counted(plan.runs, 'run')}, {counted(plan.experiments, 'experiment')}, {counted(len(plan.folders), 'folder')} "
        f"with {common.size(plan.bytes)}, {len(plan.uploads):,} uploaded artifacts"
    )


def _report(done: Purged, dry_run: bool, json: bool) -> None:
    if json:
        common.print_json(
            {**{k: getattr(done, k) for k in done.__struct_fields__}, "dry_run": dry_run}
        )
    else:
        common.say(f"{'Would delete' if dry_run else 'Deleted'} {_counts(done)}")
        if done.files:
            common.say(f"{counted(len(done.files), 'file')} without a record:")
            for name in done.files[:SHOWN]:
                common.say(f"  {name}")
            if len(done.files) > SHOWN:
                common.say(f"  … and {len(done.files) - SHOWN:,} more")
        if done.packed:
            saved = "" if dry_run else f", {common.size(done.saved)} saved"
            common.say(
                f"{counted(done.packed, 'journal')} {'to pack' if dry_run else 'packed'}{saved}"
            )
        if done.vacuumed:
            common.say(f"The database is {common.size(done.vacuumed)} smaller")
        for problem in done.problems:
            common.say(f"not changed: {problem}")
        for url in done.left:
            common.say(f"not removed: {url}")


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Pass --yes to confirm")
    typer.confirm(question, abort=True)
