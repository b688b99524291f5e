"""The parts of `runbase show`: what a run logged, its files, and the runs that it is related to."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from runbase.analysis import headline
from runbase.analysis.directions import direction_of
from runbase.cli import common, tables
from runbase.cli.tables import Column
from runbase.model import Metric, Run, Scalar
from runbase.storage.alert_protocol import Alert
from runbase.store.store import Store

MOST = 20
"""Children and artifacts that are shown without --all."""
LEVELS = {"info": "cyan", "warning": "yellow", "error": "red"}
"""The colours of the levels of alerts."""
_LABEL = 9
"""The width of the name of a fact."""
_BESIDE = 26
"""The room beside the path of an artifact, for its kind and its size."""
_MEDIA = """
select kind, key, count(*) as records, min(step) as first, max(step) as last
from records where run_id = :run group by kind, key order by kind, key
"""
_PATHS = "select path from records where run_id = :run and path is not null"
_CHILDREN = """
select id from runs where parent_id = :run and deleted_at is null order by id
"""


def print_facts(out: Console, facts: Mapping[str, str]) -> None:
    """Print names and texts; a text that is wider than the terminal continues below itself."""
    width = tables.terminal_width(out)
    room = None if width is None else max(width - _LABEL - 4, 20)
    for name, text in facts.items():
        if text:
            first, *rest = tables.wrapped(text, room)
            out.print(f"  [dim]{name:<{_LABEL}}[/]  {tables.escape(first)}", soft_wrap=True)
            for row in rest:
                out.print(f"{'':{_LABEL + 4}}{tables.escape(row)}", soft_wrap=True)


def print_params(out: Console, run: Run) -> None:
    """Print the parameters, one a line."""
    if run.params:
        out.print("\n[bold]Parameters[/]")
        _print_pairs(out, {key: run.params[key] for key in sorted(run.params, key=_natural)})


def alerts_of(store: Store, run: Run) -> list[Alert]:
    """Return the alerts of a run, the latest first."""
    return store.alerts(f"id = '{run.id}'", experiment=None, limit=1000)


def print_alerts(out: Console, alerts: Sequence[Alert], everything: bool = False) -> None:
    """Print the alerts of a run, the latest first."""
    if not alerts:
        return
    out.print("\n[bold]Alerts[/]")
    shown = alerts if everything else alerts[:MOST]
    show_alerts(out, shown, of_one_run=True, indent=2)
    _print_rest(out, len(alerts) - len(shown))


def show_alerts(
    out: Console, alerts: Sequence[Alert], *, of_one_run: bool = False, indent: int = 0
) -> None:
    """Print alerts as a table."""
    columns = [
        Column("time", [f"{alert.time:%Y-%m-%d %H:%M:%S}" for alert in alerts], rank=2),
        Column("level", [f"[{LEVELS[alert.level]}]{alert.level}[/]" for alert in alerts], rank=1),
        Column("title", [tables.cell(alert.title) for alert in alerts]),
        Column("text", [tables.cell(alert.text, 80) for alert in alerts], rank=3),
        Column("rule", [tables.cell(alert.rule or "") for alert in alerts], rank=5),
    ]
    if not of_one_run:
        columns[2:2] = [
            Column("run", [tables.cell(alert.run) for alert in alerts], rank=0),
            Column("experiment", [tables.cell(alert.experiment) for alert in alerts], rank=4),
        ]
    tables.show(out, [c for c in columns if any(c.cells)], indent=indent)


def print_attributes(out: Console, run: Run) -> None:
    """Print what tools and importers store about a run."""
    for scope, values in run.attributes.items():
        if not scope.startswith("_"):  # internal data of a tool
            out.print(f"\n[bold]Attributes[/] [dim]of {tables.escape(scope)}[/]")
            _print_pairs(out, values)


def _print_pairs(out: Console, values: Mapping[str, Any]) -> None:
    width = tables.terminal_width(out)
    longest = max((len(tables.line(key)) for key in values), default=0)
    room = None if width is None else max(width - longest - 4, 20)
    for key, value in values.items():
        first, *rest = tables.wrapped(str(value), room)
        name = tables.escape(f"{tables.line(key):<{longest}}")
        out.print(f"  {name}  {tables.escape(first)}", soft_wrap=True)
        for row in rest:
            out.print(f"{'':{longest + 4}}{tables.escape(row)}", soft_wrap=True)


def print_metrics(out: Console, store: Store, run: Run) -> None:
    """Print the metrics: last, best where the direction is known, least and greatest value, points."""
    if not run.metrics:
        return
    [record] = store.storage.get_experiments([run.experiment_id]) or [None]
    objectives = [] if record is None else record.objectives
    metrics = [run.metrics[key] for key in sorted(run.metrics, key=_natural)]
    best = [_best(metric, direction_of(metric.key, objectives)) for metric in metrics]
    columns = [
        Column("metric", [tables.cell(metric.key) for metric in metrics]),
        _numbers("points", [metric.count for metric in metrics], 1),
        _numbers("last", [metric.last for metric in metrics], 0),
        _numbers("at step", [metric.last_step for metric in metrics], 7),
    ]
    if any(value is not None for value, _ in best):
        columns += [
            _numbers("best", [value for value, _ in best], 1, style="green"),
            _numbers("at step", [step for _, step in best], 4),
        ]
    columns += [
        _numbers("min", [metric.min for metric in metrics], 2),
        _numbers("at step", [metric.min_step for metric in metrics], 5),
        _numbers("max", [metric.max for metric in metrics], 3),
        _numbers("at step", [metric.max_step for metric in metrics], 6),
        _numbers("mean", [metric.mean for metric in metrics], 8),
    ]
    if any(metric.nans for metric in metrics):
        nans = [f"[yellow]{metric.nans:,}[/]" if metric.nans else "" for metric in metrics]
        columns.insert(2, Column("NaN", nans, right=True, rank=1))
    out.print("\n[bold]Metrics[/]")
    tables.show(out, columns, indent=2)


def _numbers(title: str, values: Sequence[Scalar | None], rank: int, style: str = "") -> Column:
    texts = [common.number(value) for value in values]
    cells = [f"[{style}]{text}[/]" if style and text != "–" else text for text in texts]
    return Column(title, cells, right=True, rank=rank)


def _best(metric: Metric, direction: str | None) -> tuple[float | None, Scalar | None]:
    if direction is None:
        return None, None
    return (metric.min, metric.min_step) if direction == "min" else (metric.max, metric.max_step)


def print_files(out: Console, store: Store, run: Run, everything: bool = False) -> None:
    """Print the media by key with their steps, and the artifacts that are not files of media."""
    media = store.sql(_MEDIA, {"run": run.id})
    if media:
        out.print("\n[bold]Media[/]")
        columns = [
            Column("key", [tables.cell(str(row[1])) for row in media]),
            Column("kind", [tables.cell(str(row[0])) for row in media], rank=1),
            Column("records", [f"{row[2]:,}" for row in media], right=True, rank=2),
            Column("steps", [_span(row[3], row[4]) for row in media], rank=3),
        ]
        tables.show(out, columns, indent=2)
    files = {str(row[0]) for row in store.sql(_PATHS, {"run": run.id})}
    artifacts = [artifact for artifact in run.artifacts if artifact.path not in files]
    if artifacts:
        out.print("\n[bold]Artifacts[/]")
        shown = artifacts if everything else artifacts[:MOST]
        width = tables.terminal_width(out)
        longest = None if width is None or everything else max(width - _BESIDE, 30)
        versions = [
            "" if item.version is None else f"{item.name or ''}:v{item.version}" for item in shown
        ]
        columns = [
            Column("path", [tables.cell(item.path, longest) for item in shown]),
            Column("kind", [tables.cell(item.kind) for item in shown], rank=2),
            Column("size", [_size(item.size, item.removed_at) for item in shown], True, rank=1),
            Column("version", [tables.cell(version) for version in versions], rank=3),
            Column("sha256", [(item.sha256 or "")[:12] for item in shown], rank=4),
        ]
        tables.show(out, [c for c in columns if any(c.cells)], indent=2)
        _print_rest(out, len(artifacts) - len(shown))


def _span(first: Any, last: Any) -> str:
    if first is None:
        return "–"
    return (
        common.number(first) if first == last else f"{common.number(first)}–{common.number(last)}"
    )


def _size(size: int, removed: object) -> str:
    return "removed" if removed is not None else common.size(size)


def print_relations(out: Console, store: Store, run: Run, everything: bool = False) -> None:
    """Print the children, the links, and the artifacts that were used, with the names of the runs."""
    ids = [str(row[0]) for row in store.sql(_CHILDREN, {"run": run.id})]
    if ids:
        children = store.storage.get_runs(ids if everything else ids[:MOST])
        out.print("\n[bold]Children[/]")
        metrics = headline.metrics(children)[:2]
        columns = [
            Column("run", [tables.cell(child.name) for child in children]),
            Column("status", [common.state_text(child) for child in children], rank=1),
            Column("took", [common.duration(child.seconds) for child in children], True, rank=4),
            *(
                _numbers(key, [common.metric_value(child, key) for child in children], place)
                for place, key in enumerate(metrics, 2)
            ),
        ]
        tables.show(out, columns, indent=2)
        _print_rest(out, len(ids) - len(children))
    lines: list[str] = []
    for link in run.links:
        outgoing = link.from_id == run.id
        name = name_of(store, link.to_id if outgoing else link.from_id)
        lines.append(f"{link.kind} → {name}" if outgoing else f"{name} → {link.kind} this run")
    for use in run.uses:
        used = use.run_id == run.id
        name = name_of(store, use.owner_id if used else use.run_id)
        lines.append(f"uses {use.path} of {name}" if used else f"{name} uses {use.path}")
    if lines:
        out.print("\n[bold]Links[/]")
        tables.show_lines(out, [f"  {tables.cell(row)}" for row in lines])


def name_of(store: Store, run: str) -> str:
    """Return the name of a run and its experiment; the id if the run is unknown."""
    records = store.storage.get_runs([run])
    return f"{records[0].name} ({records[0].experiment})" if records else run


def _print_rest(out: Console, left: int) -> None:
    if left > 0:
        out.print(f"  [dim]+{left:,} more, show with --all[/]")


def _natural(key: str) -> Any:
    return headline.natural(key)
