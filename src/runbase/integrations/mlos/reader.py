"""Read mlos_bench's database: experiments with their targets, trials with tunables, results, telemetry and metadata.

The storage class of `runbase.integrations.mlos` can continue imported experiments. mlos_bench stores every value as
text; a value that is written as a number becomes a number.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from runbase.ids import derived_id
from runbase.ingest.foreign import ImportedExperiment, ImportedRun, ImportRequest, typed
from runbase.ingest.foreign_databases import Ask, columns, database, each, is_database, tables
from runbase.model import Objective
from runbase.status import Status

NAME = "mlos_bench"
_STATUSES = {
    "UNKNOWN": Status.PENDING,
    "PENDING": Status.PENDING,
    "READY": Status.PENDING,
    "RUNNING": Status.RUNNING,
    "SUCCEEDED": Status.COMPLETED,
    "CANCELED": Status.CANCELLED,
    "FAILED": Status.FAILED,
    "TIMED_OUT": Status.TIMEOUT,
}
_TABLES = {
    "experiment",
    "objectives",
    "config_param",
    "trial",
    "trial_result",
    "trial_status",
    "trial_telemetry",
}


def recognises(source: str) -> bool:
    """Return whether a source is a database with mlos_bench's tables."""
    return is_database(source) and tables(source) >= _TABLES


def count(source: str) -> int:
    """Return the number of trials."""
    with database(source, NAME) as ask:
        return int(ask("select count(*) from trial")[0][0])


def experiments(source: str) -> list[ImportedExperiment]:
    """Return the experiments with their objectives."""
    with database(source, NAME) as ask:
        objectives: dict[str, list[Objective]] = {}
        for key, metric, direction, weight in ask(
            "select exp_id, optimization_target, optimization_direction, weight from objectives "
            "order by 1, 2"
        ):
            objective = Objective(
                metric=metric, direction=direction, weight=1.0 if weight is None else weight
            )
            objectives.setdefault(key, []).append(objective)
        first = dict(ask("select exp_id, min(trial_id) from trial group by exp_id"))
        return [
            ImportedExperiment(
                name=key,
                description=description or "",
                objectives=objectives.get(key, []),
                attributes={
                    "mlos": {
                        "root_env_config": root,
                        "git_repo": repo,
                        "git_commit": commit,
                        "first_trial": max(1, first.get(key, 1)),
                    }
                },
            )
            for key, description, root, repo, commit in ask(
                "select exp_id, description, root_env_config, git_repo, git_commit from experiment"
            )
        ]


def runs(asked: ImportRequest) -> Iterator[ImportedRun]:
    """Yield all trials by experiment and number."""
    with database(asked.source, NAME) as ask:  # one transaction for all trials
        has_runners = "trial_runner_id" in columns(asked.source, ask, "trial")
        configs: dict[int, dict[str, Any]] = {}
        for config, key, value in ask("select config_id, param_id, param_value from config_param"):
            configs.setdefault(config, {})[key] = _value(value)

        def trial_of(
            name: str, trial: int, config: int, start: Any, end: Any, word: str, runner: int | None
        ) -> ImportedRun:
            experiment = name.rpartition(":")[0]
            params = configs.get(config, {})
            run = _trial(ask, experiment, trial, params, start, end, word)
            if runner is not None:
                run.attributes["mlos"] = {"trial_runner": runner}
            return run

        runner = "trial_runner_id" if has_runners else "null"
        rows = ask(
            "select exp_id || ':' || trial_id, trial_id, config_id, ts_start, ts_end, status, "  # noqa: S608
            f"{runner} from trial order by exp_id, trial_id"
        )
        yield from each(rows, trial_of, asked.problems)


def _trial(
    ask: Ask, experiment: str, trial: int, params: dict[str, Any], start: Any, end: Any, word: str
) -> ImportedRun:
    results = _pairs(
        ask(
            "select metric_id, metric_value from trial_result where exp_id = ? and trial_id = ?",
            experiment,
            trial,
        )
    )
    began = _seconds(start)
    ended = None if end is None else _seconds(end)
    numbers = {key: v for key, v in results.items() if isinstance(v, int | float)}
    return ImportedRun(
        id=derived_id(NAME, experiment, str(trial)),
        name=f"{experiment}:{trial}",
        experiment=experiment,
        status=_STATUSES.get(word, Status.PENDING),
        source_status=word,
        started=began,
        due=began if ended is None else None,
        ended=ended,
        params=params,
        history=_history(ask, experiment, trial, ended),
        metrics={key: [(ended or began, 0, float(v))] for key, v in numbers.items()},
        attributes={
            "result": results,
            "config": _pairs(
                ask(
                    "select param_id, param_value from trial_param "
                    "where exp_id = ? and trial_id = ?",
                    experiment,
                    trial,
                )
            ),
        },
        samples=[
            (_seconds(stamp), key, _value(value))
            for stamp, key, value in ask(
                "select ts, metric_id, metric_value from trial_telemetry "
                "where exp_id = ? and trial_id = ? order by 1, 2",
                experiment,
                trial,
            )
        ],
    )


def _history(
    ask: Ask, experiment: str, trial: int, ended: float | None
) -> list[tuple[float, Status]]:
    """Return the statuses of a trial before its last.

    mlos_bench also records statuses that it rejected after the end, and telemetry repeats the current one.
    """
    if ended is None:
        return []
    rows = ask(
        "select ts, status from trial_status where exp_id = ? and trial_id = ? order by ts",
        experiment,
        trial,
    )
    history: list[tuple[float, Status]] = []
    for stamp, word in rows:
        time, status = _seconds(stamp), _STATUSES.get(word, Status.PENDING)
        if time < ended and (not history or history[-1][1] is not status):
            history.append((time, status))
    return history


def _pairs(rows: list[Any]) -> dict[str, Any]:
    return {key: _value(value) for key, value in rows}


def _value(text: str | None) -> Any:
    return None if text is None else typed(text)


def _seconds(stamp: Any) -> float:
    """Return seconds since the epoch; times without a zone are UTC."""
    moment = datetime.fromisoformat(stamp) if isinstance(stamp, str) else stamp
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


__all__ = ["NAME", "count", "experiments", "recognises", "runs"]
