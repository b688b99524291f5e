"""Events for a storage, without journal files: deliveries and points."""

# pyright: basic
from collections.abc import Sequence
from typing import Any

from runbase.events import Event, Opened, Points, Process
from runbase.ids import new_id
from runbase.storage.protocol import Storage
from runbase.storage.types import Delivery

T0 = 1_800_000_000.0
"""A moment in 2027, seconds since the epoch."""


class Journal:
    """A journal that exists only as deliveries."""

    def __init__(self, storage: Storage, run: str | None = None, **head: Any) -> None:
        self.storage, self.run, self.id, self.offset = storage, run or new_id(), new_id(), 0
        self.head = {"experiment": "contract", "name": "a-run-1", "time": T0} | head

    def opened(self) -> Opened:
        """Its first event."""
        process = Process("elsewhere", 1, "1", "boot ns")
        return Opened(version=1, journal=self.id, run=self.run, process=process, **self.head)

    def write(self, *events: Event) -> bool:
        """Deliver events as its next lines."""
        head = [self.opened()] if self.offset == 0 else []
        done = self.storage.apply([self.delivery([*head, *events])])[0].taken
        self.offset += 1
        return done

    def delivery(self, events: Sequence[Any]) -> Delivery:
        """Events as a delivery at the present offset."""
        return Delivery(
            run=self.run,
            events=events,
            journal=self.id,
            start=self.offset,
            offset=self.offset + 1,
            file="journal.jsonl",
            folder=f"runs/contract/{self.run}",
            lines=len(events),
        )


def points(values: Sequence[float], key: str = "loss", first: int = 0, **more: Any) -> Points:
    """One metric at consecutive steps."""
    steps = more.pop("steps", list(range(first, first + len(values))))
    times = more.pop("times", [T0 + step for step in range(len(values))])
    return Points(keys=(key,), steps=steps, times=times, columns=[list(values)], **more)
