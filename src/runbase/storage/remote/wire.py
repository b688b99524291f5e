"""How calls of a storage travel over HTTP: MessagePack, typed by the annotations of `Storage`.

A request's body is the list of arguments, in the order of the method's signature; the answer's body is the result. Nothing
is pickled: a value that is not of the annotated type is refused.
"""

import inspect
import json
import types
import typing
from base64 import b64decode
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, cast

import msgspec
import numpy as np
from msgspec import Struct

from runbase.errors import UsageError
from runbase.events import JournalEvent, Points, Problem, Process
from runbase.model import Envelope, Objective, Series
from runbase.space import Parameter
from runbase.storage.alert_protocol import AlertStorage
from runbase.storage.archive_protocol import ArchiveStorage
from runbase.storage.protocol import Storage
from runbase.storage.server_protocol import ServerStorage
from runbase.storage.sql.dump import Around, RunDump
from runbase.storage.types import Delivery, Page, Query, Rows
from runbase.storage.users_protocol import UserStorage
from runbase.typing import JsonObject

MEDIA_TYPE = "application/vnd.runbase.storage+msgpack"
JSON_TYPE = "application/vnd.runbase.storage+json"
SERVERS = (ServerStorage, AlertStorage, UserStorage, ArchiveStorage)
"""The interfaces of what a server keeps for itself."""
LOCAL = frozenset(
    {"await_change", "backup", "close", "connect", "trial_writer"}
    | {name for own in SERVERS for name in vars(own) if not name.startswith("_")}
) - {"archived_totals"}
"""Methods that are not sent: they return connections or files, wait, or are the server's own."""

READS = frozenset(
    [
        "alerts",
        "archived_totals",
        "artifact_roots",
        "artifact_versions",
        "artifacts",
        "attributes",
        "changes",
        "check",
        "clocks",
        "configs",
        "count_on",
        "count_runs",
        "deleted_before",
        "due_trials",
        "dump",
        "dump_related",
        "envelope",
        "envelopes",
        "experiments",
        "figures_of_experiments",
        "find_experiment",
        "find_run",
        "first_rows",
        "flush",
        "folders",
        "get_experiments",
        "get_runs",
        "history",
        "ledger",
        "lineage",
        "links",
        "live_runs",
        "objects",
        "observations",
        "offsets",
        "plain_folders",
        "points",
        "problems",
        "purged",
        "records",
        "runs",
        "runs_of_experiments",
        "samples",
        "scans",
        "schema",
        "series",
        "sizes",
        "sql",
        "stale_trials",
        "synced_folders",
        "table",
        "totals",
        "trial_rows",
        "trial_updates",
        "unknown_keys",
        "unoutlined",
        "uploads",
        "uses",
        "views",
        "whole_run",
    ]
)
"""Methods that change nothing (`sql` only if it is not asked to write)."""
ADMIN = frozenset(
    [
        "add_artifact_root",
        "create_view",
        "drop_view",
        "load",
        "load_experiments",
        "load_related",
        "purge",
        "setup",
    ]
)
"""Methods that change the schema, delete for ever, or replace records."""


_FIELDS: dict[str, Any] = {"objectives": list[Objective], "space": dict[str, Parameter]}
"""Fields of experiments that contain objects; the annotation of `fields` and `changes` says only that they are values."""
_TYPES: dict[tuple[str, str], Any] = {
    ("dump", "return"): list[RunDump],
    ("dump_related", "return"): Around,
    ("load", "dumps"): list[RunDump],
    ("load_related", "around"): Around,
}
"""What the protocol leaves to the backends, and the backends of this package agree on."""


class WireDelivery(Struct, frozen=True, kw_only=True):
    """A delivery without the function that finds a line of its journal."""

    run: str
    events: list[JournalEvent | Points]
    journal: str
    start: int
    offset: int
    file: str = ""
    folder: str | None = None
    experiment: str | None = None
    lines: int = 0
    problems: list[Problem] = []


class _Page(Struct, frozen=True):
    items: Any
    cursor: str | None


class _Rows(Struct, frozen=True):
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class Method(Struct, frozen=True):
    """A method of `Storage` as it is sent.

    Attributes:
        name: its name.
        signature: its parameters, without `self`.
        arguments: the type of the list of arguments.
        result: the type of the result.
    """

    name: str
    signature: inspect.Signature
    arguments: Any
    result: Any


@cache
def method(name: str) -> Method:
    """Return a method of `Storage`.

    Raises:
        UsageError: there is none of this name that can be sent.
    """
    function = None if name.startswith("_") or name in LOCAL else getattr(Storage, name, None)
    if not inspect.isfunction(function):
        raise UsageError(f"a storage has no method {name!r} that a server offers")
    hints = typing.get_type_hints(function)
    hints |= {place: kind for (of, place), kind in _TYPES.items() if of == name}
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name != "self"]
    arguments = tuple[tuple(_plain(hints[p.name]) for p in parameters)]  # type: ignore[misc]
    result = hints["return"]
    if typing.get_origin(result) is Page:
        (item,) = typing.get_args(result)
        result = msgspec.defstruct("Page", [("items", list[item]), ("cursor", str | None)])
    elif result is Rows:
        result = _Rows
    return Method(name, signature.replace(parameters=parameters), arguments, result)


def _plain(hint: Any) -> Any:
    """Return the type to decode an argument to, for annotations that msgspec does not know."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Delivery:
        return WireDelivery
    if origin in (Iterable, Sequence, Collection):
        return list[_plain(inner[0])]
    if origin is Mapping:
        return dict[_plain(inner[0]), _plain(inner[1])]
    if origin in (typing.Union, types.UnionType):
        members = [_plain(member) for member in inner if not _is_enum_beside_text(member, inner)]
        union = members[0]
        for member in members[1:]:
            union = union | member
        return union
    if origin is tuple:
        return tuple[tuple(_plain(member) for member in inner)]  # type: ignore[misc]
    return hint


def _is_enum_beside_text(member: Any, members: tuple[Any, ...]) -> bool:
    return (
        str in members
        and isinstance(member, type)
        and issubclass(member, str)
        and member is not str
    )


def _encode_more(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        array: Any = np.ascontiguousarray(cast("Any", value))
        return [array.dtype.str, array.tobytes()]
    if isinstance(value, np.generic):
        return cast("Any", value).item()
    if isinstance(value, Series):
        return [value.key, value.steps, value.times, value.values]
    if isinstance(value, Envelope):
        bounds = (value.first_steps, value.last_steps)
        return [value.key, *bounds, value.min, value.max, value.mean, value.counts, value.nans]
    if isinstance(value, Mapping):
        return dict(cast("Mapping[Any, Any]", value))
    if isinstance(value, Iterable):
        return list(cast("Iterable[Any]", value))
    raise UsageError(f"{type(value).__name__} cannot be sent to a server")


def _named(value: Any) -> Any:
    """Return what stands for a value that cannot be sent."""
    try:
        return _encode_more(value)
    except UsageError:
        return {_MARK: type(value).__name__}


def _array(dtype: str, data: bytes | str) -> Any:
    return np.frombuffer(b64decode(data) if isinstance(data, str) else data, np.dtype(dtype))


def _decode_more(kind: Any, value: Any) -> Any:
    if kind in (Series, Envelope):
        key, *arrays = value
        return kind(key, *[_array(dtype, data) for dtype, data in arrays])
    raise UsageError(f"a value of {kind} cannot be received from a server")


_MARK = "\0not a value"
_EVENTS: dict[str, Any] = {
    str(kind.__struct_config__.tag): kind for kind in (*typing.get_args(JournalEvent), Points)
}
_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_more)


@cache
def _decoder(name: str, what: str) -> "msgspec.msgpack.Decoder[Any]":
    return msgspec.msgpack.Decoder(getattr(method(name), what), dec_hook=_decode_more)


def encode_arguments(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[bytes, str]:
    """Return the body of a request and its media type.

    Args:
        name: the method.
        args: the arguments by position.
        kwargs: the arguments by name.

    Raises:
        UsageError: an argument cannot be sent.
    """
    bound = method(name).signature.bind(*args, **kwargs)
    bound.apply_defaults()
    values: list[Any] = [Query() if v is ... else v for v in bound.arguments.values()]
    try:
        if name == "apply":
            return _encode([[_without_locate(delivery) for delivery in values[0]]])
        return _encode(values)
    except UsageError:
        if name != "apply":
            raise
        # The server gets a stand-in, which it cannot store either: it lists a problem and stores all other values.
        plain = [[_without_locate(delivery) for delivery in values[0]]]
        return json.dumps(msgspec.to_builtins(plain, enc_hook=_named)).encode(), JSON_TYPE
    except (TypeError, ValueError) as error:
        raise UsageError(f"the arguments of {name} cannot be sent to a server: {error}") from error


def _encode(value: Any) -> tuple[bytes, str]:
    """Return a value as MessagePack; as JSON if it contains integers of more than 64 bits, or text that is not Unicode."""
    try:
        return _encoder.encode(value), MEDIA_TYPE
    except (OverflowError, UnicodeEncodeError):
        plain = msgspec.to_builtins(value, enc_hook=_encode_more)
        return json.dumps(plain).encode(), JSON_TYPE


def _without_locate(delivery: Delivery) -> WireDelivery:
    fields: JsonObject = {name: getattr(delivery, name) for name in WireDelivery.__struct_fields__}
    fields |= {"events": list(delivery.events), "problems": list(delivery.problems)}
    return WireDelivery(**fields)


def decode_arguments(name: str, body: bytes, media_type: str) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments in the body of a request, by position and by name.

    Raises:
        UsageError: they are not of the method's types.
    """
    try:
        values = _decode_arguments(name, body, media_type)
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError, TypeError) as error:
        raise UsageError(f"the arguments of {name} are not valid: {error}") from error
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for parameter, value in zip(method(name).signature.parameters.values(), values, strict=True):
        if parameter.name in ("fields", "changes"):
            value = _restored(name, value)  # noqa: PLW2901
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            kwargs[parameter.name] = value
        else:
            args.append(value)
    return args, kwargs


def _decode_arguments(name: str, body: bytes, media_type: str) -> list[Any]:
    as_json = media_type.startswith(JSON_TYPE)
    if name != "apply":
        if as_json:
            kind = method(name).arguments
            return list(msgspec.convert(json.loads(body), kind, dec_hook=_decode_more))
        return list(_decoder(name, "arguments").decode(body))
    try:
        if not as_json:
            (deliveries,) = _decoder(name, "arguments").decode(body)
            return [[Delivery(**msgspec.structs.asdict(delivery)) for delivery in deliveries]]
    except msgspec.ValidationError:
        pass  # an event with a value that cannot be stored: the storage lists it as a problem, and stores the others
    (plain,) = json.loads(body) if as_json else msgspec.msgpack.decode(body)
    return [[_odd_delivery(delivery) for delivery in plain]]


def _odd_delivery(plain: JsonObject) -> Delivery:
    """Return a delivery whose events are not validated."""
    events = [_odd_event(dict(event)) for event in plain.pop("events")]
    problems = msgspec.convert(plain.pop("problems", []), list[Problem])
    rest = msgspec.convert({**plain, "events": []}, WireDelivery)
    fields: JsonObject = {**msgspec.structs.asdict(rest), "events": events, "problems": problems}
    return Delivery(**fields)


class _Unknown:
    """Stands for a value that could not be sent."""


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        plain = cast("JsonObject", value)
        if _MARK in plain:
            return _Unknown()
        return {key: _unmarked(inner) for key, inner in plain.items()}
    if isinstance(value, list):
        return [_unmarked(inner) for inner in cast("list[Any]", value)]
    return value


def _odd_event(fields: JsonObject) -> Any:
    """Return an event as it is, whatever its values are."""
    fields = _unmarked(fields)
    kind = _EVENTS.get(str(fields.pop("e", "")))
    if kind is None:
        raise UsageError("a delivery has an event of an unknown kind")
    try:
        return msgspec.convert({"e": kind.__struct_config__.tag, **fields}, kind)
    except msgspec.ValidationError:
        if "process" in fields:
            fields["process"] = msgspec.convert(fields["process"], Process)
        for name in ("keys", "remove"):
            if isinstance(fields.get(name), list):
                fields[name] = tuple(fields[name])
        return kind(**fields)


def _restored(name: str, fields: Any) -> Any:
    """Return fields of a run or an experiment with the objects that they contain."""
    if name == "update_runs":
        return {run: _restored("update", changes) for run, changes in fields.items()}
    for field, kind in _FIELDS.items():
        if fields.get(field):
            fields[field] = msgspec.convert(fields[field], kind)
    return fields


def encode_result(result: Any) -> tuple[bytes, str]:
    """Return the body of an answer and its media type."""
    if isinstance(result, Rows):
        result = _Rows(result.columns, [tuple(map(_scalar, row)) for row in result])
    elif isinstance(result, Page):
        page = cast("Page[Any]", result)
        result = _Page(list(page), page.cursor)
    return _encode(result)


def _scalar(value: Any) -> Any:
    """Return a value of a query as one that MessagePack has: numerics as numbers."""
    if isinstance(value, Decimal):
        return (
            int(value)
            if value == value.to_integral_value() and abs(value) < 2**63
            else float(value)
        )
    return value


def decode_result(name: str, body: bytes, media_type: str = MEDIA_TYPE) -> Any:
    """Return the result in the body of an answer.

    Raises:
        UsageError: it is not of the method's type, because the server has another version.
    """
    try:
        if media_type.startswith(JSON_TYPE):
            kind = method(name).result
            result = msgspec.convert(json.loads(body), kind, dec_hook=_decode_more)
        else:
            result = _decoder(name, "result").decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
        raise UsageError(
            f"the server's answer to {name} is not valid ({error}); compare versions"
        ) from error
    if isinstance(result, _Rows):
        return Rows(result.columns, result.rows)
    if type(result).__name__ == "Page":
        return Page(result.items, result.cursor)
    return result
