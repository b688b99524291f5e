"""Measures what integrations record: the same small trainings with those of runbase, MLflow and W&B, each read back.

``python -m tests.environments.integrations.table`` writes the table into the documentation, and `test_table` compares them.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from msgspec import Struct

import runbase
from tests.environments.integrations import trainings

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "integrations" / "index.md"
BEGIN, END = "<!-- table, begin -->", "<!-- table, end -->"
COLUMNS = ("curves", "parameters", "artifacts", "failure", "resume", "distributed")
FACES = {"runbase": "runbase", "mlflow": "MLflow", "wandb": "W&B"}
NOT_TESTED = "not tested"
LONGEST = 300.0
"""Seconds after which a training is taken to hang."""


class Found(Struct, kw_only=True):
    """A run, as it is read back."""

    id: str
    status: str
    traceback: bool = False
    params: dict[str, Any] = {}
    curves: dict[str, list[tuple[float, float]]] = {}
    artifacts: list[str] = []


class Scene(Struct, frozen=True):
    """A folder in which the trainings of one tool with one integration run."""

    folder: Path
    face: str
    training: trainings.Training

    def run(
        self, part: str, *, fails: bool = False, processes: int = 1, **values: Any
    ) -> dict[str, Any]:
        """Run a part of a training as a script, and return what it says that it logged."""
        text = self.training.script(self.face, part, values)
        path = self.folder / "train.py"
        path.write_text(text)
        command = [sys.executable, str(path)]
        if processes > 1 and self.training.torchrun:
            command[1:1] = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]  # fmt: skip
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, **self.environment(values)},
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        if (done.returncode != 0) != fails:
            raise RuntimeError(f"{self.training.name}, {self.face}, {part}:\n{done.stderr[-3000:]}")
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        return json.loads(lines[-1].partition(" ")[2]) if lines else {}

    def environment(self, values: dict[str, Any]) -> dict[str, str]:
        """Return the variables that make an integration record into the folder."""
        run = values.get("run")
        quiet = {
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "ACCELERATE_USE_CPU": "true",
            "RUNBASE_QUIET": "1",
            "RUNBASE_SYSTEM_METRICS": "false",
            "RUNBASE_HOME": str(self.folder / ".runbase"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder}/mlflow.db",
            "MLFLOW_EXPERIMENT_NAME": "table",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "HF_MLFLOW_LOG_ARTIFACTS": "1",
            "WANDB_MODE": "offline",
            "WANDB_PROJECT": "table",
            "WANDB_SILENT": "true",
            "WANDB_DIR": str(self.folder),
            "KERAS_BACKEND": "torch",
        }
        if run is not None:
            quiet |= {"MLFLOW_RUN_ID": run, "WANDB_RUN_ID": run, "WANDB_RESUME": "allow"}
        return quiet

    def read(self) -> list[Found]:
        """Return the runs that were recorded."""
        return READERS[self.face](self)


def _of_runbase(scene: Scene, home: Path | None = None) -> list[Found]:
    with runbase.open(home=home or scene.folder / ".runbase") as store:
        found: list[Found] = []
        for run in store.runs(order_by="started_at"):
            found.append(
                Found(
                    id=run.id,
                    status=run.status.value,
                    traceback="Traceback" in str((run.error or {}).get("traceback"))
                    or "raise " in str((run.error or {}).get("traceback")),
                    params=dict(run.params),
                    curves={key: _points(store, run, key) for key in run.metrics},
                    artifacts=[artifact.path for artifact in store.artifacts(run)],
                )
            )
        return found


def _points(store: runbase.Store, run: Any, key: str) -> list[tuple[float, float]]:
    series = store.metrics(run.id, key, every=True)
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def _of_mlflow(scene: Scene) -> list[Found]:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{scene.folder}/mlflow.db")
    experiments = [one.experiment_id for one in client.search_experiments()]
    found: list[Found] = []
    for run in client.search_runs(experiments, order_by=["attributes.start_time"]):
        histories = {
            key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics
        }
        files: list[str] = []
        folders = [""]
        while folders:
            for entry in client.list_artifacts(run.info.run_id, folders.pop()):
                (folders if entry.is_dir else files).append(entry.path)
        files += _files_of_models(client, run, experiments)
        found.append(
            Found(
                id=run.info.run_id,
                status=run.info.status,
                traceback=any("Traceback" in value for value in run.data.tags.values()),
                params=dict(run.data.params),
                curves={k: [(p.step, p.value) for p in points] for k, points in histories.items()},
                artifacts=files,
            )
        )
    return found


def _files_of_models(client: Any, run: Any, experiments: Sequence[str]) -> list[str]:
    """Return the files of the logged models of a run: MLflow 3 keeps them beside it."""
    models = client.search_logged_models(list(experiments))
    places = [
        Path(model.artifact_location.removeprefix("file://"))
        for model in models
        if model.source_run_id == run.info.run_id
    ]
    return [str(path) for place in places for path in place.rglob("*") if path.is_file()]


def _of_wandb(scene: Scene) -> list[Found]:
    """Read offline runs with our importer. A step is the value of the metric that the integration defines as the step."""
    home = scene.folder / "imported"
    with runbase.open(home=home) as store:
        store.import_from(str(scene.folder / "wandb"))
        found = _of_runbase(scene, home)
        for run in found:
            if scene.training.wandb_step in run.curves:
                run.curves = {key: _at_steps(store, run, key, scene) for key in run.curves}
    return found


def _at_steps(
    store: runbase.Store, run: Found, key: str, scene: Scene
) -> list[tuple[float, float]]:
    """Return the points of a metric of W&B: each at the step that was logged with it, at the same row and time."""
    axis = store.metrics(run.id, scene.training.wandb_step, every=True)
    series = store.metrics(run.id, key, every=True)
    rows = list(zip(axis.steps.tolist(), axis.times.tolist(), axis.values.tolist(), strict=True))
    points: list[tuple[float, float]] = []
    for row, time, value in zip(series.steps, series.times, series.values, strict=True):
        near = [(abs(at - time), step) for number, at, step in rows if number == row]
        points.append((min(near)[1] if near else float(row), float(value)))
    return points


READERS: dict[str, Callable[[Scene], list[Found]]] = {
    "runbase": _of_runbase,
    "mlflow": _of_mlflow,
    "wandb": _of_wandb,
}


def measure(training: trainings.Training, face: str) -> dict[str, str]:
    """Return what an integration of a tool does, by column."""
    cells: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as place:
        scene = _scene(place, "whole", face, training)
        wanted = scene.run("whole")
        runs = scene.read()
        cells["curves"] = _yes(any(_has(run, wanted["curves"], training) for run in runs))
        params = [run.params for run in runs]
        cells["parameters"] = _yes(any(_same(one, wanted["params"]) for one in params))
        kept = [path for run in runs for path in run.artifacts]
        cells["artifacts"] = _yes(any(Path(path).name in training.models for path in kept))
        scene = _scene(place, "fails", face, training)
        scene.run("fails", fails=True)
        cells["failure"] = _failure(scene.read())
        scene = _scene(place, "resume", face, training)
        known = {"run": "the-run"} if face == "wandb" else {}  # W&B continues a run by any id
        first = scene.run("first", **known)
        run = known.get("run") or scene.read()[0].id
        second = scene.run("second", run=run)
        cells["resume"] = _yes(_continues(scene.read(), first, second, training))
        scene = _scene(place, "distributed", face, training)
        scene.run("distributed", processes=2)
        cells["distributed"] = _yes(_once(scene.read(), training))
    return cells | dict.fromkeys(training.untested.get(face, ()), NOT_TESTED)


def _scene(place: str, name: str, face: str, training: trainings.Training) -> Scene:
    folder = Path(place) / name
    folder.mkdir()
    return Scene(folder, face, training)


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


def _has(run: Found, wanted: dict[str, list[list[float]]], training: trainings.Training) -> bool:
    """Return whether a run has exactly the wanted points of each metric."""
    for key, points in wanted.items():
        names = [name for name in training.spellings(key) if name in run.curves]
        if not any(_equal(run.curves[name], points) for name in names):
            return False
    return True


def _equal(found: Sequence[tuple[float, float]], wanted: Sequence[Sequence[float]]) -> bool:
    def near(one: Sequence[float], other: Sequence[float]) -> bool:
        return one[0] == other[0] and abs(one[1] - other[1]) <= 1e-5 * max(1.0, abs(other[1]))

    pairs = zip(sorted(found), sorted((p[0], p[1]) for p in wanted), strict=False)
    return len(found) == len(wanted) and all(near(one, other) for one, other in pairs)


def _same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Return whether parameters have the wanted values; a nested one is under the joined keys."""
    plain = {key.replace(".", "/"): value for key, value in found.items()}
    return all(_number(plain.get(key)) == value for key, value in wanted.items())


def _number(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _failure(runs: Sequence[Found]) -> str:
    if [run.status for run in runs] != ["FAILED"]:
        return "no"
    return "yes" if runs[0].traceback else "status only"


def _continues(
    runs: Sequence[Found],
    first: dict[str, Any],
    second: dict[str, Any],
    training: trainings.Training,
) -> bool:
    key = training.key
    wanted = first["curves"][key] + second["curves"][key]
    return len(runs) == 1 and _has(runs[0], {key: wanted}, training)


def _once(runs: Sequence[Found], training: trainings.Training) -> bool:
    """Return whether there is one run, with one value at each step."""
    if len(runs) != 1:
        return False
    curves = [runs[0].curves[k] for k in training.spellings(training.key) if k in runs[0].curves]
    steps = [step for points in curves[:1] for step, _ in points]
    return bool(steps) and len(steps) == len(set(steps))


def is_installed(training: trainings.Training, face: str) -> bool:
    """Return whether the packages of a cell are there."""
    return all(find_spec(name) is not None for name in (training.package, face))


def row(training: trainings.Training, face: str, cells: dict[str, str]) -> str:
    """Return a line of the table."""
    shown = (cells.get(column, NOT_TESTED) for column in COLUMNS)
    return f"| {training.name} | {FACES[face]} | {' | '.join(shown)} |"


def main() -> None:
    """Measure all cells, and write the table."""
    lines = [
        f"| tool | integration | {' | '.join(COLUMNS)} |",
        f"|{'---|' * (len(COLUMNS) + 2)}",
    ]
    for training in trainings.ALL:
        for face in FACES:
            cells: dict[str, str] = {}
            if is_installed(training, face):
                cells = measure(training, face)
            lines.append(row(training, face, cells))
            print(lines[-1], flush=True)
    page = PAGE.read_text()
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    table = "\n".join(lines)
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")


if __name__ == "__main__":
    main()
