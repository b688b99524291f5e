"""mlos_bench's data objects (experiments, trials, configurations) for analysis in notebooks."""

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
from runbase.integrations.mlos import terms
from runbase.model import Experiment
from runbase.storage.types import TrialRow

KEPT = "mlos"
"""The attribute scope for mlos_bench's own data about experiments and trials."""
RESULT = "result"
"""The attribute scope for the results of a trial, with their types."""
HAS_RUNNERS = hasattr(TrialData, "trial_runner_id")
"""Whether the installed mlos_bench has the runner of a trial (versions after 0.6.2)."""
_METADATA = [
    "trial_id",
    "ts_start",
    "ts_end",
    "tunable_config_id",
    "tunable_config_trial_group_id",
    "status",
    *(["trial_runner_id"] if HAS_RUNNERS else []),
]


class Access:
    """A store, for objects that are pickled to another process and open the store again there.

    Args:
        address: the database URL or path; None for the store of runbase's settings.
        typed: return values with their types; otherwise as text, as SqlStorage does.
    """

    def __init__(self, address: str | None, *, typed: bool = False) -> None:
        self._address, self.typed = address, typed
        self.store = runbase.open(address, sync=False)

    def __getstate__(self) -> tuple[str | None, bool]:
        return self.store.address or self._address, self.typed

    def __setstate__(self, state: tuple[str | None, bool]) -> None:
        self._address, self.typed = state
        self.store = runbase.open(self._address, sync=False)

    @property
    def storage(self) -> Any:
        """The storage of the store."""
        return self.store.storage

    def given(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values with their types or as text, as configured."""
        return dict(values) if self.typed else {k: terms.text(v) for k, v in values.items()}

    def config(self, number: int) -> dict[str, Any]:
        """Return the values of a configuration with their types; raise NotFound if it does not exist."""
        configs = self.storage.configs([number])
        if number not in configs:
            raise NotFound(f"configuration {number} not found")
        return configs[number]

    def configs(self, trials: Sequence[TrialRow]) -> dict[int, dict[str, Any]]:
        """Return the configurations of trials, by number, with their types."""
        return self.storage.configs(sorted({t.config for t in trials if t.config is not None}))

    def first(self, experiment: str) -> int:
        """Return mlos_bench's number of the first trial."""
        kept = self.storage.attributes("experiment", [experiment], KEPT)[experiment]
        return int(kept.get("first_trial", 1))

    def trials(self, experiment: str) -> list[TrialRow]:
        """Return the trials of an experiment that have a configuration, by number."""
        return [row for row in self.storage.trial_rows(experiment) if row.config is not None]

    def results(self, trials: Sequence[TrialRow]) -> dict[str, dict[str, Any]]:
        """Return run → results, with their types; for trials not run by mlos_bench, the last metrics."""
        results = self.storage.attributes("run", [trial.id for trial in trials], RESULT)
        others = [trial.id for trial in trials if trial.ended and trial.source_status is None]
        if others:
            for run in self.storage.get_runs(others):
                results[run.id] = {
                    **{key: metric.last for key, metric in run.metrics.items()},
                    **results[run.id],
                }
        return results


class RunbaseExperimentData(ExperimentData):
    """An experiment; each property reads the database at each access."""

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
        """Metric → direction, by weight (greatest first), then by name."""
        objectives = self._access.store.experiment(self._id).objectives
        ordered = sorted(objectives, key=lambda objective: (-objective.weight, objective.metric))
        return {o.metric: cast('Literal["min", "max"]', o.direction) for o in ordered}

    @property
    def trials(self) -> dict[int, TrialData]:
        """Trial number → trial."""
        return self.trials_of(None)

    @property
    def tunable_configs(self) -> dict[int, TunableConfigData]:
        """Number of a configuration → configuration."""
        return {n: RunbaseConfigData(self._access, n) for n in self.groups()}

    @property
    def tunable_config_trial_groups(self) -> dict[int, TunableConfigTrialGroupData]:
        """Number of a configuration → the trials that share it."""
        return {
            config: RunbaseGroupData(self, self._access, config, group)
            for config, group in self.groups().items()
        }

    @property
    def default_tunable_config_id(self) -> int | None:
        """The configuration of the first trial marked as having the defaults, else of the first trial."""
        trials = self._access.trials(self._id)
        if not trials:
            return None
        configs = self._access.storage.attributes("run", [trial.id for trial in trials], "config")
        marked = [trial for trial in trials if _true(configs[trial.id].get("is_defaults"))]
        return (marked or trials)[0].config

    @property
    def results_df(self) -> pd.DataFrame:
        """One row per trial: times, configuration, group and status, then `config.*` and `result.*`."""
        return self.results_of(None)

    def trials_of(self, config: int | None) -> dict[int, TrialData]:
        """Return trial number → trial, for one configuration or all."""
        rows = [
            row for row in self._access.trials(self._id) if config is None or row.config == config
        ]
        runners: dict[str, dict[str, Any]] = {}
        if HAS_RUNNERS:
            runners = self._access.storage.attributes("run", [row.id for row in rows], KEPT)
        trials: dict[int, TrialData] = {}
        for row in rows:
            number = row.number + self._first - 1
            runner = runners.get(row.id, {}).get("trial_runner")
            trials[number] = RunbaseTrialData(self, self._access, row, number, runner)
        return trials

    def groups(self) -> dict[int, int]:
        """Return configuration → the lowest number of its trials."""
        rows = self._access.store.storage.sql(
            "select config_id, min(number) from runs where experiment_id = :id and deleted_at is null "
            "and config_id is not null group by config_id order by config_id",
            {"id": self._id},
        )
        return {config: number + self._first - 1 for config, number in rows}

    def results_of(self, config: int | None) -> pd.DataFrame:
        """`results_df`, of one configuration or all."""
        groups = self.groups()
        trials = [
            trial
            for trial in self._access.trials(self._id)
            if trial.config in groups and config in (None, trial.config)
        ]
        runners: dict[str, dict[str, Any]] = {}
        if HAS_RUNNERS:
            runners = self._access.storage.attributes("run", [t.id for t in trials], KEPT)
        frame = pd.DataFrame(
            [
                (
                    trial.number + self._first - 1,
                    terms.stored(trial.began),
                    None if trial.ended is None else terms.stored(trial.ended),
                    trial.config,
                    groups[cast("int", trial.config)],
                    terms.word(trial.status, trial.source_status).name,
                    *([runners[trial.id].get("trial_runner")] if HAS_RUNNERS else []),
                )
                for trial in trials
            ],
            columns=_METADATA,
        )
        params, results = self._access.configs(trials), self._access.results(trials)
        typed = self._access.typed
        return pd.concat(
            [
                frame,
                wide(
                    self.CONFIG_COLUMN_PREFIX,
                    [params.get(t.config or 0, {}) for t in trials],
                    typed=typed,
                ),
                wide(self.RESULT_COLUMN_PREFIX, [results[t.id] for t in trials], typed=typed),
            ],
            axis=1,
        )


class RunbaseTrialData(TrialData):
    """A trial, with its status at the time of reading."""

    def __init__(
        self,
        experiment: RunbaseExperimentData,
        access: Access,
        row: TrialRow,
        number: int,
        runner: int | None,
    ) -> None:
        super().__init__(
            experiment_id=experiment.experiment_id,
            trial_id=number,
            tunable_config_id=cast("int", row.config),
            ts_start=terms.stored(row.began),
            ts_end=None if row.ended is None else terms.stored(row.ended),
            status=terms.word(row.status, row.source_status),
            **({"trial_runner_id": runner} if HAS_RUNNERS else {}),
        )
        self._experiment, self._access, self._row = experiment, access, row

    @property
    def tunable_config(self) -> TunableConfigData:
        """The configuration of the trial."""
        return RunbaseConfigData(self._access, self._tunable_config_id)

    @property
    def tunable_config_trial_group(self) -> TunableConfigTrialGroupData:
        """The trials with the same configuration."""
        return RunbaseGroupData(self._experiment, self._access, self._tunable_config_id)

    @property
    def results_df(self) -> pd.DataFrame:
        """Columns metric and value, by metric."""
        results = self._access.results([self._row])[self._row.id]
        return tall("metric", results, typed=self._access.typed)

    @property
    def telemetry_df(self) -> pd.DataFrame:
        """Columns ts, metric and value, by time and metric."""
        samples = self._access.storage.samples([self._row.id])
        rows = [(terms.moment(time), key, value) for _, (time, key, value) in samples]
        columns = ["ts", "metric", "value"]
        if not self._access.typed:
            return pd.DataFrame([(t, k, terms.text(v)) for t, k, v in rows], columns=columns)
        frame = pd.DataFrame(rows, columns=columns)
        frame["value"] = pd.Series([row[2] for row in rows], dtype=object)
        return frame

    @property
    def metadata_df(self) -> pd.DataFrame:
        """Columns parameter and value: the other configuration of the trial, by name."""
        config = self._access.storage.attributes("run", [self._row.id], "config")[self._row.id]
        return tall("parameter", config, typed=self._access.typed)


class RunbaseConfigData(TunableConfigData):
    """A set of tunable values, which is stored once."""

    def __init__(self, access: Access, number: int) -> None:
        super().__init__(tunable_config_id=number)
        self._access = access

    @property
    def config_df(self) -> pd.DataFrame:
        """Columns parameter and value, by name."""
        config = self._access.config(self._tunable_config_id)
        return tall("parameter", config, typed=self._access.typed)


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
        return self._experiment.groups()[self._tunable_config_id]

    @property
    def tunable_config(self) -> TunableConfigData:
        """The configuration that they share."""
        return RunbaseConfigData(self._access, self._tunable_config_id)

    @property
    def trials(self) -> dict[int, TrialData]:
        """Trial number → trial."""
        return self._experiment.trials_of(self._tunable_config_id)

    @property
    def results_df(self) -> pd.DataFrame:
        """One row per trial, as in the experiment's `results_df`."""
        return self._experiment.results_of(self._tunable_config_id)


def tall(name: str, values: Mapping[str, Any], *, typed: bool) -> pd.DataFrame:
    """Return names and values as two columns, by name.

    Args:
        name: the heading of the column of names.
        values: name → value.
        typed: return values with their types; otherwise as text, or None.
    """
    keys = sorted(values)
    if not typed:
        return pd.DataFrame([(k, terms.text(values[k])) for k in keys], columns=[name, "value"])
    return pd.DataFrame(
        {
            name: pd.Series(keys, dtype="str" if keys else object),
            "value": pd.Series([_scalar(values[key]) for key in keys], dtype=object),
        }
    )


def wide(prefix: str, rows: Sequence[Mapping[str, Any]], *, typed: bool) -> pd.DataFrame:
    """Return one column per key, by name, and one row per mapping.

    Args:
        prefix: the prefix of the column names.
        rows: key → value, for each row.
        typed: return values with their types; otherwise they are converted to text and, if possible, to numbers,
            as in SqlStorage.
    """
    keys = sorted({key for row in rows for key in row})
    if typed:
        return pd.DataFrame(
            {f"{prefix}{key}": _column([row.get(key) for row in rows]) for key in keys},
            index=range(len(rows)),
        )
    # SqlStorage pivots the rows that have values, converts them, and then joins them to all trials. This order
    # determines the types of its columns.
    filled = [n for n, row in enumerate(rows) if row]
    texts = [[terms.text(rows[n].get(key)) for n in filled] for key in keys]
    dtype = pd.Series([text for column in texts for text in column]).dtype if texts else object
    frame = pd.DataFrame(
        {
            f"{prefix}{key}": pd.Series(column, index=filled, dtype=dtype)
            for key, column in zip(keys, texts, strict=True)
        },
        index=filled,
    )
    # pandas' type hints of apply do not cover to_numeric.
    converted = cast("Any", frame).apply(cast("Any", pd).to_numeric, errors="coerce").fillna(frame)
    return cast("pd.DataFrame", converted.reindex(range(len(rows))))


def _true(value: Any) -> bool:
    return value is True or str(value).lower() in ("true", "1", "yes", "y", "on")


def _scalar(value: Any) -> Any:
    """Return a scalar for a data frame of mlos_bench; a document becomes JSON."""
    return json.dumps(value) if isinstance(value, dict | list) else value


def _column(values: list[Any]) -> Any:
    numbers = all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in values if v is not None
    )
    if numbers:
        return pd.Series(values, dtype=None if any(v is not None for v in values) else float)
    return pd.Series([float("nan") if v is None else v for v in values], dtype=object)
