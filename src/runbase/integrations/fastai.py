"""`RunbaseCallback` for fastai 2. The interface is that of `fastai.callback.core.Callback`.

The end of a fit does not end the run, because another fit may follow, as in `fine_tune`; the end of the process does.
"""

# pyright: basic, reportMissingImports=false

import tempfile
from pathlib import Path
from typing import Any, Unpack

from fastai.callback.core import Callback
from fastai.learner import Recorder, save_model
from fastai.torch_core import rank_distrib

from runbase.integrations.held import HeldRun, Holder, RunArguments, check_log_model


class RunbaseCallback(Callback, Holder):
    """Logs a training of fastai into a run: the losses and hyperparameters of batches, the figures of each epoch.

    The step is the number of batches, counted on over several fits. `held.run` is the open run: the attribute `run` of a
    callback is fastai's. Of distributed trainings only rank zero logs.

    Args:
        experiment: the experiment. Default: the run that you have started, else that of `start_run`.
        log_model: log the model at the end of each fit (True), or after each epoch (``"all"``).
        log_batches: log every n-th batch; 0: none.
        options: `name`, `params`, `tags`, `run_id`, `run` and others; see `held.RunArguments`.
    """

    order = Recorder.order + 1
    remove_on_fetch = True

    def __init__(
        self,
        experiment: str | None = None,
        *,
        log_model: bool | str = False,
        log_batches: int = 1,
        **options: Unpack[RunArguments],
    ) -> None:
        super().__init__()
        self._log_model = check_log_model(log_model)
        self._every, self._batches, self._epochs = log_batches, 0, 0
        self._logs = False
        self.held = HeldRun(experiment, **options)

    def before_fit(self) -> None:
        """Begin the run; a search of the learning rate and predictions are not logged."""
        learn = self.learn
        searches = hasattr(learn, "lr_finder") or hasattr(learn, "gather_preds")
        self._logs = not searches and rank_distrib() == 0
        if self._logs:
            self.held.log_params(
                {
                    "epochs": learn.n_epoch,
                    "batch_size": getattr(learn.dls, "bs", None)
                    or getattr(learn.dls.train, "batch_size", None),
                    "loss": _name_of(learn.loss_func),
                    "optimizer": _name_of(learn.opt_func),
                    "model": type(learn.model).__name__,
                    "num_parameters": sum(part.numel() for part in learn.model.parameters()),
                    **_hypers(learn.opt),
                }
            )

    def after_batch(self) -> None:
        """Log the losses and the hyperparameters of every n-th batch."""
        if not self._logs or not self.training:
            return
        self._batches += 1
        if self._every and self._batches % self._every == 0:
            figures = {"train_loss": self.smooth_loss, "raw_loss": self.loss}
            figures |= _hypers(self.opt)
            self.held.log(figures, self._batches, progress=float(self.pct_train))

    def after_epoch(self) -> None:
        """Log the figures of an epoch, at the number of batches so far."""
        if not self._logs:
            return
        self._epochs += 1
        left_out = ("train_loss", "epoch", "time") if self._every else ("epoch", "time")
        names, values = self.recorder.metric_names, self.recorder.log
        figures = {n: v for n, v in zip(names, values, strict=False) if n not in left_out}
        self.held.log({**figures, "epoch": self._epochs}, self._batches)
        if self._log_model == "all":
            self._save(f"model-{self._epochs:04}.pth")

    def after_fit(self) -> None:
        """Log the model. The run goes on: another fit may follow."""
        if not self._logs:
            return
        if self._log_model is True:
            self._save("model.pth")
        self._logs = False
        self.held.flush()

    def _save(self, name: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            save_model(path, self.learn.model, None, with_opt=False)
            self.held.run.log_artifact(path, kind="model", step=self._batches)


def _hypers(optimizer: Any) -> dict[str, Any]:
    """Return the hyperparameters of each group of parameters: `lr_0`, `mom_0`, `lr_1`, …"""
    groups: Any = getattr(optimizer, "hypers", [])
    return {
        f"{key}_{place}": value
        for place, group in enumerate(groups)
        for key, value in group.items()
    }


def _name_of(what: Any) -> str:
    return getattr(what, "__name__", None) or type(what).__name__
