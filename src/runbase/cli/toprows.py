"""The cells of a row of `runbase top`, for printing and for its screen."""

from runbase.cli import common, tables
from runbase.cli.watching import Row

ORDERS = ("started", "experiment", "age", "progress", "step")
COLOURS = {"alive": "green", "silent": "yellow", "lost": "red", "waiting": "cyan"}
MARKS = {"alive": "●", "silent": "◌", "lost": "✖", "waiting": "○"}
BAR = 10


def cells(row: Row) -> list[str]:
    """Return the cells of a row as Rich markup."""
    colour = COLOURS[row.state]
    figures = [
        f"{common.number(figure.value):>10} [{colour if row.state != 'alive' else 'cyan'}]{figure.course}[/]"
        for figure in row.figures
    ]
    return [
        f"[bold]{tables.escape(row.run.name)}[/]",
        tables.escape(row.run.experiment),
        f"[{colour}]{MARKS[row.state]} {row.state}[/]",
        progress_text(row),
        "–" if row.step is None else f"{row.step:,}",
        *figures,
        age_text(row),
        took_text(row),
    ]


def progress_text(row: Row) -> str:
    """Return a progress bar, the percentage, and the estimated remaining time."""
    if row.progress is None:
        return "–"
    full = round(row.progress * BAR)
    left = "" if row.left is None or row.state != "alive" else f" {common.duration(row.left)} left"
    return f"[cyan]{'━' * full}[/][dim]{'━' * (BAR - full)}[/] {row.progress:4.0%}{left}"


def age_text(row: Row) -> str:
    """Return the age of the last point."""
    if row.age is None:
        return "–"
    text = "now" if row.age < 2 else f"{common.duration(row.age)} ago"
    return text if row.state == "alive" else f"[{COLOURS[row.state]}]{text}[/]"


def took_text(row: Row) -> str:
    """Return how long a run takes, and when its Slurm job reaches its time limit."""
    took = common.duration(row.took)
    if row.job_left is None or row.state != "alive":
        return took
    colour = "yellow" if row.left is not None and row.left > row.job_left else "dim"
    return f"{took} [{colour}](limit in {common.duration(row.job_left)})[/]"
