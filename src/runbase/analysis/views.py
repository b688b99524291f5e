"""Views of single objects in notebooks: a run, an experiment, a curve, rows of a query."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from runbase.analysis import html
from runbase.model import Envelope, Experiment, Run, Series

if TYPE_CHECKING:
    from runbase.storage.types import Rows

MOST = 50
"""Parameters, metrics or rows that are shown."""
_WIDTH, _HEIGHT = 480, 120
_FACTS = (
    "experiment",
    "status",
    "started_at",
    "ended_at",
    "user",
    "host",
    "parent_id",
    "notes",
    "id",
)


def run(record: Run) -> str:
    """Return a run as tables of its facts, parameters and metrics."""
    facts = {name: getattr(record, name) for name in _FACTS} | {"status": record.status.value}
    if record.tags:
        facts["tags"] = ", ".join(k if v is None else f"{k}={v}" for k, v in record.tags.items())
    if record.error:
        facts["error"] = f"{record.error.get('type')}: {record.error.get('message')}"
    if record.seconds is not None:
        facts["seconds"] = record.seconds
    metrics = [
        [html.cell(value, None) for value in (m.key, m.last, m.min, m.max, m.last_step, m.count)]
        for m in list(record.metrics.values())[:MOST]
    ]
    heads = ["metric", "last", "min", "max", "last step", "points"]
    return (
        html.fields(record.name, facts)
        + (_mapping("parameter", record.params) if record.params else "")
        + (html.table(heads, metrics, _more(record.metrics)) if metrics else "")
    )


def experiment(record: Experiment) -> str:
    """Return an experiment as a table of its facts, and one of its configuration."""
    names = ("description", "status", "runs", "base_model", "method", "notes", "created_at", "id")
    facts = {name: getattr(record, name) for name in names}
    facts["objectives"] = ", ".join(f"{o.direction} {o.metric}" for o in record.objectives)
    return html.fields(record.name, facts) + (
        _mapping("config", record.config) if record.config else ""
    )


def series(points: Series) -> str:
    """Return a line through at most 480 points: of more, the least and the greatest of each part."""
    import numpy as np

    values = points.values[np.isfinite(points.values)]
    steps = points.steps[np.isfinite(points.values)].astype(np.float64)
    if len(values) > _WIDTH:
        starts = np.arange(_WIDTH // 2) * len(values) // (_WIDTH // 2)
        low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
        values = np.column_stack([low, high]).ravel()
        steps = np.repeat(steps[starts], 2)
    span = (float(points.steps[0]), float(points.steps[-1])) if len(points) else (0.0, 0.0)
    return _line(repr(points), steps.tolist(), values.tolist(), span)


def envelope(curve: Envelope) -> str:
    """Return the band from minimum to maximum."""
    import numpy as np

    kept = np.isfinite(curve.min) & np.isfinite(curve.max)
    steps = np.concatenate([curve.first_steps[kept], curve.first_steps[kept][::-1]])
    values = np.concatenate([curve.max[kept], curve.min[kept][::-1]])
    span = (float(curve.first_steps[0]), float(curve.last_steps[-1])) if len(curve) else (0.0, 0.0)
    return _line(repr(curve), steps.tolist(), values.tolist(), span, fill=".3")


def rows(found: "Rows") -> str:
    """Return the first rows of a query as a table."""
    body = [[html.cell(value, None) for value in row] for row in found[:MOST]]
    return html.table([escape(name) for name in found.columns], body, _more(found))


def _mapping(head: str, values: Mapping[str, Any]) -> str:
    body = [
        [html.cell(name, None), html.cell(value, None)]
        for name, value in list(values.items())[:MOST]
    ]
    return html.table([head, "value"], body, _more(values))


def _more(items: "Sequence[Any] | Mapping[str, Any]") -> str:
    return f"{len(items):,} in all, the first {MOST} shown" if len(items) > MOST else ""


def _line(
    title: str,
    steps: Sequence[float],
    values: Sequence[float],
    span: tuple[float, float],
    fill: str | None = None,
) -> str:
    if not values:
        return f"<p>{escape(title)}</p>"
    left, wide = span[0], (span[1] - span[0]) or 1.0
    low, tall = min(values), (max(values) - min(values)) or 1.0
    points = " ".join(
        f"{(x - left) / wide * _WIDTH:.1f},{(1 - (y - low) / tall) * _HEIGHT:.1f}"
        for x, y in zip(steps, values, strict=True)
    )
    shape = (
        f'<polyline points="{points}" fill="none" stroke="currentColor"/>'
        if fill is None
        else f'<polygon points="{points}" fill="currentColor" opacity="{fill}"/>'
    )
    ends = f"<small>{low:.4g} … {low + tall:.4g}, steps {span[0]:g} … {span[1]:g}</small>"
    return (
        f"<p>{escape(title)}<br>"
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 -2 {_WIDTH} {_HEIGHT + 4}">{shape}</svg>'
        f"<br>{ends}</p>"
    )
