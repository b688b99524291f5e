"""Facts about a run's machine: system, CPU, memory, GPUs, Python and its packages."""

import importlib
import os
import platform
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

_HEAD = 1024
"""Bytes of a distribution's metadata that are read: name and version are its first lines."""


def hardware() -> dict[str, Any]:
    """Return system, processor, the number of CPUs that this process may use, memory in bytes, GPUs."""
    facts: dict[str, Any] = {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": usable_cpus(),
    }
    if model := _processor():
        facts["cpu"] = model
    if memory := _memory():
        facts["memory"] = memory
    if gpus := _gpus():
        facts["gpus"] = gpus
    return facts


def python() -> dict[str, Any]:
    """Return the version and path of Python, and every installed package with its version."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "packages": packages(),
    }


@cache
def packages() -> dict[str, str]:
    """Return name → version of the installed distributions; of two with one name, the one that is imported.

    The first lines of their metadata are read. `importlib.metadata` parses all of it, which holds the interpreter for a
    tenth of a second, just when a training run begins.
    """
    versions: dict[str, str] = {}
    for place in dict.fromkeys(sys.path):
        try:
            with os.scandir(place or ".") as entries:
                found = [e.path for e in entries if e.name.endswith((".dist-info", ".egg-info"))]
        except OSError:  # a zip file, or a folder that does not exist
            continue
        for path in found:
            name, version = _name_and_version(path)
            if name and version:
                versions.setdefault(name, version)
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))


def _name_and_version(path: str) -> tuple[str | None, str | None]:
    """Return what the metadata of a distribution begins with."""
    for file in (f"{path}/METADATA", f"{path}/PKG-INFO", path):
        try:
            with open(file, "rb") as metadata:  # noqa: PTH123 - a Path takes longer than reading the file
                head = metadata.read(_HEAD).decode("utf-8", "replace")
        except OSError:
            continue
        fields = dict(re.findall(r"^(Name|Version): *(.+?)\s*$", head, re.MULTILINE))
        return fields.get("Name"), fields.get("Version")
    return None, None


def usable_cpus() -> int:
    """Return how many logical processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str | None:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or None
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1] if match else None


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _gpus() -> list[dict[str, Any]]:
    if not Path("/proc/driver/nvidia").exists():
        return []
    try:
        pynvml: Any = importlib.import_module(
            "pynvml"
        )  # from the package nvidia-ml-py, if installed

        pynvml.nvmlInit()
    except Exception:  # errors of a driver's binding must not stop a run
        return []
    gpus: list[dict[str, Any]] = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        name = pynvml.nvmlDeviceGetName(handle)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total
        gpus.append({"name": str(name), "memory": int(memory)})
    return gpus
