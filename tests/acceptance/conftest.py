"""The command line, and a home with three runs."""

import fcntl
import json
import math
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import runbase
from tests.conftest import close_storages

Cli = Callable[..., Any]


@pytest.fixture
def cli() -> Cli:
    """Runs `runbase …`; checks the exit code; gives standard output, or JSON where asked for."""

    def run(*arguments: str, code: int = 0, stdin: str = "", **environment: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "runbase", *arguments],
            capture_output=True,
            text=True,
            input=stdin,
            env={**os.environ, "COLUMNS": "160", **environment},
            check=False,
        )
        assert done.returncode == code, done.stderr + done.stdout
        if code:
            assert "Traceback" not in done.stderr
            return done.stderr
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    return run


@pytest.fixture
def three(home: Path) -> list[str]:
    """Three runs: done, failed, and one of another experiment."""
    ids = []
    for number, name in enumerate(["first", "second", "third"]):
        run = runbase.start_run(
            "digits" if number < 2 else "other",
            name=name,
            params={"lr": 10.0**-number, "opt": "adam"},
            tags=["demo"],
            notes="a note",
            home=home,
            capture=False,
        )
        for step in range(50):
            run.log({"train/loss": 1 / (step + 1), "val/acc": step / 50 + number}, step=step)
        artifact = home.parent / "model.bin"
        artifact.write_bytes(b"12345")
        run.log_artifact(artifact, kind="model")
        (run.folder / "output.log").write_text("epoch 1\repoch 2\nthe last line\n")
        ids.append(run.id)
        if number == 1:
            try:
                raise ValueError("out of data [bold]")
            except ValueError as error:
                run.finish(error=error)
        run.finish()
    close_storages()
    return ids


_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def terminal() -> Cli:
    """Runs `runbase …` in a pseudo-terminal of a width; gives what it prints, without colours."""

    def run(width: int, *arguments: str, colours: bool = False, **environment: str) -> str:
        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
        inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        process = subprocess.Popen(
            [sys.executable, "-m", "runbase", *arguments],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env={**inherited, "TERM": "xterm-256color", **environment},
        )
        os.close(follower)
        parts: list[bytes] = []
        with suppress(OSError):  # the other end is closed
            while part := os.read(leader, 65536):
                parts.append(part)
        os.close(leader)
        assert process.wait() == 0, b"".join(parts)
        text = b"".join(parts).decode().replace("\r\n", "\n")
        return text if colours else _CODES.sub("", text)

    return run


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with 14 runs of 3 experiments: many parameters and metrics, tags, media, errors, children."""
    home = tmp_path_factory.mktemp("lab") / ".runbase"
    rest = {f"part{n}/option_{n}": f"value-{n}" for n in range(30)}
    same = {"data/root": "/scratch/shared/datasets/imagenet-1k/2012/train", **rest}
    for number in range(14):
        experiment = (
            "imagenet-resnet50-baseline" if number < 9 else "vit" if number < 13 else "other"
        )
        run = runbase.start_run(
            experiment,
            name=f"careful-albatross-{number}",
            params={**same, "optimizer/lr": 10.0 ** -(number % 4), "seed": number},
            tags={"baseline": None, "stage": f"s{number}"} if number % 3 == 0 else None,
            notes="Warm-up was too short; the gradient norm grows after the third epoch. " * 2
            if number == 8
            else None,
            home=home,
            capture=("command", "host", "slurm"),
        )
        for step in range(6):
            values = {f"layer{n}/weight_norm": n + step / 7 for n in range(1, 41)}
            values |= {"train/loss": 3 / (step + 1) + number, "lr": 0.1, "epoch": float(step)}
            values |= {"val/loss": 2 / (step + 1) + number, "val/acc": step / 9 - number / 50}
            if number == 3:
                values["train/loss"] = math.nan
            run.log(values, step=step)
        if number == 8:
            _fill(run, home)
        error = _error_in_a_library() if number == 8 else None
        run.finish(error=error)
    with runbase.open(home=home) as store:
        store.update_experiment(
            "vit", objectives=[runbase.Objective(metric="train/loss", direction="min")]
        )
        store.link("careful-albatross-8", "continues", "careful-albatross-2")
    close_storages()
    return home


def _fill(run: Any, home: Path) -> None:
    """Log media, artifacts and children."""
    for step in (0, 10, 20):
        run.log_histogram("weights/fc", [1.0, 2.0, 3.0], step=step)
        run.log_text("prediction", "a cat", step=step)
        run.log_table("confusion", columns=["a"], rows=[[1]], step=step)
    for name in ("model.bin", f"{'a-long-name-of-a-checkpoint-' * 3}.ckpt"):
        (home.parent / name).write_bytes(b"12345")
        run.log_artifact(home.parent / name, kind="checkpoint")
    (run.folder / "output.log").write_text("epoch 1\n" + "a long line of output " * 8 + "\n")
    for name in ("eval-a", "eval-b"):
        child = runbase.start_run(
            "imagenet-resnet50-baseline", name=name, parent=run, home=home, capture=False
        )
        child.log({"test/acc": 0.5}, step=0)
        child.finish()


def _error_in_a_library() -> Exception:
    try:
        json.loads("{")
    except ValueError as error:
        return error
    raise AssertionError
