"""`hydra/launcher=runbase`: the jobs of a multirun are trials, so that a killed sweep continues and several processes share it.

Hydra imports this module in each program, so it imports runbase only when it launches.
"""

# pyright: basic, reportMissingImports=false

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class RunbaseLauncherConf:
    """The settings below `hydra.launcher`.

    Attributes:
        experiment: the experiment with the trials. Default: the name of the job.
        sweep: a name: all processes with it share one sweep, and jobs that are done are not run again. Default:
            a sweep with the same overrides that has not ended is continued; else a new one begins.
        retries: how often a job is run again after its process was lost.
        lease: seconds after which a process that is silent counts as lost.
        store: the URL of the store. Default: as for `runbase.open`.
        home: the home. Default: as for `runbase.open`.
    """

    _target_: str = "hydra_plugins.runbase_launcher.RunbaseLauncher"
    # Hydra's structured configurations know no other spelling of optional values.
    experiment: Optional[str] = None  # noqa: UP045
    sweep: Optional[str] = None  # noqa: UP045
    retries: int = 2
    lease: float = 60.0
    store: Optional[str] = None  # noqa: UP045
    home: Optional[str] = None  # noqa: UP045


ConfigStore.instance().store(
    group="hydra/launcher", name="runbase", node=RunbaseLauncherConf, provider="runbase"
)


class RunbaseLauncher(Launcher):
    """Runs jobs in this process, one after another, each as a trial that this process claimed."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what a launch needs."""
        self._context, self._task, self._config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run jobs, and return their results; a job that another process ran has the result that it recorded."""
        from runbase.integrations.hydra.launcher import Jobs, launch

        jobs = Jobs(self._context, self._task, self._config, job_overrides, initial_job_idx)
        return launch(jobs, **self._settings)
