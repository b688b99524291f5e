"""`runbase best`: the run with the best value of a metric."""

import re
from typing import Annotated, Any

import msgspec
import typer

from runbase.analysis.directions import lower_is_better
from runbase.cli import common, completing, show
from runbase.errors import UsageError

EXAMPLES = (
    "Examples:\n"
    "\n    runbase best mnist"
    "\n    runbase best mnist -m val/loss"
    "\n    runbase best -m val/acc 'params.lr < 0.01' --checkpoint"
)
_WORD = re.compile(r"[\w./-]+")
_OPERATORS = ("is", "in", "like", "ilike", "between", "and", "or")


def command(
    experiment: Annotated[
        str | None,
        typer.Argument(
            help="Only runs of this experiment. Default: all runs.",
            autocompletion=completing.experiments,
        ),
    ] = None,
    where: Annotated[str | None, typer.Argument(help="Only runs that match this filter.")] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            "-m",
            help="The metric. Default: the first objective of the experiment.",
            autocompletion=completing.metrics,
        ),
    ] = None,
    least: Annotated[bool, typer.Option("--min", help="Lower is better.")] = False,
    most: Annotated[bool, typer.Option("--max", help="Higher is better.")] = False,
    checkpoint: Annotated[
        bool,
        typer.Option("--checkpoint", help="Print only the path or URL of the best checkpoint."),
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Show the run with the best last value of a metric.

    The direction is that of the experiment's objective, else derived from the name of the metric.
    """
    if least and most:
        raise UsageError("--min and --max exclude each other; pass one of them")
    direction = "min" if least else "max" if most else None
    if experiment is not None and where is None and is_filter(experiment):
        experiment, where = None, experiment
    if metric is None and where is not None and _WORD.fullmatch(where):
        raise UsageError(f"{where!r} is not a filter; to name the metric, pass -m {where}")
    with common.store(home, url) as store:
        run = store.best(experiment, metric, direction, where=where)
        if checkpoint:
            artifact = store.best_checkpoint(run.experiment, metric, direction, where=where)
            common.say(store.locate(artifact))
            return
        if json:
            document: dict[str, Any] = msgspec.to_builtins(run, enc_hook=str)
            common.print_json({**document, "seconds": run.seconds})
            return
        objectives = store.experiment(run.experiment_id).objectives
        key = metric or objectives[0].metric
        lowest = direction == "min" if direction else lower_is_better(key, objectives)
        value = common.number(common.metric_value(run, key))
        which = "lowest" if lowest else "highest"
        common.say(f"The {which} {key}: {value}\n")
        show.print_run(common.console(), store, run)


def is_filter(word: str) -> bool:
    """Return whether a word on the command line is a filter and not a name."""
    return any(sign in word for sign in "<>=") or any(f" {sign} " in word for sign in _OPERATORS)
