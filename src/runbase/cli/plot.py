"""`runbase plot`: draw a metric in the terminal, or as PNG, SVG or PDF."""

from pathlib import Path
from typing import Annotated, Any

import typer

from runbase.cli import common, completing
from runbase.errors import UsageError
from runbase.model import Envelope, Run

EXAMPLES = (
    "Examples:\n"
    "\n    runbase plot train/loss"
    "\n    runbase plot val/acc brisk-heron-42"
    "\n    runbase plot train/loss -e mnist -o loss.svg"
)


def command(
    metric: Annotated[
        str,
        typer.Argument(help="The metric, such as train/loss.", autocompletion=completing.metrics),
    ],
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Runs by id, prefix or name. Default: the newest.",
            autocompletion=completing.runs,
        ),
    ] = None,
    experiment: common.OfExperiment = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="Maximum number of runs.")] = 8,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write a .png or .svg file instead.")
    ] = None,
    log: Annotated[
        bool, typer.Option("--log", help="Use a logarithmic axis for the values.")
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Draw a metric over the steps. With many points, a band shows minimum to maximum."""
    with common.store(home, url) as store:
        curves = store.curves(metric, runs or None, experiment=experiment, limit=limit)
        if json:
            common.print_json([_as_data(run, curve) for run, curve in curves])
        elif output is not None:
            write(output, metric, curves, log)
            common.say(f"Wrote {output}")
        else:
            draw(metric, curves, log)


COLOURS = ("blue", "red", "green", "magenta", "cyan", "yellow")
MARKS = ("•", "x", "+", "o", "*", "#")
"""What tells curves apart on a terminal, and in a file."""


def draw(metric: str, curves: list[tuple[Run, Envelope]], log: bool = False) -> None:
    """Draw curves in the terminal."""
    import plotext

    screen: Any = plotext
    legend: list[str] = []
    screen.clear_figure()
    screen.theme("clear")
    out = common.console()
    screen.plot_size(min(out.width, 110), 22)
    coloured = out.is_terminal and not out.no_color
    marks = ["braille"] * len(COLOURS) if coloured or len(curves) == 1 else MARKS
    for number, (run, curve) in enumerate(curves):
        middle = ((curve.first_steps + curve.last_steps) / 2).tolist()
        points = [(x, y) for x, y in zip(middle, curve.mean.tolist(), strict=True) if y == y]
        if log:
            points = [(x, y) for x, y in points if y > 0]
        xs, ys = [x for x, _ in points], [y for _, y in points]
        colour, mark = COLOURS[number % len(COLOURS)], marks[number % len(marks)]
        screen.plot(xs, ys, marker=mark, color=colour)
        shown = "━━" if mark == "braille" else mark * 2
        legend.append(f"[{colour}]{shown}[/] {common.escape(run.name)}")
    if log:
        screen.yscale("log")
    screen.title(metric)
    screen.xlabel("step")
    print(screen.build() if coloured else screen.uncolorize(screen.build()))
    out.print("  ".join(legend))


def write(path: Path, metric: str, curves: list[tuple[Run, Envelope]], log: bool = False) -> None:
    """Write curves as an image, with a band from minimum to maximum."""
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(
            f"the image format of {path} is not supported; use a name ending in .png or .svg"
        )
    from runbase.analysis import figures

    figure: Any = figures.curves(metric, curves, log=log)
    figure.savefig(path, dpi=140)


def _as_data(run: Run, curve: Envelope) -> dict[str, Any]:
    names = ("first_steps", "last_steps", "min", "max", "mean", "counts")
    data = {name: getattr(curve, name).tolist() for name in names}
    return {"run": run.id, "name": run.name, "metric": curve.key, **data}
