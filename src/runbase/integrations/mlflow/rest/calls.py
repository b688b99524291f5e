"""A request: its fields with checks of their types, who sends it, and the store."""

import base64
import json
import math
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from msgspec import Struct

from runbase.integrations.mlflow.rest.errors import absent, bad_value, invalid
from runbase.integrations.mlflow.rest.numbers import Numbers
from runbase.store.store import Store

Json = dict[str, Any]
LONGEST_KEY = 250
_KEY = re.compile(r"[/\w.\- :]*")
_WORDS = {
    "nan": math.nan,
    "infinity": math.inf,
    "+infinity": math.inf,
    "inf": math.inf,
    "-infinity": -math.inf,
    "-inf": -math.inf,
}


class Caller(Protocol):
    """Who sends a request; the server's `Principal` is one."""

    def may(self, permission: str, experiment: str | None = None) -> bool:
        """Return whether it has a permission, on an experiment if one is given, else on the store and new experiments."""
        ...

    def require(self, permission: str, experiment: str | None = None) -> None:
        """Raise NotAllowed unless it has the permission."""
        ...


class Call(Struct, frozen=True):
    """A request.

    Attributes:
        store: the store.
        numbers: the ids of experiments as MLflow's clients know them.
        caller: who sends it.
        fields: the fields of its body or query.
        host: the address of the client.
        parts: the variable parts of its path.
    """

    store: Store
    numbers: Numbers
    caller: Caller
    fields: "Fields"
    host: str = ""
    parts: Mapping[str, str] = {}


class Fields:
    """The fields of a JSON object, or of a query string, in which numbers are texts and lists are repeated.

    Args:
        values: name → value.
        path: where the object is in the request, for messages.
    """

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self.values, self.path = values, path

    def name(self, name: str) -> str:
        """Return the name of a field as messages show it."""
        return f"{self.path}.{name}" if self.path else name

    def text(self, name: str, *, required: bool = False, longest: int | None = None) -> str:
        """Return a text; empty if it is missing."""
        value = self.values.get(name)
        if value is None or value == "":
            if required:
                raise absent(self.name(name))
            return ""
        if not isinstance(value, str):
            raise bad_value(value, self.name(name))
        if longest is not None and len(value) > longest:
            raise bad_value(
                f"{value[:50]}…",
                self.name(name),
                f": '{self.name(name)}' exceeds the maximum length of {longest} characters",
            )
        return value

    def either(self, *names: str) -> str:
        """Return the first of some texts that is there, such as run_id and run_uuid."""
        for name in names:
            if value := self.text(name):
                return value
        raise absent(self.name(names[0]))

    def integer(self, name: str, default: int | None = None) -> int:
        """Return a whole number."""
        value = self.values.get(name)
        if value is None or value == "":
            if default is None:
                raise absent(self.name(name))
            return default
        try:
            number = int(value)
        except (ValueError, TypeError, OverflowError):
            raise bad_value(value, self.name(name)) from None
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise bad_value(value, self.name(name))
        if not -(2**63) <= number < 2**63:
            raise bad_value(value, self.name(name))
        return number

    def has(self, name: str) -> bool:
        """Return whether a field has a value."""
        return self.values.get(name) not in (None, "")

    def figure(self, name: str) -> float:
        """Return a number; NaN and the infinities are texts in JSON."""
        value = self.values.get(name)
        if value is None:
            raise absent(self.name(name))
        if isinstance(value, str) and value.strip().lower() in _WORDS:
            return _WORDS[value.strip().lower()]
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise bad_value(value, self.name(name))
        try:
            return float(value)
        except (ValueError, OverflowError):
            raise bad_value(value, self.name(name)) from None

    def texts(self, name: str) -> list[str]:
        """Return a list of texts."""
        value = self.values.get(name)
        if value is None or value == "":
            return []
        items = cast("list[Any]", value) if isinstance(value, list) else [value]
        for item in items:
            if not isinstance(item, str):
                raise bad_value(value, self.name(name))
        return items

    def objects(self, name: str) -> list["Fields"]:
        """Return a list of objects."""
        value = self.values.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise bad_value(value, self.name(name))
        found: list[Fields] = []
        for place, item in enumerate(cast("list[Any]", value)):
            if not isinstance(item, dict):
                raise bad_value(value, self.name(name))
            found.append(Fields(cast("Json", item), f"{self.name(name)}[{place}]"))
        return found

    def key(self, name: str, shown: str | None = None, what: str | None = None) -> str:
        """Return the key of a metric, parameter or tag; `shown` is its name in messages, `what` what it is."""
        value = self.values.get(name)
        label = self.name(shown or name)
        if value is None or value == "":
            raise absent(label)
        if not isinstance(value, str):
            raise bad_value(value, label)
        if not _KEY.fullmatch(value):
            raise bad_value(
                value,
                label,
                ". Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), "
                "spaces ( ), colon(:) and slashes (/).",
            )
        if _leaves(value):
            raise bad_value(
                value,
                label,
                ". Names may be treated as files in certain cases, and must not resolve to other names "
                f"when treated as such. This name would resolve to {posixpath.normpath(value)!r}.",
            )
        if len(value) > LONGEST_KEY:
            raise invalid(
                f"'{what or label}' exceeds the maximum length of {LONGEST_KEY} characters"
            )
        return value

    def pairs(self, name: str, longest: int | None = None) -> dict[str, str]:
        """Return a list of {key, value} as a mapping; longer values are cut."""
        return {item.key("key"): item.values_text("value")[:longest] for item in self.objects(name)}

    def values_text(self, name: str) -> str:
        """Return a value as text, which may be empty."""
        value = self.values.get(name)
        if value is None:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, int | float):
            return str(value)
        if not isinstance(value, str):
            raise bad_value(value, self.name(name))
        return value

    def most(self, default: int, most: int, name: str = "max_results") -> int:
        """Return the maximum number of results that is asked for."""
        number = self.integer(name, default)
        if number < 1:
            raise bad_value(number, name, ". It must be at least 1.")
        if number > most:
            raise bad_value(number, name, f". It must be at most {most}.")
        return number

    def begin(self) -> int:
        """Return the offset that the page token means."""
        token = self.text("page_token")
        if not token:
            return 0
        try:
            offset = json.loads(base64.b64decode(token, validate=True))["offset"]
        except (ValueError, KeyError, TypeError):
            offset = None
        if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
            raise invalid("Invalid page token, could not decode it.")
        return offset


def page(items: Sequence[Any], begin: int, most: int) -> tuple[list[Any], Json]:
    """Return a page of a list, and the token of the next one as a field."""
    end = begin + most
    more: Json = {"next_page_token": token(end)} if len(items) > end else {}
    return list(items[begin:end]), more


def token(offset: int) -> str:
    """Return the page token of an offset."""
    return base64.b64encode(json.dumps({"offset": offset}).encode()).decode()


def _leaves(name: str) -> bool:
    """Return whether a name is another one if it is read as the path of a file."""
    plain = posixpath.normpath(name)
    return plain != name or plain == "." or plain.startswith(("..", "/"))
