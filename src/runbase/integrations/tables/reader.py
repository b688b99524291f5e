"""Read tables of runs or points: CSV, JSON Lines, Parquet. Each column has a role, by its name or as configured.

Roles are `run`, `experiment`, `name`, `step`, `time`, `started`, `ended`, `status`, `notes`, `user`, `parent`; `key` and
`value` in a table with one row per point; `param`, `metric`, `tag`, `text`; and `ignore`. `param:lr` sets another name.
Tables written by `runbase export` need no configuration.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from runbase.errors import UsageError, suggestion
from runbase.ids import derived_id
from runbase.ingest.foreign import ImportedRun, ImportRequest, typed
from runbase.ingest.foreign_databases import path_of
from runbase.ingest.untrusted import csv_rows
from runbase.status import Status
from runbase.values import flatten

NAME = "table"
_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_OF_RUN = ("experiment", "name", "started", "ended", "status", "notes", "user", "parent")
_OF_ROW = ("run", "step", "time", "key", "value")
_FAMILIES = ("param", "metric", "tag", "text")
_ROLES = (*_OF_RUN, *_OF_ROW, *_FAMILIES, "ignore")
_KNOWN = {
    "id": "run",
    "run_id": "run",
    "run": "run",
    "trial_id": "run",
    "experiment": "experiment",
    "experiment_name": "experiment",
    "project": "experiment",
    "name": "name",
    "run_name": "name",
    "step": "step",
    "_step": "step",
    "epoch": "step",
    "global_step": "step",
    "iteration": "step",
    "time": "time",
    "timestamp": "time",
    "_timestamp": "time",
    "wall_time": "time",
    "created_at": "started",
    "started": "started",
    "started_at": "started",
    "start_time": "started",
    "ended": "ended",
    "ended_at": "ended",
    "end_time": "ended",
    "status": "status",
    "state": "status",
    "notes": "notes",
    "user": "user",
    "parent_id": "parent",
    "metric": "key",
    "value": "value",
    "number": "ignore",
    "alive": "ignore",
    "seconds": "ignore",
    "relative": "ignore",
    "host": "ignore",
    "exit_code": "ignore",
}
"""The default role of columns by name, including the columns of `runbase export`."""
_PREFIXES = {
    "params.": "param",
    "param.": "param",
    "config.": "param",
    "hparams.": "param",
    "metrics.": "metric",
    "metric.": "metric",
    "summary.": "metric",
    "tags.": "tag",
}
_RELATIVE = 1e8
"""Times below this (the year 1973) are seconds since the start of the run."""
_WORDS = {
    "finished": Status.COMPLETED,
    "succeeded": Status.COMPLETED,
    "success": Status.COMPLETED,
    "complete": Status.COMPLETED,
    "done": Status.COMPLETED,
    "fail": Status.FAILED,
    "error": Status.FAILED,
    "crashed": Status.NODE_FAIL,
    "killed": Status.CANCELLED,
    "canceled": Status.CANCELLED,
    "timed_out": Status.TIMEOUT,
}


def recognises(source: str) -> bool:
    """Return whether a source is a file with one of the suffixes."""
    return "://" not in source and path_of(source).suffix.lower() in _SUFFIXES


def count(source: str) -> int:
    """Return 0: the number of runs is not known before the whole table is read."""
    del source
    return 0


def runs(asked: ImportRequest) -> Iterator[ImportedRun]:
    """Yield all runs; rows that cannot be read are reported in `asked.problems`.

    Raises:
        UsageError: a configured column does not exist, or its role is not known.
    """
    path = path_of(asked.source)
    rows = list(_rows(path, asked.problems))
    names = list(dict.fromkeys(name for row in rows for name in row))
    roles = _roles(names, asked.columns)
    _settle(roles, rows)
    table = _Table(path, roles, asked.experiment or path.stem)
    for number, row in enumerate(rows, 1):
        try:
            table.take(number, row)
        except (ValueError, TypeError, ArithmeticError, RecursionError) as wrong:
            asked.problems.append(f"{path}, row {number}: {wrong}")
    yield from table.runs()


class _Table:
    """Collects rows by run."""

    def __init__(self, path: Path, roles: Mapping[str, tuple[str, str]], experiment: str) -> None:
        self._path, self._experiment = path, experiment
        self._families = [(name, *role) for name, role in roles.items() if role[0] in _FAMILIES]
        self._one = {role: name for name, (role, _) in roles.items() if role not in _FAMILIES}
        self._found: dict[str, ImportedRun] = {}
        self._steps: dict[str, int] = {}
        self._began: dict[str, float] = {}
        self._changed = path.stat().st_mtime

    def take(self, number: int, row: Mapping[str, Any]) -> None:
        """Add a row: a run, a step of a run, or a point."""
        run = self._run(number, row)
        own = _moment(self._cell(row, "time"))
        if own is None:
            when = run.ended or run.started
        elif own < _RELATIVE:
            when = self._began[run.id] + own
        else:
            when = own
            run.started = min(run.started, own)
        counted = self._steps.setdefault(run.id, 0)
        given = _number(self._cell(row, "step"))
        step = counted if given is None else int(given) if given == int(given) else given
        self._steps[run.id] = counted + 1
        key = self._cell(row, "key")
        if key is not None and "value" in self._one:
            self._keep(run, "metric", str(key), self._cell(row, "value"), when, step)
        for column, role, name in self._families:
            if (value := row.get(column)) not in (None, ""):
                self._keep(run, role, name, value, when, step)

    def runs(self) -> Iterable[ImportedRun]:
        """Return the collected runs."""
        for run in self._found.values():
            if run.ended is None and run.status is not Status.RUNNING:
                last = [rows[-1][0] for rows in run.metrics.values()]
                run.ended = max([*last, run.started])
            yield run

    def _run(self, number: int, row: Mapping[str, Any]) -> ImportedRun:
        label = self._cell(row, "run")
        many = "step" in self._one or "key" in self._one
        key = str(label) if label is not None else "" if many else str(number)
        experiment = str(self._cell(row, "experiment") or self._experiment)
        known = self._found.get(f"{experiment}\0{key}")
        if known is not None:
            return known
        word = str(self._cell(row, "status") or "")
        began = _moment(self._cell(row, "started"))
        end = _moment(self._cell(row, "ended"))
        place = "" if label is not None else str(self._path.absolute())
        own = len(key) == 32 and key.isalnum()
        run = ImportedRun(
            id=key if own else derived_id(NAME, "\0".join((place, experiment, key))),
            name=str(self._cell(row, "name") or key or self._path.stem),
            experiment=experiment,
            status=_status(word),
            source_status=word,
            started=self._changed if began is None and end is None else began or end or 0.0,
            ended=end,
            user=_text(self._cell(row, "user")),
            parent=_text(self._cell(row, "parent")),
            notes=str(self._cell(row, "notes") or ""),
            params={},
            tags={},
            metrics={},
            types={},
            texts=[],
            by_step=True,
        )
        self._found[f"{experiment}\0{key}"] = run
        self._began[run.id] = run.started
        return run

    def _keep(
        self, run: ImportedRun, role: str, name: str, value: Any, when: float, step: int | float
    ) -> None:
        if role == "param":
            run.params[name] = typed(value) if isinstance(value, str) else value
        elif role == "tag":
            run.tags[name] = None if value in (True, "True", "true") else str(value)
        elif role == "text" or (number := _number(value)) is None:
            run.texts.append((when, step, name, value))
        else:
            if isinstance(value, bool):
                run.types[name] = "bool"
            run.metrics.setdefault(name, []).append((when, step, number))

    def _cell(self, row: Mapping[str, Any], role: str) -> Any:
        column = self._one.get(role)
        value = None if column is None else row.get(column)
        return None if value == "" else value


def _roles(names: list[str], configured: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return column → (role, name): as configured, else by the name of the column; numbers are metrics."""
    roles: dict[str, tuple[str, str]] = {}
    for pattern, role in configured.items():
        kind, _, name = role.partition(":")
        if kind not in _ROLES:
            raise UsageError(f"a column cannot be {kind!r}; it can be {', '.join(_ROLES)}")
        matching = [column for column in names if fnmatchcase(column, pattern)]
        if not matching:
            raise UsageError(f"no column {pattern!r}{suggestion(pattern, names)}")
        for column in matching:
            roles[column] = (kind, name or _without_prefix(column))
    taken = {role for role, _ in roles.values()}
    long = _is_long(names)
    for column in names:
        if column in roles:
            continue
        known = _KNOWN.get(column.lower())
        if known in ("key", "value") and not long:
            known = None
        if known is not None:
            # If several columns have the same role, such as created_at and started_at, use the last.
            same = [c for c, (role, _) in roles.items() if role == known and c not in configured]
            for other in same:
                roles[other] = ("ignore", other)
            roles[column] = ("ignore" if known in taken else known, column)
        else:
            roles[column] = (_family(column), _without_prefix(column))
    return roles


def _settle(roles: dict[str, tuple[str, str]], rows: list[dict[str, Any]]) -> None:
    """Set the role of text columns without a configured role: parameters if constant in a run, else texts."""
    columns = {role: name for name, (role, _) in roles.items() if role in _OF_ROW}
    many = "step" in columns or "key" in columns
    for column, (role, name) in roles.items():
        values = [(str(row.get(columns.get("run", ""))), row.get(column)) for row in rows]
        filled = {(run, str(v)) for run, v in values if v not in (None, "")}
        if role != "metric" or not filled or any(_number(v) is not None for _, v in filled):
            continue
        steady = not many or len(filled) == len({run for run, _ in filled})
        roles[column] = ("param" if steady else "text", name)


def _is_long(names: list[str]) -> bool:
    """Return whether the table has one row per point."""
    low = {name.lower() for name in names}
    return {"metric", "value"} <= low


def _family(column: str) -> str:
    return next((role for prefix, role in _PREFIXES.items() if column.startswith(prefix)), "metric")


def _without_prefix(column: str) -> str:
    prefix = next((prefix for prefix in _PREFIXES if column.startswith(prefix)), "")
    return column.removeprefix(prefix)


def _rows(path: Path, problems: list[str]) -> Iterator[dict[str, Any]]:
    suffix = path.suffix.lower()
    if not path.is_file():
        raise UsageError(f"file {path} not found")
    if suffix == ".parquet":
        try:
            parquet: Any = import_module("pyarrow.parquet")
        except ImportError:
            raise UsageError(
                "reading Parquet needs PyArrow: pip install 'runbase[analysis]'"
            ) from None
        try:
            yield from parquet.read_table(path).to_pylist()
        except (OSError, ValueError) as wrong:
            raise UsageError(f"{path} cannot be read as Parquet: {wrong}") from wrong
    elif suffix in (".csv", ".tsv"):
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            delimiter = "\t" if suffix == ".tsv" else ","
            yield from csv_rows(
                file, lambda wrong: problems.append(f"{path}, {wrong}"), delimiter=delimiter
            )
    else:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    document: Any = json.loads(line)
                except (ValueError, RecursionError) as wrong:
                    problems.append(f"{path}, line {number}: {wrong}")
                    continue
                if isinstance(document, dict):
                    try:
                        yield _flat(cast("dict[str, Any]", document))
                    except ValueError as wrong:
                        problems.append(f"{path}, line {number}: {wrong}")
                else:
                    problems.append(f"{path}, line {number}: not a JSON object")


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten nested objects: known groups become prefixes, others are joined with slashes."""
    row: dict[str, Any] = {}
    for key, value in document.items():
        if not isinstance(value, dict):
            row[key] = value
            continue
        prefix = f"{key}." if f"{key}." in _PREFIXES else f"{key}/"
        for inner, part in flatten(cast("dict[str, Any]", value)):
            row[f"{prefix}{inner}"] = part
    return row


def _number(value: Any) -> float | None:
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return {"true": 1.0, "false": 0.0}.get(value.strip().lower())
    return float(value) if hasattr(value, "__float__") else None


def _moment(value: Any) -> float | None:
    """Return seconds since the epoch of a date and time (UTC by default), or of seconds, milli-, micro- or nanoseconds."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    number = _number(value)
    if number is not None:
        for greatest, unit in ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6)):
            if abs(number) < greatest:
                return number / unit
        return number / 1e9
    try:
        moment = datetime.fromisoformat(str(value).strip())
    except ValueError:
        raise ValueError(f"{value!r} is not a time") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _status(word: str) -> Status:
    try:
        return Status(word.upper())
    except ValueError:
        return _WORDS.get(word.lower(), Status.COMPLETED)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
