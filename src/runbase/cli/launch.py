"""`runbase launch`: start workers on this machine, Slurm, Ray or Kubernetes, and ask about them."""

import shlex
import time as clock
from typing import Annotated, Any

import typer
from msgspec import Struct, to_builtins
from rich.console import Console
from typer.core import TyperCommand

from runbase.cli import common, completing
from runbase.errors import NotFound, UsageError, counted
from runbase.store.store import Store
from runbase.trials.launchers import launch as launching
from runbase.trials.launchers.base import Workers
from runbase.trials.launchers.launch import LAUNCHERS, Launch, LaunchStatus

EXAMPLES = (
    "Examples:\n"
    "\n    runbase launch tuning -n 4 -- python train.py {params}"
    "\n    runbase launch tuning --on slurm -n 100 --time 4h -- python train.py {lr}"
    "\n    runbase launch --on slurm --gpus 1 --dry-run -- python train.py"
    "\n    runbase launch --status"
)
COMMAND = "runbase.command"
"""What follows `--`, in the context of the command."""
FAILED = ("FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL")
"""States of runs that ended without their result."""
LOOK = 0.5
"""Seconds between two looks at a launch that this process waits for."""


class Launching(TyperCommand):
    """A command whose last arguments, after `--`, are another command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep what follows the first `--`; parse the rest."""
        place = args.index("--") if "--" in args else len(args)
        ctx.meta[COMMAND] = args[place + 1 :]
        return super().parse_args(ctx, args[:place])

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line."""
        return [*super().collect_usage_pieces(ctx), "-- COMMAND..."]


def command(
    ctx: typer.Context,
    experiment: Annotated[
        str | None,
        typer.Argument(
            help="The experiment with the queue. Without one, the command runs once.",
            autocompletion=completing.experiments,
        ),
    ] = None,
    on: Annotated[
        str,
        typer.Option(
            "--on", help=f"{', '.join(LAUNCHERS)}.", autocompletion=lambda: list(LAUNCHERS)
        ),
    ] = "local",
    n: Annotated[int, typer.Option("--workers", "-n", help="Number of workers.")] = 1,
    time: Annotated[
        str | None,
        typer.Option("--time", help="Time of each worker: 30m, 4h, 1d, or Slurm's 1-12:00:00."),
    ] = None,
    cpus: Annotated[float | None, typer.Option("--cpus", help="CPUs of each worker.")] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", help="GPUs of each worker.")] = None,
    mem: Annotated[
        str | None, typer.Option("--mem", help="Memory of each worker: 500M, 16G.")
    ] = None,
    max_parallel: Annotated[
        int | None,
        typer.Option("--max-parallel", help="Workers that run at once. Default: all."),
    ] = None,
    wait: Annotated[
        str,
        typer.Option("--wait", help="A worker ends after this time without a trial (30s, 10m)."),
    ] = "0",
    lease: Annotated[
        float | None,
        typer.Option("--lease", help="Seconds after which a lost worker's claim expires."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="Option of sbatch or kubectl, or NAME=VALUE of Ray."),
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", help="Container image, for Kubernetes.")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Run the command once in EXPERIMENT, not its queue.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be started, and start nothing.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Show a launch, or all; give the id as argument.")
    ] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Stop the workers of a launch.")] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Print what its workers printed.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="With --logs: until all workers have ended.")
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Start workers that run trials as commands: on this machine, on Slurm, Ray or Kubernetes.

    Each worker is a `runbase worker`, which claims trials until the queue is empty; the command gets the parameters in
    the same ways. Without EXPERIMENT, the command runs once, and the experiment has the name of the script. --status,
    --cancel and --logs take the id of a launch as argument.
    """
    program: list[str] = ctx.meta.get(COMMAND, [])
    if status + cancel + logs > 1 or (program and (status or cancel or logs)):
        raise UsageError("use one of --status, --cancel, --logs, and a command only to launch")
    begins = bool(program) and experiment is None and not dry_run
    opened = common.store_to_fill(home, url) if begins else common.store(home, url)
    with opened as store:
        if status or cancel or logs:
            _ask(store, experiment, status=status, cancel=cancel, follow=follow, json=json)
            return
        once = once or experiment is None
        name = launching.name_of_script(program) if experiment is None else experiment
        planned = launching.plan(
            store,
            _experiment(store, name, create=once, dry_run=dry_run),
            program,
            on=on,
            n=n,
            time=time,
            cpus=cpus,
            gpus=gpus,
            mem=mem,
            max_parallel=max_parallel,
            wait=wait,
            lease=lease,
            options=option or [],
            image=image,
            once=once,
            dry_run=dry_run,
        )
        if dry_run:
            common.say(launching.preview(planned, on))
            return
        launch = launching.submit(store, planned, on)
        if json:
            common.print_json(launch.record)
        else:
            workers = counted(launch.record.workers, "worker")
            common.say(f"launch {launch.id}: {workers} on {on}, experiment {planned.experiment}")
        if launch.ends_with_this_process:
            _watch(launch)


class _New(Struct, frozen=True):
    """An experiment that --dry-run does not create."""

    name: str
    id: str = ""


def _experiment(store: Store, name: str, *, create: bool, dry_run: bool) -> launching.Named:
    """Return an experiment; for a command that runs once, create it unless nothing is to be started."""
    try:
        return store.experiment(name)
    except NotFound:
        if not create:
            raise
    return _New(name) if dry_run else store.create_experiment(name)


def _ask(
    store: Store, name: str | None, *, status: bool, cancel: bool, follow: bool, json: bool
) -> None:
    """Answer --status, --cancel or --logs."""
    if name is None and status:
        found = [(launch, launch.status()) for launch in launching.launches(store)]
        common.print_json([_told(*one) for one in found]) if json else _print_all(found)
        return
    if name is None:
        raise UsageError("which launch? Give its id; `runbase launch --status` lists all")
    launch = launching.find(store, name)
    if cancel:
        over = launch.status().workers.over
        launch.cancel()
        common.say(f"launch {launch.id} {'had ended' if over else 'is cancelled'}")
    elif status:
        state = launch.status()
        common.print_json(_told(launch, state)) if json else _print(launch, state)
    elif json:
        common.print_json(launch.logs())
    else:
        _print_logs(launch, follow)


def _told(launch: Launch, state: LaunchStatus) -> dict[str, object]:
    """Return for --json what the text has: what was launched, and the counts."""
    record = launch.record
    return {
        **to_builtins(state),
        "on": record.launcher,
        "launched_at": record.launched_at,
        "command": record.command,
        "host": record.host,
        "user": record.user,
    }


def _print_all(launches: list[tuple[Launch, LaunchStatus]]) -> None:
    """Print one line a launch."""
    if not launches:
        common.say("There are no launches; start one with `runbase launch EXPERIMENT -- COMMAND`.")
        return
    lost = any(state.workers.unknown for _, state in launches)
    numbers = ["workers", "pending", "running", "ended", "failed"]
    numbers += [*(["unknown"] if lost else []), "runs", "runs failed"]
    table = common.table(["launch", "experiment", "on", "launched", *numbers], numbers=numbers)
    for launch, state in launches:
        record, workers = launch.record, state.workers
        counts = [workers.pending, workers.running, workers.ended, workers.failed]
        counts += [workers.unknown] if lost else []
        counts += [sum(state.runs.values()), sum(state.runs.get(status, 0) for status in FAILED)]
        table.add_row(
            launch.id,
            common.escape(state.experiment),
            record.launcher,
            common.when(record.launched_at),
            str(record.workers),
            *map(str, counts),
        )
    common.console().print(table)


def _print(launch: Launch, state: LaunchStatus) -> None:
    """Print one launch: what was launched, and the counts."""
    record = launch.record
    by = f"{record.user}@{record.host}" if record.user else record.host
    common.say(f"launch {launch.id} of {state.experiment} on {record.launcher}, by {by}")
    common.say(f"  started  {common.when(record.launched_at)} UTC")
    common.say(f"  command  {shlex.join(record.command)}")
    common.say(f"  workers  {_workers(state.workers)}")
    common.say(f"  runs     {_statuses(state.runs)}")
    common.say(f"  queue    {_statuses(state.queue)}")


def _workers(workers: Workers) -> str:
    counts = [
        (workers.pending, "pending"),
        (workers.running, "running"),
        (workers.ended, "ended"),
        (workers.failed, "failed"),
        (workers.unknown, "unknown"),
    ]
    text = ", ".join(f"{count:,} {word}" for count, word in counts if count) or "none"
    return text if workers.note is None else f"{text} ({workers.note})"


def _statuses(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {word.lower()}" for word, count in counts.items()) or "none"


def _print_logs(launch: Launch, follow: bool) -> None:
    """Print the output of the workers, each below its name; then what is new, until all have ended."""
    printed: dict[str, int] = {}
    last = ""
    while True:
        over = (
            not follow or launch.status().workers.over
        )  # before the look: what was printed last counts
        for worker, text in launch.logs().items():
            new = text[printed.get(worker, 0) :]
            printed[worker] = len(text)
            if new:
                if worker != last:
                    common.say(f"== worker {worker}")
                common.say(new, end="" if new.endswith("\n") else "\n", flush=True)
                last = worker
        if over:
            return
        clock.sleep(LOOK)


def _watch(launch: Launch) -> None:
    """Wait for a launch that ends with this process; Ctrl-C cancels it."""
    out = Console(stderr=True)
    try:
        with out.status("") as line:
            while not (workers := launch.status().workers).over:
                line.update(f"workers: {_workers(workers)}")
                clock.sleep(LOOK)
    except KeyboardInterrupt:
        launch.cancel()
        while not launch.status().workers.over:
            clock.sleep(LOOK)
        raise
    common.say(f"workers: {_workers(workers)}")
