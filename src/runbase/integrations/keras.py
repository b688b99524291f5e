"""`RunbaseCallback` for Keras 3. The interface is that of `keras.callbacks.Callback`.

The end of a training does not end the run, because `evaluate` may follow; the end of the process does.
"""

# pyright: basic, reportMissingImports=false

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from keras.callbacks import Callback

from runbase.integrations.held import HeldRun, Holder, RunArguments, check_log_model


class RunbaseCallback(Callback, Holder):
    """Logs a training of Keras into a run: the figures of each epoch, the optimizer's configuration, the model.

    Args:
        experiment: the experiment. Default: the run that you have started, else that of `start_run`.
        log_model: log the model at the end (True), or after each epoch (``"all"``).
        log_batches: log the figures of every n-th batch as `batch/loss`; 0: none.
        options: `name`, `params`, `tags`, `run_id`, `run` and others; see `held.RunArguments`.
    """

    def __init__(
        self,
        experiment: str | None = None,
        *,
        log_model: bool | str = False,
        log_batches: int = 0,
        **options: Unpack[RunArguments],
    ) -> None:
        super().__init__()
        self._log_model = check_log_model(log_model)
        self._every = log_batches
        self._batches, self._epoch, self._fits = 0, 0, False
        self.held = HeldRun(experiment, **options)

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin the run."""
        self._fits = True
        params = {key: self.params.get(key) for key in ("epochs", "steps") if self.params}
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None:
            params["optimizer"] = optimizer.get_config()
        params["loss"] = getattr(self.model, "loss", None)
        params["model"] = self.model.name
        if self.model.built:
            params["num_parameters"] = self.model.count_params()
        self.held.log_params({key: value for key, value in params.items() if value is not None})

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Log the figures of every n-th batch."""
        self._batches += 1
        if self._every and self._batches % self._every == 0:
            self.held.log(
                {f"batch/{key}": value for key, value in (logs or {}).items()}, self._batches
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log the figures of an epoch."""
        self._epoch = epoch
        epochs = (self.params or {}).get("epochs")
        progress = (epoch + 1) / epochs if epochs else None
        figures = dict(logs or {})
        rate = getattr(getattr(self.model, "optimizer", None), "learning_rate", None)
        figures.setdefault("learning_rate", None if rate is None else float(rate))
        self.held.log(figures, epoch, progress=progress)
        if self._log_model == "all":
            self._save(f"model-{epoch:04}.keras", figures)

    def on_test_end(self, logs: Any = None) -> None:
        """Log the figures of an evaluation that is not part of the training."""
        if not self._fits:
            self.held.log(
                {f"evaluate/{key}": value for key, value in (logs or {}).items()}, self._epoch
            )

    def on_train_end(self, logs: Any = None) -> None:
        """Log the model. The run goes on: an evaluation may follow."""
        self._fits = False
        if self._log_model is True:
            self._save("model.keras", dict(logs or {}))
        self.held.flush()

    def _save(self, name: str, figures: Mapping[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            self.model.save(path)
            self.held.run.log_artifact(
                path,
                kind="model",
                step=self._epoch,
                metadata={k: float(v) for k, v in figures.items()},
            )
