"""What a run says at its end, on a terminal: its status, its main metrics, and the command that shows more."""

import sys

from runbase import model
from runbase.analysis.directions import direction_of
from runbase.errors import counted
from runbase.model import Metric
from runbase.status import Status

MOST = 6
"""Metrics that are shown."""


def is_wanted() -> bool:
    """Return whether standard error is a terminal. Raises ValueError if it was closed."""
    return sys.stderr is not None and sys.stderr.isatty()


def show(name: str, experiment: str, status: Status, record: model.Run | None) -> None:
    """Print the summary of a run on standard error."""
    print("\n".join(lines(name, experiment, status, record)), file=sys.stderr)


def lines(name: str, experiment: str, status: Status, record: model.Run | None) -> list[str]:
    """Return the lines of the summary; without a record, only its status is known."""
    head = f"runbase: run {name} of {experiment}: {status.value}"
    if record is None:
        return [head]
    points = sum(metric.count for metric in record.metrics.values())
    took = "" if record.seconds is None else f" after {_seconds(record.seconds)}"
    head += f"{took}, {counted(points, 'point')}"
    keys = sorted(record.metrics, key=lambda key: (not ("val" in key or "test" in key), key))
    width = max((len(key) for key in keys[:MOST]), default=0)
    shown = [_line(key, record.metrics[key], width) for key in keys[:MOST]]
    more = len(keys) - MOST
    if more > 0:
        shown.append(f"  … and {more} more")
    return [head, *shown, f"  runbase show {name}"]


def _line(key: str, metric: Metric, width: int) -> str:
    direction = direction_of(key)
    best, step = {
        "min": (metric.min, metric.min_step),
        "max": (metric.max, metric.max_step),
        None: (None, None),
    }[direction]
    text = f"  {key:<{width}}  last {_number(metric.last)}"
    if best is None or metric.count < 2:
        return text
    return f"{text:<{width + 20}}  best {_number(best)} at step {_number(step)}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {left:02d} s"
