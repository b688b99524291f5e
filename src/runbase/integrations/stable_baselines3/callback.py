"""`RunbaseCallback` for stable-baselines3. The interfaces are those of `BaseCallback` and `KVWriter` 2.x."""

# pyright: basic, reportMissingImports=false

from typing import Any, Unpack

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter

from runbase.integrations.held import HeldRun, Holder, RunArguments


class RunbaseCallback(BaseCallback, Holder):
    """Logs what an algorithm records into a run: `rollout/ep_rew_mean`, `train/loss`, at the number of environment steps.

    Args:
        experiment: the experiment. Default: the run that you have started, else that of `start_run`.
        options: `name`, `params`, `tags`, `run_id`, `run` and others; see `held.RunArguments`.
    """

    def __init__(
        self,
        experiment: str | None = None,
        **options: Unpack[RunArguments],
    ) -> None:
        super().__init__()
        self.held = HeldRun(experiment, **options)

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
