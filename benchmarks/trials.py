"""A queue of trials side by side: ours, mlos_bench's SqlStorage, Optuna's two storages.

`python -m benchmarks.trials STORAGE` prints a JSON object: microseconds a trial to make it, to claim it, to end
it with three results; a row of telemetry (of Optuna, an intermediate value); seconds to load 1,000 ended trials of
ten parameters, as an optimizer does when it starts; by mlos_bench's interface also milliseconds of `trials` and
`results_df` of these, and of `pending_trials` when none is due.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.optuna_storages import made

TRIALS, ROWS, LOADED, PARAMS = 200, 2_000, 1_000, 10
NOW = datetime(2026, 11, 21, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(days=1), NOW + timedelta(days=1000)


def values(n: int) -> dict[str, float]:
    """Ten parameters."""
    return {f"p{k}": (n * 7 + k) % 1000 / 1000 for k in range(PARAMS)}


class Native:
    """Our own interface."""

    def __init__(self, place: str) -> None:
        import runbase

        self.store = runbase.open(place)
        self.experiment = self.store.create_experiment("bench", objectives={"loss": "min"})

    def new(self, n: int) -> Any:
        return self.experiment.new_trial(values(n))

    def claim(self) -> Any:
        return self.experiment.claim_trial("me")

    def end(self, claim: Any, n: int) -> None:
        claim.finish(metrics={"loss": float(n), "a": 1.0, "b": 2.0})

    def telemetry(self, trial: Any, count: int) -> None:
        rows = [(1_795_000_000.0 + n, "load", n / 10) for n in range(count)]
        self.store.add_telemetry(trial.id, rows)

    def load(self) -> int:
        return len(self.experiment.load())


class Mlos:
    """mlos_bench's interface, over its own storage or ours."""

    def __init__(self, storage: Any, root: Path) -> None:
        from mlos_bench.tunables.tunable_groups import TunableGroups

        self.tunables = TunableGroups(
            {
                "group": {
                    "cost": 1,
                    "params": {
                        f"p{k}": {"type": "float", "range": [0, 1], "default": 0.5}
                        for k in range(PARAMS)
                    },
                }
            }
        )
        self.storage = storage
        self.experiment: Any = storage.experiment(
            experiment_id="bench",
            trial_id=1,
            root_env_config=str(root / "environment.jsonc"),
            description="bench",
            tunables=self.tunables,
            opt_targets={"loss": "min"},
        ).__enter__()
        self._waiting: Any = None

    def new(self, n: int) -> Any:
        return self.experiment.new_trial(self.tunables.copy().assign(values(n)), NOW)

    def claim(self) -> Any:
        from mlos_bench.environments.status import Status

        trial = None if self._waiting is None else next(self._waiting, None)
        if trial is None:
            self._waiting = self.experiment.pending_trials(LATER, running=False)
            trial = next(self._waiting)
        trial.update(Status.RUNNING, NOW)
        return trial

    def end(self, trial: Any, n: int) -> None:
        from mlos_bench.environments.status import Status

        trial.update(Status.SUCCEEDED, NOW, {"loss": float(n), "a": 1.0, "b": 2.0})

    def telemetry(self, trial: Any, count: int) -> None:
        from mlos_bench.environments.status import Status

        rows = [(NOW + timedelta(seconds=n), "load", n / 10) for n in range(count)]
        trial.update_telemetry(Status.RUNNING, NOW, rows)

    def load(self) -> int:
        return len(self.experiment.load()[0])

    def reads(self) -> dict[str, Callable[[], Any]]:
        """What a scheduler that polls and a notebook ask for."""
        data = self.storage.experiments["bench"]
        return {
            "listing": lambda: data.trials,
            "frame": lambda: data.results_df,
            "poll": lambda: list(self.experiment.pending_trials(EARLIER, running=False)),
        }


class Optuna:
    """Optuna's interface, over any of its storages."""

    def __init__(self, storage: Callable[[], Any]) -> None:
        import optuna

        self._make, self.storage = storage, storage()
        self.study = self.storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "bench")
        self._place = optuna.distributions.FloatDistribution(0, 1)
        self._states = optuna.trial.TrialState

    def new(self, n: int) -> Any:
        import optuna

        given = values(n)
        template = optuna.trial.create_trial(
            state=self._states.WAITING,
            params=given,
            distributions=dict.fromkeys(given, self._place),
        )
        return self.storage.create_new_trial(self.study, template)

    def claim(self) -> Any:
        waiting = self.storage.get_all_trials(
            self.study, deepcopy=False, states=(self._states.WAITING,)
        )
        self.storage.set_trial_state_values(waiting[0]._trial_id, self._states.RUNNING)
        return waiting[0]._trial_id

    def end(self, trial: Any, n: int) -> None:
        self.storage.set_trial_state_values(trial, self._states.COMPLETE, [float(n)])

    def telemetry(self, trial: Any, count: int) -> None:
        for n in range(count):
            self.storage.set_trial_intermediate_value(trial, n, n / 10)

    def load(self) -> int:
        fresh = self._make()
        trials = fresh.get_all_trials(fresh.get_study_id_from_name("bench"), deepcopy=False)
        return sum(trial.state.is_finished() for trial in trials)


def subject(name: str, folder: Path, place: str) -> Any:
    """One of those compared."""
    if name.startswith("optuna"):
        import optuna
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        if name == "optuna-rdb":
            return Optuna(lambda: optuna.storages.RDBStorage(f"sqlite:///{place}"))
        return Optuna(lambda: optuna.storages.JournalStorage(JournalFileBackend(place)))
    if "mlos" not in name:
        return Native(place)
    (folder / "environment.jsonc").write_text("{}")
    for command in (
        ["init", "-q"],
        ["remote", "add", "origin", "https://example.org/x.git"],
        ["-c", "user.name=b", "-c", "user.email=b@e", "commit", "-q", "--allow-empty", "-m", "b"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    if name == "mlos":
        from mlos_bench.storage.sql.storage import SqlStorage

        return Mlos(SqlStorage({"drivername": "sqlite", "database": place}), folder)
    from runbase.integrations.mlos import RunbaseStorage

    return Mlos(RunbaseStorage({"store": place}), folder)


def measure(name: str) -> dict[str, float]:
    """All of it, of one."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        server = made("runbase-postgres", folder) if name.endswith("postgres") else nullcontext()
        with server as address:
            one = subject(name, folder, str(address or folder / "trials.db"))
            for n in range(3):
                one.new(n)
            one.end(one.claim(), 0)
            took: dict[str, float] = {}
            took["new"] = _each(one.new, TRIALS)
            claims: list[Any] = []
            took["claim"] = _each(lambda _: claims.append(one.claim()), TRIALS // 4)
            rows = ROWS if not name.startswith("optuna") else ROWS // 10
            took["telemetry"] = _each(lambda _: one.telemetry(claims[0], rows), 1) / rows
            took["end"] = _each(lambda n: one.end(claims[n], n), len(claims))
            while one.load() < LOADED:
                _fill(one, LOADED - one.load())
            took["load"] = min(_each(lambda _: one.load(), 1) for _ in range(3)) / 1e6
            for name, read in one.reads().items() if isinstance(one, Mlos) else ():
                took[name] = (
                    statistics.median(_each(lambda _, r=read: r(), 1) for _ in range(9)) / 1e3
                )
            return took


def _fill(one: Any, count: int) -> None:
    for n in range(count):
        one.new(n)
    for n in range(count):
        one.end(one.claim(), n)


def _each(work: Callable[[int], Any], count: int) -> float:
    """Microseconds each."""
    began = time.perf_counter()
    for n in range(count):
        work(n)
    return (time.perf_counter() - began) / count * 1e6


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
