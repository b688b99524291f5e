"""A SQLite database made anew from the run folders, with what the old one still holds besides."""

import time
from collections.abc import Sequence
from pathlib import Path

from runbase.cli import common
from runbase.client import Store
from runbase.errors import StoreError, UsageError
from runbase.settings import load
from runbase.shelves.transfer import Salvaged

SHOWN = 10


def take_over(store: Store, aside: Sequence[Path]) -> Salvaged | None:
    """What the database that was set aside holds and no folder does; None where none was."""
    if not aside:
        return None
    with common.progress("taking over from the old database") as step:
        return store.salvage(aside[0], step)


def say(taken: Salvaged) -> None:
    """The same for people."""
    print(
        f"Taken over from it: notes, tags and links of {taken.runs:,} runs, {taken.new:,} of them in no folder"
    )
    for text in taken.unreadable[:SHOWN]:
        print(f"lost: {text}")
    if len(taken.unreadable) > SHOWN:
        print(f"… and {len(taken.unreadable) - SHOWN:,} more")


def set_aside(home: Path | None, url: str | None) -> list[Path]:
    """Rename the database and what belongs to it, so that a new one is made."""
    settings = load(home=home, store=url)
    if not settings.store.startswith("sqlite:"):
        raise UsageError("--rebuild makes a SQLite file anew; this store is elsewhere")
    if not (settings.home / "runs").is_dir():
        raise UsageError(f"there are no run folders in {settings.home} to rebuild from")
    path = Path(settings.store.partition("://")[2][1:])
    stamp = time.strftime("%Y%m%d-%H%M%S")
    moved: list[Path] = []
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            target = path.with_name(f"{path.name}.{stamp}{suffix}")
            try:
                part.rename(target)
            except OSError as error:
                raise StoreError(f"cannot set {part} aside: {error.strerror}") from error
            moved.append(target)
    return moved
