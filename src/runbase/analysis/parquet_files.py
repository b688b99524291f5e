"""Points and tables as Parquet files, on disk or at any URL: a file is there whole or not at all."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from runbase.extras import load
from runbase.model import Series
from runbase.storage.places import Place

ROWS = 2**18
"""Rows of a row group: what a query of one metric reads, at least."""
_RUNS = b"runbase.runs"
Batch = Iterable[tuple[str, str, Series]]
"""Points of metrics: (run, key, points)."""


def _arrow() -> Any:
    return load("pyarrow", "analysis", "a lake")


def _parquet() -> Any:
    return load("pyarrow.parquet", "analysis", "a lake")


def write_points(place: Place, name: str, series: Batch, runs: Callable[[], dict[str, int]]) -> int:
    """Write points, which come sorted by run and key, and return the size of the file in bytes.

    Args:
        place: where.
        name: the name of the file.
        series: the points.
        runs: called at the end: run → number of points in the file, which its metadata keep.
    """
    arrow, parquet = _arrow(), _parquet()
    text = arrow.dictionary(arrow.int32(), arrow.string())
    columns = {
        "run_id": text, "key": text, "step": arrow.float64(),
        "time": arrow.timestamp("us", tz="UTC"), "value": arrow.float64(),
    }  # fmt: skip
    schema = arrow.schema(list(columns.items()))

    def work(file: Any) -> None:
        with parquet.ParquetWriter(
            file, schema, compression="zstd", compression_level=3, store_schema=False, use_dictionary=["run_id", "key"],
            column_encoding={"step": "BYTE_STREAM_SPLIT", "time": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT"},
        ) as writer:  # fmt: skip
            for table in _tables(series, schema):
                writer.write_table(table, row_group_size=ROWS)
            writer.add_key_value_metadata({_RUNS: json.dumps(runs())})

    return place.write(name, work)


def _tables(series: Batch, schema: Any) -> Iterator[Any]:
    """Yield tables of at least `ROWS` rows, but for the last one."""
    import numpy as np

    arrow = _arrow()
    held: list[tuple[str, str, Series]] = []

    def table() -> Any:
        lengths = [len(points.steps) for _, _, points in held]
        times = np.concatenate([points.times for _, _, points in held])
        return arrow.table(
            [
                _repeated([run for run, _, _ in held], lengths),
                _repeated([key for _, key, _ in held], lengths),
                np.concatenate([np.asarray(points.steps, dtype=float) for _, _, points in held]),
                arrow.array(np.round(times * 1e6).astype("int64")).cast(schema.field("time").type),
                np.concatenate([np.asarray(points.values, dtype=float) for _, _, points in held]),
            ],
            schema=schema,
        )

    count = 0
    for one in series:
        held.append(one)
        count += len(one[2].steps)
        if count >= ROWS:
            yield table()
            held.clear()
            count = 0
    if count:
        yield table()


def _repeated(names: Sequence[str], lengths: Sequence[int]) -> Any:
    """Return a column of texts, each repeated, as a dictionary."""
    import numpy as np

    arrow = _arrow()
    kinds = {name: place for place, name in enumerate(dict.fromkeys(names))}
    places = np.repeat(np.array([kinds[name] for name in names], dtype="int32"), lengths)
    return arrow.DictionaryArray.from_arrays(
        arrow.array(places), arrow.array(list(kinds), arrow.string())
    )


def runs_in(place: Place, name: str) -> dict[str, int]:
    """Return run → number of points of a file of points."""
    with place.open(name) as file:
        metadata: dict[bytes, bytes] = _parquet().read_metadata(file).metadata or {}
    return json.loads(metadata.get(_RUNS, b"{}"))


def points_in(place: Place, name: str, run: str) -> Iterator[tuple[str, Series]]:
    """Yield the points of one run in a file: (key, points)."""
    import numpy as np

    with place.open(name) as file:
        found = _parquet().read_table(file, filters=[("run_id", "=", run)])
    keys = found.column("key").to_pylist()
    times = np.asarray(found.column("time").cast("int64")) / 1e6
    steps, values = (np.asarray(found.column(column)) for column in ("step", "value"))
    begin = 0
    for end in range(1, len(keys) + 1):
        if end == len(keys) or keys[end] != keys[begin]:
            part = slice(begin, end)
            yield keys[begin], Series(keys[begin], steps[part], times[part], values[part])
            begin = end


def merge_rows(
    place: Place, name: str, rows: list[dict[str, Any]], columns: dict[str, str], replaced: set[str]
) -> None:
    """Write a table: its present rows without those of some runs, and new ones.

    Args:
        place: where.
        name: the name of the file.
        rows: the new rows, each with `run_id`.
        columns: name → Arrow type of each column.
        replaced: runs whose present rows are left out.
    """
    arrow, parquet = _arrow(), _parquet()
    schema = arrow.schema([(column, _type(arrow, kind)) for column, kind in columns.items()])
    table = arrow.Table.from_pylist(rows, schema=schema)
    if place.read(name) is not None:
        with place.open(name) as file:
            old = parquet.read_table(file).cast(schema)
        kept = [run not in replaced for run in old.column("run_id").to_pylist()]
        table = arrow.concat_tables([old.filter(arrow.array(kept, arrow.bool_())), table])
    table = table.sort_by([("run_id", "ascending")])
    place.write(name, lambda file: parquet.write_table(table, file, compression="zstd"))


def _type(arrow: Any, kind: str) -> Any:
    if kind == "time":
        return arrow.timestamp("us", tz="UTC")
    return arrow.type_for_alias(kind)
