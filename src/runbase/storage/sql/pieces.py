"""Pieces of curves, and envelopes of pieces and of points: arithmetic on arrays, without a database."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from runbase.model import Envelope
from runbase.storage.sql.outlines import BLOCK, BOUNDS, PIECES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_numbers = msgspec.json.Decoder(list[int | float]).decode
_integers = msgspec.json.Decoder(list[int]).decode


class Pieces(Struct):
    """Parts of a curve: the range of steps of each, its numbers of points and NaN, and its figures."""

    lows: "NDArray[np.float64]"
    highs: "NDArray[np.float64]"
    counts: "NDArray[np.int64]"
    nans: "NDArray[np.int64]"
    least: "NDArray[np.float64]"
    greatest: "NDArray[np.float64]"
    means: "NDArray[np.float64]"
    groups: "NDArray[np.int64]"
    """The group of each piece; -1 for points that are at hand."""
    firsts: "NDArray[np.int64]"
    """The place of its first point in its block."""


def decoded(rows: Sequence[Any], resolution: int) -> Pieces | None:
    """Return the pieces of rows of an outline; None if there are none. Of very many, those of a block are combined."""
    import numpy as np

    if not rows:
        return None
    kind = np.dtype([("least", "<f8"), ("greatest", "<f8"), ("mean", "<f4")])
    packed = np.frombuffer(b"".join([row["pieces"] for row in rows]), dtype=kind)
    blocks = np.array([row["blocks"] for row in rows])
    counts = np.tile(np.diff(BOUNDS), int(blocks.sum()))
    nans = np.zeros(len(packed), dtype=np.int64)
    if any(row["nans"] is not None for row in rows):
        known = [
            bytes(row["blocks"] * PIECES) if row["nans"] is None else row["nans"] for row in rows
        ]
        nans = np.frombuffer(b"".join(known), dtype=np.uint8).astype(np.int64)
    least, greatest = packed["least"].astype(np.float64), packed["greatest"].astype(np.float64)
    means = np.clip(packed["mean"].astype(np.float64), least, greatest)
    each, bounds = PIECES, np.array(BOUNDS)
    if blocks.sum() > 4 * resolution:
        each, bounds = 1, np.array([0, BLOCK])
        numbers = counts - nans
        with np.errstate(invalid="ignore", divide="ignore"):
            sums = np.where(numbers > 0, means * numbers, 0.0).reshape(-1, PIECES).sum(axis=1)
            means = sums / numbers.reshape(-1, PIECES).sum(axis=1)
        least = np.fmin.reduce(least.reshape(-1, PIECES), axis=1)
        greatest = np.fmax.reduce(greatest.reshape(-1, PIECES), axis=1)
        counts, nans = (array.reshape(-1, PIECES).sum(axis=1) for array in (counts, nans))
    lows, highs, firsts = _steps_of_pieces(rows, blocks, each, bounds)
    groups = np.array([group for row in rows for group in _integers(row["group_ids"])])
    return Pieces(
        lows, highs, counts, nans, least, greatest, means, np.repeat(groups, each), firsts
    )


def _steps_of_pieces(
    rows: Sequence[Any], blocks: "NDArray[np.int64]", each: int, bounds: "NDArray[np.int64]"
) -> "tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]":
    """Return the least and the greatest step of each piece, and the place of its first point in its block."""
    import numpy as np

    sizes = blocks * each
    place = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    piece, begins = place % each, place // each * BLOCK
    first_steps = np.array([row["first_step"] for row in rows], dtype=np.float64).repeat(sizes)
    strides = np.array([row["stride"] for row in rows], dtype=np.float64).repeat(sizes)
    one = first_steps + strides * (begins + bounds[piece])
    other = first_steps + strides * (begins + bounds[piece + 1] - 1)
    lows, highs = np.minimum(one, other), np.maximum(one, other)
    for row, end in zip(rows, np.cumsum(sizes).tolist(), strict=True):
        if row["steps"] is not None:
            held = np.array(_numbers(row["steps"]), dtype=np.float64).reshape(-1, PIECES, 2)
            if each == 1:
                held = np.stack([held[..., 0].min(axis=1), held[..., 1].max(axis=1)], axis=-1)
            part = slice(end - row["blocks"] * each, end)
            lows[part], highs[part] = held[..., 0].ravel(), held[..., 1].ravel()
    return lows, highs, bounds[piece]


def of_points(steps: "NDArray[Any]", values: "NDArray[np.float64]") -> Pieces:
    """Return points as pieces of up to 73 points."""
    import numpy as np

    starts = np.arange(0, len(steps), BLOCK // PIECES)
    counts = np.diff(np.append(starts, len(steps)))
    missing = np.isnan(values)
    nans = np.add.reduceat(missing, starts, dtype=np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.add.reduceat(np.where(missing, 0.0, values), starts) / (counts - nans)
    return Pieces(
        np.minimum.reduceat(steps, starts).astype(np.float64),
        np.maximum.reduceat(steps, starts).astype(np.float64),
        counts,
        nans,
        np.fmin.reduceat(values, starts),
        np.fmax.reduceat(values, starts),
        means,
        np.full(len(starts), -1),
        starts,
    )


def select(pieces: Pieces, kept: "NDArray[Any]") -> Pieces:
    """Return the pieces at some places: a mask, or an order. Views suffice if they follow each other."""
    import numpy as np

    part: Any = kept
    if kept.dtype == np.bool_ and len(places := np.flatnonzero(kept)):
        first, last = int(places[0]), int(places[-1]) + 1
        if len(places) == len(kept):
            return pieces
        if len(places) == last - first:
            part = slice(first, last)
    return Pieces(*(getattr(pieces, name)[part] for name in pieces.__struct_fields__))


def joined(parts: Sequence[Pieces]) -> Pieces:
    import numpy as np

    if len(parts) == 1:
        return parts[0]
    names = parts[0].__struct_fields__
    return Pieces(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def envelope_of_pieces(key: str, pieces: Pieces, resolution: int) -> Envelope:
    """Combine consecutive pieces."""
    import numpy as np

    size = len(pieces.lows)
    if size > 1 and not bool((pieces.lows[1:] >= pieces.lows[:-1]).all()):
        pieces = select(pieces, np.argsort(pieces.lows, kind="stable"))
    buckets = min(resolution, size)
    starts = np.arange(buckets) * size // max(buckets, 1)
    numbers = pieces.counts - pieces.nans
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = np.add.reduceat(np.where(numbers > 0, pieces.means * numbers, 0.0), starts)
        total = np.add.reduceat(numbers, starts)
        least, greatest = (
            np.fmin.reduceat(pieces.least, starts),
            np.fmax.reduceat(pieces.greatest, starts),
        )
        mean = np.clip(np.where(total > 0, sums / total, np.nan), least, greatest)
    return Envelope(
        key,
        np.minimum.reduceat(pieces.lows, starts),
        np.maximum.reduceat(pieces.highs, starts),
        least,
        greatest,
        mean,
        np.add.reduceat(pieces.counts, starts),
        np.add.reduceat(pieces.nans, starts),
    )


def envelope_of_points(
    key: str, steps: "NDArray[Any]", values: "NDArray[np.float64]", resolution: int
) -> Envelope:
    import numpy as np

    count = len(steps)
    if not count:
        none, no_counts = np.empty(0), np.empty(0, dtype=np.int64)
        return Envelope(key, none, none, none, none, none, no_counts, no_counts)
    if count > 1 and not bool((steps[1:] > steps[:-1]).all()):
        order = np.argsort(steps, kind="stable")
        steps, values = steps[order], values[order]
    buckets = min(resolution, count)
    # Bucket i begins at floor(i * count / buckets): the numbers of points differ by at most one.
    starts = np.arange(buckets) * count // buckets
    ends = np.append(starts[1:], count) - 1
    missing = np.isnan(values)
    numbers = np.add.reduceat(~missing, starts, dtype=np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = np.add.reduceat(np.where(missing, 0.0, values), starts)
        mean = np.where(numbers > 0, sums / numbers, np.nan)
    least, greatest = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    return Envelope(
        key,
        steps[starts].astype(np.float64),
        steps[ends].astype(np.float64),
        least,
        greatest,
        np.clip(mean, least, greatest),  # a sum is rounded
        ends - starts + 1,
        ends - starts + 1 - numbers,
    )
