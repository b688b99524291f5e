"""SQLTrack's PostgreSQL schema: experiments, runs, and the metric columns that its users added, of every type.

Numbers, true and false, and times become metrics; texts and documents become records. Tables of users' own are left
alone. Its metrics have no times: a run's points have that of its last change.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from runbase.ids import derived_id
from runbase.importers.base import Asked, Foreign, Told
from runbase.importers.databases import database, each, is_database, tables
from runbase.secrets import allowed
from runbase.status import Status
from runbase.values import flatten

NAME = "sqltrack"
_TABLES = {"applied_migrations", "experiments", "experiment_links", "runs", "run_links", "metrics"}
_KEYS = ("run_id", "step", "progress")


def recognises(source: str) -> bool:
    """Whether it is a schema with SQLTrack's tables, and none of ours."""
    if not source.startswith("postgres") or not is_database(source):
        return False
    found = tables(source)
    return found >= _TABLES and "series" not in found and "latest_metrics" not in found


def count(source: str) -> int:
    """How many runs there are."""
    with database(source, NAME) as ask:
        return int(ask("select count(*) from runs")[0][0])


def experiments(source: str) -> list[Told]:
    """Names, comments, tags."""
    with database(source, NAME) as ask:
        names = dict(ask("select id, name from experiments"))
        links: dict[str, list[tuple[str, str]]] = {}
        for origin, kind, goal in ask(
            "select from_id, kind, to_id from experiment_links order by 1, 2, 3"
        ):
            links.setdefault(names[origin], []).append((str(kind), names[goal]))
        return [
            Told(
                name=name,
                description=comment or "",
                fields={"tags": _tags(tags)},
                links=links.get(name, []),
                attributes={NAME: {"id": key, "created_at": created}},
            )
            for key, name, comment, tags, created in ask(
                "select id, name, comment, tags, time_created from experiments order by id"
            )
        ]


def runs(asked: Asked) -> Iterator[Foreign]:
    """Every run, with its points in the order of their steps."""
    with database(asked.source, NAME) as ask:  # whole, or not at all
        host = ask("select current_database() || '.' || current_schema()")[0][0]
        columns = [
            name
            for (name,) in ask(
                "select column_name from information_schema.columns "
                "where table_schema = current_schema() and table_name = 'metrics' order by ordinal_position"
            )
            if name not in _KEYS
        ]
        listed = "".join(f', "{name.replace(chr(34), chr(34) * 2)}"' for name in columns)
        links: dict[int, list[tuple[str, str]]] = {}
        for origin, kind, goal in ask(
            "select from_id, kind, to_id from run_links order by 1, 2, 3"
        ):
            links.setdefault(origin, []).append((str(kind), derived_id(NAME, host, str(goal))))

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
        ) -> Foreign:
            run = Foreign(
                id=derived_id(NAME, host, str(key)),
                name=f"{experiment}-{key}",
                experiment=experiment,
                status=Status(word),
                source_status=word,
                started=(started or created).timestamp(),
                ended=None if updated is None else updated.timestamp(),
                notes=comment or "",
                params=_params(args),
                tags=_tags(tags),
                env=allowed(cast("dict[str, str]", env or {})),
                links=links.get(key, []),
                attributes={NAME: {"id": key}},
            )
            when = (updated or started or created).timestamp()
            for step, progress, *values in ask(
                f"select step, progress{listed} from metrics where run_id = ? order by step, progress",  # noqa: S608
                key,
            ):
                for name, value in zip(columns, values, strict=True):
                    if _keep(run, name, when, step, value):
                        run.progress.setdefault(name, []).append(progress)
            return run

        rows = ask(
            "select r.id, e.name, r.status::text, r.time_created, r.time_started, r.time_updated, r.comment, "
            "r.tags, r.args, r.env from runs r join experiments e on e.id = r.experiment_id order by r.id"
        )
        yield from each(rows, run_of, asked.problems)


def _tags(told: Any) -> dict[str, str | None]:
    """SQLTrack's tags are the keys of a document."""
    return dict.fromkeys(cast("dict[str, Any]", told or {}))


def _params(told: Any) -> dict[str, Any]:
    return dict(flatten(cast("dict[str, Any]", told))) if isinstance(told, dict) else {}


def _keep(run: Foreign, name: str, when: float, step: int, value: Any) -> bool:
    """A value of a row; whether it is a point of a metric."""
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
