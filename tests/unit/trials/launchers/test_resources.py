"""How people write time, CPUs, GPUs and memory."""

import pytest

from runbase.errors import UsageError
from runbase.trials.launchers.resources import Resources, duration, limit_of_time, resources, size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("4h", 14400),
        ("1.5h", 5400),
        ("1d", 86400),
        ("30", 1800),  # a plain number is minutes, as Slurm has it
        ("30:15", 1815),
        ("4:00:00", 14400),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("2-00:00:05", 172805),
    ],
)
def test_limits_of_time(text: str, seconds: int) -> None:
    assert limit_of_time(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "4 hours", "-1", "0", "0s", "1:2:3:4", "4h30", "1e3"])
def test_what_is_no_limit_of_time(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time limit; use 30m, 4h, 1d"):
        limit_of_time(text)


def test_durations_and_sizes() -> None:
    assert [duration(text) for text in ("90", "90s", "10m", "2h", ".5s")] == [
        90,
        90,
        600,
        7200,
        0.5,
    ]
    assert size("500M") == 500 * 2**20
    assert size("16G") == size("16GiB") == size("16gb") == 16 * 2**30
    for wrong in ("", "1.2.3", "many", "5 apples"):
        with pytest.raises(UsageError):
            duration(wrong)
        with pytest.raises(UsageError):
            size(wrong)


def test_resources() -> None:
    assert resources() == Resources()
    asked = resources("4h", 2.5, 1, "16G")
    assert asked == Resources(seconds=14400, cpus=2.5, gpus=1, memory=2**34)
    assert resources(gpus=0).gpus is None
    for wrong, what in (
        ({"cpus": 0}, "cpus is 0"),
        ({"gpus": -1}, "gpus is -1"),
        ({"mem": "16"}, "16 of memory is too little; use a unit"),
    ):
        with pytest.raises(UsageError, match=what):
            resources(**wrong)
