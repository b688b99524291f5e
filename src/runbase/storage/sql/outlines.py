"""Outlines of long metrics: least, greatest and mean value of each piece of a full block.

A chart of a million points reads 14 pieces for each 1,024 points. `add` keeps outlines up to date when blocks become full;
`build` makes those of metrics that were stored before outlines existed or were copied.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from runbase.storage.arrays import decode_numbers, total
from runbase.storage.sql.session import Session

BLOCK = 1024
"""Points in a full block."""
PIECES = 14
"""Pieces of a full block."""
BOUNDS = [BLOCK * place // PIECES for place in range(PIECES + 1)]
"""The first point of each piece, and the end."""
LEAST_BLOCKS = 4
"""Full blocks from which a metric has an outline; before, its points are read."""
ROW = 16
"""Blocks in a row of an outline."""

_PACK = struct.Struct("<ddf")
_encode = msgspec.json.Encoder().encode
_numbers = msgspec.json.Decoder(list[int | float]).decode

Scalar = int | float


def add(session: Session, group: int, ids: Sequence[int]) -> None:
    """Add the blocks of a group that became full to the outlines of their metrics."""
    listed = session.as_list(ids)
    tails = {row["series_id"]: row for row in session.rows("outline_tails", series=listed)}
    new = [series for series in ids if series not in tails]
    if new:
        waiting = {row["series_id"] for row in session.rows("unoutlined_of", series=listed)}
        counts = {
            row["series_id"]: row["blocks"]
            for row in session.rows("full_blocks", series=session.as_list(new))
        }
        for series in new:
            if counts.get(series, 0) >= LEAST_BLOCKS and series not in waiting:
                build(session, series)
    if not tails:
        return
    # A metric in `unoutlined` has no rows, so no metric with a tail is among them.
    for row in session.rows("blocks_of_group", group=group):
        tail = tails.get(row["series_id"])
        if tail is not None:
            block = _Block(group, row)
            _append(session, row["series_id"], tail, block)


def build_all(session: Session, blocks: Mapping[int, int]) -> None:
    """Make the outlines of metrics whose blocks were stored all at once: series → how many are full."""
    for series, count in blocks.items():
        if count >= LEAST_BLOCKS:
            build(session, series)


def build_missing(session: Session, run: str, series: int) -> None:
    """Make the outline of a metric that was stored before outlines existed."""
    session.rows("lock_runs", runs=session.as_list([run]))
    if session.rows("unoutlined_of", series=session.as_list([series])):
        build(session, series)


def build(session: Session, series: int) -> None:
    """Make the outline of a metric from its blocks."""
    session.run("clear_outline", series=series)
    rows: list[_Row] = []
    for row in session.rows("blocks_for_outline", series=series):
        block = _Block(row["group_id"], row)
        if not rows or not rows[-1].takes(block):
            rows.append(_Row(block))
        else:
            rows[-1].append(block)
    session.many(
        "insert_outline",
        [{"series": series, "seq": seq, **row.columns()} for seq, row in enumerate(rows)],
    )
    session.run("outlined", series=series)


def unoutlined(session: Session) -> list[tuple[str, int, int]]:
    """Return the metrics that have no outline yet: run, id and number of points of each."""
    return [tuple(row) for row in session.rows("all_unoutlined")]


class _Block:
    """A full block: its steps, and its pieces as bytes."""

    def __init__(self, group: int, row: Any) -> None:
        self.group = group
        self.first: Scalar = row["first_step"]
        self.stride: Scalar | None = row["stride"]
        self.pieces, self.nans = encode_pieces(
            decode_numbers(held) if isinstance(held := row["numbers"], str) else held
        )
        self.steps: list[Scalar] = []
        """The least and the greatest step of each piece, if they do not follow from the stride."""
        if self.stride is None:
            held = row["steps"]
            steps = _numbers(held) if isinstance(held, str) else list(held)
            for place in range(PIECES):
                part = steps[BOUNDS[place] : BOUNDS[place + 1]]
                self.steps += (min(part), max(part))
            self.lowest, self.highest = min(steps), max(steps)
        else:
            ends = (self.first, self.first + self.stride * (BLOCK - 1))
            self.lowest, self.highest = min(ends), max(ends)


class _Row:
    """A row of an outline: up to 16 blocks whose steps have one stride, or all have none."""

    def __init__(self, block: _Block) -> None:
        self.blocks = [block]

    def takes(self, block: _Block) -> bool:
        first = self.blocks[0]
        return _takes(len(self.blocks), first.first, first.stride, block)

    def append(self, block: _Block) -> None:
        self.blocks.append(block)

    def columns(self) -> dict[str, Any]:
        first = self.blocks[0]
        steps = [step for block in self.blocks for step in block.steps]
        some = any(block.nans is not None for block in self.blocks)
        return {
            "blocks": len(self.blocks),
            "lowest_step": min(block.lowest for block in self.blocks),
            "highest_step": max(block.highest for block in self.blocks),
            "first_step": first.first,
            "stride": first.stride,
            "steps": _encode(steps).decode() if steps else None,
            "group_ids": _encode([block.group for block in self.blocks]).decode(),
            "pieces": b"".join(block.pieces for block in self.blocks),
            "nans": b"".join(b.nans or bytes(PIECES) for b in self.blocks) if some else None,
        }


def _takes(blocks: int, first: Scalar, stride: Scalar | None, block: _Block) -> bool:
    """Return whether this block continues a row of some blocks."""
    if blocks >= ROW or stride != block.stride:
        return False
    return stride is None or block.first == first + stride * BLOCK * blocks


def _append(session: Session, series: int, tail: Any, block: _Block) -> None:
    if not _takes(tail["blocks"], tail["first_step"], tail["stride"], block):
        session.run("insert_outline", series=series, seq=tail["seq"] + 1, **_Row(block).columns())
        return
    session.run(
        "extend_outline",
        series=series,
        seq=tail["seq"],
        lowest_step=block.lowest,
        highest_step=block.highest,
        steps=_encode(block.steps).decode() if block.steps else None,
        group=str(block.group),
        pieces=block.pieces,
        nans=block.nans,
        no_nans_before=bytes(PIECES * tail["blocks"]),
        no_nans_now=bytes(PIECES),
    )


def encode_pieces(values: Sequence[Scalar]) -> tuple[bytes, bytes | None]:
    """Return the pieces of 1,024 values: min, max and mean of each; and how many of each are NaN, unless none is.

    A mean is a float32, which readers limit to the range from min to max. A piece of NaN alone has NaN in all three.
    """
    packed, nans = list[bytes](), bytearray(PIECES)
    for place in range(PIECES):
        part = values[BOUNDS[place] : BOUNDS[place + 1]]
        added = total(part)
        if added != added:  # a NaN, or both infinities
            numbers = [value for value in part if value == value]
            nans[place] = len(part) - len(numbers)
            part, added = numbers, total(numbers)
        if not part:
            packed.append(_PACK.pack(math.nan, math.nan, math.nan))
            continue
        try:
            packed.append(_PACK.pack(min(part), max(part), added / len(part)))
        except OverflowError:  # the mean is beyond the range of a float32
            mean = math.copysign(math.inf, added)
            packed.append(_PACK.pack(min(part), max(part), mean))
    return b"".join(packed), bytes(nans) if any(nans) else None
