"""`RunbaseCallback` for Hydra: each job is a run, with its configuration as parameters.

In the configuration::

    hydra:
      callbacks:
        runbase:
          _target_: runbase.integrations.hydra.RunbaseCallback
          experiment: digits

The interface is that of `hydra.experimental.callback.Callback` 1.3. Hydra turns exceptions of callbacks into warnings.
"""

# pyright: basic, reportMissingImports=false

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from runbase.integrations.held import HeldRun, RunArguments, numbers, shared
from runbase.run.context import active_run
from runbase.run.run import Run
from runbase.values import flatten

SWEEP = "RUNBASE_HYDRA_SWEEP"
"""The id of the run of a multirun, for jobs in other processes."""
TRIAL = "RUNBASE_HYDRA_TRIAL"
"""The id of the run of a job that the launcher of runbase has begun, and ends."""


class RunbaseCallback(Callback):
    """Logs each job of Hydra into a run, with its result or its exception. The jobs of a multirun are children of one run.

    The job itself logs with `runbase.log`, or into `runbase.current_run()`.

    Args:
        experiment: the experiment. Default: the name of the job.
        options: `name`, `params`, `tags`, `run_id`, `run` and others; see `held.RunArguments`.
    """

    def __init__(
        self,
        experiment: str | None = None,
        **options: Unpack[RunArguments],
    ) -> None:
        self._arguments = shared(options)
        self._experiment, self._name = experiment, options.get("name")
        self._given = {"run": options.get("run"), "run_id": options.get("run_id")}
        self._sweep: HeldRun | None = None
        self._job: HeldRun | None = None

    def _labels(self) -> dict[str, Any]:
        """Return the parameters and tags that were passed."""
        return {
            name: self._arguments[name] for name in ("params", "tags") if name in self._arguments
        }

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Begin the run of the multirun; with the launcher of runbase, the jobs are trials of the experiment."""
        if "runbase_launcher" in str(config.hydra.launcher.get("_target_")):
            return
        self._sweep = HeldRun(
            self._experiment or config.hydra.job.name,
            name=self._name,
            **{**self._arguments, "tags": ["sweep"], "capture": ["git", "command", "host"]},
        )
        self._sweep.log_params({"overrides": list(config.hydra.overrides.task)})
        os.environ[SWEEP] = self._sweep.run.id

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """End the run of the multirun."""
        os.environ.pop(SWEEP, None)
        if self._sweep is not None:
            self._sweep.finish()

    def on_job_start(self, config: DictConfig, *, task_function: Any = None, **kwargs: Any) -> None:
        """Begin the run of a job, with its resolved configuration and its overrides."""
        job = config.hydra.job
        if TRIAL in os.environ:
            trial = active_run()
            assert isinstance(trial, Run)
            self._job = HeldRun(run=trial, **self._labels())
            return
        given = {} if SWEEP in os.environ else self._given
        own = given.get("run") is None and given.get("run_id") is None
        name = self._name if SWEEP not in os.environ else job.get("override_dirname") or self._name
        arguments = dict(self._arguments)
        if SWEEP in os.environ:
            arguments["parent"] = os.environ[SWEEP]
        experiment = (self._experiment or job.name) if own else None
        self._job = HeldRun(experiment, name=name or None, **given, **arguments)
        self._job.log_params(configuration(config))
        self._job.run.tag(hydra=config.hydra.runtime.output_dir)

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        """Log what the job returned, and end its run; as failed if it raised an exception."""
        if self._job is None:
            return
        result = getattr(job_return, "_return_value", None)
        if isinstance(result, BaseException):
            self._job.finish(result)
            return
        if TRIAL not in os.environ:
            log_result(self._job.run, result)
        folder = Path(config.hydra.runtime.output_dir) / (config.hydra.output_subdir or ".hydra")
        for file in ("config.yaml", "overrides.yaml"):
            if (folder / file).is_file():
                self._job.run.log_artifact(folder / file, name=f"hydra/{file}", kind="config")
        self._job.finish()


def log_result(run: Run, result: Any) -> None:
    """Log what a job returned: a number as `result`, the numbers of a sequence as `result/0` …, those of a mapping by their keys."""
    values: Mapping[Any, Any]
    if isinstance(result, Mapping):
        values = result
    elif isinstance(result, tuple | list):
        values = {f"result/{place}": value for place, value in enumerate(result)}
    else:
        values = {"result": result}
    if found := numbers(values):
        run.log(found)


def configuration(config: DictConfig) -> dict[str, Any]:
    """Return the configuration of a job without Hydra's own node, resolved and flat.

    A value that cannot be resolved is kept as it is written.
    """
    own = config.copy()
    with open_dict(own):
        own.pop("hydra", None)
    OmegaConf.set_readonly(own, False)
    try:
        plain = OmegaConf.to_container(own, resolve=True)
    except Exception:  # an interpolation of Hydra's own node, or of a variable that is not set
        plain = OmegaConf.to_container(own, resolve=False)
    return dict(flatten(plain)) if isinstance(plain, Mapping) else {}
