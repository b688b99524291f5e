"""`RunbaseCallback` for stable-baselines3. The interfaces are those of `BaseCallback` and `KVWriter` 2.x."""

# pyright: basic, reportMissingImports=false

from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter

from runbase.integrations.held import HeldRun, Holder
from runbase.run.run import Run


class RunbaseCallback(BaseCallback, Holder):
    """Logs what an algorithm records into a run: `rollout/ep_rew_mean`, `train/loss`, at the number of environment steps.

    Args:
        experiment: the experiment. Default: the run that you have started, else that of `start_run`.
        name: the display name of the run.
        params: further parameters.
        tags: plain tags, or a mapping of tag to value.
        run_id: the id of a run to continue.
        run: an open run of yours, which the callback never ends.
        options: further arguments of `start_run`.
    """

    def __init__(
        self,
        experiment: str | None = None,
        *,
        name: str | None = None,
        params: Mapping[str, object] | None = None,
        tags: Any = None,
        run_id: str | None = None,
        run: Run | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.held = HeldRun(
            experiment, name=name, params=params, tags=tags, run_id=run_id, run=run, **options
        )

    def _on_training_start(self) -> None:
        model = self.model
        plain = {
            key: value
            for key, value in vars(model).items()
            if not key.startswith("_") and isinstance(value, bool | int | float | str)
        }
        self.held.log_params(
            {"algorithm": type(model).__name__, "policy": type(model.policy).__name__, **plain}
        )
        if not any(isinstance(each, RunWriter) for each in self.logger.output_formats):
            self.logger.output_formats.append(RunWriter(self.held))

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self.held.flush()


class RunWriter(KVWriter):
    """Writes what stable-baselines3's logger dumps into a held run."""

    def __init__(self, held: HeldRun) -> None:
        self._held = held

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0
    ) -> None:
        """Log the numbers of a dump at its step."""
        self._held.log(key_values, step)

    def close(self) -> None:
        """Do nothing: the run may go on."""
