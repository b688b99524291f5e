"""When the machine is sampled, and what is read."""

import sys
from types import SimpleNamespace

import pytest

from runbase.capture import system_metrics
from runbase.capture.system_metrics import INTERVAL, SystemMetrics


def test_short_runs_import_and_measure_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)  # an import would raise
    sampled = SystemMetrics()
    assert sampled.sample(0.0) is None
    assert sampled.sample(INTERVAL / 2 - 0.1) is None


def test_rates_are_per_second_between_two_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    totals = iter(range(0, 10**9, 3_000_000))
    sampled = SystemMetrics("/rank4")
    sampled.sample(0.0)
    assert sampled.sample(INTERVAL) is None
    psutil = sampled._psutil
    monkeypatch.setattr(
        psutil, "disk_io_counters", lambda: SimpleNamespace(read_bytes=next(totals), write_bytes=0)
    )
    assert "disk/read_bytes_per_second/rank4" in (sampled.sample(3 * INTERVAL) or {})
    values = sampled.sample(5 * INTERVAL) or {}
    assert values["disk/read_bytes_per_second/rank4"] == pytest.approx(3_000_000 / (2 * INTERVAL))
    assert values["disk/written_bytes_per_second/rank4"] == 0
    assert 0 < values["memory/percent/rank4"] <= 100


def test_a_gpu_reports_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(handle: object) -> float:
        raise RuntimeError("not supported")

    pynvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=37),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=2**30),
        nvmlDeviceGetPowerUsage=missing,
        nvmlDeviceGetTemperature=lambda handle, sensor: 61,
        NVML_TEMPERATURE_GPU=0,
    )
    monkeypatch.setitem(sys.modules, "pynvml", pynvml)
    assert system_metrics._gpu_handles() == [0]
    assert system_metrics._gpu_values(0, 0) == {
        "gpu/0/percent": 37,
        "gpu/0/memory_bytes": 2**30,
        "gpu/0/celsius": 61,
    }
