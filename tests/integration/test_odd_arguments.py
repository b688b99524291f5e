"""Arguments of every kind: texts that are not UTF-8, tensors, numbers out of range."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runbase
from runbase.errors import InvalidValue, UsageError
from tests.read_back import stored

LONE = "caf\udce9"


def test_a_command_line_and_a_folder_that_are_not_utf8(home: Path, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    script = folder / "train.py"
    script.write_text(
        f"import runbase\n"
        f"with runbase.start_run('odd', home={str(home)!r}) as run:\n"
        f"    run.log({{'loss': 1.0}})\n"
    )
    argument = os.fsdecode(b"--name=caf\xe9")
    done = subprocess.run(
        [sys.executable, str(script), argument],
        cwd=folder,
        env={**os.environ, "TORCH_X": os.fsdecode(b"caf\xe9")},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with runbase.open(home=home) as store:
        (run,) = store.runs()
        assert run.status == "COMPLETED"
        assert run.args["argv"][-1] == "--name=caf\\udce9"
        assert run.env["TORCH_X"] == "caf\\udce9"


def test_keys_and_texts_that_are_not_utf8(home: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.bin"))
    odd.write_bytes(b"x")
    run = runbase.start_run(
        LONE, name=LONE, params={LONE: LONE}, tags={LONE: LONE}, notes=LONE, home=home
    )
    run.log({LONE: 1.0})
    run.log({LONE: math.nan}, step=7)
    run.log_text("text", LONE)
    run.log_text("large", LONE * 50_000)
    run.log_dict("dict", {LONE: [LONE]})
    run.log_table("table", [[LONE]], columns=[LONE])
    run.log_artifact(odd)
    run.log_telemetry({LONE: 1})
    run.set_status("SUSPENDED", LONE)
    record = stored(run)
    plain = "caf\\udce9"
    assert (record.name, record.experiment, record.notes) == (plain, plain, plain)
    assert (record.params, record.tags) == ({plain: plain}, {plain: plain})
    assert record.metrics[plain].count == 2
    with runbase.open(home=home) as store:
        texts = {item["key"]: store.read_record(item) for item in store.records(run.id)}
        assert texts["text"] == plain
        assert texts["large"] == plain * 50_000
        assert texts["dict"] == {plain: [plain]}
        artifact = store.artifact(f"{run.id}/caf%e9.bin")
        assert store.download(artifact).read_bytes() == b"x"


class Tensor:
    """As PyTorch's on a GPU with gradients: NumPy reads it after detach() and cpu()."""

    def __init__(self, array: Any, steps: tuple[str, ...] = ("detach", "cpu")) -> None:
        self.array, self.left = np.asarray(array), steps
        self.shape, self.dtype = self.array.shape, self.array.dtype

    def detach(self) -> "Tensor":
        return Tensor(self.array, tuple(step for step in self.left if step != "detach"))

    def cpu(self) -> "Tensor":
        return Tensor(self.array, tuple(step for step in self.left if step != "cpu"))

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if self.left:
            raise RuntimeError(f"call {self.left[0]}() first")
        return self.array


def test_histograms_and_images_of_tensors(home: Path) -> None:
    from PIL import Image

    run = runbase.start_run("media", home=home, capture=False)
    run.log_histogram("weights", Tensor([1.0, 2.0, np.nan, np.inf]))
    run.log_histogram("list", [Tensor(1.0), Tensor(2.0)])
    run.log_histogram("wide", [-1.7e308, 1.7e308])
    run.log_histogram("narrow", [5e-324, 1e-323])
    run.log_histogram("empty", [])
    run.log_image("first", Tensor(np.zeros((3, 20, 30), dtype=np.float32)))
    run.log_image("last", Tensor(np.zeros((20, 30, 3), dtype=np.float32)))
    run.log_image("grey", np.full((1, 20, 30), 300))
    run.log_image("bool", np.ones((20, 30), dtype=bool))
    run.log_image("cmyk", Image.new("CMYK", (30, 20)))
    run.log_audio("mono", Tensor(np.zeros((1, 800), dtype=np.float32)), sample_rate=8000)
    run.log_video("clip", Tensor(np.zeros((2, 3, 20, 30), dtype=np.float32)).detach().cpu().array)
    assert stored(run).status == "COMPLETED"
    with runbase.open(home=home) as store:
        kept = {item["key"]: item for item in store.records(run.id)}
        weights = store.read_record(kept["weights"])
        assert (sum(weights["counts"]), weights["not_finite"]) == (2, 2)
        assert sum(store.read_record(kept["wide"])["counts"]) == 2
        for key in ("first", "last", "grey", "bool", "cmyk"):
            with Image.open(run.folder / kept[key]["path"]) as image:
                assert image.size == (30, 20)


def cyclic() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["again"] = found
    return found


def nested(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels - 1):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda run: run.log({"a": 10**400}), "'a' is an integer too large"),
        (lambda run: run.log({"a": 10**400, "b": -(10**400)}), "'a' is an integer too large"),
        (lambda run: run.log({"a": 1}, step=2**63), "step"),
        (lambda run: run.log({"a": 1}, step=-(2**63)), "step"),
        (lambda run: run.log({"a": 1}, step=10**400), "step"),
        (lambda run: run.log({"a": 1}, step=1e300), "step"),
        (lambda run: run.log({"a": 1}, step="x"), "step is 'x'"),
        (lambda run: run.log({"a": 1}, step=[1]), "step"),
        (lambda run: run.log({"a": 1}, progress="x"), "progress is 'x'"),
        (lambda run: run.log({"a": 1}, progress=math.nan), "progress"),
        (lambda run: run.log([1]), "run.log({"),
        (lambda run: run.log(None), "run.log({"),
        (lambda run: run.log("a", 1), "run.log({'a': 0.5}"),
        (lambda run: run.log(0.5), "run.log({"),
        (lambda run: run.log({"a": Decimal("sNaN")}), "'a'"),
        (lambda run: run.log({"a": cyclic()}), "contains itself"),
        (lambda run: run.log_params({"p": cyclic()}), "contains itself"),
        (lambda run: run.log_params({"p": nested(101)}), "more than 100 levels"),
        (lambda run: run.log_params({"p": 10**400}), "'p' is an integer too large"),
        (lambda run: run.log_params([1]), "parameters"),
        (lambda run: run.log_params(None), "parameters"),
        (lambda run: run.log_dict("d", nested(5000)), "more than 100 levels"),
        (lambda run: run.log_telemetry({"a": 1}, at=1e300), "at is 1e+300"),
        (lambda run: run.log_telemetry({"a": 1}, at="noon"), "at is 'noon'"),
        (lambda run: run.log_telemetry({"a": 10**400}), "'a'"),
        (lambda run: run.log_histogram("h", ["x"]), "'h'"),
        (lambda run: run.log_histogram("h", object()), "'h'"),
        (lambda run: run.log_histogram("h", [1], bins=0), "bins"),
        (lambda run: run.log_image("i", np.zeros((5, 20, 30))), "channels last or first"),
        (lambda run: run.log_image("i", np.zeros((0, 5))), "no pixels"),
        (lambda run: run.log_image("i", object()), "'i'"),
        (lambda run: run.log_audio("s", np.zeros((2, 3, 4)), sample_rate=1), "'s'"),
        (lambda run: run.log_video("v", []), "'v'"),
        (lambda run: run.log_video("v", 5), "'v'"),
        (lambda run: run.log_table("t", 5), "'t' is not a table"),
        (lambda run: run.log_table("t", {"a": [1], "b": [1, 2]}), "'t' is not a table"),
        (lambda run: run.log_table("t", [1, 2]), "'t' is not a table"),
        (lambda run: run.set_status("NO"), "NO"),
        (lambda run: run.finish(exit_code=2**70), "exit_code"),
        (lambda run: run.log_artifact("/dev/zero"), "neither a file nor a folder"),
    ],
)
def test_mistakes_are_named_and_cost_nothing_else(
    home: Path, call: Callable[[runbase.Run], None], says: str
) -> None:
    run = runbase.start_run("mistakes", home=home, capture=False)
    run.log({"loss": 1.0})
    with pytest.raises((InvalidValue, UsageError)) as raised:
        call(run)
    assert says in str(raised.value)
    run.log({"loss": 2.0}, step=1)
    run.log({"loss": 3.0})
    run.finish()
    with runbase.open(home=home) as store:
        series = store.metrics(run.id, "loss")
        assert (series.steps.tolist(), series.values.tolist()) == ([0, 1, 2], [1.0, 2.0, 3.0])
        assert store.problems() == []


def test_the_deepest_parameter(home: Path) -> None:
    run = runbase.start_run("deep", params={"p": nested(100)}, home=home, capture=False)
    assert stored(run).params == {"p": nested(100)}


def test_objects_that_cannot_be_shown(home: Path) -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no")

        __repr__ = __str__

    run = runbase.start_run("odd", params={"p": Odd(), "l": [Odd()]}, home=home, capture=False)
    run.log_text("t", Odd())  # type: ignore[arg-type]
    run.tag(Odd(), k=Odd())  # type: ignore[arg-type]
    run.note(Odd())  # type: ignore[arg-type]
    assert "Odd" in stored(run).params["p"]
