"""Folders that the real loggers of Lightning and stable-pretraining write, scanned and compared value by value. Heavy:
`make test-frameworks` installs them into an environment of their own.
"""

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

import runbase


@pytest.fixture(scope="session")
def registry_logger() -> Any:
    """stable-pretraining's RegistryLogger, without the rest of the package, which needs far more than a logger does."""
    found = importlib.util.find_spec("stable_pretraining")
    assert found is not None
    assert found.origin is not None
    root = Path(found.origin).parent
    for name in ("stable_pretraining", "stable_pretraining.utils"):
        package: Any = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    from stable_pretraining.registry.logger import RegistryLogger

    return RegistryLogger


def test_stable_pretraining(tmp_path: Path, registry_logger: Any) -> None:
    folder = tmp_path / "cache" / "runs" / "exp" / "r1"
    logger = registry_logger(folder, "r1", tags=["vit"], notes="a note", flush_logs_every_n_steps=7)
    logger.log_hyperparams({"lr": 0.1, "opt": {"name": "adam"}})
    with runbase.open_registry(tmp_path / "cache", scan_ttl_s=0) as registry:
        for step in range(50):
            logger.log_metrics({"loss": torch.tensor(step / 4), "epoch": step // 10}, step=step)
        logger.save()
        assert registry["r1"].alive
        assert registry["r1"].status == "running"
        for step in range(50, 100):
            logger.log_metrics({"loss": torch.tensor(step / 4), "late": step}, step=step)
        logger.log_image("picture", [torch.zeros(3, 4, 5)], step=5)
        logger.save()
        logger.finalize("success")
        record = registry["r1"]
        assert (record.status, record.alive) == ("completed", False)
        assert record.hparams == {"lr": 0.1, "opt.name": "adam"}
        assert (record.tags, record.notes) == (("vit",), "a note")
        assert record.summary == {"loss": 24.75, "epoch": 4.0, "late": 99.0}
        loss = registry.store.metrics(record.run, "loss")
        assert loss.values.tolist() == [step / 4 for step in range(100)]
        assert loss.steps.tolist() == list(range(100))
        (picture,) = registry.store.records(record.run)
        assert (picture["key"], picture["kind"], picture["step"]) == ("picture", "image", 5)
        assert (
            registry.query(hparams={"opt.name": "adam"}, sort_by="summary.loss")[0].run_id == "r1"
        )


def test_lightning_csv(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="digits", flush_logs_every_n_steps=5)
    logger.log_hyperparams({"lr": 0.2, "layers": 3})
    for step in range(40):
        logger.log_metrics({"loss": step / 4}, step=step)
        if step % 10 == 9:
            logger.log_metrics({"val/acc": step / 40}, step=step)
    logger.save()
    logger.finalize("success")
    with runbase.open_registry(tmp_path) as registry:
        (record,) = registry.query()
        assert (record.run.experiment, record.hparams) == ("digits", {"lr": 0.2, "layers": 3})
        assert registry.store.metrics(record.run, "loss").values.tolist() == [
            n / 4 for n in range(40)
        ]
        assert registry.store.metrics(record.run, "val/acc").steps.tolist() == [9, 19, 29, 39]
