"""Read SQLTrack's PostgreSQL schema (0.1.3 and 0.1.4): experiments, runs, and metric columns added by users.

Numbers, booleans and times become metrics; texts and documents become records. Columns that users added to runs and
experiments become attributes. SQLTrack stores no times of metrics: the points of a run get the time of its last change.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from runbase.capture.secrets import allowed
from runbase.ids import derived_id
from runbase.ingest.foreign import ImportedExperiment, ImportedRun, ImportRequest
from runbase.ingest.foreign_databases import Ask, columns, database, each, is_database, tables
from runbase.status import Status
from runbase.values import flatten

NAME = "sqltrack"
_TABLES = {"applied_migrations", "experiments", "runs", "metrics"}
_LINKS = (("experiment_links", "run_links"), ("experiment_relationships", "run_relationships"))
"""The tables of links in 0.1.4 and in 0.1.3."""
_METRICS = ("run_id", "step", "progress")
_RUNS = (
    "id",
    "experiment_id",
    "status",
    "time_created",
    "time_started",
    "time_updated",
    "comment",
    "tags",
    "args",
    "env",
)
_EXPERIMENTS = ("id", "time_created", "name", "comment", "tags")
ENDED = {
    # SQLTrack uses Slurm's statuses, but a run that `stop` set to one of these has ended.
    "STOPPED": Status.CANCELLED,
    "SIGNALING": Status.CANCELLED,
    "COMPLETING": Status.COMPLETED,
    "STAGE_OUT": Status.COMPLETED,
}


def recognises(source: str) -> bool:
    """Return whether a source is a schema with SQLTrack's tables, and not one of runbase."""
    if not source.startswith("postgres") or not is_database(source):
        return False
    names = tables(source)
    return (
        names >= _TABLES
        and any(names.issuperset(links) for links in _LINKS)
        and not names & {"series", "latest_metrics"}
    )


def count(source: str) -> int:
    """Return the number of runs."""
    with database(source, NAME) as ask:
        return int(ask("select count(*) from runs")[0][0])


def experiments(source: str) -> list[ImportedExperiment]:
    """Return experiments with name, comment, tags, links, and columns added by users."""
    with database(source, NAME) as ask:
        own = _own(source, ask, "experiments", _EXPERIMENTS)
        rows = ask(
            f"select id, time_created, name, comment, tags{_listed(own)} from experiments order by id"  # noqa: S608
        )
        names = {row[0]: row[2] for row in rows}
        links: dict[Any, list[tuple[str, str]]] = {}
        for origin, kind, goal in ask(
            f"select from_id, kind, to_id from {_link_tables(ask)[0]} order by 1, 2, 3"  # noqa: S608
        ):
            links.setdefault(origin, []).append((str(kind), names[goal]))
        return [
            ImportedExperiment(
                name=name,
                created=created.timestamp(),
                updated=created.timestamp(),
                description=comment or "",
                fields={"tags": _tags(tags)},
                links=links.get(key, []),
                attributes={NAME: {"id": key, **_values(own, values)}},
            )
            for key, created, name, comment, tags, *values in rows
        ]


def runs(asked: ImportRequest) -> Iterator[ImportedRun]:
    """Yield all runs, with points in the order of their steps."""
    source = asked.source
    with database(source, NAME) as ask:  # one transaction for all runs
        host = ask("select current_database() || '.' || current_schema()")[0][0]
        metrics = _own(source, ask, "metrics", _METRICS)
        own = _own(source, ask, "runs", _RUNS)
        links: dict[int, list[tuple[str, str]]] = {}
        for origin, kind, goal in ask(
            f"select from_id, kind, to_id from {_link_tables(ask)[1]} order by 1, 2, 3"  # noqa: S608
        ):
            links.setdefault(origin, []).append((str(kind), derived_id(NAME, host, str(goal))))
        for table in sorted(tables(source) - _TABLES - {name for pair in _LINKS for name in pair}):
            asked.leave_out(f"table {table}, which is not one of SQLTrack's")

        def run_of(
            key: int,
            experiment: str,
            word: str,
            created: datetime,
            started: datetime | None,
            updated: datetime | None,
            comment: str | None,
            tags: Any,
            args: Any,
            env: Any,
            *values: Any,
        ) -> ImportedRun:
            variables = cast("dict[str, str]", env or {})
            kept = allowed(variables)
            asked.leave_out(
                "environment variables that are not on the allow-list", len(variables) - len(kept)
            )
            run = ImportedRun(
                id=derived_id(NAME, host, str(key)),
                name=f"{experiment}-{key}",
                experiment=experiment,
                status=_status(word, started),
                source_status=word,
                created=created.timestamp(),
                started=(started or created).timestamp(),
                has_started=started is not None,
                ended=None if updated is None else updated.timestamp(),
                notes=comment or "",
                params=dict(flatten(cast("dict[str, Any]", args)))
                if isinstance(args, dict)
                else {},
                tags=_tags(tags),
                env=kept,
                links=links.get(key, []),
                attributes={
                    NAME: {
                        "id": key,
                        "time_updated": None if updated is None else _plain(updated),
                        **_values(own, values),
                    }
                },
                upserts=True,
            )
            when = (updated or started or created).timestamp()
            for step, progress, *figures in ask(
                f"select step, progress{_listed(metrics)} from metrics where run_id = ? "  # noqa: S608
                "order by step, progress",
                key,
            ):
                for name, value in zip(metrics, figures, strict=True):
                    if _keep(run, name, when, step, value):
                        run.progress.setdefault(name, []).append(progress)
            return run

        rows = ask(
            "select r.id, e.name, r.status::text, r.time_created, r.time_started, r.time_updated, "  # noqa: S608
            f"r.comment, r.tags, r.args, r.env{_listed(own, 'r.')} "
            "from runs r join experiments e on e.id = r.experiment_id order by r.id"
        )
        yield from each(rows, run_of, asked.problems)


def _link_tables(ask: Ask) -> tuple[str, str]:
    """Return the tables of links between experiments and between runs, which depend on the version."""
    names = {
        name
        for (name,) in ask(
            "select table_name from information_schema.tables where table_schema = current_schema()"
        )
    }
    return next(pair for pair in _LINKS if names.issuperset(pair))


def _own(source: str, ask: Ask, table: str, known: tuple[str, ...]) -> list[str]:
    """Return the columns that users added to a table."""
    return [name for name in columns(source, ask, table) if name not in known]


def _listed(names: list[str], prefix: str = "") -> str:
    """Return quoted columns to append to a select list."""
    return "".join(f', {prefix}"{name.replace(chr(34), chr(34) * 2)}"' for name in names)


def _values(names: list[str], values: Any) -> dict[str, Any]:
    """Return the values of columns added by users, without empty ones."""
    return {n: _plain(v) for n, v in zip(names, values, strict=True) if v is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
    if isinstance(value, Decimal):
        return float(value)
    plain = isinstance(value, bool | int | float | str | dict | list)
    return cast("Any", value) if plain else str(value)


def _status(word: str, started: datetime | None) -> Status:
    if word in ENDED:
        return ENDED[word]
    try:
        return Status(word)
    except ValueError:
        return Status.PENDING if started is None else Status.CANCELLED


def _tags(document: Any) -> dict[str, str | None]:
    """Return tags from SQLTrack's document: tag → true, or a value."""
    if isinstance(document, list):
        return {str(tag): None for tag in cast("list[Any]", document)}
    values = cast("Mapping[str, Any]", document or {})
    return {
        str(tag): None
        if value is True or value is None
        else value
        if isinstance(value, str)
        else json.dumps(value)
        for tag, value in values.items()
    }


def _keep(run: ImportedRun, name: str, when: float, step: int, value: Any) -> bool:
    """Add a value of a row; return whether it is a point of a metric."""
    match value:
        case None:
            return False
        case datetime():
            run.types[name] = "time"
            number = value.timestamp()
        case bool():
            run.types[name] = "bool"
            number = float(value)
        case int() | float() | Decimal():
            number = float(value)
        case _:
            run.texts.append((when, step, name, value))
            return False
    run.metrics.setdefault(name, []).append((when, step, number))
    return True


__all__ = ["NAME", "count", "experiments", "recognises", "runs"]
