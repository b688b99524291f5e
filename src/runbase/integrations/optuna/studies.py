"""The study methods of `RunbaseStorage`: Optuna's studies are experiments."""

import uuid
from collections.abc import Sequence
from typing import Any

from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.storages._base import DEFAULT_STUDY_NAME_PREFIX
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy

import runbase
from runbase.ids import new_id
from runbase.integrations.optuna.trials import Known, objectives_of
from runbase.storage.protocol import Storage


class Studies(BaseStorage):
    """The studies of a store. `RunbaseStorage` adds trials and heartbeats."""

    _store: runbase.Store
    _studies: dict[int, Known]
    """Study id → what this process has read of the study."""

    @property
    def _storage(self) -> Storage:
        return self._store.storage

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Create an experiment; raise DuplicatedStudyError if one has the name."""
        name = study_name
        if name is None:
            name = f"{DEFAULT_STUDY_NAME_PREFIX}{uuid.uuid4()}"
        number = self._storage.count_on("optuna")
        experiment = new_id()
        fields = {"objectives": objectives_of(directions), "method": "optuna"}
        existing = self._storage.get_or_create_experiment(name, fields, experiment)
        if existing != experiment:
            raise DuplicatedStudyError(
                f"experiment {name!r} exists; use another name, or load_if_exists=True"
            )
        self._adopt(experiment, number, directions)
        return number

    def delete_study(self, study_id: int) -> None:
        """Move the experiment to the trash, from where it can be restored."""
        study = self._study(study_id)
        self._storage.delete("experiment", [study.experiment])
        del self._studies[study_id]

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set a user attribute of a study."""
        self._put_study(study_id, "user", key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set a system attribute of a study."""
        self._put_study(study_id, "system", key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the id of a study; an experiment with objectives that is not a study becomes one."""
        rows = self._store.storage.sql(
            "select e.id, a.number from experiments e left join experiment_attributes a "
            "on a.experiment_id = e.id and a.scope = '_optuna' and a.key = 'id' "
            "where e.name = :name and e.deleted_at is null order by e.created_at desc limit 1",
            {"name": study_name},
        )
        if not rows:
            raise KeyError(f"study {study_name!r} not found")
        experiment, number = rows[0]
        if number is None:
            return self._adopt_experiment(experiment)
        return int(number)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the name of the experiment."""
        return self._study(study_id).name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return the directions of the objectives."""
        return self._directions(self._study(study_id).experiment)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return all user attributes."""
        return self._study_attributes(study_id, "user")

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return all system attributes."""
        return self._study_attributes(study_id, "system")

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return all experiments that are studies."""
        rows = self._store.storage.sql(
            "select e.id, e.name, a.number from experiments e join experiment_attributes a "
            "on a.experiment_id = e.id and a.scope = '_optuna' and a.key = 'id' "
            "where e.deleted_at is null order by a.number"
        )
        ids = [row[0] for row in rows]
        user, system, own = (
            self._storage.attributes("experiment", ids, scope)
            for scope in ("user", "system", "optuna")
        )
        return [
            FrozenStudy(
                study_name=name,
                direction=None,
                directions=[StudyDirection[name] for name in own[key]["directions"]],
                user_attrs=user[key],
                system_attrs=system[key],
                study_id=int(number),
            )
            for key, name, number in rows
        ]

    def _study(self, study_id: int) -> Known:
        study = self._studies.get(study_id)
        if study is None:
            rows = self._store.storage.sql(
                "select e.id, e.name from experiment_attributes a "
                "join experiments e on e.id = a.experiment_id "
                "where a.scope = '_optuna' and a.key = 'id' and a.number = :id "
                "and e.deleted_at is null",
                {"id": study_id},
            )
            if not rows:
                raise KeyError(f"study with id {study_id} not found")
            study = self._studies.setdefault(study_id, Known(study_id, *rows[0]))
        return study

    def _adopt(self, experiment: str, number: int, directions: Sequence[StudyDirection]) -> None:
        names = [direction.name for direction in directions]
        self._storage.put_attributes("experiment", experiment, "optuna", {"directions": names})
        self._storage.put_attributes("experiment", experiment, "_optuna", {"id": number})

    def _adopt_experiment(self, experiment: str) -> int:
        record = self._store.experiment(experiment)
        known = self._storage.attributes("experiment", [experiment], "optuna")[experiment]
        if "directions" in known:  # a study that was copied from another store
            number = self._storage.count_on("optuna")
            self._storage.put_attributes("experiment", experiment, "_optuna", {"id": number})
            return number
        if not record.objectives:
            raise KeyError(f"experiment {record.name!r} is not a study: it has no objectives")
        number = self._storage.count_on("optuna")
        directions = [
            StudyDirection.MAXIMIZE if o.direction == "max" else StudyDirection.MINIMIZE
            for o in record.objectives
        ]
        self._adopt(experiment, number, directions)
        return number

    def _directions(self, experiment: str) -> list[StudyDirection]:
        own = self._storage.attributes("experiment", [experiment], "optuna")[experiment]
        return [StudyDirection[name] for name in own["directions"]]

    def _put_study(self, study_id: int, scope: str, key: str, value: Any) -> None:
        experiment = self._study(study_id).experiment
        self._storage.put_attributes("experiment", experiment, scope, {key: value})

    def _study_attributes(self, study_id: int, scope: str) -> dict[str, Any]:
        experiment = self._study(study_id).experiment
        return self._storage.attributes("experiment", [experiment], scope)[experiment]
