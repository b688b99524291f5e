"""The interface of a storage for metrics: points, charts, and the keys that runs have."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from runbase.model import Envelope, Scalar, Series


class KnownKey(Struct, frozen=True, kw_only=True):
    """A key of parameters, metrics or tags, and how it is used.

    Attributes:
        runs: how many runs have it.
        type: the type of its values; of several, the first by name.
        least: the least number among its values (of metrics: the last ones), or None.
        greatest: the greatest number.
    """

    key: str
    runs: int
    type: str
    least: float | None = None
    greatest: float | None = None


class Points(Protocol):
    """Metrics."""

    def series(
        self,
        run: str,
        key: str,
        start: Scalar | None = None,
        end: Scalar | None = None,
        *,
        every: bool = False,
        kind: str = "metric",
    ) -> Series:
        """Return the points of a metric between two steps, by step; of one step the latest, or all with `every`."""
        ...

    def envelope(
        self,
        run: str,
        key: str,
        start: Scalar | None = None,
        end: Scalar | None = None,
        resolution: int = 1000,
        kind: str = "metric",
    ) -> Envelope:
        """Return least, greatest and mean value in at most `resolution` buckets."""
        ...

    def envelopes(
        self,
        curves: Sequence[tuple[str, str]],
        start: Scalar | None = None,
        end: Scalar | None = None,
        resolution: int = 1000,
        kind: str = "metric",
    ) -> list[Envelope]:
        """Return the envelopes of many metrics, each given as (run, key), in few queries."""
        ...

    def clocks(
        self, curves: Sequence[tuple[str, str]], kind: str = "metric"
    ) -> list[tuple[list[float], list[float]]]:
        """Return steps and times of metrics, each given as (run, key): one pair for each 1,024 points, and the last.

        Both increase; a time between two steps follows by linear interpolation.
        """
        ...

    def unoutlined(self) -> list[tuple[str, int, int]]:
        """Return the metrics that were stored before outlines existed: run, id and number of points of each."""
        ...

    def build_outline(self, run: str, series: int) -> None:
        """Make the outline of a metric that has none, so that its charts read few points."""

    def known_keys(
        self,
        kind: str,
        experiment: str | None = None,
        text: str = "",
        limit: int = 1000,
        newest: int | None = None,
    ) -> list[KnownKey]:
        """Return keys of a kind that runs have, those of most runs first.

        Args:
            kind: param, metric, telemetry or tag.
            experiment: the id of an experiment; None: all.
            text: only keys that contain this text, in any case.
            limit: the maximum number of keys.
            newest: look at so many of the newest runs only; None: at all.
        """
        ...

    def points(
        self,
        runs: Sequence[str],
        keys: Sequence[str] | None,
        kind: str = "metric",
        *,
        every: bool = False,
    ) -> dict[tuple[str, str], Series]:
        """Return the points of many metrics (None: all metrics) of many runs, by run and key, in one query.

        Of a step, the latest point counts, or all with `every`.
        """
        ...
