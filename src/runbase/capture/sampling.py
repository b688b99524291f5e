"""Measurements of the machine during a run: CPU, memory, disk, network, GPUs."""

import importlib
from typing import Any

INTERVAL = 10.0
"""Seconds between samples."""


class Sampler:
    """Measures the machine; needs `psutil` (extra `system`). Percentages are of one CPU or device."""

    def __init__(self) -> None:
        self._psutil: Any = importlib.import_module("psutil")
        self._process = self._psutil.Process()
        self._process.cpu_percent()
        self._psutil.cpu_percent()
        self._before: dict[str, float] = {}
        self._gpus = _gpu_handles()

    def sample(self, seconds: float) -> dict[str, float]:
        """Return the current measurements; rates are per second over the `seconds` since the last sample."""
        psutil = self._psutil
        memory = psutil.virtual_memory()
        figures: dict[str, float] = {
            "cpu/percent": psutil.cpu_percent(),
            "cpu/process_percent": self._process.cpu_percent(),
            "memory/used_bytes": memory.used,
            "memory/percent": memory.percent,
            "memory/process_bytes": self._process.memory_info().rss,
        }
        if (disk := psutil.disk_io_counters()) is not None:
            figures |= self._rates("disk/read", disk.read_bytes, seconds)
            figures |= self._rates("disk/written", disk.write_bytes, seconds)
        if (network := psutil.net_io_counters()) is not None:
            figures |= self._rates("network/received", network.bytes_recv, seconds)
            figures |= self._rates("network/sent", network.bytes_sent, seconds)
        for index, handle in enumerate(self._gpus):
            figures |= _gpu_figures(index, handle)
        return figures

    def _rates(self, name: str, total: float, seconds: float) -> dict[str, float]:
        before = self._before.get(name)
        self._before[name] = total
        if before is None or seconds <= 0:
            return {}
        return {f"{name}_bytes_per_second": (total - before) / seconds}


def _gpu_handles() -> list[Any]:
    try:
        pynvml: Any = importlib.import_module("pynvml")
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    except Exception:  # no driver, device or binding: no measurements
        return []


def _gpu_figures(index: int, handle: Any) -> dict[str, float]:
    pynvml: Any = importlib.import_module("pynvml")
    rates = pynvml.nvmlDeviceGetUtilizationRates(handle)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return {
        f"gpu/{index}/percent": float(rates.gpu),
        f"gpu/{index}/memory_bytes": float(memory.used),
    }
