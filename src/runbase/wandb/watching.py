"""`watch`: histograms of the gradients and parameters of PyTorch models."""

from collections.abc import Callable, Mapping
from typing import Any

from runbase.wandb.terms import warn_once


class Watcher:
    """The models that a run watches.

    Args:
        log: logs an array under a key.
    """

    def __init__(self, log: Callable[[str, Any], None]) -> None:
        self._log = log
        self._hooks: list[tuple[int, Any]] = []
        self._models: list[int] = []

    def watch(self, models: Any, what: str | None, every: int, number: int | None) -> None:
        """Log histograms of models.

        Args:
            models: a model or several.
            what: gradients, parameters, all, or None.
            every: the number of backward passes from one histogram to the next.
            number: the number in the names, for several models.
        """
        several: list[Any]
        several = [*models] if isinstance(models, list | tuple) else [models]
        for model in several:
            if not hasattr(model, "named_parameters"):
                warn_once(
                    f"watch: {type(model).__name__} is not a PyTorch model; it is not watched"
                )
                continue
            if id(model) in self._models:
                continue
            place = len(self._models) + (number or 0)
            prefix = f"graph_{place}" if place else ""
            self._models.append(id(model))
            kinds = ("gradients", "parameters") if what == "all" else (what,) if what else ()
            for name, parameter in model.named_parameters():
                if parameter.requires_grad and kinds:
                    names = {kind: f"{prefix}{kind}/{name}" for kind in kinds}
                    hook = parameter.register_hook(self._hook(parameter, names, max(1, every)))
                    self._hooks.append((id(model), hook))

    def unwatch(self, models: Any) -> None:
        """Remove the hooks of some models; None: of all."""
        several: list[Any]
        several = [*models] if isinstance(models, list | tuple) else [models]
        wanted = [*self._models] if models is None else [id(model) for model in several]
        for model, hook in self._hooks:
            if model in wanted:
                hook.remove()
        self._hooks = [(model, hook) for model, hook in self._hooks if model not in wanted]
        self._models = [model for model in self._models if model not in wanted]

    def _hook(self, parameter: Any, names: Mapping[str, str], every: int) -> Callable[[Any], None]:
        """Return a function that PyTorch calls with the gradient of a parameter."""
        passes = 0

        def hook(gradient: Any) -> None:
            nonlocal passes
            passes += 1
            if passes % every == 0:
                for kind, key in names.items():
                    self._log_values(key, gradient if kind == "gradients" else parameter)

        return hook

    def _log_values(self, key: str, values: Any) -> None:
        from runbase.wandb.data_types import Histogram

        try:
            self._log(key, Histogram(values.detach().float()))
        except Exception as error:  # a hook that raises would stop the backward pass
            warn_once(f"watch: {key!r} was not logged: {error}")
