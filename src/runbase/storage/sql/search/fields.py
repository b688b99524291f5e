"""Fields that filters and sort keys may name: the columns and families of runs, and of experiments.

A subject is a table that is searched (`runs r` with `experiments e`, or `experiments e` alone), its columns with their
kinds, and the families whose keys users choose: parameters, metrics, tags.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from runbase.status import ACTIVE, SILENCE

Kind = Literal["number", "text", "time", "any"]

ELAPSED = """
-- only: sqlite
round((julianday(coalesce(r.ended_at, r.seen_at, r.updated_at)) - julianday(r.started_at)) * 86400, 3)
-- only: postgres
round(extract(epoch from coalesce(r.ended_at, r.seen_at, r.updated_at) - r.started_at), 3)
-- only: end
"""
"""Seconds from a run's start to its end."""
SECONDS = """
-- only: sqlite
round((julianday(coalesce(r.ended_at, r.seen_at, r.updated_at)) - julianday(r.started_at)) * 86400 - r.dead_seconds, 3)
-- only: postgres
round((extract(epoch from coalesce(r.ended_at, r.seen_at, r.updated_at) - r.started_at) - r.dead_seconds)::numeric, 3)
-- only: end
"""
"""The same without the time in which the run had no process."""

_STATES = ", ".join(f"'{status}'" for status in sorted(ACTIVE))
ALIVE = f"""
-- only: sqlite
(r.status in ({_STATES}) and
 (julianday('now') - julianday(coalesce(r.beat_at, r.seen_at, r.updated_at))) * 86400 < {SILENCE})
-- only: postgres
(case when r.status in ({_STATES}) and
           extract(epoch from now() - case when r.beat_at is null then coalesce(r.seen_at, r.updated_at)
                                           else greatest(r.beat_at, pg_postmaster_start_time()) end) < {SILENCE} then 1 else 0 end)
-- only: end
"""
"""Whether a run is active and has a recent heartbeat, as in `Run.alive`."""

LAST_POINT = """
-- only: sqlite
(select strftime('%Y-%m-%dT%H:%M:%f', max(s.last_time), 'unixepoch') || '000Z'
   from series s where s.run_id = r.id and s.kind = 'metric')
-- only: postgres
(select to_timestamp(max(s.last_time)) from series s where s.run_id = r.id and s.kind = 'metric')
-- only: end
"""
"""When a run logged the point at the greatest step of any metric."""
NANS = "(select coalesce(sum(s.nans), 0) from series s where s.run_id = r.id and s.kind = 'metric')"
"""The number of NaN in all metrics of a run."""

FIGURES: dict[str, str] = {
    "last": "{0}.last",
    "min": "{0}.min",
    "max": "{0}.max",
    "first": "{0}.first",
    "count": "{0}.count",
    "nans": "{0}.nans",
    "mean": "({0}.sum / nullif({0}.count - {0}.nans, 0))",
    "last_step": "{0}.last_step",
    "first_step": "{0}.first_step",
    "min_step": "{0}.min_step",
    "max_step": "{0}.max_step",
}
"""A metric's statistics, as SQL over its row of `series`."""


class Column(Struct, frozen=True):
    """A column: its SQL and kind; `upper`: its values are upper-case names; `truth`: it is 1 or 0."""

    sql: str
    kind: Kind
    upper: bool = False
    truth: bool = False


class Family(Struct, frozen=True):
    """Fields with keys that users choose.

    `join` binds one key (`{0}` is the alias, `{1}` the bound key); `values` has the SQL of its value, by kind; `figures` maps a
    further name after the key to SQL.
    """

    join: str
    kind: Kind
    values: Mapping[str, str]
    figures: Mapping[str, Column] = {}
    known: str = ""
    """A query for existing keys, for suggestions."""
    has: str = ""
    """A query that returns a row if a key exists."""
    scoped: bool = False
    """Whether a key belongs to a scope, which is the first name; `join` binds it as `{2}`."""


class Subject(Struct, frozen=True):
    """A table that can be searched."""

    source: str
    """The FROM clause."""
    also: str
    """Another table, joined if the query refers to it (as `e`)."""
    id: str
    created: str
    columns: Mapping[str, Column]
    aliases: Mapping[str, str]
    families: Mapping[str, Family]
    words: Mapping[str, str]
    """Other names for a family."""


def _distinct(table: str, column: str = "key", condition: str = "") -> str:
    """Return a query for the values of an indexed column, which jumps from one value to the next."""
    where, also = (f" where {condition}", f" and {condition}") if condition else ("", "")
    return (
        f"with recursive k (key) as (select min({column}) from {table}{where} union all "
        f"select (select min({column}) from {table} where {column} > k.key{also}) "
        "from k where k.key is not null) select key from k where key is not null limit 1000"
    )


_PARAMS = Family(
    join="left join params {0} on {0}.run_id = r.id and {0}.key = {1}",
    kind="any",
    values={
        "number": "{0}.number",
        "text": "{0}.text",
        "exists": "{0}.type",
        "any": "coalesce({0}.text, '')",
    },
    known=_distinct("params"),
    has="select 1 from params where key = :key limit 1",
)
_ATTRIBUTES = Family(
    join="left join attributes {0} on {0}.run_id = r.id and {0}.scope = {2} and {0}.key = {1}",
    kind="any",
    values=_PARAMS.values,
    known="select distinct scope || '.' || key from (select scope, key from attributes limit 5000) a",
    scoped=True,
)
_METRICS = Family(
    join="left join series {0} on {0}.run_id = r.id and {0}.kind = 'metric' and {0}.key = {1}",
    kind="number",
    values={"number": FIGURES["last"]},
    figures={name: Column(sql, "number") for name, sql in FIGURES.items()},
    known=_distinct("series", condition="kind = 'metric'"),
    has="select 1 from series where key = :key and kind = 'metric' limit 1",
)
_RUN_TAGS = Family(
    join="left join run_tags {0} on {0}.run_id = r.id and {0}.key = {1}",
    kind="text",
    values={"text": "case when {0}.key is not null then coalesce({0}.value, '') end"},
    known=_distinct("run_tags"),
    has="select 1 from run_tags where key = :key limit 1",
)
_ARTIFACTS = Family(
    join="left join artifacts {0} on {0}.run_id = r.id and {0}.path = {1}",
    kind="text",
    values={"text": "{0}.path"},
    figures={
        "size": Column("{0}.size", "number"),
        "step": Column("{0}.step", "number"),
        "version": Column("{0}.version", "number"),
        "kind": Column("{0}.kind", "text"),
        "sha256": Column("{0}.sha256", "text"),
        "uri": Column("{0}.uri", "text"),
        "created_at": Column("{0}.created_at", "time"),
    },
    known="select distinct path from (select path from artifacts limit 5000) a",
)


def _document(column: str, key: str | None = None) -> Family:
    """Return the top-level keys of a JSON column, or of a document in it, as text; booleans are `true` and `false`."""
    inside = "" if key is None else f", '$.{key}'"
    document = column if key is None else f"({column} -> '{key}')"
    value = f"""
-- only: sqlite
(select case j.type when 'true' then 'true' when 'false' then 'false' when 'null' then null
        else cast(j.atom as text) end from json_each({column}{inside}) j where j.key = {{1}})
-- only: postgres
({document} ->> cast({{1}} as text))
-- only: end
"""
    return Family(join="", kind="text", values={"text": value})


_EXPERIMENT = {
    "id": Column("e.id", "text"),
    "name": Column("e.name", "text"),
    "description": Column("e.description", "text"),
    "base_model": Column("e.base_model", "text"),
    "method": Column("e.method", "text"),
    "status": Column("e.status", "text"),
    "notes": Column("e.notes", "text"),
    "checkpoint": Column("e.checkpoint", "text"),
    "parent_id": Column("e.parent_id", "text"),
    "created_at": Column("e.created_at", "time"),
    "updated_at": Column("e.updated_at", "time"),
}
_TIMES = {
    "start_time": "started_at",
    "end_time": "ended_at",
    "started": "started_at",
    "ended": "ended_at",
    "created": "created_at",
    "updated": "updated_at",
    "seen": "seen_at",
}

RUNS = Subject(
    source="from runs r",
    also="join experiments e on e.id = r.experiment_id",
    id="r.id",
    created="r.created_at",
    columns={
        "id": Column("r.id", "text"),
        "number": Column("r.number", "number"),
        "name": Column("r.name", "text"),
        "status": Column("r.status", "text", upper=True),
        "source_status": Column("r.source_status", "text"),
        "created_at": Column("r.created_at", "time"),
        "started_at": Column("r.started_at", "time"),
        "ended_at": Column("r.ended_at", "time"),
        "updated_at": Column("r.updated_at", "time"),
        "seen_at": Column("r.seen_at", "time"),
        "seconds": Column(SECONDS, "number"),
        "elapsed": Column(ELAPSED, "number"),
        "last_point_at": Column(LAST_POINT, "time"),
        "nans": Column(NANS, "number"),
        "alive": Column(ALIVE, "number", truth=True),
        "user": Column("r.username", "text"),
        "host": Column("r.host", "text"),
        "pid": Column("r.pid", "number"),
        "folder": Column("r.folder", "text"),
        "notes": Column("r.notes", "text"),
        "exit_code": Column("r.exit_code", "number"),
        "checkpoint": Column("r.checkpoint", "text"),
        "parent_id": Column("r.parent_id", "text"),
        "missing_at": Column("r.missing_at", "time"),
        "queued_at": Column("r.queued_at", "time"),
        "due_at": Column("r.due_at", "time"),
        "lease_until": Column("r.lease_until", "time"),
        "priority": Column("r.priority", "number"),
        "attempt": Column("r.attempt", "number"),
        "retries": Column("r.retries", "number"),
        "runner": Column("r.runner", "text"),
        "experiment": Column("e.name", "text"),
        "experiment_id": Column("e.id", "text"),
        **{f"experiment.{name}": column for name, column in _EXPERIMENT.items()},
    },
    aliases={
        **_TIMES,
        "run": "name",
        "run_id": "id",
        "run_name": "name",
        "parent": "parent_id",
        "user_id": "user",
        "username": "user",
        "duration": "seconds",
        "took": "seconds",
        "artifact_uri": "folder",
        "experiment_name": "experiment",
    },
    families={
        "params": _PARAMS,
        "metrics": _METRICS,
        "tags": _RUN_TAGS,
        "artifacts": _ARTIFACTS,
        "git": _document("r.git"),
        "args": _document("r.args"),
        "env": _document("r.env"),
        "system": _document("r.system"),
        "error": _document("r.error"),
        "config": _document("e.config"),
        "slurm": _document("r.system", "slurm"),
        "attributes": _ATTRIBUTES,
    },
    words={
        "param": "params",
        "parameter": "params",
        "parameters": "params",
        "metric": "metrics",
        "tag": "tags",
        "artifact": "artifacts",
        "run": "",
        "runs": "",
        "attribute": "",
        "attributes": "",
        "attr": "",
    },
)

ALERTS = replace(
    RUNS,
    source="from alerts a join runs r on r.id = a.run_id",
    id="a.id",
    created="a.stored_at",
    columns={
        **RUNS.columns,
        "title": Column("a.title", "text"),
        "text": Column("a.text", "text"),
        "level": Column("a.level", "text"),
        "rule": Column("a.rule", "text"),
        "time": Column("a.time", "time"),
    },
)
"""Alerts with the columns and families of their runs."""

EXPERIMENTS = Subject(
    source="from experiments e",
    also="",
    id="e.id",
    created="e.created_at",
    columns={
        **_EXPERIMENT,
        "runs": Column(
            "(select count(*) from runs n where n.experiment_id = e.id and n.deleted_at is null)",
            "number",
        ),
    },
    aliases={
        **_TIMES,
        "experiment_id": "id",
        "experiment": "name",
        "parent": "parent_id",
        "model": "base_model",
    },
    families={
        "tags": Family(
            join="left join experiment_tags {0} on {0}.experiment_id = e.id and {0}.key = {1}",
            kind="text",
            values={"text": "case when {0}.key is not null then coalesce({0}.value, '') end"},
            known="select key from experiment_tags group by key limit 200",
        ),
        "config": _document("e.config"),
        "metrics": Family(
            join="",
            kind="number",
            values={
                "number": """
-- only: sqlite
(select j.atom from json_each(e.metrics) j where j.key = {1} and j.type in ('integer', 'real'))
-- only: postgres
(case when jsonb_typeof(e.metrics -> cast({1} as text)) = 'number'
      then cast(e.metrics ->> cast({1} as text) as double precision) end)
-- only: end
"""
            },
        ),
    },
    words={
        "tag": "tags",
        "metric": "metrics",
        "attribute": "",
        "attributes": "",
        "experiments": "",
    },
)
