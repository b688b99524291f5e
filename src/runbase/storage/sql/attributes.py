"""Attributes of runs and experiments, which tools store besides parameters and metrics; and samples by time."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runbase.storage.sql import typed_values
from runbase.storage.sql.session import Session
from runbase.storage.types import Kind

Sample = tuple[float, str, Any]
"""(time in seconds since the epoch, key, value)"""


def put(session: Session, kind: Kind, key: str, scope: str, values: Mapping[str, Any]) -> None:
    """Set attributes of a run or an experiment, in a tool's scope."""
    put_all(session, kind, scope, {key: values})


def put_all(
    session: Session, kind: Kind, scope: str, values: Mapping[str, Mapping[str, Any]]
) -> None:
    """Set attributes of many runs or experiments in one scope: id → key → value."""
    rows = [
        {"of": of, "scope": scope, "key": key, **typed_values.typed(value)}
        for of, attributes in values.items()
        for key, value in attributes.items()
    ]
    session.many("set_attribute" if kind == "run" else "set_experiment_attribute", rows)


def get(session: Session, kind: Kind, keys: Sequence[str], scope: str) -> dict[str, dict[str, Any]]:
    """Return the attributes of several runs or experiments in one scope: id → key → value."""
    statement = "attributes_in_scope" if kind == "run" else "experiment_attributes_in_scope"
    attributes: dict[str, dict[str, Any]] = {key: {} for key in keys}
    for row in session.rows(statement, ids=session.as_list(keys), scope=scope):
        value = typed_values.value(row["type"], row["number"], row["text"])
        attributes[row["of"]][row["key"]] = value
    return attributes


def of_run(session: Session, run: str) -> dict[str, dict[str, Any]]:
    """Return all attributes of a run: scope → key → value."""
    attributes: dict[str, dict[str, Any]] = {}
    for row in session.rows("attributes_of_run", run=run):
        value = typed_values.value(row["type"], row["number"], row["text"])
        attributes.setdefault(row["scope"], {})[row["key"]] = value
    return attributes


def add_samples(session: Session, run: str, samples: Iterable[Sample]) -> None:
    """Store samples; a sample that exists already is not changed."""
    session.rows("lock_runs", runs=session.as_list([run]))
    first: dict[tuple[str, float], Any] = {}
    for time, key, value in samples:
        first.setdefault((key, time), value)
    session.bulk_insert(
        "set_sample",
        "samples",
        [
            {"run_id": run, "key": key, "time": time, **typed_values.typed(first[key, time])}
            for key, time in sorted(first)  # in the order of the index
        ],
        fresh=session.row("any_sample", run=run) is None,
    )


def samples(
    session: Session, runs: Sequence[str], key: str | None = None
) -> list[tuple[str, Sample]]:
    """Return the samples of runs, of one key or of all, by time."""
    rows = session.rows("samples_by_time", runs=session.as_list(runs), key=key)
    return [
        (
            row["run_id"],
            (row["time"], row["key"], typed_values.value(row["type"], row["number"], row["text"])),
        )
        for row in rows
    ]
