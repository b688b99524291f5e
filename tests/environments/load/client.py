"""One process of the load test: logs to several runs of a server until a moment, and says what it logged.

Arguments: the number of the process, the number of runs, the moment of the end (seconds since the epoch), the file of the answer.
"""

import sys
import time
from pathlib import Path

import msgspec
import numpy as np

import runbase

PAUSE = 0.2
"""Seconds between two steps of a run."""
KEYS = ("step", "half", "negative", "number")


def values(number: int, step: int) -> dict[str, float]:
    """Return what run `number` logs at a step."""
    return {"step": step, "half": step * 0.5, "negative": -step, "number": number}


def main(process: int, count: int, end: float, answer: Path) -> None:
    """Log until the end, wait until everything is sent, and write the ids of the runs, their steps and the times of `log`."""
    numbers = [process * count + n for n in range(count)]
    runs = [runbase.start_run("load", name=f"load-{n}", capture=False) for n in numbers]
    took: list[int] = []
    step = 0
    while time.time() < end:
        for number, run in zip(numbers, runs, strict=True):
            logged = values(number, step)
            began = time.perf_counter_ns()
            run.log(logged, step=step)
            took.append(time.perf_counter_ns() - began)
        step += 1
        time.sleep(PAUSE)
    for run in runs:
        run.finish()
    np.save(answer.with_suffix(".npy"), np.array(took))
    found = {run.id: number for number, run in zip(numbers, runs, strict=True)}
    answer.write_bytes(msgspec.json.encode({"runs": found, "steps": step}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
