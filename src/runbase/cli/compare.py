"""`runbase compare`: compare runs and experiments."""

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console

from runbase.analysis import headline
from runbase.analysis.compare import Comparison
from runbase.cli import common, completing, tables
from runbase.cli.best import is_filter
from runbase.cli.tables import Column
from runbase.errors import NotFound, counted
from runbase.model import Run
from runbase.store.store import Store

EXAMPLES = (
    "Examples:\n"
    "\n    runbase compare brisk-heron-42 calm-otter-7"
    "\n    runbase compare mnist"
    "\n    runbase compare \"status = 'COMPLETED' and params.lr < 0.01\" -n 5"
    "\n    runbase compare mnist cifar --json"
    "\n    runbase compare brisk-heron-42 calm-otter-7 --all"
)
MOST = 8
"""Runs of an experiment or a filter that are compared on a terminal."""
SHOWN = 16
"""Metrics that are shown on a terminal without --all."""
_SHARE = 0.4
"""Largest share of the width that the keys take."""


def command(
    targets: Annotated[
        list[str],
        typer.Argument(
            help="Runs and experiments, by id, prefix or name. A single experiment, or a filter: its runs.",
            autocompletion=completing.targets,
        ),
    ],
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Show equal parameters and all metrics as well.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            help=f"Maximum number of runs of an experiment or a filter. Default: {MOST} on a terminal, else all.",
        ),
    ] = None,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Compare runs and experiments: what differs, and which is best."""
    most = limit if limit is not None else MOST if sys.stdout.isatty() and not json else None
    with common.store(home, url) as store:
        comparison, left = _compared(store, targets, most)
    if json:
        common.print_json(
            {
                "items": [
                    {"kind": i.kind, "id": i.id, "name": i.name, "status": i.status}
                    for i in comparison.items
                ],
                "params": comparison.params,
                "differing": comparison.differing,
                "metrics": comparison.metrics,
                "best": comparison.best,
                "missing": comparison.missing,
            }
        )
    else:
        _print(common.console(), comparison, everything, left)
    if comparison.missing:
        common.say(
            f"runbase: run or experiment not found: {', '.join(comparison.missing)}",
            file=sys.stderr,
        )
        sys.exit(1)


def _compared(store: Store, targets: Sequence[str], most: int | None) -> tuple[Comparison, int]:
    """Return the comparison, and how many runs of an experiment or a filter are left out of it."""
    if len(targets) > 1:
        return store.compare(*targets), 0
    [word] = targets
    if is_filter(word):
        common.hint(store, word)
        runs, total = store.runs(word, limit=most), store.count(word)
        if not runs:
            raise NotFound(f"nothing to compare: no run matches the filter {word!r}")
    else:
        comparison = store.compare(word)
        if comparison.items[0].kind == "run":
            return comparison, 0
        record = comparison.items[0].record
        runs, total = store.runs(experiment=record, limit=most), store.count(experiment=record)
        if not runs:
            return comparison, 0
    return store.compare(*runs), total - len(runs)


def _print(out: Console, comparison: Comparison, everything: bool, left: int) -> None:
    width = tables.terminal_width(out)
    params = list(comparison.params) if everything else _differing(comparison)
    metrics = _metrics(comparison)
    shown = metrics if everything or width is None else metrics[:SHOWN]
    labels, cells = _rows(comparison, params, shown, width)
    widest = max(map(tables.width_of, labels))
    heads = [_head(item.name, width) for item in comparison.items]
    columns = [
        max([cell_len(part) for part in head] + [tables.width_of(row[n]) for row in cells])
        for n, head in enumerate(heads)
    ]
    for number, block in enumerate(_blocks(columns, widest, width)):
        if number:
            out.print()
        tall = max(len(heads[n]) for n in block)
        names = [[""] * (tall - len(heads[n])) + heads[n] for n in block]
        for line in range(tall):
            parts = [f"{names[k][line]:>{columns[n]}}" for k, n in enumerate(block)]
            text = f"{'':{widest}}  {'  '.join(parts)}".rstrip()
            out.print(f"[bold]{tables.escape(text)}[/]", soft_wrap=True)
        table = [
            Column("", labels),
            *(Column("", [r[n] for r in cells], right=True) for n in block),
        ]
        for column, n in zip(table[1:], block, strict=True):
            column.cells = [_padded(text, columns[n]) for text in column.cells]
        table[0].cells = [_padded(text, widest, left=True) for text in labels]
        tables.show_lines(out, tables.lines(table)[1:])
    notes = {
        "equal parameter": (len(comparison.params) - len(params), "--all"),
        "more metric": (len(metrics) - len(shown), "--all"),
        "older run": (left, f"-n {left + len(comparison.items)}"),
    }
    if any(count for count, _ in notes.values()):
        out.print()
    for what, (count, option) in notes.items():
        if count > 0:
            out.print(f"[dim]+{counted(count, what)}, show with {option}[/]", soft_wrap=True)


def _differing(comparison: Comparison) -> list[str]:
    """Return the parameters that differ; runs without any parameter do not count."""
    runs = [item.record for item in comparison.items if isinstance(item.record, Run)]
    if len(runs) < len(comparison.items):
        return comparison.differing
    return headline.params(runs) if len(runs) > 1 else list(comparison.params)


def _metrics(comparison: Comparison) -> list[str]:
    """Return the metrics, the most important first; those that are the same everywhere come last."""
    runs = [item.record for item in comparison.items if isinstance(item.record, Run)]
    order = {key: place for place, key in enumerate(headline.metrics(runs, comparison.objectives))}

    def rank(key: str) -> tuple[Any, ...]:
        values = comparison.metrics[key]
        equal = len(values) > 1 and len({repr(value) for value in values}) == 1
        missing = sum(value is None for value in values)
        return equal, order.get(key, len(order)), missing, headline.natural(key)

    return sorted(comparison.metrics, key=rank)


def _rows(
    comparison: Comparison, params: Sequence[str], metrics: Sequence[str], width: int | None
) -> tuple[list[str], list[list[str]]]:
    """Return the labels of the rows and their cells, as markup."""
    longest = None if width is None else max(int(width * _SHARE) - 2, 10)
    widest = None if width is None else max(width // 6, 12)
    empty = [""] * len(comparison.items)
    labels, cells = list[str](), list[list[str]]()
    kinds = {item.kind for item in comparison.items}
    if kinds != {"run"}:
        labels.append("kind")
        cells.append([item.kind for item in comparison.items])
    labels.append("status")
    cells.append([common.coloured(item.status) for item in comparison.items])
    if params:
        labels += ["", "[bold]Parameters[/]"]
        cells += [empty, empty]
    for key in params:
        labels.append(f"  {tables.cell(_short_key(key, longest))}")
        cells.append([tables.cell(_shown(value), widest) for value in comparison.params[key]])
    if metrics:
        labels += ["", "[bold]Metrics[/]"]
        cells += [empty, empty]
    star, blank = ("★", "") if width is None else (" ★", "  ")
    for key in metrics:
        best = comparison.best.get(key, [])
        labels.append(f"  {tables.cell(_short_key(key, longest))}")
        cells.append(
            [
                f"[bold green]{common.number(value)}{star}[/]"
                if place in best
                else f"{common.number(value)}{blank}"
                for place, value in enumerate(comparison.metrics[key])
            ]
        )
    return labels, cells


def _blocks(columns: Sequence[int], label: int, width: int | None) -> list[list[int]]:
    """Return the places of the columns that stand beside each other, as many as fit the width."""
    blocks: list[list[int]] = [[]]
    used = label
    for place, wide in enumerate(columns):
        if width is not None and blocks[-1] and used + tables.GAP + wide > width:
            blocks.append([])
            used = label
        blocks[-1].append(place)
        used += tables.GAP + wide
    return blocks


def _head(name: str, width: int | None) -> list[str]:
    """Return a name as the lines of a heading: on a terminal, it is broken after hyphens."""
    name = tables.line(name)
    if width is None:
        return [name]
    words = name.replace("-", "-\n").replace("_", "_\n").split("\n")
    lines = [words[0]]
    for word in words[1:]:
        if cell_len(lines[-1]) + cell_len(word) <= _HEAD:
            lines[-1] += word
        else:
            lines.append(word)
    return lines


_HEAD = 9
"""The width of a heading up to which the parts of a name stay together."""


def _short_key(key: str, longest: int | None) -> str:
    """Return a key that fits: of a longer one, the last parts, or the ends of the last part."""
    if longest is None or len(key) <= longest:
        return key
    parts = key.split("/")
    while len(parts) > 1 and len("/".join(parts)) + 2 > longest:
        parts.pop(0)
    return tables.shortened(f"…/{'/'.join(parts)}", longest)


def _padded(markup: str, width: int, *, left: bool = False) -> str:
    blanks = " " * (width - tables.width_of(markup))
    return f"{markup}{blanks}" if left else f"{blanks}{markup}"


def _shown(value: object) -> str:
    return common.number(value) if isinstance(value, int | float | None) else str(value)
