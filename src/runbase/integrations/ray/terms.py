"""What Ray Tune adds to results and to the text of errors."""

import re
from pathlib import Path

OWN = {
    "config", "date", "timestamp", "pid", "hostname", "node_ip", "trial_id", "experiment_id", "experiment_tag", "done",
    "time_since_restore", "iterations_since_restore", "time_total_s", "time_this_iter_s", "training_iteration",
    "checkpoint_dir_name",
}  # fmt: skip
"""What Tune adds to each result, and what is known without it."""
_COLOURS = re.compile("\x1b\\[[0-9;]*m")


def error_text(path: Path) -> str:
    """Return what Tune wrote about the exception of a trial, without colours.

    Raises:
        OSError: the file cannot be read.
    """
    return _COLOURS.sub("", path.read_text("utf-8", "replace")).strip() or "the trial failed"
