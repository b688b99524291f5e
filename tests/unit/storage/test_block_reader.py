"""Parquet files of blocks: what is written is read, whole and in parts, whatever the rows and the row groups."""

import math
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbase.storage import block_files
from runbase.storage.block_files import Axis, Block, write
from runbase.storage.block_reader import About, Wanted, about, clocks, digest_of, read, rows_of
from runbase.storage.places import Place

KEYS = ["loss", "val/acc", "ключ", ""]


@st.composite
def axes(draw: st.DrawFn, run: str, seq: int, group: int) -> Axis:
    count = draw(st.sampled_from([1, 2, 5, 1024]))
    way = draw(st.sampled_from(["stride", "whole", "real", "huge"]))
    first: Any = draw(st.integers(-1000, 1000))
    stride: Any = None
    steps: Any = None
    if way == "stride":
        stride = draw(st.integers(-3, 3))
    elif way == "huge":
        first, stride = 2**60 + first, 1 if count == 1 else draw(st.integers(1, 3))
    elif way == "whole":
        steps = np.array([first, *draw(st.lists(st.integers(-9, 9), min_size=count - 1, max_size=count - 1))]
                         if count < 10 else np.arange(count) ** 2, dtype=np.int64)  # fmt: skip
    else:
        steps = np.arange(count) * 0.5 + first
    if steps is not None:
        first = steps[0].item()
        ends = (steps.min().item(), steps.max().item())
    else:
        ends = tuple(sorted((first, first + stride * (count - 1))))
    times = np.cumsum(np.full(count, draw(st.integers(-5, 10**6))))
    progress = np.full(count, draw(st.sampled_from([math.nan, 0.25])))
    return Axis(
        run=run,
        seq=seq,
        group=group,
        journal="j",
        keys_hash="h",
        count=count,
        first_step=first,
        stride=stride,
        steps=steps,
        lowest_step=ends[0],
        highest_step=ends[1],
        first_time=1.7e9 + draw(st.floats(0, 1e6)),
        times=times,
        progress=draw(st.sampled_from([None, progress])),
    )


@st.composite
def files(draw: st.DrawFn) -> list[Axis | Block]:
    rows: list[Axis | Block] = []
    group = draw(st.integers(1, 10**6))
    for run in draw(
        st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, unique=True).map(sorted)
    ):
        mine: list[Axis] = []
        for seq in range(draw(st.integers(1, 4))):
            group += draw(st.integers(1, 3))
            mine.append(draw(axes(run, seq, group)))
        rows += mine
        for kind, key in sorted({("metric", k) for k in draw(st.sets(st.sampled_from(KEYS), min_size=1))} | {("telemetry", "loss")}):  # fmt: skip
            for axis in mine:
                if draw(st.booleans()) or axis is mine[0]:
                    value = draw(st.floats())
                    numbers = np.linspace(0, 1, axis.count)
                    numbers[-1] = value
                    rows.append(
                        Block(
                            run=run,
                            kind=kind,
                            key=key,
                            seq=axis.seq,
                            group=axis.group,
                            count=axis.count,
                            nans=int(np.isnan(numbers).sum()),
                            min=None,
                            max=float(axis.count),
                            sum=0.5,
                            numbers=numbers,
                        )
                    )
    return rows


def shown(rows: Sequence[Axis | Block]) -> list[Any]:
    """Rows as what can be compared; 1 and 1.0 are the same."""

    def one(part: Any) -> str:
        if isinstance(part, float) and part.is_integer():
            part = int(part)
        return repr(part.tolist() if isinstance(part, np.ndarray) else part)

    return [
        [one(part) for part in values]
        for row in rows
        for values in [[getattr(row, name) for name in row.__struct_fields__]]
    ]


@settings(max_examples=40, deadline=None)
@given(files(), st.sampled_from([1, 700, 10**6]), st.data())
def test_rows_are_read_as_they_were_written(
    rows: list[Axis | Block], size: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_files, "POINTS", size)
        place = Place(folder)
        written = write(place, "x.parquet", iter(rows), "sqlite:///x.db")
        assert digest_of(place, "x.parquet") == written.digest
        everything = list(rows_of(place, "x.parquet"))
        assert sorted(shown(everything)) == sorted(shown(rows))
        seen: set[int] = set()
        for row in everything:  # an axis comes before its blocks
            assert isinstance(row, Axis) or row.group in seen
            seen.add(row.group)
        blocks = [row for row in rows if isinstance(row, Block)]
        counts = {
            run: sum(b.count for b in blocks if b.run == run) for run in {b.run for b in blocks}
        }
        assert about(place, "x.parquet") == About(counts, "sqlite:///x.db")
        for part in written.parts:
            span = (part.first_row_group, part.row_groups)
            own = [row for row in rows if row.run == part.run]
            found = list(rows_of(place, "x.parquet", part.run, *span))
            assert sorted(shown(found)) == sorted(shown(own))
            assert part.points == counts[part.run]
            assert part.last_group == max(row.group for row in own)
        keys = data.draw(st.one_of(st.none(), st.sets(st.sampled_from(KEYS), min_size=1)))
        start, end = data.draw(st.sampled_from([(None, None), (0, None), (-5, 3), (500.5, 2**60)]))
        partial = data.draw(st.booleans())
        groups = data.draw(st.sampled_from([None, {row.group for row in rows[::2]}]))
        wanted = [Wanted(p.run, p.first_row_group, p.row_groups, keys) for p in written.parts]
        kind = data.draw(st.sampled_from(["metric", "telemetry"]))
        found = read(
            place, "x.parquet", wanted, kind,
            start=start, end=end, groups=groups, partial=partial, times=data.draw(st.booleans()),
        )  # fmt: skip
        axis_of = {row.group: row for row in rows if isinstance(row, Axis)}

        def is_wanted(block: Block) -> bool:
            axis = axis_of[block.group]
            return (
                block.kind == kind
                and (keys is None or block.key in keys)
                and (groups is None or block.group in groups)
                and not (partial and block.count == 1024)
                and (start is None or axis.highest_step >= start)
                and (end is None or axis.lowest_step <= end)
            )

        expected = [block for block in blocks if is_wanted(block)]
        pairs = [pair for pairs in found.values() for pair in pairs]
        assert sorted(shown([block for _, block in pairs])) == sorted(shown(expected))
        assert all(axis.group == block.group for axis, block in pairs)
        for of in found.values():
            assert [axis.seq for axis, _ in of] == sorted(axis.seq for axis, _ in of)
        if keys is not None:
            told = clocks(place, "x.parquet", wanted, kind)
            for (run, key), pairs in told.items():
                mine = [b for b in blocks if (b.run, b.kind, b.key) == (run, kind, key)]
                times = [
                    (float(axis_of[b.group].lowest_step), axis_of[b.group].first_time) for b in mine
                ]
                assert sorted(pairs) == sorted(times)
