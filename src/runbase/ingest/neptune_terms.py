"""Map Neptune's attributes (`sys/…`), which GoodSeed uses too, to the fields of a run."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from runbase.ingest.foreign import Artifact, ImportedRecord, ImportedRun
from runbase.status import Status
from runbase.typing import JsonObject

_TIMES = ("creation_time", "modification_time", "ping_time", "closed_time")
_TAGS = ("tags", "group_tags")
_MACHINE = "monitoring/"
"""Prefix of Neptune's measurements of the machine."""
_WORDS = {
    "finished": Status.COMPLETED,
    "inactive": Status.COMPLETED,
    "idle": Status.COMPLETED,
    "failed": Status.FAILED,
    "running": Status.RUNNING,
    "active": Status.RUNNING,
}


def attributes(
    *,
    run: str,
    name: str,
    project: str,
    said: Mapping[str, object],
    metrics: dict[str, list[tuple[float, int | float, float]]],
    texts: list[tuple[float, int | float, str, Any]],
    records: list[ImportedRecord] | None = None,
    artifacts: list[Artifact] | None = None,
) -> ImportedRun:
    """Create a run from the values of its attributes, by path, and its series."""
    system = {key.removeprefix("sys/"): v for key, v in said.items() if key.startswith("sys/")}
    times = {key: moment for key in _TIMES if (moment := _moment(system.get(key))) is not None}
    seen = [rows[n][0] for rows in metrics.values() for n in (0, -1)]
    began = times.get("creation_time") or min(seen, default=0.0)
    word = "failed" if system.get("failed") is True else str(system.get("state") or "inactive")
    status = _WORDS.get(word.lower(), Status.COMPLETED)
    over = times.get("closed_time") or max([*seen, *times.values()], default=began)
    tags: dict[str, str | None] = {
        str(tag): None for key in _TAGS for tag in _items(system.get(key))
    }
    if system.get("name") and system["name"] != name:
        tags["name"] = str(system["name"])
    known = {
        *_TIMES,
        *_TAGS,
        *["id", "custom_run_id", "name", "state", "failed", "description", "owner"],
    }
    rest = {
        f"sys/{key}": v for key, v in system.items() if key not in {*known, "hostname", "trashed"}
    }
    rest |= {k: v for k, v in said.items() if not k.startswith(("sys/", _MACHINE))}
    machine = {key for key in metrics if key.startswith(_MACHINE)}
    return ImportedRun(
        id=run,
        name=name,
        experiment=project,
        status=status,
        source_status=word,
        started=began,
        ended=over if status is not Status.RUNNING else None,
        user=str(system["owner"]) if system.get("owner") else None,
        notes=str(system.get("description") or ""),
        params={key: _plain(value) for key, value in rest.items()},
        tags=tags,
        system=_hosts(system, said),
        metrics={key: rows for key, rows in metrics.items() if key not in machine},
        texts=texts,
        records=records or [],
        artifacts=artifacts or [],
        samples=[
            (when, f"system/{key.split('/', 2)[-1]}", value)
            for key in sorted(machine)
            for when, _, value in metrics[key]
        ],
        deleted=system.get("trashed") is True,
    )


def _hosts(system: Mapping[str, object], said: Mapping[str, object]) -> JsonObject:
    """Return facts about the machine, by the last part of paths such as `monitoring/<id>/hostname`."""
    facts = {key.split("/")[-1]: v for key, v in said.items() if key.startswith(_MACHINE)}
    if system.get("hostname"):
        facts["hostname"] = system["hostname"]
    return {key: _plain(value) for key, value in facts.items()}


def _moment(value: object) -> float | None:
    if isinstance(value, str) and value:
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value.timestamp() if isinstance(value, datetime) else None


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return list(cast("Any", value)) if isinstance(value, set | tuple) else value


def _items(value: object) -> Sequence[object]:
    """The items of a list or a set; nothing for another value."""
    return [*cast("Iterable[object]", value)] if isinstance(value, list | set | tuple) else []
