"""What media values have in common, and how any logged value becomes numbers and media."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from runbase.errors import InvalidValue
from runbase.events import Scalar
from runbase.run.encode_media import to_array
from runbase.typing import JsonObject
from runbase.values import DEEPEST, to_scalar, to_text
from runbase.wandb.terms import warn_once

if TYPE_CHECKING:
    from runbase.run.run import Run as Recorder

Write = Callable[["Recorder", str, Scalar], None]
"""Logs a value to a run under a key at a step."""
LARGEST_LIST = 32
"""The greatest number of values of an array that is logged as a list; a larger one is logged as a histogram."""


class Media:
    """A value that is more than a number: an image, a table, a chart."""

    kind = "media"

    def record(self, run: "Recorder", key: str, step: Scalar) -> None:
        """Log it to a run under a key at a step."""
        raise NotImplementedError

    def summary(self) -> JsonObject:
        """Return what the summary says about it."""
        return {"_type": self.kind}


class Sorted:
    """The values of a log call.

    Attributes:
        numbers: key → number; the keys of nested mappings are joined with ``.``.
        others: key and how to log it, for each value that is not a number.
        summary: key → value, for the summary of those.
    """

    __slots__ = ("numbers", "others", "summary")

    def __init__(self) -> None:
        self.numbers: dict[str, Scalar] = {}
        self.others: list[tuple[str, Write]] = []
        self.summary: JsonObject = {}

    def take(self, values: Mapping[Any, Any], prefix: str = "", depth: int = 1) -> None:
        """Add values; what cannot be logged is reported once and left out."""
        for name, value in values.items():
            key = f"{prefix}{name if isinstance(name, str) else to_text(name)}"
            try:
                if isinstance(value, Mapping) and depth < DEEPEST:
                    self.take(cast("Mapping[Any, Any]", value), f"{key}.", depth + 1)
                else:
                    self._one(key, value)
            except Exception as error:  # whatever a foreign value raises, training continues
                kind = type(cast("Any", value)).__name__
                warn_once(f"the value of {key!r}, a {kind}, was not logged: {error}")

    def _one(self, key: str, value: Any) -> None:
        if value is None:
            return
        if isinstance(value, bool | int | float):
            self._number(key, value)
        elif isinstance(value, Media):
            self._other(key, value.record, value.summary())
        elif isinstance(value, str):
            self._text(key, value)
        elif isinstance(value, dt.datetime | dt.date):
            self._text(key, value.isoformat())
        elif isinstance(value, list | tuple | set | frozenset):
            self._several(key, [*cast("list[Any]", value)])
        elif (figure := _figure(value)) is not None:
            self._other(key, lambda run, k, s: run.log_plot(k, figure, s), {"_type": "plot"})
        elif hasattr(value, "to_dict") and hasattr(value, "columns"):  # a data frame
            self._other(key, lambda run, k, s: run.log_table(k, value, None, s), {"_type": "table"})
        else:
            self._foreign(key, value)

    def _number(self, key: str, value: Any) -> None:
        try:
            number, kind = to_scalar(key, value)
        except InvalidValue:
            self._text(key, to_text(value))
            return
        self.numbers[key] = bool(number) if kind == "bool" else number

    def _text(self, key: str, text: str) -> None:
        self._other(key, lambda run, k, s: run.log_text(k, text, s), text[:1000])

    def _several(self, key: str, values: list[Any]) -> None:
        if values and all(isinstance(value, Media) for value in values):
            for number, value in enumerate(values):
                self._one(f"{key}/{number}", value)
            return
        self._other(key, lambda run, k, s: run.log_dict(k, values, s), values[:LARGEST_LIST])

    def _foreign(self, key: str, value: Any) -> None:
        """Add a scalar or an array of some package, else the value as text."""
        size = _size(value)
        if size is None or size == 1:
            try:
                number, kind = to_scalar(key, value)
                self.numbers[key] = bool(number) if kind == "bool" else number
            except InvalidValue:
                self._text(key, to_text(value))
            return
        array = to_array(key, value)
        if size <= LARGEST_LIST:
            self._several(key, array.tolist())
        else:
            self._other(
                key,
                lambda run, k, s: run.log_histogram(k, array, s, bins=LARGEST_LIST),
                {"_type": "histogram"},
            )

    def _other(self, key: str, write: Write, summary: Any) -> None:
        self.others.append((key, write))
        self.summary[key] = summary


def _size(value: Any) -> int | None:
    """Return the number of values of an array or a tensor, or None."""
    shape = getattr(value, "shape", None)
    if shape is None:
        return None
    size = 1
    for length in shape:
        size *= int(length)
    return size


def _figure(value: Any) -> Any:
    """Return a figure of Plotly, Matplotlib or Altair; for the module pyplot and for axes, their figure."""
    if getattr(value, "__name__", "") == "matplotlib.pyplot":
        return value.gcf()
    if hasattr(value, "to_plotly_json") or hasattr(value, "savefig"):
        return value
    if type(value).__module__.startswith("altair"):
        return value
    figure = getattr(value, "figure", None)
    return figure if hasattr(figure, "savefig") else None
