"""`add_callbacks` for models of Ultralytics. The interface is that of `Model.add_callback` and of its trainers 8.

It was written after the source of 8.4 and is tested with a stand-in of the trainer, because torchvision cannot be installed
beside every PyTorch.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack, cast

from runbase.integrations.held import HeldRun, Holder, RunArguments, check_log_model


def add_callbacks(
    model: Any,
    experiment: str | None = None,
    *,
    log_model: bool | str = False,
    **options: Unpack[RunArguments],
) -> "RunbaseCallbacks":
    """Make a model log its trainings into runs.

    Args:
        model: a model, such as `YOLO("yolo11n.pt")`.
        experiment: the experiment. Default: the run that you have started, else that of `start_run`.
        log_model: log the best and the last weights at the end (True), or those of each epoch (``"all"``).
        options: `name`, `params`, `tags`, `run_id`, `run` and others; see `held.RunArguments`.

    Returns:
        What holds the run.
    """
    callbacks = RunbaseCallbacks(
        HeldRun(experiment, **options),
        log_model=log_model,
    )
    for event, callback in callbacks.events().items():
        model.add_callback(event, callback)
    return callbacks


class RunbaseCallbacks(Holder):
    """The callbacks: the figures of each epoch at the number of the epoch, counted from 1, as in results.csv.

    The end of a training ends the run; an exception ends it as failed. The next training is another run. Only the process of
    rank zero logs.

    Args:
        held: the run.
        log_model: as for `add_callbacks`.
    """

    def __init__(self, held: HeldRun, *, log_model: bool | str = False) -> None:
        self.held = held
        self._log_model = check_log_model(log_model)
        self._trained = self._stopped = False

    def events(self) -> dict[str, Callable[[Any], None]]:
        """Return the functions to add, by event."""
        return {
            "on_pretrain_routine_end": self.on_pretrain_routine_end,
            "on_fit_epoch_end": self.on_fit_epoch_end,
            "on_model_save": self.on_model_save,
            "on_train_end": self.on_train_end,
            "teardown": self.teardown,
        }

    def on_pretrain_routine_end(self, trainer: Any) -> None:
        """Begin the run, with the arguments of the training."""
        if not _is_zero():
            return
        if self._trained:
            self.held.renew()
        self._trained = self._stopped = False
        if self.held.name is None and not self.held.is_open:
            self.held.rename(Path(trainer.save_dir).name)
        args = cast("dict[str, Any]", vars(trainer.args))
        self.held.log_params({key: value for key, value in args.items() if value is not None})

    def on_fit_epoch_end(self, trainer: Any) -> None:
        """Log the figures of an epoch; those of the last validation, of the best weights, as `best/…`."""
        if not _is_zero():
            return
        step = int(trainer.epoch) + 1
        if self._stopped:
            self.held.log(
                {f"best/{key}": value for key, value in trainer.metrics.items()}, step - 1
            )
            return
        self._stopped = bool(trainer.stop)
        losses = cast("dict[str, Any]", trainer.label_loss_items(trainer.tloss, prefix="train"))
        figures = {**losses, **trainer.metrics, **trainer.lr}
        self.held.log(figures, step, progress=min(step / trainer.epochs, 1.0))

    def on_model_save(self, trainer: Any) -> None:
        """Log the weights of an epoch."""
        if _is_zero() and self._log_model == "all":
            self._save(trainer, trainer.last)

    def on_train_end(self, trainer: Any) -> None:
        """Log the best and the last weights, and end the run."""
        if not _is_zero():
            return
        if self._log_model is True:
            for path in (trainer.last, trainer.best):
                self._save(trainer, path)
        self._trained = True
        self.held.finish()

    def teardown(self, trainer: Any) -> None:
        """End the run as failed if the training ends by an exception."""
        del trainer
        error = sys.exc_info()[1]
        if _is_zero() and not self._trained and error is not None:
            self._trained = True
            self.held.finish(error)

    def _save(self, trainer: Any, path: Any) -> None:
        best = Path(path) == Path(trainer.best)
        score = trainer.best_fitness if best else trainer.fitness
        scores = {} if score is None else {"fitness": score}
        self.held.log_saved_model(path, int(trainer.epoch) + 1, scores=scores, direction="max")


def _is_zero() -> bool:
    """Return whether this is the process of rank zero, or the only one."""
    return os.environ.get("RANK", "-1") in ("-1", "0")
