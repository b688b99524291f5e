"""The ids of experiments for MLflow's clients: whole numbers as text.

The number of an experiment is an attribute in the scope `mlflow`, with a key of its own (`id.3`). If two servers number an
experiment at the same moment, it has two attributes: both numbers are understood, and the lesser is shown.
"""

import re
import threading
from collections.abc import Iterable, Sequence

from msgspec import Struct

from runbase.ids import derived_id
from runbase.model import Experiment
from runbase.storage.protocol import Storage
from runbase.storage.types import Query
from runbase.typing import JsonObject

SCOPE = "mlflow"
DEFAULT, DEFAULT_NAME = "0", "Default"
LOCATION = "artifact_location"
_COUNTER = "mlflow experiment"
_KEY = re.compile(r"id\.(\d+)")


class Place(Struct, frozen=True):
    """The number of an experiment, and where the artifacts of its runs are."""

    number: str
    location: str

    def artifacts_of(self, run: str) -> str:
        """Return the URI of the artifacts of a run."""
        return f"{self.location.rstrip('/')}/{run}/artifacts"


class Numbers:
    """Finds and gives numbers, and keeps those that it saw.

    Args:
        storage: the database.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._places: dict[str, Place] = {}
        self._ids: dict[str, str] = {}
        self._lock = threading.Lock()

    def of(self, ids: Iterable[str]) -> dict[str, Place]:
        """Return the places of experiments by their ids; new experiments get a number."""
        wanted = list(dict.fromkeys(ids))
        missing = [key for key in wanted if key not in self._places]
        if missing:
            with self._lock:
                self._read(missing)
                new = [key for key in missing if key not in self._places]
                for key in new:
                    number = self._storage.count_on(_COUNTER)
                    self._storage.put_attributes("experiment", key, SCOPE, {f"id.{number}": number})
                self._read(new)
        return {key: self._places[key] for key in wanted}

    def find(self, number: str) -> str | None:
        """Return the id of the experiment with a number; None if there is none."""
        if number == DEFAULT:
            return self.default()
        found = self._ids.get(number)
        if found is None:
            self.of(record.id for record in self.everything())
            found = self._ids.get(number)
        if found is None and self._storage.get_experiments([number]):
            return number  # the id that runbase itself shows
        return found

    def default(self) -> str:
        """Return the id of the experiment with the number 0, and create it if it is missing."""
        if DEFAULT not in self._ids:
            self._read([record.id for record in self.everything()])
        if DEFAULT not in self._ids:
            made = derived_id("mlflow", "experiment", DEFAULT)
            key = self._storage.get_or_create_experiment(DEFAULT_NAME, {}, made)
            self._storage.put_attributes("experiment", key, SCOPE, {f"id.{DEFAULT}": 0})
            self._read([key])
        return self._ids[DEFAULT]

    def everything(self) -> list[Experiment]:
        """Return all experiments, deleted ones included, newest first."""
        found = [
            *self._storage.experiments(Query()),
            *self._storage.experiments(Query(deleted=True)),
        ]
        return sorted(found, key=lambda record: record.created_at, reverse=True)

    def named(self, name: str) -> list[Experiment]:
        """Return the experiments with a name, deleted ones included."""
        if name == DEFAULT_NAME:
            self.default()
        where = "name = '" + name.replace("'", "''") + "'"
        queries = [Query(where=where), Query(where=where, deleted=True)]
        return [record for query in queries for record in self._storage.experiments(query)]

    def _read(self, ids: Sequence[str]) -> None:
        """Read the numbers of experiments that have one."""
        attributes = self._storage.attributes("experiment", ids, SCOPE) if ids else {}
        for key, values in attributes.items():
            self._remember(key, values)

    def _remember(self, key: str, values: JsonObject) -> None:
        matches = (_KEY.fullmatch(name) for name in values)
        numbers = sorted(int(match[1]) for match in matches if match)
        for number in numbers:
            self._ids[str(number)] = key
        if numbers:
            least = str(numbers[0])
            location = values.get(LOCATION) or f"mlflow-artifacts:/{least}"
            self._places[key] = Place(least, str(location))
