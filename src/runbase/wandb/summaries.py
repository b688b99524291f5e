"""`run.summary`: one value for each metric, by default the last, and values that the script sets."""

import math
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, cast

from msgspec import Struct

from runbase.analysis.directions import lower_is_better
from runbase.errors import InvalidValue
from runbase.typing import JsonObject
from runbase.values import to_parameter, to_scalar, to_text
from runbase.wandb.definitions import Metric


class SummaryDict(MutableMapping[str, Any]):
    """A mapping by key or attribute; a nested mapping writes through to the one that contains it."""

    def __init__(self, items: JsonObject, changed: Callable[[JsonObject], None]) -> None:
        object.__setattr__(self, "_items", items)
        object.__setattr__(self, "_changed", changed)

    def update(self, d: Any = None, **more: Any) -> None:  # type: ignore[override]
        """Set several values."""
        values = {**dict(d or {}), **more}
        changed = {str(key): plain(str(key), value) for key, value in values.items()}
        self._items.update(changed)
        self._changed(changed)

    def __getitem__(self, key: str) -> Any:
        value = self._items[key]
        if not isinstance(value, dict):
            return value
        inner = cast("JsonObject", value)
        return SummaryDict(inner, lambda _: self._changed({key: inner}))

    def __setitem__(self, key: str, value: object) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        del self._items[key]
        self._changed({key: None})

    def __getattr__(self, key: str) -> Any:
        if key in object.__getattribute__(self, "_items"):
            return self[key]
        raise AttributeError(f"the summary has no {key!r}")

    def __setattr__(self, key: str, value: object) -> None:
        self[key] = value

    def __delattr__(self, key: str) -> None:
        del self[key]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._items])

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return str(self._items)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the values alone, as a dictionary."""
        return dict, (dict(self._items),)


class _Figures(Struct):
    """What is known about the values of a metric."""

    count: int = 0
    total: float = 0.0
    min: float = math.inf
    max: float = -math.inf
    first: Any = None
    last: Any = None

    def add(self, value: Any) -> None:
        self.first = value if not self.count else self.first
        self.last = value
        self.count += 1
        if value == value:
            self.total += value
            self.min, self.max = min(self.min, value), max(self.max, value)


class Summary(SummaryDict):
    """The summary of a run.

    Args:
        explicit: called with the values that the script has set itself, each time it sets some.
    """

    def __init__(self, explicit: Callable[[JsonObject], None]) -> None:
        object.__setattr__(self, "_explicit", {})
        object.__setattr__(self, "_figures", {})
        object.__setattr__(self, "_tell", explicit)
        super().__init__({}, self._set)

    def observe(self, key: str, value: Any, metric: Metric | None = None) -> None:
        """Add a logged number.

        Args:
            key: the name of the metric.
            value: the number.
            metric: its definition.
        """
        if metric is None or not metric.summary:
            self._items[key] = value
            return
        figures: _Figures = self._figures.setdefault(key, _Figures())
        figures.add(value)
        parts = metric.summary
        if "none" in parts:
            self._items.pop(key, None)
        elif parts == ("copy",):
            self._items[key] = value
        else:
            self._items[key] = {part: _figure(figures, part, key, metric) for part in parts}

    def hold(self, key: str, value: Any) -> None:
        """Add a logged value that is not a number."""
        self._items[key] = value

    def restore(self, explicit: Mapping[str, Any], logged: Mapping[str, Any]) -> None:
        """Add the values of a resumed run, which are recorded already."""
        self._items.update(logged)
        self._items.update(explicit)
        self._explicit.update(explicit)

    @property
    def explicit(self) -> JsonObject:
        """The values that the script has set itself."""
        return dict(object.__getattribute__(self, "_explicit"))

    def _set(self, values: JsonObject) -> None:
        self._explicit.update(values)
        self._tell(dict(self._explicit))


def plain(key: str, value: Any) -> Any:
    """Return a value of a summary as plain data."""
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {to_text(name): plain(key, item) for name, item in items}
    try:
        number, kind = to_scalar(key, value)
        return bool(number) if kind == "bool" else number
    except InvalidValue:
        pass
    try:
        return to_parameter(key, value)
    except InvalidValue:
        return to_text(value)[:1000]


def numbers(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the numbers and texts of a summary, with ``.`` between the keys of nested values."""
    for key, value in values.items():
        if isinstance(value, dict):
            inner = cast("JsonObject", value)
            if "_type" not in inner:
                yield from numbers(inner, f"{prefix}{key}.")
        elif isinstance(value, int | float | str):
            yield f"{prefix}{key}", value


def _figure(figures: _Figures, part: str, key: str, metric: Metric) -> Any:
    match part:
        case "mean":
            return figures.total / figures.count
        case "best":
            goal = (metric.goal or "").lower()
            less = goal.startswith("min") if goal else lower_is_better(key)
            return figures.min if less else figures.max
        case "min" | "max" | "first":
            return getattr(figures, part)
        case _:
            return figures.last
