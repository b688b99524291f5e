"""Runs scripts that use the real tools, and reads back what they logged."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any, Protocol

import pytest

import runbase
from tests.patience import PATIENCE


class RunScript(Protocol):
    """Runs a script to its end, and returns the JSON on its last line, if there is one."""

    def __call__(self, text: str, *, fails: bool = False, **environment: str) -> dict[str, Any]: ...


@pytest.fixture
def store(tmp_path: Path) -> Iterator[runbase.Store]:
    with runbase.open(home=tmp_path / ".runbase") as opened:
        yield opened


@pytest.fixture
def run_script(script: Callable[..., "Popen[str]"], store: runbase.Store) -> RunScript:
    def run(text: str, *, fails: bool = False, **environment: str) -> dict[str, Any]:
        quiet = {
            "CUDA_VISIBLE_DEVICES": "",
            "RUNBASE_HOME": str(store.home),
            "RUNBASE_SYSTEM_METRICS": "false",
        }
        process = script(text, **quiet, **environment)
        printed, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode != 0) == fails, errors[-4000:]
        try:
            return json.loads((printed.splitlines() or [""])[-1])
        except ValueError:
            return {}  # it printed something for people, or nothing

    return run


def points(store: runbase.Store, run: Any, key: str) -> list[tuple[float, float]]:
    """Return all logged points of a metric: (step, value)."""
    found = store.metrics(run.id, key, every=True)
    return list(zip(found.steps.tolist(), found.values.tolist(), strict=True))
