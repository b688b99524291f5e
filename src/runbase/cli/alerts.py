"""`runbase alerts`: list alerts, and make the rules that raise and deliver them."""

import sys
import threading
from datetime import UTC, datetime
from typing import Annotated

import typer
from msgspec import structs

from runbase.cli import common, details, tables
from runbase.cli.tables import Column
from runbase.errors import RunbaseError, UsageError
from runbase.events import LEVELS
from runbase.ids import new_id
from runbase.storage.alert_protocol import Alert

EXAMPLES = (
    "Examples:\n"
    "\n    runbase alerts list"
    "\n    runbase alerts list --where \"level = 'error'\""
    "\n    runbase alerts add lost --where \"status = 'LOST'\" --to desktop"
    "\n    runbase alerts watch"
)
ADD_EXAMPLES = (
    "Examples:\n"
    "\n    runbase alerts add lost --where \"status = 'LOST'\" --to desktop"
    '\n    runbase alerts add nan --where "nans > 0" --to mailto:ada@lab.example'
    "\n    runbase alerts add said --to webhook:https://hooks.lab.example/runs"
)
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="The maximum number of rows.")]
RuleName = Annotated[str, typer.Argument(metavar="NAME", help="The name or the id of the rule.")]
app = typer.Typer(
    help="List alerts of runs, and manage the rules that raise and deliver them.",
    invoke_without_command=True,
)


@app.callback()
def command(context: typer.Context) -> None:
    """List alerts of runs, and manage the rules that raise and deliver them.

    Without a subcommand, it lists the latest alerts.
    """
    if context.invoked_subcommand is None:
        list_()


@app.command(
    "list", epilog="Examples:\n\n    runbase alerts list --where \"level = 'error'\" -n 20"
)
def list_(
    where: Annotated[
        str | None,
        typer.Option(
            "--where", help="A filter over their runs, with level, title and rule of the alert."
        ),
    ] = None,
    experiment: common.OfExperiment = None,
    limit: Limit = 50,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """List alerts, the latest first."""
    with common.store(home, url) as store:
        alerts = store.alerts(where, experiment=experiment, limit=limit)
    if json:
        common.print_json(alerts)
    elif alerts:
        details.show_alerts(common.console(), alerts)
    else:
        common.say("No alerts.")


@app.command(epilog=ADD_EXAMPLES)
def add(
    name: Annotated[str, typer.Argument(help="The name of the rule: the title of its alerts.")],
    where: Annotated[
        str | None,
        typer.Option("--where", help="A filter over runs. Default: forward what run.alert raises."),
    ] = None,
    experiment: common.OfExperiment = None,
    level: Annotated[
        str,
        typer.Option(
            "--level", "-l", help="info, warning or error; without --where, the least level."
        ),
    ] = "warning",
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            help="webhook:URL, slack:URL, mailto:ADDRESS or desktop; repeat for more.",
        ),
    ] = None,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Make a rule: it raises one alert for each run that matches its filter.

    `runbase server` and `runbase alerts watch` evaluate rules. Runs that ended before and match already raise none.
    """
    from runbase.server.alerts.rules import NewRule, make

    if level not in LEVELS:
        raise UsageError(f"--level is {level!r}; use {', '.join(LEVELS)}")
    new = NewRule(name=name, where=where, experiment=experiment, level=level, to=to or ["desktop"])
    with common.store_to_fill(home, url) as store:
        made = make(store, new)
    if json:
        common.print_json(made)
        return
    common.say(f"Made rule {name}")
    if any(target.startswith("webhook:") for target in new.to):
        common.say(made.secret)
        common.say("It signs the webhooks, and is shown only now.", file=sys.stderr)


@app.command("rules", epilog="Examples:\n\n    runbase alerts rules")
def rules_(home: common.Home = None, url: common.Url = None, json: common.Json = False) -> None:
    """List the rules; of the URLs of targets, the host only."""
    from runbase.server.alerts.rules import shown

    with common.store(home, url) as store:
        rules = [shown(rule) for rule in store.storage.alert_rules()]
    if json:
        common.print_json(rules)
        return
    if not rules:
        common.say("No rules; make one with `runbase alerts add NAME --where …`.")
        return
    columns = [
        Column("name", [tables.cell(rule.name) for rule in rules]),
        Column("where", [tables.cell(rule.where or "(alerts of runs)") for rule in rules]),
        Column("experiment", [tables.cell(rule.experiment or "all") for rule in rules], rank=2),
        Column("level", [rule.level for rule in rules], rank=3),
        Column("to", [tables.cell(", ".join(rule.to)) for rule in rules], rank=1),
    ]
    tables.show(common.console(), columns)


@app.command(epilog="Examples:\n\n    runbase alerts remove lost")
def remove(rule: RuleName, home: common.Home = None, url: common.Url = None) -> None:
    """Remove a rule. Its waiting deliveries are given up; its alerts stay."""
    from runbase.server.alerts.rules import find

    with common.store(home, url) as store:
        found = find(store, rule)
        store.storage.remove_alert_rule(found.id)
    common.say(f"Removed rule {found.name}")


@app.command(epilog="Examples:\n\n    runbase alerts test lost")
def test(rule: RuleName, home: common.Home = None, url: common.Url = None) -> None:
    """Send a test message to each target of a rule, and print what the targets answer."""
    from runbase.server.alerts.rules import find
    from runbase.server.alerts.sending import NotDelivered, sender
    from runbase.server.alerts.targets import redacted

    with common.store(home, url) as store:
        found = find(store, rule)
    now = datetime.now(UTC)
    message = Alert(
        id=new_id(), run_id=new_id(), run="no-run", experiment_id="", experiment="test",
        time=now, stored_at=now, title=found.name, text="This is a test.", level=found.level, rule=found.name,
    )  # fmt: skip
    failed = 0
    send = sender()
    for target in found.targets:
        try:
            answer = send.send(target, message, new_id(), found.secret)
            common.say(f"{redacted(target)}: {answer}")
        except NotDelivered as error:
            failed += 1
            common.say(f"{redacted(target)}: {error}", file=sys.stderr)
    if failed:
        raise RunbaseError(f"{failed} of {len(found.targets)} targets failed")


@app.command(epilog="Examples:\n\n    runbase alerts log -n 20")
def log(
    limit: Limit = 50,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """List deliveries, newest first: to which target, how often tried, how it ended."""
    from runbase.server.alerts.targets import redacted

    with common.store(home, url) as store:
        entries = store.storage.alert_deliveries(limit)
    if json:
        common.print_json(
            [structs.replace(entry, target=redacted(entry.target)) for entry in entries]
        )
        return
    if not entries:
        common.say("No deliveries.")
        return
    columns = [
        Column("time", [f"{entry.created_at:%Y-%m-%d %H:%M:%S}" for entry in entries], rank=3),
        Column("rule", [tables.cell(entry.rule) for entry in entries], rank=4),
        Column("run", [tables.cell(entry.run) for entry in entries], rank=1),
        Column("target", [tables.cell(redacted(entry.target)) for entry in entries]),
        Column("status", [entry.status for entry in entries]),
        Column("tries", [str(entry.attempts) for entry in entries], right=True, rank=5),
        Column("error", [tables.cell(entry.error or "") for entry in entries], rank=2),
    ]
    tables.show(common.console(), [column for column in columns if any(column.cells)])


@app.command(epilog="Examples:\n\n    runbase alerts watch")
def watch(home: common.Home = None, url: common.Url = None) -> None:
    """Evaluate rules and deliver alerts until Ctrl-C, without a server."""
    from runbase.server.alerts.sending import sender
    from runbase.server.alerts.watcher import Watcher
    from runbase.server.ingest import Ingester

    with common.store(home, url) as store:
        ingester, watcher = Ingester(store), Watcher(store, sender())
        common.say(f"Watching {store.url}; Ctrl-C ends it", flush=True)
        ingester.start()
        watcher.start()
        try:
            threading.Event().wait()
        finally:
            ingester.stop()
            watcher.stop()
