"""Artifacts of a run: files and folders, and names that are refused."""

import hashlib
from pathlib import Path

import pytest

import runbase
from tests.read_back import stored


def test_artifacts(run: runbase.Run, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.txt").write_text("one")
    (folder / "b.json").write_text("{}")
    run.log_artifact(folder, kind="data", step=4, metadata={"rows": 1})
    run.log_artifact(folder / "b.json", name="other/name.json")
    with pytest.raises(runbase.InvalidValue, match="does not exist"):
        run.log_artifact(tmp_path / "missing")
    for name in ("../out", "/abs", "a/../../b"):
        with pytest.raises(runbase.InvalidValue, match="below the run"):
            run.log_artifact(folder / "b.json", name=name)
    found = {artifact.path: artifact for artifact in stored(run).artifacts}
    assert set(found) == {"out/deep/a.txt", "out/b.json", "other/name.json"}
    one = found["out/deep/a.txt"]
    assert (one.size, one.mime, one.step, one.metadata) == (3, "text/plain", 4, {"rows": 1})
    assert one.sha256 == hashlib.sha256(b"one").hexdigest()
    assert (run.folder / one.uri).read_text() == "one"
