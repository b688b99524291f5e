"""`runbase tag`, `note`, `rename` and `fork`: what people add to a record."""

import sys
from typing import Annotated, Any

import msgspec
import typer

from runbase.cli import common
from runbase.errors import UsageError

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
RENAME_EXAMPLES = "Example: runbase rename brisk-heron-42 resnet-lr3"
FORK_EXAMPLES = (
    "Examples:\n"
    "\n    runbase fork mnist mnist-wide --set width=256 --set optimizer.lr=0.01"
    "\n    runbase fork mnist --runs"
)


def tag(
    target: common.Target,
    tags: Annotated[list[str] | None, typer.Argument(help="Tags: name, or name=value.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", "-r", help="A tag to take away.")
    ] = None,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Add tags to a run or an experiment, take them away, or list them."""
    with common.store(home, url) as store:
        if tags:
            named = (tag.partition("=") for tag in tags)
            store.tag(target, {name: value if sign else None for name, sign, value in named})
        if remove:
            store.untag(target, *remove)
        found = store.compare(target).items
        record = found[0].record if found else store.run(target)
    if json:
        common.print_json({"name": record.name, "tags": record.tags})
        return
    common.say(f"{record.name}: {common.tags_text(record.tags) or 'no tags'}")


def note(
    target: common.Target,
    text: Annotated[str, typer.Argument(help="The notes; - reads them from standard input.")],
    append: Annotated[
        bool, typer.Option("--append", "-a", help="Add to the notes there are.")
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Set the notes of a run or an experiment; an empty text clears them."""
    words = sys.stdin.read().rstrip("\n") if text == "-" else text
    with common.store(home, url) as store:
        if append:
            found = store.compare(target).items
            before = found[0].record.notes if found else ""
            words = f"{before}\n{words}" if before else words
        store.note(target, words)
    if json:
        common.print_json({"target": target, "notes": words})
    else:
        common.say(f"Noted on {target}")


def rename(
    target: common.Target,
    name: Annotated[str, typer.Argument(help="Its new name.")],
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Give a run or an experiment another name; its id stays."""
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
        typer.Option("--set", help="key=value of the configuration; a.b=1 reaches inside."),
    ] = None,
    runs: Annotated[bool, typer.Option("--runs", help="Copy its runs as well.")] = False,
    where: Annotated[
        str | None, typer.Option("--where", help="Copy the runs that satisfy this filter.")
    ] = None,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Make a new experiment that descends from another one, with a changed configuration."""
    with common.store(home, url) as store:
        made = store.fork(experiment, name, _overrides(changes or []), runs=where or runs)
        line = [ancestor.name for ancestor in store.ancestors(made)]
    if json:
        common.print_json(made)
        return
    common.say(f"{' ← '.join([made.name, *line])}")
    common.say(f"id {made.id}, {made.runs:,} runs")


def _overrides(changes: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for change in changes:
        path, sign, text = change.partition("=")
        if not sign or not path:
            raise UsageError(f"--set {change!r} is not of the form key=value")
        *outer, last = path.split(".")
        place = found
        for key in outer:
            place = place.setdefault(key, {})
        place[last] = _typed(text)
    return found


def _typed(text: str) -> Any:
    try:
        return msgspec.json.decode(text.encode())
    except msgspec.DecodeError:
        return text
