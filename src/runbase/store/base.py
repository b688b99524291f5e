"""The base class of all parts of a store: its storage and home, and how arguments name a run or an experiment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

from msgspec import UNSET

from runbase.errors import Ambiguous, InTrash, NotFound, UsageError
from runbase.model import Experiment, Run
from runbase.storage.protocol import Storage
from runbase.storage.types import Kind
from runbase.typing import ExperimentLike, JsonObject, RunLike, Subject


class StoreBase:
    """A part of a store."""

    storage: Storage
    reader: Storage
    """The storage, or one that reads from its replica: for what is shown, not for what decides something."""
    home: Path | None
    address: str

    def _run_id(self, run: RunLike, experiment: str | None = None, *, deleted: bool = False) -> str:
        if isinstance(run, Experiment):
            raise UsageError(f"{run.name!r} is an experiment; pass a run")
        if isinstance(run, str):
            return self.storage.find_run(run, experiment, deleted=deleted)
        return str(run.id)

    def _experiment_id(self, experiment: ExperimentLike, *, deleted: bool = False) -> str:
        if isinstance(experiment, str):
            return self.storage.find_experiment(experiment, deleted=deleted)
        if isinstance(cast("object", experiment), Experiment):
            return experiment.id
        raise UsageError(f"{experiment!r} is not an experiment; pass its name, id or record")

    def _target(self, target: Subject, *, deleted: bool = False) -> tuple[Kind, str]:
        """Return the kind and the id of a run or an experiment; raise Ambiguous for a name of both."""
        if isinstance(target, Experiment):
            return "experiment", target.id
        if not isinstance(target, str):
            return "run", str(target.id)
        kinds: tuple[Literal["run", "experiment"], ...] = ("run", "experiment")
        matches: list[tuple[Kind, str]] = []
        reasons: list[NotFound] = []
        for kind in kinds:
            find = self._run_id if kind == "run" else self._experiment_id
            try:
                matches.append((kind, find(target, deleted=deleted)))
            except Ambiguous:
                raise
            except NotFound as reason:
                reasons.append(reason)
        if len(matches) == 2:
            exact = [match for match in matches if match[1] == target]
            if len(exact) != 1:
                raise Ambiguous(
                    f"{target!r} is both a run ({matches[0][1]}) and an experiment ({matches[1][1]}); "
                    "pass the id"
                )
            matches = exact
        if not matches:
            trashed = [reason for reason in reasons if isinstance(reason, InTrash)]
            raise NotFound("; ".join(str(reason) for reason in trashed or reasons))
        return matches[0]

    def _runs_by_id(self, ids: Sequence[str]) -> list[Run]:
        return self.storage.get_runs(ids)


def given(**fields: Any) -> JsonObject:
    """Return the keyword arguments that were passed: UNSET marks one that was not."""
    return {name: value for name, value in fields.items() if value is not UNSET}
