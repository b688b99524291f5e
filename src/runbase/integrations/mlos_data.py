"""Experiments, trials and configurations as mlos_bench's data objects: what people analyse."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import pandas as pd
from mlos_bench.storage.base_experiment_data import ExperimentData
from mlos_bench.storage.base_trial_data import TrialData
from mlos_bench.storage.base_tunable_config_data import TunableConfigData
from mlos_bench.storage.base_tunable_config_trial_group_data import TunableConfigTrialGroupData

import runbase
from runbase.errors import NotFound
from runbase.integrations.mlos_terms import began, ended, moment, word_of
from runbase.model import Experiment, Run

KEPT = "mlos"
"""The scope of what mlos_bench says about experiments and trials."""
RESULT = "result"
"""The scope of a trial's results, each of the type that it had."""


class Access:
    """A store, for objects that pickle to another process and open it anew there."""

    def __init__(self, address: str | None, store: "runbase.Store | None" = None) -> None:
        self._address = address
        self.store = store if store is not None else runbase.open(address, sync=False)

    def __getstate__(self) -> str | None:
        return self.store.address or self._address

    def __setstate__(self, address: str | None) -> None:
        self._address = address
        self.store = runbase.open(address, sync=False)

    @property
    def storage(self) -> Any:
        """The storage below the store."""
        return self.store._storage  # pyright: ignore[reportPrivateUsage]

    def configs(self, experiment: str) -> dict[str, int]:
        """Run → the number of its configuration."""
        rows = self.store.sql(
            "select id, config_id from runs where experiment_id = :experiment",
            {"experiment": experiment},
        )
        return {run: config for run, config in rows if config is not None}

    def config(self, number: int) -> dict[str, Any]:
        """The values of a configuration; NotFound where there is none of this number."""
        rows = self.store.sql("select params from configs where id = :id", {"id": number})
        if not rows:
            raise NotFound(f"there is no configuration {number}")
        found = rows[0][0]
        return json.loads(found) if isinstance(found, str) else found

    def first(self, experiment: str) -> int:
        """The number that mlos_bench gave the experiment's first trial."""
        kept = self.storage.attributes("experiment", [experiment], KEPT)[experiment]
        return int(kept.get("first_trial", 1))

    def trials(self, experiment: str) -> list[Run]:
        """An experiment's trials, by number."""
        return list(self.store.runs(experiment=experiment, order_by="number"))

    def results(self, runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
        """Run → its results, each of its own type; of trials that mlos_bench knows nothing of, their metrics."""
        told = self.storage.attributes("run", [run.id for run in runs], RESULT)
        return {
            run.id: told[run.id] or {k: m.last for k, m in run.metrics.items() if run.ended}
            for run in runs
        }


class RunbaseExperimentData(ExperimentData):
    """An experiment, as it stands whenever something of it is asked for."""

    def __init__(self, access: Access, record: Experiment, kept: Mapping[str, Any]) -> None:
        super().__init__(
            experiment_id=record.name,
            description=record.description,
            root_env_config=kept.get("root_env_config", ""),
            git_repo=kept.get("git_repo", ""),
            git_commit=kept.get("git_commit", ""),
        )
        self._access, self._id = access, record.id
        self._first = int(kept.get("first_trial", 1))

    @property
    def objectives(self) -> dict[str, Literal["min", "max"]]:
        """Metric → direction, the heaviest first."""
        found = self._access.store.experiment(self._id).objectives
        ordered = sorted(found, key=lambda objective: -objective.weight)
        return {o.metric: cast('Literal["min", "max"]', o.direction) for o in ordered}

    @property
    def trials(self) -> dict[int, TrialData]:
        """By number."""
        return {trial.trial_id: trial for trial in self._trials(None)}

    @property
    def tunable_configs(self) -> dict[int, TunableConfigData]:
        """By number."""
        return {n: RunbaseConfigData(self._access, n) for n in self._groups()}

    @property
    def tunable_config_trial_groups(self) -> dict[int, TunableConfigTrialGroupData]:
        """By the number of the configuration that their trials share."""
        return {
            config: RunbaseGroupData(self, self._access, config, group)
            for config, group in self._groups().items()
        }

    @property
    def default_tunable_config_id(self) -> int | None:
        """The configuration of the first trial that is marked as having the defaults, else of the first."""
        runs = self._access.trials(self._id)
        if not runs:
            return None
        told = self._access.storage.attributes("run", [run.id for run in runs], "config")
        marked = [run for run in runs if _true(told[run.id].get("is_defaults"))]
        return self._access.configs(self._id).get((marked or runs)[0].id)

    @property
    def results_df(self) -> pd.DataFrame:
        """A row a trial: its times, configuration and group, `config.*`, `result.*`."""
        return self._results(None)

    def _trials(self, config: int | None) -> "list[RunbaseTrialData]":
        configs = self._access.configs(self._id)
        return [
            RunbaseTrialData(self, self._access, run, run.number + self._first - 1, configs[run.id])
            for run in self._access.trials(self._id)
            if run.id in configs and config in (None, configs[run.id])
        ]

    def _groups(self) -> dict[int, int]:
        """Configuration → the lowest of its trials."""
        found: dict[int, int] = {}
        for trial in self._trials(None):
            found.setdefault(trial.tunable_config_id, trial.trial_id)
        return found

    def _results(self, config: int | None) -> pd.DataFrame:
        trials, groups = self._trials(config), self._groups()
        results = self._access.results([trial.run for trial in trials])
        rows = [
            {
                "trial_id": trial.trial_id,
                "ts_start": trial.ts_start,
                "ts_end": trial.ts_end,
                "tunable_config_id": trial.tunable_config_id,
                "tunable_config_trial_group_id": groups[trial.tunable_config_id],
                "status": trial.status.name,
            }
            for trial in trials
        ]
        frame = pd.DataFrame(
            rows,
            columns=[
                "trial_id",
                "ts_start",
                "ts_end",
                "tunable_config_id",
                "tunable_config_trial_group_id",
                "status",
            ],
        )
        params = _wide(self.CONFIG_COLUMN_PREFIX, [trial.run.params for trial in trials])
        told = _wide(self.RESULT_COLUMN_PREFIX, [results[trial.run.id] for trial in trials])
        return pd.concat([frame, params, told], axis=1)


class RunbaseTrialData(TrialData):
    """A trial, as it was when it was asked for."""

    def __init__(
        self, experiment: RunbaseExperimentData, access: Access, run: Run, number: int, config: int
    ) -> None:
        super().__init__(
            experiment_id=experiment.experiment_id,
            trial_id=number,
            tunable_config_id=config,
            ts_start=began(run),
            ts_end=ended(run),
            status=word_of(run),
        )
        self._experiment, self._access, self.run = experiment, access, run

    @property
    def tunable_config(self) -> TunableConfigData:
        """Its configuration."""
        return RunbaseConfigData(self._access, self._tunable_config_id)

    @property
    def tunable_config_trial_group(self) -> TunableConfigTrialGroupData:
        """The trials of its configuration."""
        return RunbaseGroupData(self._experiment, self._access, self._tunable_config_id)

    @property
    def results_df(self) -> pd.DataFrame:
        """Columns metric and value."""
        return _tall("metric", self._access.results([self.run])[self.run.id])

    @property
    def telemetry_df(self) -> pd.DataFrame:
        """Columns ts, metric and value, by time."""
        found = self._access.storage.samples([self.run.id])
        rows = [(moment(time), key, value) for _, (time, key, value) in found]
        frame = pd.DataFrame(rows, columns=["ts", "metric", "value"])
        frame["value"] = pd.Series([row[2] for row in rows], dtype=object)
        return frame

    @property
    def metadata_df(self) -> pd.DataFrame:
        """Columns parameter and value: what else was said with it."""
        told = self._access.storage.attributes("run", [self.run.id], "config")[self.run.id]
        return _tall("parameter", told)


class RunbaseConfigData(TunableConfigData):
    """A set of parameters, stored once."""

    def __init__(self, access: Access, number: int) -> None:
        super().__init__(tunable_config_id=number)
        self._access = access

    @property
    def config_df(self) -> pd.DataFrame:
        """Columns parameter and value."""
        return _tall("parameter", self._access.config(self._tunable_config_id))


class RunbaseGroupData(TunableConfigTrialGroupData):
    """The trials of an experiment that share a configuration."""

    def __init__(
        self,
        experiment: RunbaseExperimentData,
        access: Access,
        config: int,
        group: int | None = None,
    ) -> None:
        super().__init__(
            experiment_id=experiment.experiment_id,
            tunable_config_id=config,
            tunable_config_trial_group_id=group,
        )
        self._experiment, self._access = experiment, access

    def _get_tunable_config_trial_group_id(self) -> int:
        return self._experiment._groups()[self._tunable_config_id]  # pyright: ignore[reportPrivateUsage]

    @property
    def tunable_config(self) -> TunableConfigData:
        """The configuration that they share."""
        return RunbaseConfigData(self._access, self._tunable_config_id)

    @property
    def trials(self) -> dict[int, TrialData]:
        """By number."""
        found = self._experiment._trials(self._tunable_config_id)  # pyright: ignore[reportPrivateUsage]
        return {trial.trial_id: trial for trial in found}

    @property
    def results_df(self) -> pd.DataFrame:
        """A row a trial, as the experiment has them."""
        return self._experiment._results(self._tunable_config_id)  # pyright: ignore[reportPrivateUsage]


def _true(value: Any) -> bool:
    return value is True or str(value).lower() in ("true", "1", "yes", "y", "on")


def _tall(name: str, told: Mapping[str, Any]) -> pd.DataFrame:
    """Names and values as two columns; each value keeps its type."""
    keys = sorted(told)
    return pd.DataFrame(
        {
            name: pd.Series(keys, dtype="str" if keys else object),
            "value": pd.Series([_scalar(told[key]) for key in keys], dtype=object),
        }
    )


def _scalar(value: Any) -> Any:
    """mlos_bench's frames take scalars; a document is its JSON."""
    return json.dumps(value) if isinstance(value, dict | list) else value


def _wide(prefix: str, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A column for each key, by name: of numbers where all of it are."""
    keys = sorted({key for row in rows for key in row})
    return pd.DataFrame(
        {f"{prefix}{key}": _column([row.get(key) for row in rows]) for key in keys},
        index=range(len(rows)),
    )


def _column(values: list[Any]) -> Any:
    numbers = all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in values if v is not None
    )
    if numbers:
        return pd.Series(values, dtype=None if any(v is not None for v in values) else float)
    return pd.Series([float("nan") if v is None else v for v in values], dtype=object)
