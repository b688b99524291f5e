"""Scalars of real PyTorch and JAX. Heavy: `make test-frameworks` installs them into an environment of
their own.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import runbase


@pytest.mark.parametrize(
    ("value", "expected", "kind"),
    [
        (torch.tensor(0.5), 0.5, "float"),
        (torch.tensor(0.5, requires_grad=True) * 1, 0.5, "float"),
        (torch.tensor(0.25, dtype=torch.bfloat16), 0.25, "float"),
        (torch.tensor(3), 3, "float"),
        (torch.tensor([2.0]), 2.0, "float"),
        (torch.tensor(True), 1, "bool"),
        (jnp.float32(0.5), 0.5, "float"),
        (jnp.bfloat16(0.25), 0.25, "float"),
        (jnp.bool_(True), 1, "bool"),
        (jax.grad(lambda x: x**2)(3.0), 6.0, "float"),
        (torch.tensor(float("nan")), np.nan, "float"),
    ],
)
def test_scalars(home: Path, value: Any, expected: float, kind: str) -> None:
    with runbase.start_run("frameworks", home=home, capture=False) as run:
        run.log({"x": value, "plain": 1.0}, step=torch.tensor(7))
        run.log({"x": value}, step=jnp.int32(8))
    with runbase.open(home=home) as store:
        metric = store.run(run.id).metrics["x"]
        np.testing.assert_equal((metric.last, metric.type, metric.last_step), (expected, kind, 8))


def test_arrays_are_no_numbers(home: Path) -> None:
    with runbase.start_run("frameworks", home=home, capture=False) as run:
        for value in (torch.zeros(3), jnp.zeros(3)):
            with pytest.raises(runbase.InvalidValue, match=r"shape \(3,\)"):
                run.log({"x": value})
        run.log_histogram("weights", torch.randn(100))
        run.log_histogram("gradients", torch.randn(100, requires_grad=True) * 2)
        run.log_histogram("half", torch.randn(100, dtype=torch.bfloat16))
        run.log_histogram("listed", [torch.tensor(1.0, requires_grad=True), torch.tensor(2.0)])
        run.log_histogram("jax", jnp.arange(9, dtype=jnp.bfloat16))
        run.log_image("pixels", torch.rand(4, 4, 3), step=0)
        run.log_image("first", torch.rand(3, 20, 30, requires_grad=True))
        run.log_audio("sound", torch.rand(1, 800), sample_rate=8000)
        run.log_video("film", torch.rand(2, 3, 20, 30))
        assert (run.folder / "media" / "pixels.0.png").exists()


def test_none_of_them_is_imported() -> None:
    import subprocess
    import sys

    code = "import sys, runbase; runbase.start_run('x', capture=False).finish(); print('torch' in sys.modules or 'jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
