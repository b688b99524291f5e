"""Rows into files: Parquet, CSV, JSON Lines. A file is there whole or not at all."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import msgspec

from runbase.analysis.frames import columns_of, to_arrow
from runbase.filesystems import atomic_write

Rows = list[dict[str, Any]]


def write(path: Path, kind: str, parts: Iterable[Rows]) -> None:
    """Write rows, which come in parts, to a file of a kind: parquet, csv or jsonl."""
    with atomic_write(path) as partial:
        {"parquet": _parquet, "csv": _csv, "jsonl": _jsonl}[kind](partial, parts)


def _jsonl(path: Path, parts: Iterable[Rows]) -> None:
    encode = msgspec.json.Encoder(enc_hook=str).encode
    with path.open("wb") as file:
        for rows in parts:
            for row in rows:
                file.write(encode({key: _spelled(value) for key, value in row.items()}) + b"\n")


def _csv(path: Path, parts: Iterable[Rows]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = None
        for rows in parts:
            columns = columns_of(rows)
            if writer is None:
                writer = csv.DictWriter(file, list(columns), extrasaction="ignore")
                writer.writeheader()
            writer.writerows({k: _cell(v) for k, v in row.items()} for row in rows)


def _parquet(path: Path, parts: Iterable[Rows]) -> None:
    table = to_arrow({})
    from pyarrow import parquet  # pyright: ignore

    made = cast("Any", parquet)
    writer = None
    try:
        for rows in parts:
            table = to_arrow(columns_of(rows))
            if writer is None:
                writer = made.ParquetWriter(str(path), table.schema, compression="zstd")
            writer.write_table(table.cast(writer.schema))
        if writer is None:
            made.write_table(table, str(path))
    finally:
        if writer is not None:
            writer.close()


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return msgspec.json.encode(value, enc_hook=str).decode()
    return value


def _spelled(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value
