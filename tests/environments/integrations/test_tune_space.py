"""Search spaces of runbase and of Ray Tune: the same values, in both directions."""

from typing import Any

import pytest
from ray import tune

from runbase.errors import UsageError
from runbase.integrations.ray import from_tune, to_tune
from runbase.space import Categorical, Float, Int, inside

SPACE = {
    "lr": Float(1e-5, 1e-1, log=True),
    "momentum": Float(0.0, 1.0),
    "dropout": Float(0.1, 0.5, step=0.1),
    "scale": Float(0.5, 8.0, step=0.5, log=True),
    "net/layers": Int(1, 3),
    "net/width": Int(16, 64, step=16),
    "net/heads": Int(1, 9, log=True),
    "batch": Int(2, 64, step=2, log=True),
    "optimizer": Categorical(["sgd", "adam", None, 3]),
}


def drawn(domain: Any, count: int = 300) -> list[Any]:
    return [domain.sample() for _ in range(count)]


def test_there_and_back() -> None:
    assert from_tune(to_tune(SPACE)) == SPACE
    assert to_tune(SPACE)["net"].keys() == {"layers", "width", "heads"}


@pytest.mark.parametrize("key", SPACE)
def test_tune_draws_values_of_the_space(key: str) -> None:
    domain: Any = to_tune(SPACE)
    for part in key.split("/"):
        domain = domain[part]
    values = drawn(domain)
    assert all(inside(SPACE[key], value) for value in values)
    if isinstance(SPACE[key], Int):  # both bounds are drawn
        low, high = SPACE[key].low, SPACE[key].high
        values += drawn(domain, 20_000)
        assert (min(values), max(values)) == (low, high)


def test_spaces_of_tune() -> None:
    space = from_tune(
        {
            "lr": tune.grid_search([0.1, 0.2]),
            "width": tune.qrandint(3, 10, 4),
            "rate": tune.quniform(0.1, 0.9, 0.1),
            "net": {"depth": tune.randint(1, 4), "kind": "mlp"},
        }
    )
    assert space["lr"] == Categorical([0.1, 0.2])
    assert space["width"] == Int(4, 8, step=4)
    assert space["net/depth"] == Int(1, 3)
    assert space["net/kind"] == Categorical(["mlp"])
    rate = space["rate"]
    assert isinstance(rate, Float)
    assert (rate.low, rate.high, rate.step) == (pytest.approx(0.1), pytest.approx(0.9), 0.1)


@pytest.mark.parametrize("domain", [tune.randn(0, 1), tune.sample_from(lambda config: 1)])
def test_domains_without_bounds_are_refused(domain: Any) -> None:
    with pytest.raises(UsageError, match=r"'x' is .* no bounds"):
        from_tune({"x": domain})


@pytest.mark.parametrize(
    ("parameter", "why"),
    [
        (Float(0, 1, when={"other": [1]}), "depends on other"),
        (Int(0, 5, special=[-1]), "special values"),
        (Int(1, 9, step=2), "multiples"),
    ],
)
def test_what_tune_cannot_express_is_refused(parameter: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        to_tune({"x": parameter, "other": Categorical([1, 2])})
