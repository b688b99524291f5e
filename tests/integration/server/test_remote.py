"""Scripts log to a server: what arrives, and what happens while it is away or dies."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import urllib3

import runbase
from runbase.errors import NotAllowed, StoreOffline, UsageError
from runbase.run import background
from runbase.server.options import ServerOptions
from runbase.server.serve import serving
from runbase.server.tokens import NewToken, make
from tests.conftest import close_storages
from tests.patience import PATIENCE, wait_until

Script = Callable[..., "subprocess.Popen[str]"]
TRAIN = """
import sys, time, pathlib, runbase
number, steps = sys.argv[1], int(sys.argv[2])
with runbase.start_run('far', name=f'run-{number}', capture=False) as run:
    for step in range(steps):
        run.log({'loss': 1 / (step + 1), 'acc': step})
        if step % 100 == 0: time.sleep(0.02)
"""


class Away:
    """A server in a process of its own, which can be killed and started again.

    Args:
        home: its home.
        port: its port.
        database: the URL of the database; None: that of the home.
        options: further options of the command.
    """

    def __init__(
        self, home: Path, port: int, database: str | None = None, options: Sequence[str] = ()
    ) -> None:
        self.home, self.url, self._port = home, f"http://127.0.0.1:{port}", port
        self._options = [*options, *(["--store", database] if database else [])]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environ = {name: v for name, v in os.environ.items() if name != "RUNBASE_STORE"}
        command = [sys.executable, "-m", "runbase", "server", "--port", str(self._port)]
        self._process = subprocess.Popen(
            [*command, "--home", str(self.home), *self._options],
            env=environ,
            stdout=subprocess.DEVNULL,
        )
        wait_until(self._answers, seconds=300)

    def _answers(self) -> bool:
        with suppress(urllib3.exceptions.HTTPError):
            answer = urllib3.request("GET", f"{self.url}/health", retries=False, timeout=2)
            return answer.status == 200
        return False

    def kill(self, how: int = signal.SIGKILL) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(timeout=300)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
"""Runs a test with a server on SQLite and on PostgreSQL."""


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str | None:
    """The URL of the database of the server; None: the SQLite file of its home."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return None
    url: str = request.getfixturevalue("postgres")
    return url


@pytest.fixture
def away(tmp_path: Path, database: str | None) -> Iterator[Away]:
    server = Away(tmp_path / "server" / ".runbase", free_port(), database)
    yield server
    with suppress(Exception):
        server.kill()


@on_both
def test_everything_of_a_run_arrives(tmp_path: Path, script: Script, database: str | None) -> None:
    code = """
import numpy as np, pathlib, runbase
pathlib.Path('model.bin').write_bytes(bytes(range(256)) * 40_000)
with runbase.start_run('far', params={'lr': 0.1}, tags=['x'], capture=['output']) as run:
    run.log({'loss': 0.5})
    run.log_image('sample', np.zeros((8, 8, 3), dtype=np.uint8))
    run.log_artifact('model.bin')
    print('said on the way')
"""
    served = tmp_path / "server" / ".runbase"
    with runbase.open(database, home=served) as there, serving(there) as url:
        assert script(code, RUNBASE_STORE=url).wait(timeout=PATIENCE) == 0
        with runbase.open(url) as store:
            (run,) = store.runs()
            assert (run.params, run.tags, run.status.value) == (
                {"lr": 0.1},
                {"x": None},
                "COMPLETED",
            )
            assert run.metrics["loss"].last == 0.5
            model = store.download(store.artifact(f"{run.id}/model.bin"), tmp_path / "copy.bin")
            assert model.read_bytes() == bytes(range(256)) * 40_000
            (image,) = store.records(run, "sample")
            assert store.read_record(image).size == (8, 8)
        assert "said on the way" in (there.home / run.folder / "output.log").read_text()  # type: ignore[operator]


def test_writers_while_the_server_is_killed(away: Away, script: Script, home: Path) -> None:
    away.start()
    writers = [script(TRAIN, str(n), "4000", RUNBASE_STORE=away.url) for n in range(6)]
    for _ in range(3):
        time.sleep(0.7)
        away.kill()
        time.sleep(0.3)
        away.start()
    for writer in writers:
        assert writer.wait(timeout=PATIENCE) == 0
    close_storages()
    with runbase.open(away.url, home=home) as store:  # sends what is left in the local journals
        store.sync()
        runs = store.runs(order_by="name")
        assert [run.name for run in runs] == [f"run-{n}" for n in range(6)]
        for run in runs:
            assert run.status.value == "COMPLETED"
            for key in ("loss", "acc"):
                assert store.metrics(run.id, key, every=True).steps.tolist() == list(range(4000))
        assert store.problems() == []


def test_training_does_not_wait_for_a_server_that_is_away(
    away: Away, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBASE_FINISH_TIMEOUT", "1")
    with pytest.warns(RuntimeWarning, match="cannot reach"):
        run = runbase.start_run("alone", store=away.url, home=home, capture=False)
        began = time.perf_counter()
        for step in range(10_000):
            run.log({"loss": float(step)})
        took = time.perf_counter() - began
        run.finish()
    assert took < 5
    with pytest.raises(StoreOffline, match="cannot reach"):
        runbase.open(away.url)
    away.start()
    background._storages.clear()
    with runbase.open(away.url, home=home) as store:
        assert store.run(run.id).metrics["loss"].count == 10_000


def test_a_server_that_ends_lets_requests_finish(away: Away) -> None:
    away.start()
    with runbase.open(away.url) as store:
        store.create_experiment("kept")
    away.kill(signal.SIGTERM)
    away.start()
    with runbase.open(away.url) as store:
        assert [experiment.name for experiment in store.experiments()] == ["kept"]


def test_tokens_of_clients(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        runbase.open(tmp_path / "served.db") as there,
        serving(there, ServerOptions(port=0, auth="tokens")) as url,
    ):
        with pytest.raises(NotAllowed, match="a token is needed"):
            runbase.open(url)
        with pytest.warns(RuntimeWarning, match="a token is needed"):
            runbase.start_run("x", store=url, home=home, capture=False).finish()
        close_storages()
        monkeypatch.setenv(
            "RUNBASE_TOKEN", make(there, NewToken(name="job", permissions=["log"])).token
        )
        with runbase.start_run("x", store=url, home=home, capture=False) as run:
            run.log({"loss": 1.0})
        assert there.run(run.id).metrics["loss"].last == 1.0
        with (
            runbase.open(url, sync=False) as store,
            pytest.raises(NotAllowed, match="no read permission"),
        ):
            store.runs()
        close_storages()


@on_both
def test_what_tokens_allow_in_python(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, database: str | None
) -> None:
    with (
        runbase.open(database or tmp_path / "served.db") as there,
        serving(there, ServerOptions(port=0, auth="tokens")) as url,
    ):
        mine = there.create_experiment("mine")
        there.create_run("mine", name="waits")
        other = there.create_run("other", name="secret")

        def use(**options: object) -> None:
            close_storages()
            token = make(there, NewToken(name=str(options), **options))  # type: ignore[arg-type]
            monkeypatch.setenv("RUNBASE_TOKEN", token.token)

        use(permissions=["read"])
        with runbase.open(url, sync=False) as store:
            assert [run.name for run in store.runs()] == ["secret", "waits"]
            with pytest.raises(NotAllowed, match="no write permission"):
                store.tag(other, "x")
            with pytest.raises(UsageError, match="beside its database"):
                store.storage.tokens()
        use(permissions=["log"], experiments=[mine.id])
        with runbase.start_run("mine", store=url, home=home, capture=False) as run:
            run.log({"loss": 1.0})
        assert there.run(run.id).metrics["loss"].last == 1.0
        with pytest.warns(RuntimeWarning, match="for other experiments"):
            runbase.start_run("other", store=url, home=home, capture=False).finish()
        assert there.count(experiment="other") == 1
        with runbase.open(url, sync=False) as store:
            with pytest.raises(NotAllowed, match="need a token for the whole store"):
                store.runs()
            with pytest.raises(NotAllowed, match="for other experiments"):
                store.storage.get_runs([other.id])
        close_storages()


def test_commands_make_tokens_without_the_framework() -> None:
    code = "import sys, runbase.server.tokens; sys.exit('litestar' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_login_keeps_the_token(
    tmp_path: Path, home: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    from typer.testing import CliRunner

    from runbase.cli.app import build
    from runbase.storage.remote.client import credentials_file

    with (
        runbase.open(tmp_path / "served.db") as there,
        serving(there, ServerOptions(port=0, auth="tokens")) as url,
    ):
        token = make(there, NewToken(name="ada")).token
        refused = CliRunner().invoke(build(), ["login", url, "--token", "rb_wrong"])
        assert isinstance(refused.exception, NotAllowed)
        done = CliRunner().invoke(build(), ["login", url, "--token", token])
        assert f"Logged in to {url} as ada (log, read, write" in done.output
        assert token not in done.output
        assert credentials_file().stat().st_mode & 0o777 == 0o600
        with runbase.open(url) as store:
            assert store.runs() == []
            assert token not in repr(store)


def test_one_process_sends_the_runs_of_a_machine(
    away: Away, home: Path, script: Script, tmp_path: Path
) -> None:
    away.start()
    command = [sys.executable, "-m", "runbase", "sync", "--watch", "--home", str(home)]
    sender = subprocess.Popen([*command, "--store", away.url], stdout=subprocess.PIPE, text=True)
    try:
        jobs = [script(TRAIN, str(n), "2000", RUNBASE_STORE="none") for n in range(3)]
        away.kill()
        for job in jobs:
            assert job.wait(timeout=PATIENCE) == 0
        away.start()

        def complete() -> bool:
            with (
                suppress(StoreOffline),
                runbase.open(away.url, home=tmp_path / "x", sync=False) as store,
            ):
                runs = store.runs("status = 'COMPLETED'")
                return [run.metrics["loss"].count for run in runs] == [2000] * 3
            return False

        wait_until(complete, seconds=300)
    finally:
        sender.send_signal(signal.SIGINT)
        said, _ = sender.communicate(timeout=300)
    assert "Sending the runs of" in said
    assert sender.returncode == 130


@on_both
def test_numbers_and_arrays_are_exact(tmp_path: Path, database: str | None) -> None:
    with runbase.open(database or tmp_path / "served.db") as there, serving(there) as url:
        values = np.array([0.1, np.nan, np.inf, -np.inf, 5e-324, 1.7976931348623157e308])
        with runbase.start_run("exact", store=url, home=tmp_path / "h", capture=False) as run:
            for value in values:
                run.log({"x": float(value)})
        with runbase.open(url) as store:
            found = store.metrics(run.id, "x")
            np.testing.assert_array_equal(found.values, values)
            assert found.steps.dtype == np.int64


def test_the_doctor_of_a_client(tmp_path: Path, home: Path) -> None:
    from typer.testing import CliRunner

    from runbase.cli.app import build

    home.mkdir()
    with runbase.open(tmp_path / "served.db") as there, serving(there) as url:
        done = CliRunner().invoke(build(), ["doctor", "--store", url, "--home", str(home)])
        assert done.exit_code == 0, done.output
        assert "All is well" in done.output


def test_a_refused_upload_does_not_delay_the_end(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.bin").write_bytes(b"x")
    monkeypatch.setenv("RUNBASE_FINISH_TIMEOUT", "300")
    with (
        runbase.open(tmp_path / "served.db") as there,
        serving(there, ServerOptions(port=0, auth="tokens")) as url,
    ):
        began = time.monotonic()
        with pytest.warns(RuntimeWarning, match="a token is needed"):
            run = runbase.start_run("x", store=url, home=home, capture=False)
            run.log_artifact(tmp_path / "model.bin")
            run.finish()
        assert time.monotonic() - began < 200
        close_storages()
