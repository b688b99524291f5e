"""The start of a run: settings, modes, homes."""

from pathlib import Path

import pytest

import runbase


def test_settings_from_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "HOME": str(home),
        "EXPERIMENT": "from-env",
        "RUN_NAME": "named",
        "RUN_ID": "job-77",
        "TAGS": "a,b",
        "NOTES": "said",
        "CAPTURE": "false",
    }.items():
        monkeypatch.setenv(f"RUNBASE_{name}", value)
    runbase.start_run().finish()
    with runbase.start_run() as again:  # the same id goes on
        again.log({"x": 1})
    with runbase.open() as store:
        record = store.run("job-77")
    assert (record.experiment, record.name) == ("from-env", "named")
    assert (record.tags, record.notes) == ({"a": None, "b": None}, "said")
    assert len(record.history) == 4


def test_the_environments_id_is_for_one_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBASE_RUN_ID", "job-7")
    outer = runbase.start_run("e", home=home, capture=False)
    inner = runbase.start_run("e", home=home, capture=False)
    assert (outer.id, inner.id != "job-7") == ("job-7", True)
    inner.finish()
    outer.finish()


def test_bad_arguments_begin_nothing(home: Path) -> None:
    with pytest.raises(runbase.InvalidValue, match="not int"):
        runbase.start_run("e", home=home, params=5)  # type: ignore[arg-type]
    assert runbase.current_run() is None
    assert not home.exists()


def test_disabled_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBASE_MODE", "disabled")
    with runbase.start_run("e", home=home) as run:
        run.log({"x": 1})
        folder = run.folder
    assert not home.exists()
    assert not folder.exists()


def test_files_only(home: Path) -> None:
    with runbase.start_run("e", home=home, store="none", capture=False) as run:
        run.log({"x": 1})
    assert not (home / "runbase.db").exists()
    with runbase.open(home=home) as store:
        assert store.run(run.id).metrics["x"].last == 1


def test_the_place_is_said_once(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNBASE_QUIET")
    for _ in range(2):
        runbase.start_run("said", home=home, capture=False).finish()
    said = capsys.readouterr().err
    assert said.count(str(home / "runbase.db")) == 1


def test_an_unwritable_home(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(runbase.HomeError, match="RUNBASE_HOME"):
        runbase.start_run("e", home=blocked / "home")
