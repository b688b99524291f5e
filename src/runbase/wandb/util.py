"""Functions of W&B's module `util` that other packages call."""

import re
import secrets
import string
from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from runbase.typing import JsonObject
from runbase.values import to_parameter

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_\-.]")


def generate_id(length: int = 8) -> str:
    """Return a random id of lower-case letters and digits."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(length))


def get_module(name: str, required: str | bool | None = None, lazy: bool = True) -> Any:
    """Return a module; None if it is not installed.

    Args:
        name: the name of the module.
        required: the message of the error if it is not installed.
        lazy: ignored.
    """
    del lazy
    try:
        return import_module(name)
    except ImportError:
        if required:
            raise ImportError(str(required)) from None
        return None


def make_artifact_name_safe(name: str) -> str:
    """Return a name with underscores for all characters that names of artifacts may not have."""
    return _NOT_IN_NAMES.sub("_", name)[:128]


def json_friendly(value: Any) -> tuple[Any, bool]:
    """Return a value as plain data, and whether it changed."""
    plain = to_parameter("value", value)
    return plain, plain is not value


def json_friendly_val(value: Any) -> Any:
    """Return a value as plain data."""
    return to_parameter("value", value)


def json_dumps_safer(value: Any, **options: Any) -> str:
    """Return a value as JSON; what has no form in JSON becomes text."""
    import json

    options.pop("cls", None)
    return json.dumps(to_parameter("value", value), **options)


def to_forward_slash_path(path: str) -> str:
    """Return a path with slashes."""
    return path.replace("\\", "/")


def is_numpy_array(value: Any) -> bool:
    """Return whether a value is an array of NumPy."""
    return _named(value, "numpy", "ndarray")


def is_pytorch_tensor_typename(typename: str) -> bool:
    """Return whether a name is that of a tensor of PyTorch."""
    return typename.startswith("torch.") and ("Tensor" in typename or "Variable" in typename)


def is_matplotlib_typename(typename: str) -> bool:
    """Return whether a name is that of something of Matplotlib."""
    return typename.startswith("matplotlib.")


def get_full_typename(value: Any) -> str:
    """Return module and name of the type of a value."""
    kind = type(cast("object", value))
    return f"{kind.__module__}.{kind.__qualname__}"


def dict_from_proto_list(items: Any) -> JsonObject:
    """Return a dictionary of items with `key` and `value_json`."""
    import msgspec

    return {item.key: msgspec.json.decode(item.value_json) for item in items}


def merge_dicts(source: Mapping[str, Any], destination: JsonObject) -> JsonObject:
    """Merge nested mappings into another, which is returned."""
    for key, value in source.items():
        if isinstance(value, Mapping):
            inner = destination.setdefault(key, {})
            merge_dicts(cast("Mapping[str, Any]", value), inner)
        else:
            destination[key] = value
    return destination


def _named(value: Any, module: str, name: str) -> bool:
    kind = type(cast("object", value))
    return kind.__module__ == module and kind.__qualname__ == name
