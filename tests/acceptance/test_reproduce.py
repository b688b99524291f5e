"""`runbase reproduce`: the code, the packages, the command line and the seeds of a run come back, or it says what does not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase.capture import seeds
from runbase.store import reproduction

TRAIN = """
import random, sys
import numpy.random
import runbase
from helper import scale

with runbase.start_run("noise", params={"n": int(sys.argv[1])}) as run:
    for step in range(int(sys.argv[1])):
        run.log({"random": random.random() * scale, "numpy": numpy.random.rand()}, step=step)
    print("secret", len(sys.argv))
"""


def git(folder: Path, *arguments: str) -> None:
    names = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *names, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A script that draws random numbers without a seed, with an uncommitted change and an untracked file."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    (folder / "helper.py").write_text("scale = 1.0\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    (folder / "helper.py").write_text("scale = 100.0\n")
    (folder / "data.csv").write_text("not in git")
    return folder


def trained(repository: Path, home: Path, *arguments: str) -> runbase.Run:
    environ = {**os.environ, "RUNBASE_HOME": str(home), "RUNBASE_SYSTEM_METRICS": "false"}
    command = [sys.executable, "train.py", *(arguments or ("5",))]
    subprocess.run(command, cwd=repository, env=environ, check=True, capture_output=True)
    with runbase.open(home=home) as store:
        return store.runs("parent_id is null")[0]


def reproduce(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "runbase", "reproduce", *arguments, "--home", str(home)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_run_without_seeds_gives_the_same_numbers(repository: Path, home: Path) -> None:
    run = trained(repository, home)
    (repository / "helper.py").write_text("scale = 0.0\n")  # the code has changed since
    done = reproduce(home, run.name, "--run", "--no-install", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    assert {row["metric"]: row["equal"] for row in found["metrics"]} == {
        "numpy": True,
        "random": True,
    }
    assert any(
        "1 untracked files are not in git: data.csv" in reason for reason in found["missing"]
    )
    with runbase.open(home=home) as store:
        again = store.run(found["again"])
        assert (again.parent_id, again.tags["reproduces"]) == (run.id, run.id)
        assert again.git["commit"] == run.git["commit"]
        for key in ("random", "numpy"):
            values = [store.metrics(each, key).values.tolist() for each in (run.id, again.id)]
            assert values[0] == values[1]
        assert max(store.metrics(run.id, "random").values) > 1.0  # the uncommitted change was in it


def test_a_difference_is_an_exit_code(repository: Path, home: Path) -> None:
    run = trained(repository, home)
    (home / "runs" / "noise" / run.id / seeds.NAME).unlink()
    done = reproduce(home, run.name, "--run", "--no-install")
    assert done.returncode == 1
    assert "0 of 2 metrics agree" in done.stdout
    assert "seeds: the states of the random number generators were not captured" in done.stdout


def test_a_dry_run_changes_nothing(repository: Path, home: Path, tmp_path: Path) -> None:
    run = trained(repository, home)
    before = sorted(tmp_path.rglob("*"))
    done = reproduce(home, run.id[:12], "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would be in" in done.stdout
    assert f"commit {run.git['commit'][:10]}" in done.stdout
    assert "train.py 5" in done.stdout
    assert [p for p in sorted(tmp_path.rglob("*")) if ".runbase" not in p.parts] == [
        p for p in before if ".runbase" not in p.parts
    ]


def test_the_folder_exists(repository: Path, home: Path, tmp_path: Path) -> None:
    run = trained(repository, home)
    (tmp_path / "here" / "code").mkdir(parents=True)
    done = reproduce(home, run.name, "--into", str(tmp_path / "here"))
    assert done.returncode == 2
    assert "exists already; remove it, or choose another folder with --into" in done.stderr


def test_a_repository_of_another_machine_is_cloned(
    repository: Path, home: Path, tmp_path: Path
) -> None:
    shutil.copytree(repository, tmp_path / "origin")
    git(repository, "remote", "add", "origin", str(tmp_path / "origin"))
    run = trained(repository, home)
    shutil.rmtree(repository)
    done = reproduce(home, run.name, "--run", "--no-install", "--into", str(tmp_path / "again"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 metrics agree" in done.stdout


def test_what_cannot_be_restored_is_said(repository: Path, home: Path, tmp_path: Path) -> None:
    shutil.rmtree(repository / ".git")
    run = trained(repository, home, "5", "--api-key=abcdef0123456789abcdef")
    done = reproduce(home, run.name, "--dry-run")
    assert "the script was not in a git repository with a commit" in done.stdout
    assert "secrets in it were replaced by stars" in done.stdout
    with runbase.start_run("bare", home=home, capture=False) as bare:
        pass
    done = reproduce(home, bare.name)
    assert done.returncode == 2
    assert "did not capture its command line" in done.stderr


def test_packages_are_installed_or_named(repository: Path, home: Path, tmp_path: Path) -> None:
    run = trained(repository, home)
    with runbase.open(home=home) as store:
        made = reproduction.plan(store, store.run(run.id), tmp_path / "again")
        made.packages = {"six": "1.16.0", "no-such-package-of-runbase": "1.0", "runbase": "0.0.0"}
        reproduction.restore_code(made)
        reproduction.install(made)
    assert [reason for reason in made.missing if reason.startswith("packages")] == [
        "packages: no-such-package-of-runbase==1.0 could not be installed",
        "packages: runbase is the one of this machine, not runbase==0.0.0",
    ]
    told = subprocess.run(
        [str(made.interpreter), "-c", "import six; print(six.__version__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "1.16.0"
    pth = next((tmp_path / "again" / "venv").rglob("runbase.pth"))
    assert (Path(pth.read_text().strip()) / "runbase" / "__init__.py").exists()


def test_the_states_come_back(tmp_path: Path) -> None:
    import random

    import numpy as np

    np.random.rand()
    seeds.write(seeds.states(), tmp_path)
    first = (random.random(), random.gauss(0, 1), np.random.rand(), np.random.normal())
    assert seeds.restore(tmp_path / seeds.NAME)[:2] == ["random", "numpy"]
    assert (random.random(), random.gauss(0, 1), np.random.rand(), np.random.normal()) == first
