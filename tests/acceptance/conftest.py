"""The command line, and a home with three runs."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
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
