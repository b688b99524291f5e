"""Records as HTML for notebooks: plain tables, best values marked, nothing fetched from anywhere."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

import msgspec

from runbase.analysis.directions import best_of, direction_of

MOST_ROWS = 50
MOST_RECORDS = 24
_HIDDEN = frozenset(
    [
        "id",
        "experiment_id",
        "parent_id",
        "number",
        "created_at",
        "updated_at",
        "ended_at",
        "user",
        "host",
        "pid",
        "exit_code",
        "folder",
    ]
)
_FIRST = ("name", "experiment", "status")
_STYLE = (
    "<style scoped>.runbase td,.runbase th{padding:.2em .7em;text-align:left;white-space:nowrap;"
    "font-variant-numeric:tabular-nums}"
    ".runbase th{border-bottom:1px solid currentColor}.runbase td.n{text-align:right}"
    ".runbase .best{font-weight:600;color:#15803d}.runbase caption{text-align:left;opacity:.7}</style>"
)


def listing(rows: Sequence[Mapping[str, Any]]) -> str:
    """Flat rows as a table; columns that are empty everywhere are left out."""
    shown = rows[:MOST_ROWS]
    names = [
        name
        for name in dict.fromkeys([*_FIRST, *(key for row in shown for key in row)])
        if name not in _HIDDEN and any(row.get(name) not in (None, "") for row in shown)
    ]
    best = {
        name: best_of(
            (_number(row.get(name)) for row in rows), direction_of(name.removeprefix("metrics."))
        )
        for name in names
        if name.startswith("metrics.")
    }
    body = [[cell(row.get(name), best.get(name)) for name in names] for row in shown]
    caption = f"{len(rows)} rows" + (
        f", the first {MOST_ROWS} shown" if len(rows) > MOST_ROWS else ""
    )
    return table([_heading(name) for name in names], body, caption)


def fields(title: str, values: Mapping[str, Any]) -> str:
    """One record: names and values, empty ones left out."""
    body = [
        [cell(name, None), cell(value if isinstance(value, datetime) else str(value), None)]
        for name, value in values.items()
        if value not in (None, "", {}, [])
    ]
    return table([escape(title), ""], body, "")


def records(found: Sequence[Mapping[str, Any]], read: Callable[[Any], Any]) -> str:
    """Records as what they are: pictures, tables, bars, text."""
    parts: list[str] = []
    for record in found[:MOST_RECORDS]:
        head = f"{escape(record['key'])} <small>{escape(record['kind'])}, step {record['step']}</small>"
        try:
            body = _record(record, read(record))
        except Exception as error:  # one file that is not here spoils no listing
            body = f"<i>{escape(str(error))}</i>"
        parts.append(f"<figure><figcaption>{head}</figcaption>{body}</figure>")
    if len(found) > MOST_RECORDS:
        parts.append(f"<p>{len(found)} records, the first {MOST_RECORDS} shown</p>")
    return "".join(parts) or "<p>no records</p>"


def _record(record: Mapping[str, Any], value: Any) -> str:
    match record["kind"]:
        case "image":
            return f'<img style="max-width:24em" src="{_data_url(value)}">'
        case "table":
            rows = [[cell(item, None) for item in row] for row in value["rows"][:MOST_ROWS]]
            more = len(value["rows"]) - len(rows)
            said = f"{more} more rows" if more > 0 else ""
            return table([escape(str(name)) for name in value["columns"]], rows, said)
        case "histogram":
            return _bars(value["counts"], value["edges"])
        case "text":
            return f"<pre>{escape(value)}</pre>"
        case "audio" | "video":
            return f"<code>{escape(str(value))}</code>"
        case _:
            text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
            return f"<pre>{escape(text if len(text) < 4000 else text[:4000] + ' …')}</pre>"


def _data_url(image: Any) -> str:
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _bars(counts: Sequence[float], edges: Sequence[float], width: int = 320) -> str:
    top = max(counts, default=0) or 1
    step = width / max(len(counts), 1)
    bars = "".join(
        f'<rect x="{n * step:.1f}" y="{80 - 80 * count / top:.1f}" width="{step:.1f}" '
        f'height="{80 * count / top:.1f}" fill="currentColor" opacity=".6"/>'
        for n, count in enumerate(counts)
    )
    axis = f"<br><small>{edges[0]:.4g} … {edges[-1]:.4g}</small>" if edges else ""
    return f'<svg width="{width}" height="80">{bars}</svg>{axis}'


def table(heads: Sequence[str], body: Sequence[Sequence[str]], caption: str) -> str:
    head = "".join(f"<th>{name}</th>" for name in heads)
    rows = "".join(f"<tr>{''.join(cells)}</tr>" for cells in body)
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'{_STYLE}<table class="runbase">{said}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _heading(name: str) -> str:
    family, dot, key = name.partition(".")
    return f"<small>{escape(family)}</small> {escape(key)}" if dot else escape(name)


def cell(value: Any, best: float | None) -> str:
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
