"""`runbase tag`, `note`, `rename` and `fork`: edit runs and experiments."""

import sys
from typing import Annotated, Any

import msgspec
import typer

from runbase.cli import common
from runbase.errors import UsageError, counted

TAG_EXAMPLES = (
    "Examples:\n"
    "\n    runbase tag brisk-heron-42 baseline stage=prod"
    "\n    runbase tag mnist paper"
    "\n    runbase tag mnist --remove paper"
)
NOTE_EXAMPLES = (
    "Examples:\n"
    '\n    runbase note brisk-heron-42 "warm-up was too short"'
    "\n    runbase note mnist - < notes.md"
)
RENAME_EXAMPLES = (
    "Examples:\n"
    "\n    runbase rename brisk-heron-42 resnet-lr3"
    "\n    runbase rename mnist mnist-baseline"
)
FORK_EXAMPLES = (
    "Examples:\n"
    "\n    runbase fork mnist mnist-wide --set width=256 --set optimizer.lr=0.01"
    "\n    runbase fork mnist --runs"
)


def tag(
    target: common.Target,
    tags: Annotated[list[str] | None, typer.Argument(help="Tags: name, or name=value.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", "-r", help="A tag to remove.")
    ] = None,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Add, remove or list the tags of a run or an experiment."""
    with common.store(home, url) as store:
        if tags:
            named = (tag.partition("=") for tag in tags)
            store.tag(target, {name: value if sign else None for name, sign, value in named})
        if remove:
            store.untag(target, *remove)
        items = store.compare(target).items
        record = items[0].record if items else store.run(target)
    if json:
        common.print_json({"name": record.name, "tags": record.tags})
        return
    common.say(f"{record.name}: {common.tags_text(record.tags) or 'no tags'}")


def note(
    target: common.Target,
    text: Annotated[str, typer.Argument(help="The notes; - reads them from standard input.")],
    append: Annotated[
        bool, typer.Option("--append", "-a", help="Append to the existing notes.")
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Set the notes of a run or an experiment; an empty text clears them."""
    notes = sys.stdin.read().rstrip("\n") if text == "-" else text
    with common.store(home, url) as store:
        store.note(target, notes, append=append)
    if json:
        common.print_json({"target": target, "notes": notes})
    else:
        common.say(f"Set the notes of {target}")


def rename(
    target: common.Target,
    name: Annotated[str, typer.Argument(help="The new name.")],
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Rename a run or an experiment; its id does not change."""
    with common.store(home, url) as store:
        store.rename(target, name)
    if json:
        common.print_json({"target": target, "name": name})
    else:
        common.say(f"{target} is now {name}")


def fork(
    experiment: common.ExperimentName,
    name: Annotated[str | None, typer.Argument(help="Default: <experiment>-fork.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Set key=value in the configuration; a.b=1 for nested keys."),
    ] = None,
    runs: Annotated[bool, typer.Option("--runs", help="Copy the runs as well.")] = False,
    where: Annotated[
        str | None, typer.Option("--where", help="Copy the runs that match this filter.")
    ] = None,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Create an experiment that descends from another one, with a changed configuration."""
    with common.store(home, url) as store:
        new = store.fork(experiment, name, _overrides(changes or []), runs=where or runs)
        ancestors = [ancestor.name for ancestor in store.ancestors(new)]
    if json:
        common.print_json(new)
        return
    common.say(f"{' ← '.join([new.name, *ancestors])}")
    common.say(f"id {new.id}, {counted(new.runs, 'run')}")


def _overrides(changes: list[str]) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for change in changes:
        path, sign, text = change.partition("=")
        if not sign or not path:
            raise UsageError(f"--set {change!r} is not of the form key=value")
        *outer, last = path.split(".")
        place = overrides
        for key in outer:
            place = place.setdefault(key, {})
        place[last] = _typed(text)
    return overrides


def _typed(text: str) -> Any:
    try:
        return msgspec.json.decode(text.encode())
    except msgspec.DecodeError:
        return text
