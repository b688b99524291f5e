"""Metrics as they are read: points, and envelopes for charts."""

from typing import TYPE_CHECKING, Any

from runbase.model.shown import Shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Scalar = int | float


class Series(Shown):
    """The points of one metric of one run, as NumPy arrays of shape (points,).

    Attributes:
        key: the name of the metric.
        steps: int64, or float64 if a step is fractional.
        times: float64, in seconds since the epoch (UTC).
        values: float64.
    """

    __slots__ = ("key", "steps", "times", "values")

    def __init__(
        self,
        key: str,
        steps: "NDArray[np.int64] | NDArray[np.float64]",
        times: "NDArray[np.float64]",
        values: "NDArray[np.float64]",
    ) -> None:
        self.key, self.steps, self.times, self.values = key, steps, times, values

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"<Series {self.key}: {len(self)} points>"


class Envelope(Shown):
    """A metric summarized for a chart: the minimum, maximum and mean of each bucket of steps.

    The attributes are NumPy arrays of shape (buckets,). Each point is in exactly one bucket, so no
    outlier is hidden. Buckets without points are left out. NaN values are ignored; a bucket that
    contains only NaN values has NaN as minimum, maximum and mean.

    Attributes:
        key: the name of the metric.
        first_steps: the first step of each bucket.
        last_steps: the last step of each bucket.
        min: the lowest value, float64.
        max: the highest value, float64.
        mean: the mean of the values, float64.
        counts: the number of points, NaN included, int64.
        nans: the number of NaN values, int64.
    """

    __slots__ = ("counts", "first_steps", "key", "last_steps", "max", "mean", "min", "nans")

    def __init__(
        self,
        key: str,
        first_steps: "NDArray[np.float64]",
        last_steps: "NDArray[np.float64]",
        minimum: "NDArray[np.float64]",
        maximum: "NDArray[np.float64]",
        mean: "NDArray[np.float64]",
        counts: "NDArray[np.int64]",
        nans: "NDArray[np.int64]",
    ) -> None:
        self.key = key
        self.first_steps, self.last_steps = first_steps, last_steps
        self.min, self.max, self.mean = minimum, maximum, mean
        self.counts, self.nans = counts, nans

    def take(self, chosen: "NDArray[Any]") -> "Envelope":
        """Return some of the buckets: those of a mask, or in an order.

        Args:
            chosen: array of bool of shape (buckets,), or places.
        """
        return Envelope(
            self.key,
            self.first_steps[chosen],
            self.last_steps[chosen],
            self.min[chosen],
            self.max[chosen],
            self.mean[chosen],
            self.counts[chosen],
            self.nans[chosen],
        )

    def __len__(self) -> int:
        return len(self.counts)

    def __repr__(self) -> str:
        return f"<Envelope {self.key}: {int(self.counts.sum())} points in {len(self)} buckets>"
