"""Read folders of stable-baselines3's logger: progress.csv.

The file records neither parameters nor how the run ended: a run whose file has not changed for three minutes is
COMPLETED, and is resumed when it grows again.
"""

from collections.abc import Sequence
from pathlib import Path

from runbase.ingest.folders import Folder, Keep, Reached
from runbase.ingest.metric_tables import TableFormat, read_folder

NAME = "stable-baselines3"
_PROGRESS, _STEPS = "progress.csv", "time/total_timesteps"
_FORM = TableFormat(name=NAME, table=_PROGRESS, steps=(_STEPS,), elapsed="time/time_elapsed")
_LONGEST_HEADER = 2**16


def tells(folder: str, names: set[str]) -> list[str]:
    """Return the table; not if event files of TensorBoard, which have the same figures with their times, are beside it."""
    if _PROGRESS not in names or any("tfevents." in name for name in names):
        return []
    return [_PROGRESS] if _is_ours(Path(folder) / _PROGRESS) else []


def _is_ours(path: Path) -> bool:
    """Return whether a table counts environment steps: other tools have files of this name."""
    try:
        with path.open("rb") as file:
            header = file.readline(_LONGEST_HEADER)
    except OSError:
        return False
    return _STEPS.encode() in header.strip().split(b",")


def read(folder: Path, names: Sequence[str], reached: Reached, keep: Keep) -> Folder:
    """Read new rows."""
    del keep
    return read_folder(_FORM, folder, names, reached)
