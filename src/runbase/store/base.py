"""What every shelf has: the storage, the home, and how a word finds a run or an experiment."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from runbase.errors import Ambiguous, NotFound, UsageError
from runbase.model import Experiment, Run
from runbase.storage.protocol import Storage
from runbase.storage.types import Kind

RunLike = Any
"""A run's id, the beginning of one, its name, a record of it, or the Run being written."""
ExperimentLike = Any
"""An experiment's name, its id, the beginning of one, or a record of it."""


class StoreBase:
    """A part of a store."""

    storage: Storage
    home: Path | None
    address: str

    def _run_id(self, run: RunLike, experiment: str | None = None, *, deleted: bool = False) -> str:
        if isinstance(run, Experiment):
            raise UsageError(f"{run.name!r} is an experiment, and a run is needed")
        if isinstance(run, str):
            return self.storage.find_run(run, experiment, deleted=deleted)
        return str(run.id)

    def _experiment_id(self, experiment: ExperimentLike, *, deleted: bool = False) -> str:
        if isinstance(experiment, str):
            return self.storage.find_experiment(experiment, deleted=deleted)
        if isinstance(experiment, Experiment):
            return experiment.id
        raise UsageError(f"{experiment!r} is no experiment; give its name, its id or its record")

    def _target(self, target: Any, *, deleted: bool = False) -> tuple[Kind, str]:
        """What a word means: a run or an experiment. A word for both is refused."""
        if isinstance(target, Experiment):
            return "experiment", target.id
        if not isinstance(target, str):
            return "run", str(target.id)
        kinds: tuple[Literal["run", "experiment"], ...] = ("run", "experiment")
        found: list[tuple[Kind, str]] = []
        reasons: list[NotFound] = []
        for kind in kinds:
            find = self._run_id if kind == "run" else self._experiment_id
            try:
                found.append((kind, find(target, deleted=deleted)))
            except Ambiguous:
                raise
            except NotFound as reason:
                reasons.append(reason)
        if len(found) == 2:
            exact = [item for item in found if item[1] == target]
            if len(exact) != 1:
                raise Ambiguous(
                    f"{target!r} is a run ({found[0][1]}) and an experiment ({found[1][1]}); give the id"
                )
            found = exact
        if not found:
            raise NotFound("; ".join(str(reason) for reason in reasons))
        return found[0]

    def _runs_by_id(self, ids: Sequence[str]) -> list[Run]:
        return self.storage.get_runs(ids)


def given(**fields: Any) -> dict[str, Any]:
    """The keyword arguments that were given at all: `...` stands for those that were not."""
    return {name: value for name, value in fields.items() if value is not ...}


def labels(tags: Any) -> Mapping[str, str | None]:
    """Tags, however they are given."""
    from runbase.coerce import as_tags

    return as_tags(tags)
