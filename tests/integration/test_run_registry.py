"""A tree of run folders as a registry, asked as the reference asks its own."""

import os
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase.store.run_registry import Registry
from tests.integration.test_scan import LONG_AGO, own, sidecar, table


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "cluster"
    for n in range(6):
        folder = sidecar(
            root / "runs" / "vit" / f"run-{n}",
            status="completed" if n < 3 else "running",
            created_at=LONG_AGO + n,
            tags=["even"] if n % 2 == 0 else ["odd", "50%_'\""],
            hparams={"lr": n / 10, "model.name": "vit" if n < 4 else "r'50", "deep": {"x": n}},
            summary={"val/acc": 1 - n / 10},
            checkpoint_path="last.ckpt" if n == 2 else None,
        )
        (folder / "last.ckpt").write_bytes(b"x")
    os.utime(root / "runs" / "vit" / "run-5" / "heartbeat", (LONG_AGO, LONG_AGO))
    return root


@pytest.fixture
def registry(tree: Path) -> Any:
    with runbase.open_registry(tree) as opened:
        yield opened


def names(registry: Registry, **question: Any) -> list[str]:
    return [record.run_id for record in registry.query(**question)]


def test_questions(registry: Registry) -> None:
    assert len(registry) == 6
    assert names(registry) == [f"run-{n}" for n in (5, 4, 3, 2, 1, 0)]  # the newest first
    assert names(registry, tag="even") == ["run-4", "run-2", "run-0"]
    assert names(registry, tag="50%_'\"") == ["run-5", "run-3", "run-1"]
    assert names(registry, tag="eve") == []
    assert names(registry, status="completed") == ["run-2", "run-1", "run-0"]
    assert names(registry, status="COMPLETED", limit=1) == ["run-2"]
    assert names(registry, alive=True) == ["run-4", "run-3"]
    assert names(registry, alive=False, descending=False) == ["run-0", "run-1", "run-2", "run-5"]
    assert names(registry, hparams={"model.name": "r'50"}) == ["run-5", "run-4"]
    assert names(registry, hparams={"lr": 0.1}) == ["run-1"]
    assert names(registry, hparams={"deep/x": 3, "model.name": "vit"}) == ["run-3"]
    # Filtered before the limit, not after it
    assert names(registry, hparams={"lr": 0.0}, limit=1) == ["run-0"]
    assert names(registry, sort_by="summary.val/acc", limit=2) == ["run-0", "run-1"]
    assert names(registry, sort_by="hparams.lr", descending=False, limit=2) == ["run-0", "run-1"]
    assert len(names(registry, sort_by="summary.no such")) == 6
    with pytest.raises(runbase.UsageError, match=r"cannot sort by 'creatd_at'.*created_at"):
        registry.query(sort_by="creatd_at")
    with pytest.raises(runbase.UsageError, match="cannot sort by"):
        registry.query(sort_by="status; drop table runs")
    assert len(registry) == 6


def test_a_record(registry: Registry, tree: Path) -> None:
    record = registry["run-2"]
    assert (record.run_id, record.status, record.alive) == ("run-2", "completed", False)
    assert record.hparams == {"lr": 0.2, "model.name": "vit", "deep/x": 2}
    assert record.config == {"lr": 0.2, "model.name": "vit", "deep": {"x": 2}}
    assert (record.summary, record.tags, record.notes) == ({"val/acc": 0.8}, ("even",), "first try")
    assert record.created_at == pytest.approx(LONG_AGO + 2, abs=1e-3)
    assert record.run_dir == str(tree / "runs" / "vit" / "run-2")
    assert record.checkpoint_path == str(tree / "runs" / "vit" / "run-2" / "last.ckpt")
    with pytest.raises(AttributeError):
        record.status = "failed"  # type: ignore[misc]
    assert registry.get("nowhere") is None
    with pytest.raises(KeyError):
        registry["nowhere"]
    frame = registry.to_dataframe()
    assert len(frame) == 6
    assert {"run_id", "status", "hparams.model.name", "summary.val/acc", "tags"} <= set(
        frame.columns
    )
    assert registry.to_dataframe(registry.query(limit=2))["run_id"].tolist() == ["run-5", "run-4"]


def test_it_looks_again_when_asked_again(tree: Path) -> None:
    with (
        runbase.open_registry(tree, scan_ttl_s=0) as eager,
        runbase.open_registry(tree, scan_ttl_s=3600) as lazy,
        runbase.open_registry(tree, scan=False) as blind,
    ):
        assert (len(eager), len(lazy)) == (6, 6)
        sidecar(tree / "runs" / "new")
        assert (len(eager), len(blind)) == (7, 7)  # they share a cache: what one finds, all know
        sidecar(tree / "runs" / "newer")
        assert len(blind) == 7
        lazy.scan()
        assert len(lazy) == 8


def test_curves_and_our_own_runs(tree: Path, tmp_path: Path) -> None:
    run = own(tree / "ours" / ".runbase", "mine", tags=["even"])
    table(
        tree / "runs" / "vit" / "run-0" / "metrics.csv", [{"step": n, "loss": n} for n in range(5)]
    )
    with runbase.open_registry([tree], db_path=tmp_path / "mine.db") as registry:
        assert registry[run].status == "completed"
        assert run in names(registry, tag="even", status="completed")
        record = registry["run-0"]
        assert registry.store.metrics(record.run, "loss").values.tolist() == [0, 1, 2, 3, 4]
    assert (tmp_path / "mine.db").exists()
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    with runbase.open_registry(tree) as registry:
        registry.query()
    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*") if path.is_file()} == {
        path: time for path, time in before.items() if path.is_file()
    }


def test_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(runbase.UsageError, match="pass a folder, open_registry"):
        runbase.open_registry()
    with pytest.raises(runbase.UsageError, match="not found"):
        runbase.open_registry(tmp_path / "nowhere")
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("RUNBASE_HOME", str(tmp_path / "home"))
    with runbase.open_registry() as registry:
        assert len(registry) == 0
        assert registry.query() == []
