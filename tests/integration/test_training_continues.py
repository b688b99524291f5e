"""Whatever a training script, its data or its environment does: it goes on, and the record is true."""

import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runbase
from runbase.errors import InvalidValue, UsageError
from runbase.journal import files, writer
from tests.patience import PATIENCE

Script = Callable[..., "subprocess.Popen[str]"]
LONE = "caf\udce9"


def stored(run: runbase.Run) -> Any:
    run.finish()
    with runbase.open(home=run.folder.parents[2]) as store:
        return store.run(run.id)


def values(run: runbase.Run, key: str = "loss") -> list[float]:
    run.finish()
    with runbase.open(home=run.folder.parents[2]) as store:
        return store.metrics(run.id, key, every=True).values.tolist()


# What is not valid UTF-8


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


# Values


class Tensor:
    """As PyTorch's on a GPU with gradients: NumPy cannot read it before it is detached and copied."""

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


def cyclic() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["again"] = found
    return found


def nested(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels - 1):
        found = [found]
    return found


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


# Ends


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "error",
    [Unspeakable(), ValueError(LONE), RuntimeError("\0"), ValueError("x" * 10**6)],
    ids=["str raises", "surrogate", "nul", "long"],
)
def test_the_users_exception_comes_out(home: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as raised, runbase.start_run("e", home=home) as run:
        run.log({"loss": 1.0})
        raise error
    assert raised.value is error
    assert runbase.current_run() is None
    with runbase.open(home=home) as store:
        record = store.run(run.id)
        assert record.status == "FAILED"
        assert record.error is not None
        assert record.error["type"].endswith(type(error).__name__)


def test_an_exit_code_past_all_bounds(script: Script, home: Path) -> None:
    process = script(
        f"import runbase, sys\n"
        f"run = runbase.start_run('exit', home={str(home)!r})\n"
        f"run.log({{'loss': 1.0}})\n"
        f"sys.exit(2**70)\n"
    )
    process.communicate()
    assert process.returncode == 255
    with runbase.open(home=home) as store:
        (run,) = store.runs()
        assert (run.status, run.exit_code) == ("FAILED", 255)


def test_a_run_stays_active_until_its_end_is_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runbase.start_run("end", home=home, capture=False)
    close = run._journal.close

    def fail(*_: Any) -> None:
        raise RuntimeError("not now")

    monkeypatch.setattr(run._journal, "close", fail)
    with pytest.raises(RuntimeError, match="not now"):
        run.finish()
    assert runbase.current_run() is run
    monkeypatch.setattr(run._journal, "close", close)
    run.finish()
    assert runbase.current_run() is None
    assert stored(run).status == "COMPLETED"


def test_finish_keeps_its_timeout(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBASE_FINISH_TIMEOUT", "1")
    run = runbase.start_run("many", home=home, capture=False)
    run._monitor.ended.set()  # nothing is taken in beside the loop
    for number in range(30_000):
        run._append_finite(number, {f"key{number}": 1.0})
    began = time.monotonic()
    run.finish()
    took = time.monotonic() - began
    assert took < 60, f"{took:.1f} s"  # it was minutes; a machine may be busy
    with runbase.open(home=home) as store:
        assert store.totals()["points"] == 30_000


def test_finish_waits_for_no_lock_past_its_timeout(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setenv("RUNBASE_FINISH_TIMEOUT", "1")
    run = runbase.start_run("locked", home=home, capture=False)
    run.flush()
    run._monitor.ended.set()
    with Path(home / "runbase.db.lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        run.log({"loss": 1.0})
        began = time.monotonic()
        with pytest.warns(RuntimeWarning, match="runbase sync"):
            run.finish()
        assert time.monotonic() - began < 25
    assert stored(run).metrics["loss"].count == 1


# The journal


def test_writes_cut_short_tear_no_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(0)

    def short(fd: int, data: bytes) -> int:
        cut = len(data) > 1 and chance.random() < 0.3
        written = os.write(fd, data[: chance.randrange(1, len(data))] if cut else data)
        if cut:
            time.sleep(0)  # others come in between, if they can
        return written

    monkeypatch.setattr(writer, "_write", short)
    run = runbase.start_run("short", home=home, capture=False)
    threads = [
        threading.Thread(target=lambda n=n: [run.log({f"t{n}": float(i)}) for i in range(500)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    run.finish()
    with runbase.open(home=home) as store:
        for number in range(8):
            found = store.metrics(run.id, f"t{number}", every=True).values.tolist()
            assert sorted(found) == [float(i) for i in range(500)]
        assert all("half a line" in str(p) or "checksum" in str(p) for p in store.problems())


def beat(run: runbase.Run) -> None:
    """What the background thread does once a second."""
    run._monitor.maintain_files()


def damage(run: runbase.Run, how: str) -> None:
    path = run._journal.path
    if how == "deleted":
        path.unlink()
    elif how == "folder deleted":
        for inner in run.folder.iterdir():
            inner.unlink()
        run.folder.rmdir()
    elif how == "replaced":
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    elif how == "replaced by rubbish":
        path.unlink()
        path.write_bytes(b"not a journal\n")
    elif how == "emptied":
        os.truncate(path, 0)
    else:
        os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    "how",
    ["deleted", "folder deleted", "replaced", "replaced by rubbish", "emptied", "cut in half"],
)
@pytest.mark.parametrize("taken_in", [True, False], ids=["taken in", "not taken in"])
def test_a_journal_that_is_damaged_while_training(
    home: Path, how: str, taken_in: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runbase.start_run("damage", home=home, capture=False)
    run._monitor.ended.set()  # what is taken in, and when, is said here
    beat(run)
    for step in range(10):
        run.log({"loss": float(step)})
    beat(run)
    if taken_in:
        run.flush()
    damage(run, how)
    for step in range(10, 20):
        run.log({"loss": float(step)})
    with pytest.warns(RuntimeWarning, match="goes on in"):
        beat(run)
    for step in range(20, 30):
        run.log({"loss": float(step)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        beat(run)
    found = values(run)
    lost = [] if taken_in or how not in ("emptied", "cut in half") else range(10)
    assert [v for v in found if v not in lost] == [float(s) for s in range(30) if s not in lost]
    assert stored(run).status == "COMPLETED"


def test_a_purged_run_is_not_brought_back(home: Path) -> None:
    run = runbase.start_run("purged", home=home, capture=False)
    run.log({"loss": 1.0})
    run.flush()
    with runbase.open(home=home) as store:
        store.purge(run.id)
    assert not run._journal.path.exists()
    run.log({"loss": 2.0})
    beat(run)
    assert not run._journal.path.exists()
    run.finish()
    with runbase.open(home=home) as store:
        assert store.runs() == []


def test_a_journal_with_writers_while_it_is_restored(home: Path) -> None:
    run = runbase.start_run("busy", home=home, capture=False)
    stop = threading.Event()
    logged: list[int] = [0] * 4

    def work(n: int) -> None:
        while not stop.is_set():
            run.log({f"t{n}": float(logged[n])})
            logged[n] += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(5):
            time.sleep(0.05)
            for path in files(run.folder):
                path.unlink()
            with run._monitor.guard:
                beat(run)
    stop.set()
    for thread in threads:
        thread.join()
    run.finish()
    with runbase.open(home=home) as store:
        for n in range(4):
            found = store.metrics(run.id, f"t{n}", every=True).values.tolist()
            assert found == [float(i) for i in range(logged[n])]


# From everywhere


def test_log_from_signal_handlers_tasks_forks_and_atexit(script: Script, home: Path) -> None:
    process = script(
        f"""
import asyncio, atexit, os, signal, threading, time, runbase
run = runbase.start_run("everywhere", home={str(home)!r}, capture=False)
from itertools import count as counting
counter = counting()
def handler(*_):
    run.log({{"signal": float(next(counter))}})
    pass
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
async def task(n):
    for i in range(300):
        run.log({{f"task{{n}}": float(i)}})
        if i % 10 == 0:
            await asyncio.sleep(0)
async def main():
    await asyncio.gather(*[task(n) for n in range(4)])
asyncio.run(main())
pids = []
for n in range(3):
    pid = os.fork()
    if pid == 0:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for i in range(100):
            run.log({{f"fork{{n}}": float(i)}})
        os._exit(0)
    pids.append(pid)
for i in range(3000):
    run.log({{"main": float(i)}})
for pid in pids:
    os.waitpid(pid, 0)
signal.setitimer(signal.ITIMER_REAL, 0)
atexit.register(lambda: run.log({{"atexit": 1.0}}))
print(next(counter))
"""
    )
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    with runbase.open(home=home) as store:
        (run,) = store.runs()
        assert run.status == "COMPLETED"
        expected = {"main": 3000, "signal": int(out), "atexit": 1}
        expected |= {f"task{n}": 300 for n in range(4)} | {f"fork{n}": 100 for n in range(3)}
        assert {key: metric.count for key, metric in run.metrics.items()} == expected
        for key, count in expected.items():
            found = sorted(store.metrics(run.id, key, every=True).values.tolist())
            assert found == ([1.0] if key == "atexit" else [float(i) for i in range(count)])


def test_sigterm_inside_a_log_call(script: Script, home: Path) -> None:
    process = script(
        f"import runbase\n"
        f"run = runbase.start_run('term', home={str(home)!r}, capture=False)\n"
        f"print('on', flush=True)\n"
        f"while True: run.log({{'loss': 1.0}})\n"
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    with runbase.open(home=home) as store:
        (run,) = store.runs()
        assert run.status == "CANCELLED"
        assert store.totals()["problems"] == 0
