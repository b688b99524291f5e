"""Runs to archive, and all that a store tells of their points."""

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import runbase
from runbase.storage.arrays import decode_numbers
from runbase.store.store import Store


def log(store: Store, name: str, steps: int = 20, seed: int = 0, **options: Any) -> str:
    """Log a run with two metrics; a step has two values, others are not finite or fractional."""
    with runbase.start_run("bench", name=name, store=store, capture=False, **options) as run:
        for step in range(steps):
            run.log({"loss": 1 / (step + 1 + seed), "acc": step}, step=step)
        run.log({"loss": float("nan")}, step=2.5)
        run.log({"acc": -1.0}, step=0)
    return run.id


def log_odd(store: Store, name: str, dice: random.Random) -> str:
    """Log a run with what is rare: sets of keys that change, steps that repeat, are fractional or huge, odd values."""
    special = [float("nan"), float("inf"), -float("inf"), 1e300, -0.0, 2**60, True]
    with runbase.start_run("odd", name=name, store=store, capture=False) as run:
        step: float = 0
        for call in range(dice.choice([1, 3, 1030, 5200])):
            keys = dice.sample(["a", "b/c", "ключ", "k" * 600], dice.choice([1, 1, 2, 4]))
            if call > 40:
                keys = ["a", "b/c"]
            values = {
                key: dice.choice(special) if dice.random() < 0.05 else dice.gauss(0, 1)
                for key in keys
            }
            run.log(values, step=step)
            step += dice.choice([1, 1, 1, 0, 0.5, 3] if name.endswith("3") else [1])
        if name.endswith("0"):
            run.log({"far": 1.0}, step=2**60)
            run.log({"far": 2.0}, step=2**60 + 1)
    return run.id


def everything(store: Store) -> dict[Any, Any]:
    """Return all that the store tells of points, as texts that can be compared."""
    found: dict[Any, Any] = {}
    for run in store.runs(order_by="id asc"):
        for key in run.metrics:
            every = store.metrics(run, key, every=True)
            found[run.id, key] = [repr(part.tolist()) for part in (every.steps, every.times)]
            found[run.id, key].append(repr(every.values.tolist()))
            latest = store.metrics(run, key, 1, 1500)
            found[run.id, key, "latest"] = repr(list(zip(latest.steps, latest.values, strict=True)))
            for span in ((None, None), (3, 900), (1000, 2500.5)):
                for resolution in (7, 100):
                    chart = store.metrics(run, key, *span, resolution=resolution)
                    parts = (chart.first_steps, chart.last_steps, chart.min, chart.max)
                    parts = (*parts, chart.mean, chart.counts, chart.nans)
                    found[run.id, key, span, resolution] = [repr(part.tolist()) for part in parts]
            found[run.id, key, "clock"] = repr(store.storage.clocks([(run.id, key)]))
        found[run.id, "summary"] = repr(run.metrics)
    ids = [run.id for run in store.runs()]
    found["many"] = repr(
        [
            (of, series.steps.tolist(), series.values.tolist())
            for of, series in store.storage.points(ids, ["loss", "a"], every=True).items()
        ]
    )
    found["table"] = repr(store.table(columns=["id", "metrics.loss", "metrics.a.min"]).columns)
    return found


def dumped(store: Store) -> list[Any]:
    """Return the rows of groups and blocks of all runs, in any order; 1 and 1.0 are the same value."""
    dumps = store.storage.dump([run.id for run in store.runs(order_by="id asc")])
    for dump in dumps:
        for block in dump.blocks:
            block["numbers"] = [*map(float, decode_numbers(block["numbers"]))]
    return [
        sorted(repr(sorted(row.items())) for row in rows)
        for dump in dumps
        for rows in (dump.groups, dump.blocks)
    ]


def rows(store: Store) -> int:
    return int(store.sql("select count(*) from groups")[0][0])


def run(*words: str, home: Path, code: int = 0) -> str:
    command = [sys.executable, "-m", "runbase", *words, "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr
