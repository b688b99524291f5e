"""How warnings of runbase look, and what they must not stop."""

import logging
import subprocess
import sys
import threading
import warnings

import pytest

from runbase.errors import RunbaseWarning, warn

SCRIPT = """
import warnings
import runbase.errors
runbase.errors.warn("the disk is full; free some space")
warnings.warn("something else")
"""


def test_a_warning_is_one_line_without_source() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True
    )
    first, *rest = done.stderr.splitlines()
    assert first == "runbase: the disk is full; free some space"
    assert "UserWarning: something else" in rest[0]


def test_the_warning_is_at_the_line_of_the_program() -> None:
    with pytest.warns(RunbaseWarning) as found:
        warn("look here")
    assert found[0].filename == __file__


@pytest.mark.filterwarnings("error")
def test_errors_are_raised_in_the_main_thread_only(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RunbaseWarning, match="runbase: in the main thread"):
        warn("in the main thread")
    warn("at the end", may_raise=False)
    with caplog.at_level(logging.WARNING, "runbase"):
        thread = threading.Thread(target=warn, args=("in the background",))
        thread.start()
        thread.join()
    assert "runbase: in the background" in caplog.text


def test_one_printer_however_many_warnings() -> None:
    with warnings.catch_warnings(record=True):
        warn("one")
        printer = warnings.formatwarning
        warn("two")
    assert warnings.formatwarning is printer
