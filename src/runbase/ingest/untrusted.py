"""Read untrusted files: YAML with limits on its size, CSV with damaged rows, paths that must stay inside a folder."""

import csv
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from runbase.typing import JsonObject
from runbase.values import DEEPEST

LARGEST_YAML = 4 * 2**20
"""Largest YAML file that is read, in bytes."""
MOST_VALUES = 100_000
"""Largest number of values in a YAML file, each counted as often as an alias repeats it."""


def is_inside(path: Path, folder: Path) -> bool:
    """Return whether a path is inside a folder after all symbolic links are resolved."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a cycle of links, a NUL character
        return False


def load_yaml(path: Path) -> Any:
    """Load the document of a YAML file with PyYAML's safe loader.

    Raises:
        ValueError: the file is damaged, too large, nested too deep, or too large once its aliases are expanded.
        ImportError: PyYAML is not installed.
        OSError: the file cannot be read.
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
) -> Iterator[JsonObject]:
    """Yield the rows of a CSV table as column → value; report rows that cannot be read to `problem` and continue."""
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


def _is_collection(value: object) -> bool:
    return isinstance(value, dict | list | tuple | set)


def _count(value: object, known: dict[int, int], depth: int) -> int:
    """Count the values of a document with each alias expanded; each object is visited once."""
    if not _is_collection(value):
        return 1
    counted = known.get(id(value))
    if counted is not None:
        if counted < 0:
            raise ValueError("it contains itself")
        return counted
    if depth > DEEPEST:
        raise ValueError(f"it has more than {DEEPEST} levels")
    known[id(value)] = -1
    items = cast("Any", value).values() if hasattr(value, "values") else cast("Any", value)
    total = 1
    for item in items:
        total += _count(item, known, depth + 1)
        if total > MOST_VALUES:
            raise ValueError(f"its aliases expand to more than {MOST_VALUES:,} values")
    known[id(value)] = total
    return total
