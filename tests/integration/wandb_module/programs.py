"""Runs scripts as `python -m runbase.wandb` does, and reads back what they logged."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import runbase
from tests.patience import PATIENCE


def run_module(text: str, *arguments: str, code: int = 0, **environment: str) -> str:
    """Run a script with `python -m runbase.wandb`, and return what it prints."""
    Path("script.py").write_text(text)
    command = [sys.executable, "-m", "runbase.wandb", "script.py", *arguments]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def curves(store: runbase.Store, run: runbase.model.Run) -> dict[str, tuple[list[Any], list[Any]]]:
    """Return metric → steps and values, with NaN as text."""
    found = {}
    for key in run.metrics:
        series = store.metrics(run, key)
        values = ["nan" if math.isnan(v) else v for v in series.values.tolist()]
        found[key] = (series.steps.tolist(), values)
    return found


def media(store: runbase.Store, run: runbase.model.Run) -> dict[str, Any]:
    """Return (key, step) → kind and content, without what only this module records."""
    found: dict[str, Any] = {}
    for record in store.records(run):
        if record["key"] in ("wandb.metrics", "wandb.summary"):
            continue
        content = store.read_record(record)
        if record["kind"] == "image":
            content = (np.asarray(content.convert("RGB")).tolist(), record["value"])
        found[f"{record['key']}@{record['step']}"] = (record["kind"], content)
    return found
