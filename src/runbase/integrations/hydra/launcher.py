"""The jobs of a multirun as trials of an experiment: claimed one by one, continued by any process that launches the same sweep.

The interface is that of `hydra.plugins.launcher.Launcher` 1.3; `hydra_plugins.runbase_launcher` is what Hydra finds.
"""

# pyright: basic, reportMissingImports=false

import hashlib
import itertools
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import (
    JobReturn,
    JobStatus,
    configure_log,
    filter_overrides,
    run_job,
    setup_globals,
)
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

import runbase
from runbase.errors import Conflict
from runbase.ids import name_for
from runbase.integrations.held import HeldRun
from runbase.integrations.hydra.callback import TRIAL, configuration, log_result
from runbase.model import Run
from runbase.run.lease import Held
from runbase.status import Phase, Status
from runbase.storage.types import NewTrial
from runbase.store.store import Store
from runbase.trials.claim import Claim, this_runner
from runbase.trials.experiment import Experiment
from runbase.values import as_params

SCOPE = "hydra"
"""The scope of the attributes of a trial: its overrides, and what the job returned."""
PAUSE = 0.5
"""Seconds between two looks at jobs that other processes run."""
_log = logging.getLogger(__name__)


class Jobs:
    """The jobs of a launch, and how Hydra runs one.

    Args:
        context: the context of Hydra.
        task: the function of the program.
        config: the configuration of the multirun.
        overrides: the overrides of each job.
        first: the number of the first job.
    """

    def __init__(
        self,
        context: HydraContext,
        task: TaskFunction,
        config: DictConfig,
        overrides: Sequence[Sequence[str]],
        first: int,
    ) -> None:
        self._context, self._task, self.config = context, task, config
        self.overrides = [list(each) for each in overrides]
        self.first = first

    def prepare(self) -> None:
        """Do what Hydra expects before the first job."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)

    def loaded(self, place: int) -> DictConfig:
        """Return the configuration of a job."""
        config = self._context.config_loader.load_sweep_config(self.config, self.overrides[place])
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = self.first + place
        return config

    def run(self, config: DictConfig) -> JobReturn:
        """Run a job in this process."""
        try:
            return run_job(
                hydra_context=self._context,
                task_function=self._task,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        finally:
            configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)

    def recorded(self, place: int, run: Run, result: Any) -> JobReturn:
        """Return the result of a job that ran elsewhere, or before."""
        config = self.loaded(place)
        returned = JobReturn(
            overrides=self.overrides[place], hydra_cfg=config, task_name=config.hydra.job.name
        )
        with open_dict(config):
            returned.cfg = config.copy()
            returned.cfg.pop("hydra", None)
        if run.status is Status.COMPLETED:
            returned.status, returned.return_value = JobStatus.COMPLETED, result
        else:
            message = str((run.error or {}).get("message") or run.status.value)
            returned.status = JobStatus.FAILED
            returned.return_value = RuntimeError(f"job {run.name} of run {run.id}: {message}")
        return returned


def launch(
    jobs: Jobs,
    *,
    experiment: str | None = None,
    sweep: str | None = None,
    retries: int = 2,
    lease: float = 60.0,
    store: str | None = None,
    home: str | None = None,
) -> list[JobReturn]:
    """Queue jobs as trials, or join the sweep that has them, and run them until all have ended.

    Args:
        jobs: the jobs.
        experiment: the experiment. Default: the name of the job.
        sweep: the name of a sweep that is always continued.
        retries: as for `Experiment.new_trial`.
        lease: as for `Experiment.claim_trial`.
        store: the URL of the store.
        home: the home.

    Returns:
        What each job returned, in order.
    """
    jobs.prepare()
    with runbase.open(store, home=home) as opened:
        name = experiment or str(jobs.config.hydra.job.name)
        record = opened.experiment(opened.storage.get_or_create_experiment(name, {}))
        launched = _Launch(opened, record, jobs, lease)
        launched.queue(sweep, retries)
        return launched.run()


class _Launch:
    def __init__(self, store: Store, experiment: Experiment, jobs: Jobs, lease: float) -> None:
        self._store, self._experiment, self._jobs, self._lease = store, experiment, jobs, lease
        self._ids: list[str] = []
        self._returned: dict[int, JobReturn] = {}

    def queue(self, sweep: str | None, retries: int) -> None:
        """Find the trials of the sweep, or create them; jobs that failed before are run again.

        The ids of the trials follow from the overrides, so that processes that begin at the same time create them once.
        """
        what = json.dumps([sweep, self._jobs.first, self._jobs.overrides])
        for turn in itertools.count():
            self._ids = [
                hashlib.sha256(f"{self._experiment.id}/{what}/{turn}/{place}".encode()).hexdigest()[
                    :32
                ]
                for place in range(len(self._jobs.overrides))
            ]
            there = self._store.storage.get_runs(self._ids)
            if not there:
                self._create(retries)
                there = self._store.storage.get_runs(self._ids)
            if any(run.deleted_at for run in there):
                continue
            ended = [run for run in there if run.status.phase is Phase.ENDED]
            if sweep is None and len(ended) == len(there):
                continue
            again = [run for run in ended if run.status is not Status.COMPLETED]
            for run in again:
                self._experiment.requeue(run, "run again by a launch of the sweep")
            _log.info(
                "%d jobs, %d of them done before, in experiment %s of %s",
                len(there),
                len(ended) - len(again),
                self._experiment.name,
                self._store.url,
            )
            return

    def _create(self, retries: int) -> None:
        new = [
            NewTrial(
                id=key,
                name=" ".join(filter_overrides(overrides)) or name_for(key),
                params=as_params(_params(overrides)),
                tags={"hydra": "sweep"},
                retries=retries,
                attributes={SCOPE: {"overrides": overrides}},
            )
            for key, overrides in zip(self._ids, self._jobs.overrides, strict=True)
        ]
        try:
            self._store.storage.add_trials(self._experiment.id, new)
        except Conflict:  # another process has created them
            return

    def run(self) -> list[JobReturn]:
        """Run the jobs that wait, until none does and those of other processes have ended."""
        storage, told = self._store.storage, False
        while True:
            storage.due_trials(self._experiment.id, time.time())  # releases claims that expired
            states = {run.id: run for run in storage.get_runs(self._ids)}
            waiting = [
                place for place, key in enumerate(self._ids) if states[key].status is Status.PENDING
            ]
            if sum([self._try(place) for place in waiting]):
                continue
            active = [run for run in states.values() if run.status.phase is not Phase.ENDED]
            if not active:
                break
            if not told:
                _log.info("Waiting for %d jobs that other processes run", len(active))
                told = True
            time.sleep(PAUSE)
        results = storage.attributes("run", self._ids, SCOPE)
        return [
            self._returned.get(place)
            or self._jobs.recorded(place, states[key], results[key].get("result"))
            for place, key in enumerate(self._ids)
        ]

    def _try(self, place: int) -> bool:
        """Run a job if no other process has claimed it; return whether it was run."""
        runner = this_runner()
        claimed = self._store.storage.claim_trial_by_id(self._ids[place], runner, self._lease)
        if claimed is None:
            return False
        held = Held(run=claimed.run, attempt=claimed.attempt, runner=runner, seconds=self._lease)
        claim = Claim(self._store, self._experiment.name, held)
        overrides = self._jobs.overrides[place]
        _log.info("\t#%d : %s", self._jobs.first + place, " ".join(filter_overrides(overrides)))
        run = claim.start(home=self._store.home)
        with _termination_raises():  # instead of what the run has set
            try:
                config = self._jobs.loaded(place)
                HeldRun(run=run).log_params(configuration(config))
                with _named(run.id):
                    returned = self._jobs.run(config)
            except BaseException:  # also SIGTERM and Ctrl-C: another process runs the job again
                claim.release("the launcher was stopped")
                run.finish("CANCELLED")
                raise
        result = returned._return_value
        if isinstance(result, BaseException):
            run.finish("FAILED", result)
        else:
            self._keep(run.id, result)
            log_result(run, result)
            run.finish()
        self._returned[place] = returned
        return True

    def _keep(self, run: str, result: Any) -> None:
        """Store what a job returned, for processes that did not run it."""
        try:
            plain = json.loads(json.dumps(result))
        except (TypeError, ValueError):
            return
        self._store.storage.put_attributes("run", run, SCOPE, {"result": plain})


def _params(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the values that overrides set, as parameters."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {
        each.get_key_element().lstrip("+~").replace(".", "/"): each.value()
        for each in parsed
        if not each.is_sweep_override()
    }


@contextmanager
def _named(run: str) -> Generator[None]:
    """Tell the callback which run the job has."""
    os.environ[TRIAL] = run
    try:
        yield
    finally:
        os.environ.pop(TRIAL, None)


@contextmanager
def _termination_raises() -> Generator[None]:
    """Let SIGTERM raise SystemExit, as Ctrl-C raises KeyboardInterrupt; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
