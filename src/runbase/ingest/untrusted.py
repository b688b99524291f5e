"""Reads files that somebody else wrote: YAML without bombs, CSV without limits, paths that stay inside a folder."""

import csv
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from runbase.values import DEEPEST

LARGEST_YAML = 4 * 2**20
"""Bytes of a YAML file that is read."""
MOST_VALUES = 100_000
"""Values of a YAML file, each counted as often as an alias repeats it."""


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path stays in a folder when all symbolic links are followed."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, a NUL
        return False


def load_yaml(path: Path) -> Any:
    """The document of a YAML file, read by PyYAML's safe loader.

    Raises ValueError for one that is damaged, too large, too deep, or that aliases make too large;
    ImportError where PyYAML is not installed; OSError.
    """
    yaml: Any = import_module("yaml")
    if path.stat().st_size > LARGEST_YAML:
        raise ValueError(f"it has more than {LARGEST_YAML // 2**20} MiB")
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
        _count(document, {}, 0)
    except (yaml.YAMLError, UnicodeError) as wrong:
        raise ValueError(" ".join(str(wrong).split())) from wrong
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return document


def csv_rows(
    lines: Iterable[str], problem: Callable[[str], None], **options: Any
) -> Iterator[dict[str, Any]]:
    """The rows of a CSV table by column; what cannot be read is told, and the next row goes on."""
    reader = csv.DictReader(lines, **options)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as wrong:
            problem(f"line {reader.line_num}: {wrong}")
            continue
        yield {name: value for name, value in row.items() if name}


def _is_collection(value: Any) -> bool:
    return isinstance(value, dict | list | tuple | set)


def _count(value: Any, known: dict[int, int], depth: int) -> int:
    """How many values a document has, with each alias written out; the same object is counted once."""
    if not _is_collection(value):
        return 1
    found = known.get(id(value))
    if found is not None:
        if found < 0:
            raise ValueError("it contains itself")
        return found
    if depth > DEEPEST:
        raise ValueError(f"it has more than {DEEPEST} levels")
    known[id(value)] = -1
    items: Iterable[Any] = value.values() if hasattr(value, "values") else value
    total = 1
    for item in items:
        total += _count(item, known, depth + 1)
        if total > MOST_VALUES:
            raise ValueError(f"its aliases stand for more than {MOST_VALUES:,} values")
    known[id(value)] = total
    return total
