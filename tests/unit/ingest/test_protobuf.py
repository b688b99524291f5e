"""Messages of Protocol Buffers: fields of each wire type, and damaged messages."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbase.ingest.protobuf import fields, signed, varint


def encoded(number: int) -> bytes:
    """A varint, as the *Encoding* page of Protocol Buffers describes it."""
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


def test_the_examples_of_the_encoding_page() -> None:
    assert varint(b"\x96\x01", 0) == (150, 2)
    assert list(fields(b"\x08\x96\x01")) == [(1, 150)]
    assert list(fields(b"\x12\x07testing")) == [(2, b"testing")]


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1), st.binary(max_size=5))
def test_integers_of_any_length_come_back(number: int, before: bytes) -> None:
    raw = before + encoded(number)
    assert varint(raw, len(before)) == (number, len(raw))


@settings(deadline=None)
@given(st.integers(-(2**63), 2**63 - 1))
def test_negative_numbers_come_back(number: int) -> None:
    assert signed(varint(encoded(number % 2**64), 0)[0]) == number


FIELDS = st.lists(
    st.tuples(
        st.integers(1, 2**29 - 1),
        st.integers(0, 2**64 - 1)
        | st.binary(max_size=300)
        | st.floats(allow_nan=False).map(lambda x: ("<d", x))
        | st.floats(width=32, allow_nan=False).map(lambda x: ("<f", x)),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(FIELDS)
def test_messages_come_back(given_fields: list[tuple[int, object]]) -> None:
    raw, expected = b"", []
    for number, value in given_fields:
        match value:
            case int():
                raw += encoded(number << 3) + encoded(value)
                expected.append((number, value))
            case bytes():
                raw += encoded(number << 3 | 2) + encoded(len(value)) + value
                expected.append((number, value))
            case (format, figure):
                packed = struct.pack(format, figure)
                raw += encoded(number << 3 | (1 if format == "<d" else 5)) + packed
                expected.append((number, packed))
    assert list(fields(raw)) == expected


@pytest.mark.parametrize(
    "raw",
    [b"\x0b", b"\x12\x05abc", b"\x09" + bytes(7), b"\x08" + b"\xff" * 10 + b"\x01"],
    ids=["unknown wire type", "cut text", "cut number", "number of more than 64 bits"],
)
def test_damaged_messages_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):
        list(fields(raw))


def test_a_cut_integer_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        varint(b"\x96", 0)
