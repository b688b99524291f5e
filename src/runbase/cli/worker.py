"""`runbase worker`: run the trials of an experiment as commands."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import typer

from runbase.cli import common
from runbase.errors import counted
from runbase.trials.claim import LEASE
from runbase.trials.launchers.resources import duration, size
from runbase.trials.worker import Limits, Outcome, Worker

EXAMPLES = (
    "Examples:\n"
    "\n    runbase worker tuning -- python train.py {params}"
    "\n    runbase worker tuning --sampler optuna:tpe -n 100 -- python train.py {params}"
    "\n    runbase worker tuning --time-limit 30m -- ./bench.sh --config {file}"
)


def command(
    experiment: common.ExperimentName,
    program: Annotated[
        list[str],
        typer.Argument(help="The command, after --; {params}, {key} and {file} are replaced."),
    ],
    runner: Annotated[
        str | None,
        typer.Option("--runner", help="Name of this worker. Default: host and process."),
    ] = None,
    lease: Annotated[
        float,
        typer.Option("--lease", help="Seconds without a renewal after which the claim expires."),
    ] = LEASE,
    count: Annotated[
        int | None, typer.Option("--count", "-n", help="Number of trials to run. Default: all.")
    ] = None,
    wait: Annotated[
        str | None,
        typer.Option(
            "--wait", help="Exit after this time without a trial (0, 30s, 10m). Default: never."
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            "--sampler",
            "-s",
            help="Suggest a trial if none is waiting: random, grid, optuna:tpe, …",
        ),
    ] = None,
    time_limit: Annotated[
        str | None,
        typer.Option("--time-limit", help="Stop a command after this time: 90s, 10m, 2h."),
    ] = None,
    memory_limit: Annotated[
        str | None, typer.Option("--memory-limit", help="Stop a command that uses more: 500M, 8G.")
    ] = None,
    stop_after: Annotated[
        str | None,
        typer.Option(
            "--stop-after", help="End this worker after this time, and release its trial: 4h."
        ),
    ] = None,
    trial: Annotated[
        str | None,
        typer.Option("--trial", help="Run this trial only, by its id, until it has ended."),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Do not print the output of commands.")
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Claim trials and run a command for each.

    The command gets the parameters as arguments and in its environment (RUNBASE_PARAMS, RUNBASE_PARAM_<KEY>). Its
    output is written to output.log in the run folder; its exit code decides the status of the trial. Any number of
    workers can run, on any number of machines. Ctrl-C releases the current trial to the queue. With --trial, the exit
    code is 1 if the trial did not end as COMPLETED.
    """
    limits = Limits(
        seconds=None if time_limit is None else duration(time_limit),
        memory=None if memory_limit is None else size(memory_limit),
    )
    longest = None if stop_after is None else duration(stop_after)
    os.environ.setdefault("RUNBASE_QUIET", "1")
    with common.store(home, url) as store:
        worker = Worker(
            store,
            store.experiment(experiment),
            program,
            runner=runner,
            lease=lease,
            limits=limits,
            sampler=sampler,
            echo=not (quiet or json),
            trial=None if trial is None else store.run(trial).id,
        )
        signals: list[int] = []
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, lambda number, _: (signals.append(number), worker.stop()))
        statuses: Counter[str] = Counter()

        def on_outcome(outcome: Outcome) -> None:
            statuses["released" if outcome.status is None else outcome.status.value] += 1
            (_as_json if json else _print)(outcome)

        with _stopping(worker, longest):
            done = worker.run(
                count=count, wait=None if wait is None else duration(wait), on_outcome=on_outcome
            )
    if not json:
        bad = {status: number for status, number in statuses.items() if status != "COMPLETED"}
        more = ", ".join(f"{number:,} {status}" for status, number in bad.items())
        common.say(f"{counted(done, 'trial')} done{': ' + more if more else ''}")
    if signals:
        raise typer.Exit(128 + signals[0])
    if trial is not None and any(status != "COMPLETED" for status in statuses):
        raise typer.Exit(1)


@contextmanager
def _stopping(worker: Worker, seconds: float | None) -> Generator[None]:
    """Stop a worker after some seconds, if it still runs."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, worker.stop_late)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _print(outcome: Outcome) -> None:
    again = "" if outcome.attempt == 1 else f", attempt {outcome.attempt}"
    how = "released" if outcome.status is None else outcome.status.value
    code = "" if outcome.exit_code in (0, None) else f" (exit code {outcome.exit_code})"
    common.say(
        f"trial {outcome.number}{again}: {how}{code} after {outcome.seconds:.1f} s", flush=True
    )


def _as_json(outcome: Outcome) -> None:
    document: Any = msgspec.to_builtins(outcome, enc_hook=str)
    common.say(msgspec.json.encode(document).decode(), flush=True)
