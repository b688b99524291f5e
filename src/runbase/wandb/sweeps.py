"""`sweep` and `agent`: a search over an experiment's queue of trials."""

import secrets
import string
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, cast

from runbase.errors import NotFound
from runbase.space import Categorical, Float, Int, Parameter
from runbase.store.store import open as open_store
from runbase.trials.experiment import Experiment
from runbase.trials.sampling import points
from runbase.typing import JsonObject
from runbase.wandb.configuration import nested
from runbase.wandb.errors import CommError, UsageError
from runbase.wandb.options import resolve
from runbase.wandb.state import ClaimedTrial, state
from runbase.wandb.terms import termerror, warn_once

MOST_FAILURES = 5
"""The number of first runs after which an agent gives up if all of them have failed."""
_SAMPLERS = {"grid": "", "random": "random", "bayes": "optuna:tpe"}
_BOUNDS = ("min", "max")


def sweep(
    sweep: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
    entity: str | None = None,
    project: str | None = None,
    prior_runs: Any = None,
) -> str:
    """Create an experiment with the search space of a sweep.

    The experiment is named `PROJECT-NAME`, where NAME is the `name` of the sweep or a random word, and is a child of the
    experiment of the project.

    Args:
        sweep: `method` (grid, random, bayes), `parameters`, `metric` (name, goal), and optionally `name`, `run_cap`.
        entity: ignored.
        project: the project.
        prior_runs: not supported.

    Returns:
        The id of the sweep, for `agent`.

    Raises:
        UsageError: the method or a parameter is not supported.
    """
    del entity
    config: JsonObject = dict(sweep() if callable(sweep) else sweep)
    if prior_runs:
        warn_once("sweep: prior_runs is not supported; the search begins without them")
    if config.get("early_terminate"):
        warn_once("sweep: early_terminate is not supported; each run continues to its end")
    method = str(config.get("method", "random"))
    if method not in _SAMPLERS:
        raise UsageError(f"the method of the sweep is {method!r}; use {', '.join(_SAMPLERS)}")
    space, fixed = _space(config.get("parameters") or {})
    if not space:
        raise UsageError("the sweep has no parameters to search; give them values, or min and max")
    _check_grid(method, space)
    name = project or resolve(None).project or config.get("project") or "uncategorized"
    suffix = config.get("name") or "sweep-" + "".join(
        secrets.choice(string.ascii_lowercase + string.digits) for _ in range(6)
    )
    metric: JsonObject = config.get("metric") or {}
    goal = "max" if str(metric.get("goal", "minimize")).startswith("max") else "min"
    with open_store() as store:
        parent = store.create_experiment(str(name), exist_ok=True)
        created = store.create_experiment(
            f"{name}-{suffix}",
            description=str(config.get("description") or ""),
            method=method,
            tags=["sweep"],
            config={"sweep": config, "fixed": fixed},
            objectives={metric["name"]: goal} if metric.get("name") else None,
            space=space,
            parent=parent,
        )
        if method == "grid":
            created.new_trials(points(space), config=fixed)
    return created.id


def agent(
    sweep_id: str,
    function: Callable[[], Any] | None = None,
    entity: str | None = None,
    project: str | None = None,
    count: int | None = None,
    forward_signals: bool = False,
    term_timeout: int | None = None,
    max_consecutive_failed_runs: int | None = None,
) -> None:
    """Run the trials of a sweep in this process, until the grid or `count` is exhausted.

    Each call of `function` is one trial: `init` in it starts the trial's run, whose config is the parameters. A trial
    whose function raises an exception ends as FAILED, and the agent continues.

    Args:
        sweep_id: the id that `sweep` returned.
        function: the training function.
        entity: ignored.
        project: ignored.
        count: the greatest number of trials.
        forward_signals: ignored.
        term_timeout: ignored.
        max_consecutive_failed_runs: the number of failures in a row after which the agent stops.

    Raises:
        UsageError: there is no function, or the first runs have all failed.
        CommError: there is no such sweep.
    """
    del entity, project, forward_signals, term_timeout
    if function is None:
        raise UsageError(
            "agent needs a function; `runbase worker EXPERIMENT -- python train.py` runs programs on the queue"
        )
    done = failed = in_row = 0
    with open_store() as store:
        try:
            experiment = store.experiment(sweep_id.rpartition("/")[2])
        except NotFound as error:
            raise CommError(f"could not find sweep {sweep_id!r}: {error}") from error
        cap = _least(count, experiment.config.get("sweep", {}).get("run_cap"))
        while cap is None or done < cap:
            trial = _next_trial(experiment)
            if trial is None:
                return
            done += 1
            in_row = 0 if _run(trial, function) else in_row + 1
            failed += bool(in_row)
            if max_consecutive_failed_runs is not None and in_row >= max_consecutive_failed_runs:
                raise UsageError(
                    f"the last {in_row} runs of the sweep have failed; the agent stops"
                )
            if failed == done == MOST_FAILURES:
                raise UsageError(
                    f"the first {failed} runs of the sweep have all failed; the agent stops"
                )


def _next_trial(experiment: Experiment) -> ClaimedTrial | None:
    """Claim a waiting trial, or add one and claim it; None if the grid is exhausted."""
    claim = experiment.claim_trial()
    while claim is None:
        if experiment.method == "grid":
            return None
        suggestion = experiment.suggest(sampler=_sampler(experiment))
        if suggestion is None:
            return None
        experiment.new_trial(suggestion, config=experiment.config.get("fixed") or {})
        claim = experiment.claim_trial()
    return ClaimedTrial(claim=claim, sweep_id=experiment.id)


def _sampler(experiment: Experiment) -> str:
    sampler = _SAMPLERS.get(experiment.method or "random", "random")
    if sampler.startswith("optuna"):
        if not experiment.objectives:
            warn_once("the sweep has no metric; its parameters are drawn at random")
            return "random"
        if find_spec("optuna") is None:
            warn_once(
                "method bayes needs Optuna (pip install 'runbase[optuna]'); parameters are drawn at random"
            )
            return "random"
    return sampler


def _run(trial: ClaimedTrial, function: Callable[[], Any]) -> bool:
    """Call the function with a trial, end its run, and return whether it did not fail."""
    state.trial = trial
    try:
        function()
    except Exception as error:  # whatever training raises, the next trial is run
        termerror(f"a run of the sweep failed: {type(error).__name__}: {error}")
        _end(trial, error)
        return False
    except BaseException as error:
        _end(trial, error)
        raise
    finally:
        state.trial = None
    _end(trial, None)
    return True


def _end(trial: ClaimedTrial, error: BaseException | None) -> None:
    run = state.run
    if not trial.started:  # the function did not call init
        trial.claim.finish("COMPLETED" if error is None else "FAILED", error=_text(error))
    elif run is not None and run.id == trial.claim.id:
        run.__exit__(None if error is None else type(error), error, None)


def _text(error: BaseException | None) -> str | None:
    return None if error is None else f"{type(error).__name__}: {error}"


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _space(
    parameters: Mapping[str, Any], prefix: str = ""
) -> tuple[dict[str, Parameter], JsonObject]:
    """Return the search space, and the values of parameters that have one value; nested names are joined with ``/``."""
    space: dict[str, Parameter] = {}
    fixed: JsonObject = {}
    for name, about in parameters.items():
        key = f"{prefix}{name}"
        if not isinstance(about, Mapping):
            fixed[key] = about
            continue
        options = cast("Mapping[str, Any]", about)
        if "parameters" in options:
            inner, constant = _space(options["parameters"], f"{key}/")
            space |= inner
            fixed |= constant
        elif "value" in options:
            fixed[key] = options["value"]
        else:
            space[key] = _parameter(key, options)
    return space, nested(fixed) if not prefix else fixed


def _parameter(key: str, options: Mapping[str, Any]) -> Parameter:
    kind = str(options.get("distribution") or _default(key, options))
    if kind == "categorical" or "values" in options:
        return Categorical([*options["values"]])
    if kind == "constant":
        return Categorical([options["value"]])
    low, high = (options.get(bound) for bound in _BOUNDS)
    if low is None or high is None:
        raise UsageError(
            f"parameter {key!r} needs values, or min and max; the distribution {kind!r} without bounds is not supported"
        )
    step = options.get("q", 1)
    match kind:
        case "int_uniform":
            return Int(int(low), int(high))
        case "q_uniform" if all(isinstance(one, int) for one in (low, high, step)):
            return Int(low, high, step=step)
        case "q_uniform":
            return Float(float(low), float(high), step=float(step))
        case "uniform":
            return Float(float(low), float(high))
        case "log_uniform_values":
            return Float(float(low), float(high), log=True)
        case "log_uniform":  # the bounds are exponents of e
            return Float(
                2.718281828459045 ** float(low), 2.718281828459045 ** float(high), log=True
            )
        case "q_log_uniform_values" if isinstance(low, int) and isinstance(high, int):
            return Int(low, high, log=True)
        case _:
            raise UsageError(
                f"parameter {key!r} has the distribution {kind!r}; use values, int_uniform, uniform, q_uniform, "
                "log_uniform or log_uniform_values"
            )


def _default(key: str, options: Mapping[str, Any]) -> str:
    if "values" in options:
        return "categorical"
    if all(isinstance(options.get(bound), int) for bound in _BOUNDS):
        return "int_uniform"
    if any(bound in options for bound in _BOUNDS):
        return "uniform"
    raise UsageError(f"parameter {key!r} has no values; give it value, values, or min and max")


def _check_grid(method: str, space: Mapping[str, Parameter]) -> None:
    for key, parameter in space.items():
        if method == "grid" and isinstance(parameter, Float) and parameter.step is None:
            raise UsageError(
                f"a grid needs values of {key!r}, or the distribution q_uniform with a step q"
            )
