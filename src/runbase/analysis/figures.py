"""Curves as Matplotlib figures: the mean as a line, minimum to maximum as a band.

Importing this module imports Matplotlib; import it only where a figure is drawn.
"""

import io
from collections.abc import Sequence
from typing import Any

from runbase import extras
from runbase.model import Envelope, Run

Figure = extras.load("matplotlib.figure", "analysis", "a chart").Figure


class CurveFigure(Figure):
    """A figure that notebooks display without pyplot."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        whole: Any = self
        whole.savefig(stream, format="png", dpi=110)
        return stream.getvalue()


def curves(
    metric: str, envelopes: Sequence[tuple[Run, Envelope]], *, log: bool = False
) -> CurveFigure:
    """Draw a metric of several runs over the steps.

    Args:
        metric: the title.
        envelopes: each run with its envelope.
        log: whether the vertical axis is logarithmic.
    """
    figure: Any = CurveFigure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for (_, curve), label in zip(envelopes, labels([run for run, _ in envelopes]), strict=True):
        middle = (curve.first_steps + curve.last_steps) / 2
        (line,) = axes.plot(middle, curve.mean, linewidth=1.3, label=label)
        axes.fill_between(middle, curve.min, curve.max, alpha=0.18, color=line.get_color(), lw=0)
    if log:
        axes.set_yscale("log")
    axes.set(title=metric, xlabel="step")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return figure


def labels(runs: Sequence[Run], most: int = 3) -> list[str]:
    """Return a label for each run: its name and the first few parameters that differ."""
    keys = dict.fromkeys(key for run in runs for key in run.params)
    differing = [key for key in keys if len({repr(run.params.get(key)) for run in runs}) > 1][:most]
    texts = [", ".join(f"{key}={run.params.get(key)}" for key in differing) for run in runs]
    return [
        f"{run.name} ({text})" if text else run.name for run, text in zip(runs, texts, strict=True)
    ]
