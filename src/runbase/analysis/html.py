"""Records as HTML for notebooks: plain tables, best values marked, nothing fetched from anywhere."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from runbase.analysis.directions import best_of, lower_is_better

if TYPE_CHECKING:
    from runbase.analysis.compare import Comparison

MOST_ROWS = 50
_HIDDEN = ("id", "experiment_id", "parent_id", "updated_at", "host", "exit_code", "folder")
_STYLE = (
    "<style scoped>.runbase td,.runbase th{padding:.2em .7em;text-align:left;font-variant-numeric:tabular-nums}"
    ".runbase th{border-bottom:1px solid currentColor}.runbase td.n{text-align:right}"
    ".runbase .best{font-weight:600;color:#15803d}.runbase caption{text-align:left;opacity:.7}</style>"
)


def listing(rows: Sequence[Mapping[str, Any]]) -> str:
    """Flat rows as a table; columns that are empty everywhere are left out."""
    shown = rows[:MOST_ROWS]
    names = [
        name
        for name in dict.fromkeys(key for row in shown for key in row)
        if name not in _HIDDEN and any(row.get(name) not in (None, "") for row in shown)
    ]
    best = {
        name: best_of(
            (_number(row.get(name)) for row in rows), lower_is_better(name.removeprefix("metrics."))
        )
        for name in names
        if name.startswith("metrics.")
    }
    body = [[_cell(row.get(name), best.get(name)) for name in names] for row in shown]
    caption = f"{len(rows)} rows" + (
        f", the first {MOST_ROWS} shown" if len(rows) > MOST_ROWS else ""
    )
    return _table([_heading(name) for name in names], body, caption)


def comparison(found: "Comparison") -> str:
    """A comparison: a column an item, parameters that differ above metrics."""
    heads = [
        "",
        *(f"{escape(item.name)}<br><small>{escape(item.status)}</small>" for item in found.items),
    ]
    body = [
        [_cell(key, None), *(_cell(value, None) for value in found.params[key])]
        for key in found.differing
    ]
    for key, values in found.metrics.items():
        places = found.best.get(key, [])
        cells = [_cell(v, v if n in places else None) for n, v in enumerate(values)]
        body.append([_cell(key, None), *cells])
    caption = "not found: " + ", ".join(found.missing) if found.missing else ""
    return _table(heads, body, caption)


def fields(title: str, values: Mapping[str, Any]) -> str:
    """One record: names and values, empty ones left out."""
    body = [
        [_cell(name, None), _cell(value, None)]
        for name, value in values.items()
        if value not in (None, "", {}, [])
    ]
    return _table([escape(title), ""], body, "")


def _table(heads: Sequence[str], body: Sequence[Sequence[str]], caption: str) -> str:
    head = "".join(f"<th>{name}</th>" for name in heads)
    rows = "".join(f"<tr>{''.join(cells)}</tr>" for cells in body)
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'{_STYLE}<table class="runbase">{said}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _heading(name: str) -> str:
    family, dot, key = name.partition(".")
    return f"<small>{escape(family)}</small> {escape(key)}" if dot else escape(name)


def _cell(value: Any, best: float | None) -> str:
    number = _number(value)
    if number is not None:
        mark = ' class="n best"' if best is not None and number == best else ' class="n"'
        return (
            f"<td{mark}>{escape(f'{value:.6g}' if isinstance(value, float) else str(value))}</td>"
        )
    if isinstance(value, datetime):
        return f"<td>{value:%Y-%m-%d %H:%M:%S}</td>"
    text = "–" if value is None else str(value)
    return f"<td>{escape(text if len(text) <= 80 else text[:79] + '…')}</td>"


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
