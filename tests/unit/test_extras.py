"""Optional packages that are not installed: what people read, and that training continues."""

import importlib.machinery
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import runbase
from runbase import extras
from runbase.analysis import frames
from runbase.cli import top
from runbase.errors import MissingPackage, UsageError


class Absent:
    """A finder that knows no module of some packages."""

    def __init__(self, *packages: str) -> None:
        self.packages = packages

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] in self.packages:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python in which only the core of runbase is installed."""
    packages = ("pandas", "polars", "pyarrow", "PIL", "matplotlib", "scipy")
    for name in list(sys.modules):
        if name.partition(".")[0] in packages:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "meta_path", [Absent(*packages), *sys.meta_path])


@pytest.mark.parametrize(
    ("make", "package"),
    [(frames.to_pandas, "pandas"), (frames.to_polars, "Polars"), (frames.to_arrow, "PyArrow")],
)
@pytest.mark.usefixtures("bare")
def test_a_frame_without_its_package_says_what_to_install(make: Any, package: str) -> None:
    name = make.__name__
    with pytest.raises(
        UsageError, match=rf"^{name}\(\) needs {package}: pip install 'runbase\[analysis\]'$"
    ):
        make({"a": [1]})


@pytest.mark.usefixtures("bare")
def test_an_image_without_its_package_does_not_stop_training(tmp_path: Path) -> None:
    run = runbase.start_run("images", home=tmp_path, capture=False, store="none")
    with pytest.warns(RuntimeWarning, match=r"needs Pillow: pip install 'runbase\[media\]'"):
        run.log_image("digits", np.zeros((8, 8)))
    run.log({"loss": 1.0})
    run.finish()
    with runbase.open(home=tmp_path) as store:
        assert store.runs()[0].metrics["loss"].last == 1.0


def test_a_package_that_is_broken_shows_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brokenpackage.py").write_text("import nothing_of_this_name")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        extras.load("brokenpackage", "analysis", "this")
    with pytest.raises(MissingPackage, match="this needs missing_package"):
        extras.load("missing_package", "analysis", "this")


def test_the_live_screen_says_what_to_install(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runbase.start_run("x", home=home, capture=False).finish()
    monkeypatch.setattr(top.common, "console", lambda: Console(force_terminal=True))
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "meta_path", [Absent("textual"), *sys.meta_path])
    for name in list(sys.modules):
        if name.partition(".")[0] == "textual" or name.endswith("topscreen"):
            monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingPackage, match=r"Textual: pip install 'runbase\[cli\]'"):
        top.command(home=home)
