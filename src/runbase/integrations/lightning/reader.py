"""Read folders of Lightning's CSVLogger: metrics.csv and hparams.yaml in …/NAME/version_N.

The files record neither the user nor how the run ended: a run whose files have not changed for three minutes is
COMPLETED, and is resumed when they grow again.
"""

from collections.abc import Sequence
from pathlib import Path

from runbase.ingest.folders import Folder, Keep, Reached
from runbase.ingest.metric_tables import TableFormat, read_folder, yaml_params

NAME = "lightning-csv"
_METRICS, _PARAMS = "metrics.csv", "hparams.yaml"
_FORM = TableFormat(name=NAME, table=_METRICS, steps=("step", "epoch"))


def tells(folder: str, names: set[str]) -> list[str]:
    """Return the known files of a folder; none without the table, or if it is not a version folder."""
    version = folder.rpartition("/")[2].startswith("version_")
    if _METRICS not in names or not (version or _PARAMS in names):
        return []
    return [name for name in (_METRICS, _PARAMS) if name in names]


def read(folder: Path, names: Sequence[str], reached: Reached, keep: Keep) -> Folder:
    """Read new rows, and with the first of them the parameters."""
    del keep
    return read_folder(
        _FORM,
        folder,
        names,
        reached,
        experiment=folder.parent.name or "lightning",
        name=_name(folder),
        params=lambda: yaml_params(folder / _PARAMS),
    )


def _name(folder: Path) -> str:
    return (
        f"{folder.parent.name}/{folder.name}" if folder.name.startswith("version_") else folder.name
    )
