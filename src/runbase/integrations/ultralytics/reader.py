"""Read run folders of Ultralytics: args.yaml, and results.csv with a row for each epoch.

The files do not record how the run ended: a run whose files have not changed for three minutes is COMPLETED, and is
resumed when they grow again.
"""

from collections.abc import Sequence
from pathlib import Path

from runbase.ingest.folders import Folder, Keep, Reached
from runbase.ingest.metric_tables import TableFormat, read_folder, yaml_params

NAME = "ultralytics"
_RESULTS, _ARGS = "results.csv", "args.yaml"
_FORM = TableFormat(
    name=NAME,
    table=_RESULTS,
    steps=("epoch",),
    elapsed="time",
    options={"skipinitialspace": True},  # versions before 8.3 align the columns with spaces
)


def tells(folder: str, names: set[str]) -> list[str]:
    """Return the known files of a folder; none without the arguments of a training."""
    if _ARGS not in names or not _is_training(Path(folder) / _ARGS):
        return []
    return [name for name in (_ARGS, _RESULTS) if name in names]


def _is_training(path: Path) -> bool:
    """Return whether a file of arguments is that of a training: other tools have files of this name."""
    try:
        with path.open("rb") as file:
            first, second, *_ = [*file.read(200).splitlines(), b"", b""]
    except OSError:
        return False
    return first.startswith(b"task: ") and second == b"mode: train"


def read(folder: Path, names: Sequence[str], reached: Reached, keep: Keep) -> Folder:
    """Read new rows, and with the first of them the parameters."""
    del keep
    return read_folder(_FORM, folder, names, reached, params=lambda: yaml_params(folder / _ARGS))
