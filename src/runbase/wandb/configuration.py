"""`run.config`: the parameters of a run, in W&B's form."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, cast

from runbase import extras
from runbase.errors import InvalidValue
from runbase.typing import JsonObject
from runbase.values import to_parameter, to_text
from runbase.wandb.errors import ConfigError
from runbase.wandb.terms import warn_once

DEFAULTS = "config-defaults.yaml"
"""The file in the working folder that `init` reads default values from."""


class Config(MutableMapping[str, Any]):
    """The config of a run, by key or attribute. Setting a value logs it as a parameter.

    Args:
        log: logs parameters; nested mappings are flattened with ``/``.
    """

    def __init__(self, log: Callable[[Mapping[str, object]], None] | None = None) -> None:
        object.__setattr__(self, "_log", log)
        object.__setattr__(self, "_items", {})
        object.__setattr__(self, "_locked", {})

    def hold(self, values: Mapping[str, object], *, locked_by: str | None = None) -> None:
        """Add values that are recorded already.

        Args:
            values: key → value.
            locked_by: what decides these values, such as a sweep; the script cannot change them.
        """
        self._items.update(values)
        if locked_by is not None:
            self._locked.update(dict.fromkeys(values, locked_by))

    def update(self, d: Any = None, allow_val_change: bool | None = None, **more: Any) -> None:  # type: ignore[override]
        """Set several values.

        Args:
            d: a mapping, an `argparse.Namespace`, another object with attributes, or the path of a YAML file.
            allow_val_change: whether values that are set may change.
            more: further values.

        Raises:
            ConfigError: a value would change without `allow_val_change`; nothing is set.
        """
        self._set({**as_mapping(d), **more}, bool(allow_val_change))

    def setdefaults(self, d: Any) -> None:
        """Set those values of a mapping whose keys are not set."""
        self._set({k: v for k, v in as_mapping(d).items() if k not in self._items}, False)

    def as_dict(self) -> JsonObject:
        """Return the config as a dictionary."""
        return dict(self._items)

    def persist(self) -> None:
        """Do nothing: each value is recorded when it is set."""

    def update_locked(
        self, d: Any, user: str | None = None, _allow_val_change: bool = True
    ) -> None:
        """Set values that the script cannot change.

        Args:
            d: a mapping.
            user: what decides these values.
        """
        values = as_mapping(d)
        self._set(values, True)
        self._locked.update(dict.fromkeys(values, user or "the caller"))

    def _set(self, values: Mapping[str, Any], allow: bool) -> None:
        wanted: JsonObject = {}
        for key, value in values.items():
            if key in self._locked:
                warn_once(f"config {key!r} is decided by {self._locked[key]}; it was not changed")
                continue
            plain = _plain(key, value)
            if not allow and key in self._items and self._items[key] != plain:
                raise ConfigError(
                    f"config {key!r} is {self._items[key]!r} and would become {plain!r}; to change it, "
                    "call config.update(…, allow_val_change=True)"
                )
            wanted[key] = plain
        if not wanted:
            return
        self._items.update(wanted)
        if self._log is not None:
            self._log(wanted)

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __setitem__(self, key: str, value: object) -> None:
        self._set({to_text(key): value}, False)

    def __delitem__(self, key: str) -> None:
        raise ConfigError(f"config {key!r} is recorded and cannot be deleted; set another value")

    def __getattr__(self, key: str) -> Any:
        items: JsonObject = object.__getattribute__(self, "_items")
        if key in items:
            return items[key]
        raise AttributeError(f"the config has no {key!r}")

    def __setattr__(self, key: str, value: object) -> None:
        self[key] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return str(self._items)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the values alone: in the other process, a change is not recorded."""
        return _held, (dict(self._items),)


def as_mapping(values: Any) -> JsonObject:
    """Return a config as a dictionary.

    Args:
        values: a mapping, the path of a YAML file, the flags of absl, or an object with attributes.
    """
    if values is None:
        return {}
    if isinstance(values, str | Path):
        return from_yaml(Path(values))
    if isinstance(values, Mapping):
        found = cast("Mapping[Any, Any]", values)
    elif callable(getattr(values, "flag_values_dict", None)):  # absl
        found = cast("Mapping[Any, Any]", values.flag_values_dict())
    elif hasattr(values, "items") and hasattr(values, "keys"):
        found = cast("Mapping[Any, Any]", dict(values.items()))
    else:
        found = cast("Mapping[Any, Any]", getattr(values, "__dict__", {}))
    return {key if isinstance(key, str) else to_text(key): value for key, value in found.items()}


def from_yaml(path: Path) -> JsonObject:
    """Return the values of a YAML file: ``key: value``, or W&B's ``key: {value: …, desc: …}``."""
    yaml = extras.load("yaml", "dev", "a config in a YAML file")
    document: Any = yaml.safe_load(path.read_text("utf-8")) or {}
    values: JsonObject = {}
    for key, value in as_mapping(document).items():
        if key == "wandb_version":
            continue
        wrapped = isinstance(value, dict) and "value" in value and set(value) <= {"value", "desc"}  # pyright: ignore
        values[key] = value["value"] if wrapped else value
    return values


class NestedParams(JsonObject):
    """Nested dictionaries that also find a parameter by its whole name: ``opt/lr``."""

    def __missing__(self, key: str) -> Any:
        head, slash, rest = str(key).partition("/")
        inner: Any = super().get(head)
        if not slash or not isinstance(inner, dict):
            raise KeyError(key)
        return NestedParams(cast("JsonObject", inner))[rest]

    def __contains__(self, key: object) -> bool:
        try:
            self[str(key)]
        except KeyError:
            return False
        return True

    def get(self, key: str, default: Any = None) -> Any:  # type: ignore[override]
        """Return a parameter, or the default."""
        try:
            return self[key]
        except KeyError:
            return default


def nested(params: Mapping[str, object]) -> JsonObject:
    """Return parameters as nested dictionaries: ``opt/lr`` becomes ``{"opt": {"lr": …}}``."""
    whole: JsonObject = NestedParams()
    for key, value in params.items():
        *path, last = key.split("/")
        place = whole
        for part in path:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):  # the key is a value and a prefix: keep the whole key
                place, last = whole, key
                break
            place = cast("JsonObject", inner)
        place[last] = value
    return whole


def _plain(key: str, value: Any) -> Any:
    try:
        return to_parameter(key, value)
    except InvalidValue:
        return to_text(value)[:1000]


def _held(values: JsonObject) -> Config:
    config = Config()
    config.hold(values)
    return config
