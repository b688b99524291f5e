"""What the fault campaign kills. Run in children of a process that has imported all of it, so that the kill meets the work."""

import asyncio
import gzip
import os
import signal
import threading
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

import runbase
from runbase.cli.app import build
from runbase.ids import new_id
from runbase.run import background
from runbase.trials.worker import Worker

OLD = Path(__file__).parents[1] / "migration" / "fixtures" / "0001_first.db.gz"
"""A database of the first schema there was."""


class Places:
    """Where everything is."""

    def __init__(self, folder: Path, team: str) -> None:
        self.folder, self.team = folder, team
        self.home, self.cluster = folder / "home", folder / "cluster"
        self.table, self.backups = folder / "runs.jsonl", folder / "backups"


def train(store: str | None, home: Path, told: Connection, said: Path) -> None:
    """Train for ever; each step that `log` returned from is a byte in a file."""
    background.EVERY = 0.001
    run = runbase.start_run("train", store=store, home=home, capture=False)
    told.send(run.id)
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for step in range(10_000_000):
        run.log({"loss": step * 0.5, "acc": step}, step=step)
        os.write(file, b".")


SOURCES = {"s": "signal", "a": "task0", "b": "task1", "f": "fork", "t": "thread"}
"""Who logs, by the letter that stands for it, and the metric that it logs."""


def train_everywhere(store: str | None, home: Path, told: Connection, said: Path) -> None:
    """Log numbers from a signal handler, tasks, a thread and a forked child, for ever.

    Each number that `log` returned from is a word in a file: the letter of its source, and the number.
    """
    background.EVERY = 0.001
    run = runbase.start_run("everywhere", store=store, home=home, capture=False)
    counters = {letter: count() for letter in SOURCES}
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def log(letter: str) -> None:
        number = next(counters[letter])
        run.log({SOURCES[letter]: float(number)})
        os.write(file, f"{letter}{number} ".encode())

    parent = os.getpid()
    if os.fork() == 0:
        while os.getppid() == parent:  # until it is killed
            log("f")
        os._exit(0)
    told.send(run.id)
    signal.signal(signal.SIGALRM, lambda *_: log("s"))
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)

    def forever() -> None:
        while True:
            log("t")

    threading.Thread(target=forever, daemon=True).start()

    async def task(letter: str) -> None:
        while True:
            log(letter)
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(task("a"), task("b"))

    asyncio.run(main())


def work(name: str, places: Places, told: Connection, times: int) -> None:
    """Something that is done to a record, again and again."""
    told.send("ready")
    for _ in range(times):
        WORKS[name](places)
    told.send("done")


def _ours(at: Places) -> runbase.Store:
    return runbase.open(home=at.home, sync=False)


def _team(at: Places) -> runbase.Store:
    return runbase.open(at.team, sync=False)


def _migrate(at: Places) -> None:
    old = at.folder / "old"
    old.mkdir(exist_ok=True)
    path = old / new_id()
    path.write_bytes(gzip.decompress(OLD.read_bytes()))
    path = path.rename(path.with_suffix(".db"))
    runbase.open(path).create_experiment("after")


QUEUE, TRIALS = "queue", 30
"""An experiment of the team's store, and how many trials it has."""


def _work_on_trials(at: Places) -> None:
    with runbase.open(at.team, home=at.folder / "workers") as store:
        worker = Worker(store, store.experiment(QUEUE), ["sh", "-c", "exit 0"], lease=2.0)
        worker.run(wait=5.0)


WORKS: dict[str, Any] = {
    "worker": _work_on_trials,
    "sync": lambda at: _ours(at).sync(),
    "scan": lambda at: _team(at).scan(at.cluster, full=True),
    "import": lambda at: _team(at).import_from(str(at.table), "table"),
    "copy": lambda at: _ours(at).copy_to(_team(at)),
    "backup": lambda at: _ours(at).backup(at.backups),
    "tidy": lambda at: _ours(at).gc(journals=0, files=True),
    "rebuild": lambda at: CliRunner().invoke(
        build(), ["sync", "--rebuild", "--home", str(at.home)]
    ),
    "migrate": _migrate,
}
