"""A plan of a launch, whose store has a password."""

import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runbase.trials.launchers.base import Plan
from runbase.trials.launchers.record import LaunchRecord
from runbase.trials.launchers.resources import resources

Program = Callable[[str, str], Path]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(
        id="0123456789",
        experiment="tuning",
        experiment_id="e" * 32,
        command=["python", "train.py", "--lr", "{lr}", "--api-key", "hush-hush-1234"],
        address="postgresql://ada:geheim@db.lab/research",
        home=tmp_path / ".runbase",
        cwd=tmp_path,
        workers=100,
        max_parallel=8,
        resources=resources("4h", 4, 1, "16G"),
        options=["--partition=gpu"],
        image="registry.lab/train:1",
    )


@pytest.fixture
def record(plan: Plan) -> LaunchRecord:
    return LaunchRecord(
        id=plan.id,
        launcher="slurm",
        job={"array": "7", "name": f"runbase-{plan.id}", "options": ["--namespace=lab"]},
        workers=4,
        command=["true"],
        host="node",
        launched_at="2026-11-28T00:00:00+00:00",
        store="",
    )


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Writes a program that stands for one of a scheduler, in a folder that is the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def write(name: str, code: str) -> Path:
        path = folder / name
        path.write_text(f"#!{sys.executable}\nimport sys\n{code}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return write
