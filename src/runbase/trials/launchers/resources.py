"""What a worker is given: time, CPUs, GPUs and memory, and how people write them."""

import math
import re

from msgspec import Struct

from runbase.errors import UsageError

_TIMES = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
"""Slurm's forms: minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes[:seconds]."""


class Resources(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What each worker of a launch is given.

    Attributes:
        seconds: how long it may run.
        cpus: the number of CPUs; Ray and Kubernetes also give parts of one.
        gpus: the number of GPUs.
        memory: bytes.
    """

    seconds: int | None = None
    cpus: float | None = None
    gpus: int | None = None
    memory: int | None = None


def resources(
    time: str | None = None,
    cpus: float | None = None,
    gpus: int | None = None,
    mem: str | None = None,
) -> Resources:
    """Return resources as people write them.

    Args:
        time: as for `limit_of_time`.
        cpus: the number of CPUs.
        gpus: the number of GPUs.
        mem: as for `size`.

    Raises:
        UsageError: a value is not valid.
    """
    if cpus is not None and not 0 < cpus < 1e6:
        raise UsageError(f"cpus is {cpus:g}; give a number above 0")
    if gpus is not None and gpus < 0:
        raise UsageError(f"gpus is {gpus}; give a number of at least 0")
    memory = None if mem is None else size(mem)
    if memory is not None and memory < 2**20:
        raise UsageError(f"{mem} of memory is too little; use a unit, as in 500M or 16G")
    return Resources(
        seconds=None if time is None else limit_of_time(time),
        cpus=cpus,
        gpus=gpus or None,
        memory=memory,
    )


def duration(text: str) -> float:
    """Return the seconds of a duration such as 90s, 10m, 2h or 1d; a number without a unit is seconds.

    Raises:
        UsageError: it is not a duration.
    """
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([smhd]?)\s*", text)
    if not match:
        raise UsageError(f"{text!r} is not a duration; use 90s, 10m or 2h")
    return float(match[1]) * _TIMES[match[2] or "s"]


def limit_of_time(text: str) -> int:
    """Return the seconds of a time limit: 30m, 4h, 1d, or a form of Slurm, where a plain number is minutes.

    Raises:
        UsageError: it is not a time limit.
    """
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([smhd])\s*", text)
    seconds = math.ceil(float(match[1]) * _TIMES[match[2]]) if match else _clock(text.strip())
    if seconds is None or seconds < 1:
        raise UsageError(
            f"{text!r} is not a time limit; use 30m, 4h, 1d, or a form of Slurm: 30 (minutes), 4:00:00, 1-12:00:00"
        )
    return seconds


def _clock(text: str) -> int | None:
    """Return the seconds of one of Slurm's forms, or None."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    days, *fields = match.groups()
    first, second, third = (int(field) if field is not None else None for field in fields)
    assert first is not None
    if days is not None:
        return int(days) * 86400 + first * 3600 + (second or 0) * 60 + (third or 0)
    if third is not None and second is not None:
        return first * 3600 + second * 60 + third
    return first * 60 + (second or 0)


def size(text: str) -> int:
    """Return the bytes of a size such as 500M or 8G.

    Raises:
        UsageError: it is not a size.
    """
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([KMGT]?)i?B?\s*", text, re.IGNORECASE)
    if not match:
        raise UsageError(f"{text!r} is not a size; use 500M or 8G")
    return int(float(match[1]) * _SIZES[match[2].upper()])
