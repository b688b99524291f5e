"""Use of the machine during a run: CPU, memory, disk, network and GPUs."""

import importlib
import time
from contextlib import suppress
from typing import Any

INTERVAL = 15.0
"""Seconds between two samples. One sample takes about a millisecond on a machine without GPUs."""


class SystemMetrics:
    """Samples the machine every `INTERVAL` seconds.

    The first call of `sample` only notes the time, and the second one reads the counters that rates are computed
    from: nothing is imported and nothing is measured in runs shorter than that.

    Args:
        suffix: what the names end with, to tell the nodes of a distributed job apart.
    """

    def __init__(self, suffix: str = "") -> None:
        self._suffix = suffix
        self._due: float | None = None
        self._psutil: Any = None
        self._process: Any = None
        self._gpus: list[Any] = []
        self._before: dict[str, int] = {}
        self._read_at = 0.0

    def sample(self, now: float | None = None) -> dict[str, float] | None:
        """Return the values by name if a sample is due, else None. Rates are per second, percentages of one device.

        Args:
            now: seconds of the monotonic clock. Default: the current time.
        """
        now = time.monotonic() if now is None else now
        if self._due is None:
            self._due = now + INTERVAL / 2
        if now < self._due:
            return None
        self._due = now + INTERVAL
        if self._psutil is None:
            self._start(now)
            return None
        return {f"{key}{self._suffix}": float(value) for key, value in self._values(now).items()}

    def _start(self, now: float) -> None:
        self._psutil = importlib.import_module("psutil")
        self._process = self._psutil.Process()
        self._gpus = _gpu_handles()
        self._values(now)  # the first percentages of psutil are meaningless

    def _values(self, now: float) -> dict[str, float]:
        psutil = self._psutil
        memory = psutil.virtual_memory()
        values: dict[str, float] = {
            "cpu/percent": psutil.cpu_percent(),
            "cpu/process_percent": self._process.cpu_percent(),
            "memory/used_bytes": memory.used,
            "memory/percent": memory.percent,
            "memory/process_bytes": self._process.memory_info().rss,
        }
        totals: dict[str, int] = {}
        if (disk := psutil.disk_io_counters()) is not None:
            totals |= {"disk/read": disk.read_bytes, "disk/written": disk.write_bytes}
        if (network := psutil.net_io_counters()) is not None:
            totals |= {"network/received": network.bytes_recv, "network/sent": network.bytes_sent}
        for name, total in totals.items():
            if name in self._before and now > self._read_at:
                rate = (total - self._before[name]) / (now - self._read_at)
                values[f"{name}_bytes_per_second"] = rate
        self._before, self._read_at = totals, now
        for index, handle in enumerate(self._gpus):
            values |= _gpu_values(index, handle)
        return values


def _gpu_handles() -> list[Any]:
    try:
        pynvml: Any = importlib.import_module("pynvml")
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    except Exception:  # no driver or no device: no values
        return []


def _gpu_values(index: int, handle: Any) -> dict[str, float]:
    pynvml: Any = importlib.import_module("pynvml")
    values: dict[str, float] = {}
    readers = (
        ("percent", lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        ("memory_bytes", lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).used),
        ("watts", lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000),
        ("celsius", lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
    )
    for name, read in readers:
        with suppress(Exception):  # this device does not report it
            values[f"gpu/{index}/{name}"] = read()
    return values
