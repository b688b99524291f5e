"""`RunParams`, the object behind `run.params`."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from runbase.errors import UsageError, suggestion
from runbase.typing import JsonObject


class RunParams(MutableMapping[str, object]):
    """The parameters of a run, by key or attribute. Setting one logs it."""

    def __init__(self, log: Callable[[Mapping[str, object]], None]) -> None:
        object.__setattr__(self, "_log", log)
        object.__setattr__(self, "_values", {})

    def hold(self, values: Mapping[str, object]) -> None:
        """Add values that were logged, without logging them again."""
        self._values.update(values)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: object) -> None:
        self._log({key: value})

    def __delitem__(self, key: str) -> None:
        raise UsageError(f"parameter {key!r} is logged and cannot be deleted; set another value")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, key: str) -> Any:
        values: JsonObject = object.__getattribute__(self, "_values")
        if key in values:
            return values[key]
        raise AttributeError(f"the run has no parameter {key!r}{suggestion(key, values)}")

    def __setattr__(self, key: str, value: object) -> None:
        self[key] = value

    def __repr__(self) -> str:
        return f"RunParams({self._values})"

    def update(self, *values: Any, **more: Any) -> None:  # type: ignore[override]
        """Set several parameters in one event."""
        self._log(dict(*values, **more))
