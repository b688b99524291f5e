"""Return whole runs as plain data, independent of any database, for `load`."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from msgspec import Struct

from runbase.storage.block_files import Axis
from runbase.storage.sql import archived_blocks, runs
from runbase.storage.sql.session import Session

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

TIMES = (
    "created_at",
    "started_at",
    "ended_at",
    "updated_at",
    "seen_at",
    "lost_at",
    "deleted_at",
    "queued_at",
    "due_at",
    "lease_until",
)
DOCUMENTS = ("git", "args", "env", "system", "error")
PLAIN = (
    "name",
    "status",
    "parent_id",
    "username",
    "host",
    "pid",
    "folder",
    "checkpoint",
    "notes",
    "exit_code",
    "source_status",
    "priority",
    "attempt",
    "retries",
    "runner",
    "dead_seconds",
)
_decode = msgspec.json.Decoder().decode


class RunDump(Struct, kw_only=True):
    """A run with all its data, independent of any database.

    Times are seconds since the epoch. Arrays are JSON text, with NaN as null and infinities as 9e999.
    """

    id: str
    experiment_id: str
    number: int
    fields: dict[str, Any]
    own: dict[str, Any] = {}
    params: list[dict[str, Any]] = []
    tags: dict[str, str | None] = {}
    history: list[dict[str, Any]] = []
    journals: list[dict[str, Any]] = []
    problems: list[dict[str, Any]] = []
    series: list[dict[str, Any]] = []
    groups: list[dict[str, Any]] = []
    blocks: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    artifacts: list[dict[str, Any]] = []
    links: list[tuple[str, str, str]] = []
    uses: list[dict[str, Any]] = []
    attributes: list[dict[str, Any]] = []
    samples: list[dict[str, Any]] = []
    alerts: list[dict[str, Any]] = []


class Around(Struct, kw_only=True):
    """Data of experiments besides their records: links and attributes."""

    links: list[tuple[str, str, str]] = []
    attributes: list[dict[str, Any]] = []


def dump_related(session: Session, experiments: Sequence[str]) -> Around:
    """Return links and attributes of experiments as plain data."""
    ids = session.as_list(experiments)
    return Around(
        links=[
            (r["from_id"], r["kind"], r["to_id"])
            for r in session.rows("links_of_experiments", ids=ids)
        ],
        attributes=[without(row) for row in session.rows("attributes_of_experiments", ids=ids)],
    )


def dump_runs(session: Session, ids: Sequence[str]) -> list[RunDump]:
    """Return runs as plain data, in a fixed number of queries."""
    own = list(session.own.of(session, "runs"))
    listed = session.as_list(ids)
    dumps: dict[str, RunDump] = {}
    rows = session.rows("runs_by_id", runs=listed)
    sets = runs.packages(session, rows)
    for row in rows:
        fields: dict[str, Any] = {name: row[name] for name in PLAIN}
        fields |= {name: _seconds(session, row[name]) for name in TIMES}
        fields |= {name: session.document(row[name]) for name in DOCUMENTS}
        fields["system"] = runs.system_of(session, row, sets)
        dumps[row["id"]] = RunDump(
            id=row["id"],
            experiment_id=row["experiment_id"],
            number=row["number"],
            fields=fields,
            own={name: row[name] for name in own if row[name] is not None},
        )
    for row in session.rows("params_of_runs", runs=listed):
        dumps[row["run_id"]].params.append(without(row, "run_id"))
    for row in session.rows("tags_of_runs", runs=listed):
        dumps[row["run_id"]].tags[row["key"]] = row["value"]
    for name, attribute in _PARTS.items():
        for row in session.arrays(name, runs=listed):
            values = without(row, "run_id")
            for key, value in values.items():
                values[key] = _portable(session, key, value)
            cast("list[Any]", getattr(dumps[row["run_id"]], attribute)).append(values)
    _add_archived(session, dumps)
    for row in session.rows("links_of_runs", runs=listed):
        dumps[row["from_id"]].links.append((row["from_id"], row["kind"], row["to_id"]))
    return [dumps[run] for run in ids if run in dumps]


def _add_archived(session: Session, dumps: Mapping[str, RunDump]) -> None:
    """Add the points that are in archives."""
    for archived in archived_blocks.find(session, list(dumps)):
        dump = dumps[archived.run]
        series = {(row["kind"], row["key"]): row for row in dump.series}
        for row in archived_blocks.whole(session, archived):
            if isinstance(row, Axis):
                dump.groups.append(archived_blocks.portable(row))
                continue
            of = series[row.kind, row.key]
            block = archived_blocks.portable(row, whole_numbers=of["type"] in ("int", "bool"))
            dump.blocks.append({**block, "series_id": of["id"]})


_TIME_COLUMNS = (
    "time", "stored_at", "created_at", "opened_at", "closed_at", "seen_at", "state_at", "removed_at",
)  # fmt: skip
_PARTS = {
    "history_of_runs": "history",
    "journals_of_runs": "journals",
    "problems_of_runs": "problems",
    "all_series_of_runs": "series",
    "groups_of_runs": "groups",
    "all_blocks_of_runs": "blocks",
    "records_of_runs": "records",
    "artifacts_of_runs": "artifacts",
    "uses_of_runs": "uses",
    "attributes_of_runs": "attributes",
    "samples_of_runs": "samples",
    "alerts_of_runs": "alerts",
}


def without(row: Any, *names: str) -> dict[str, Any]:
    """Return a row as a dictionary, without some columns."""
    return {key: row[key] for key in row.keys() if key not in names}  # noqa: SIM118 - a row is not a dict


def _portable(session: Session, key: str, value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    if key in ("numbers", "times", "steps", "progress"):
        return value if isinstance(value, str) else _text(value)
    if key in _TIME_COLUMNS:
        return _seconds(session, value)
    if key in ("value", "metadata"):
        return session.document(value)
    return value


def _text(values: Any) -> str:
    """Return an array as JSON text."""
    from runbase.storage.arrays import encode_numbers

    return encode_numbers(
        cast("list[Any]", values) if isinstance(values, list) else values.tolist()
    )


def _seconds(session: Session, value: Any) -> float | None:
    moment = session.moment(value)
    return None if moment is None else moment.timestamp()
