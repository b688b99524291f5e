"""The share of the variance of a metric that a parameter explains."""

import random

import pytest

from runbase.analysis.importance import importances


def test_what_decides_comes_first_and_noise_is_near_zero() -> None:
    dice = random.Random(5)
    lr = [dice.uniform(1e-4, 1e-1) for _ in range(300)]
    kind = [dice.choice(["adam", "sgd"]) for _ in range(300)]
    noise = [dice.random() for _ in range(300)]
    loss = [x * 10 + (0.3 if k == "sgd" else 0) for x, k in zip(lr, kind, strict=True)]
    loss[7] = 1e9  # an outlier does not decide
    found = importances({"noise": noise, "lr": lr, "kind": kind, "same": [1] * 300}, loss)
    assert list(found) == ["lr", "kind", "noise"]
    assert found["lr"] > 0.5
    assert found["noise"] < 0.05


@pytest.mark.parametrize("values", [[1.0] * 20, [None] * 20, [float("nan")] * 20, [1.0, 2.0]])
def test_too_little_to_tell(values: list[float | None]) -> None:
    found = importances({"a": list(range(len(values)))}, values)
    assert all(share == 0 for share in found.values())
