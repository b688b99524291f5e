"""The record of a launch: one attribute of its experiment, in the scope `launch`, whose key is the id of the launch."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from runbase.errors import Ambiguous, NotFound, suggestion
from runbase.storage.protocol import Storage
from runbase.trials.launchers.resources import Resources
from runbase.typing import JsonObject

SCOPE = "launch"
"""The scope of the attributes."""
_FIND = """
select a.experiment_id, e.name, a.key
from experiment_attributes a join experiments e on e.id = a.experiment_id
where a.scope = 'launch' and e.deleted_at is null
  and (a.experiment_id = :experiment or cast(:experiment as text) is null)
order by a.key
"""


class LaunchRecord(Struct, frozen=True, kw_only=True):
    """A launch, as it is stored. The state of its workers is known to the scheduler.

    Attributes:
        id: what names the launch, also in the tag `launch` of its runs.
        launcher: local, slurm, ray or kubernetes.
        job: what the launcher needs to find its job again, such as the id of an array of Slurm.
        workers: the number of workers.
        max_parallel: the number of workers that run at once; None: all.
        command: the command of the trials, without secrets.
        resources: what each worker is given.
        options: further options of the scheduler, without secrets.
        host: the machine that launched.
        user: who launched.
        launched_at: when (UTC, ISO 8601).
        store: the URL of the store, without a password.
        folder: the folder on that machine with scripts and output.
        trial: the id of the only trial of a launch without a queue.
        experiment: the name of the experiment.
        experiment_id: its id.
    """

    id: str
    launcher: str
    job: JsonObject
    workers: int
    command: list[str]
    host: str
    launched_at: str
    store: str
    user: str | None = None
    max_parallel: int | None = None
    resources: Resources = Resources()
    options: list[str] = []
    folder: str | None = None
    trial: str | None = None
    experiment: str = ""
    experiment_id: str = ""


_OF_THE_EXPERIMENT = ("experiment", "experiment_id")
"""Fields that are not in the attribute: it belongs to the experiment, which may be renamed."""


def save(storage: Storage, record: LaunchRecord) -> None:
    """Store a record, in place of an earlier one of the same launch."""
    fields: dict[str, Any] = msgspec.to_builtins(record)
    for name in _OF_THE_EXPERIMENT:
        fields.pop(name)
    storage.put_attributes("experiment", record.experiment_id, SCOPE, {record.id: fields})


def find(storage: Storage, launch: str) -> LaunchRecord:
    """Return the record of a launch.

    Args:
        storage: the storage.
        launch: the id, or a unique prefix of it.

    Raises:
        NotFound: there is no such launch.
        Ambiguous: the prefix is that of several launches.
    """
    rows = [tuple(row) for row in storage.sql(_FIND, {"experiment": None})]
    matches = [row for row in rows if row[2] == launch] or [
        row for row in rows if str(row[2]).startswith(launch)
    ]
    if not matches or not launch:
        known = [str(row[2]) for row in rows]
        raise NotFound(f"no launch {launch!r}{suggestion(launch, known)}")
    if len(matches) > 1:
        raise Ambiguous(f"{launch!r} is the beginning of {len(matches)} launches; pass more of it")
    return _records(storage, matches)[0]


def list_all(storage: Storage, experiment: str | None = None) -> list[LaunchRecord]:
    """Return the records of all launches, the oldest first.

    Args:
        storage: the storage.
        experiment: the id of an experiment; None: all experiments.
    """
    rows = [tuple(row) for row in storage.sql(_FIND, {"experiment": experiment})]
    return sorted(_records(storage, rows), key=lambda record: record.launched_at)


def _records(storage: Storage, rows: Sequence[tuple[Any, ...]]) -> list[LaunchRecord]:
    ids = list(dict.fromkeys(str(row[0]) for row in rows))
    attributes = storage.attributes("experiment", ids, SCOPE)
    return [
        msgspec.convert(
            {**attributes[experiment][key], "experiment": name, "experiment_id": experiment},
            LaunchRecord,
        )
        for experiment, name, key in rows
    ]
