"""Runs and experiments side by side: what differs, which is best."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from runbase import extras
from runbase.analysis.directions import best_of, direction_of, lower_is_better
from runbase.errors import counted
from runbase.model import Experiment, Objective, Run
from runbase.values import flatten


class Column(Struct, frozen=True, kw_only=True):
    """One side of a comparison: a run, or an experiment with its runs' best figures."""

    kind: str
    id: str
    name: str
    status: str
    params: dict[str, Any]
    metrics: dict[str, float | None]
    record: Any


class Comparison(Struct, frozen=True, kw_only=True):
    """Several runs and experiments side by side.

    `params` and `metrics` map a key to the values of `items`, in their order, None where one lacks it;
    `best` maps a metric to the places of its best value; `differing` names the parameters that are
    not the same everywhere; `missing` names what was asked for and is not there; `objectives` are
    those of the experiments.
    """

    items: list[Column]
    params: dict[str, list[Any]]
    differing: list[str]
    metrics: dict[str, list[float | None]]
    best: dict[str, list[int]]
    missing: list[str]
    objectives: list[Objective] = []

    def to_pandas(self) -> Any:
        """A row an item, with columns `params.*` (those that differ) and `metrics.*`."""
        pd: Any = extras.load("pandas", "analysis", "a data frame")

        rows = [
            {"kind": item.kind, "id": item.id, "name": item.name, "status": item.status}
            | {f"params.{key}": self.params[key][n] for key in self.differing}
            | {f"metrics.{key}": values[n] for key, values in self.metrics.items()}
            for n, item in enumerate(self.items)
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        names = ", ".join(item.name for item in self.items)
        verb = "differs" if len(self.differing) == 1 else "differ"
        return f"<Comparison of {names}: {counted(len(self.differing), 'parameter')} {verb}>"

    def diff(self) -> dict[str, list[Any]]:
        """The parameters and configuration that differ: key → values in the order of the items."""
        return {key: self.params[key] for key in self.differing}

    def _repr_html_(self) -> str:
        from runbase.analysis import html  # notebooks only

        heads = [
            "",
            *(
                f"{html.escape(item.name)}<br><small>{html.escape(item.status)}</small>"
                for item in self.items
            ),
        ]
        body = [
            [html.cell(key, None), *(html.cell(value, None) for value in self.params[key])]
            for key in self.differing
        ]
        for key, values in self.metrics.items():
            places = self.best.get(key, [])
            cells = [html.cell(v, v if n in places else None) for n, v in enumerate(values)]
            body.append([html.cell(key, None), *cells])
        caption = "not found: " + ", ".join(self.missing) if self.missing else ""
        return html.table(heads, body, caption)


def compare(
    found: Sequence[Run | Experiment],
    figures: Mapping[str, Mapping[str, tuple[float | None, float | None]]],
    missing: Sequence[str],
    objectives: Sequence[Objective] = (),
) -> Comparison:
    """Side by side, in the order given.

    `figures` holds, for each experiment's id, the least and greatest last value of each metric of its
    runs; `objectives` are those of the experiments of the runs.
    """
    own = [o for item in found if isinstance(item, Experiment) for o in item.objectives]
    objectives = [*own, *objectives]
    items = [
        _of_run(item)
        if isinstance(item, Run)
        else _of_experiment(item, figures.get(item.id, {}), objectives)
        for item in found
    ]
    params = _table([item.params for item in items])
    metrics = _table([item.metrics for item in items])
    best: dict[str, list[int]] = {}
    for key, values in metrics.items():
        top = best_of(values, direction_of(key, objectives))
        if top is not None:
            best[key] = [n for n, value in enumerate(values) if value == top]
    return Comparison(
        items=items,
        params=params,
        differing=[key for key, values in params.items() if _differ(items, key, values)],
        metrics=metrics,
        best=best,
        missing=list(missing),
        objectives=list(objectives),
    )


def _differ(items: Sequence[Column], key: str, values: Sequence[Any]) -> bool:
    present = {key in item.params for item in items}
    return len(present) > 1 or len({repr(value) for value in values}) > 1


def _of_run(run: Run) -> Column:
    metrics = {key: metric.last for key, metric in run.metrics.items()}
    return Column(
        kind="run",
        id=run.id,
        name=run.name,
        status=run.status.value,
        params=run.params,
        metrics=metrics,
        record=run,
    )


def _of_experiment(
    experiment: Experiment,
    figures: Mapping[str, tuple[float | None, float | None]],
    objectives: Sequence[Objective],
) -> Column:
    metrics = {
        key: low if lower_is_better(key, objectives) else high
        for key, (low, high) in figures.items()
    }
    metrics |= {k: v for k, v in experiment.metrics.items() if isinstance(v, int | float)}
    about = {"base_model": experiment.base_model, "method": experiment.method}
    return Column(
        kind="experiment",
        id=experiment.id,
        name=experiment.name,
        status=experiment.status,
        params={k: v for k, v in about.items() if v is not None} | dict(flatten(experiment.config)),
        metrics=metrics,
        record=experiment,
    )


def _table(columns: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    keys = dict.fromkeys(key for column in columns for key in column)
    return {key: [column.get(key) for column in columns] for key in sorted(keys)}
