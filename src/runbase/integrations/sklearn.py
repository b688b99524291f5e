"""`autolog` for scikit-learn: each fit of an estimator is a run; the candidates of a search are its children."""

# pyright: basic, reportMissingImports=false

import functools
import inspect
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from runbase.errors import warn
from runbase.extras import load
from runbase.integrations.held import HeldRun, numbers
from runbase.run.start import start_run

MOST_CHILDREN = 200
"""Candidates of a search that become runs, best ones first; the table `cv_results` has all."""
_state = threading.local()
_original: dict[type, Callable[..., Any]] = {}


def autolog(
    experiment: str | None = None,
    *,
    params: Mapping[str, object] | None = None,
    tags: Any = None,
    score: bool = True,
    log_model: bool = False,
    disable: bool = False,
    **options: Any,
) -> None:
    """Record each call of `fit` as a run: class, parameters, score on the training data, an exception.

    A fit within another fit, as those of a pipeline or a search, is part of it. Within a run that you have started, the
    figures go to that run. A search is a run with the best parameters and score and the table of its results; its
    candidates are children with the mean and the spread of their scores.

    Args:
        experiment: the experiment. Default: the run that you have started, else that of `start_run`.
        params: further parameters of each run.
        tags: plain tags, or a mapping of tag to value.
        score: whether to compute the score on the training data after the fit.
        log_model: whether to log the fitted estimator as a file that `joblib.load` reads.
        disable: restore the methods of scikit-learn.
        options: further arguments of `start_run`.
    """
    for cls in _classes():
        if "fit" in vars(cls) and cls in _original:
            cls.fit = _original.pop(cls)
    if disable:
        return
    settings = {"experiment": experiment, "params": params, "tags": tags, **options}
    for cls in _classes():
        if "fit" in vars(cls) and cls not in _original:
            _original[cls] = vars(cls)["fit"]
            cls.fit = _recorded(_original[cls], settings, score=score, log_model=log_model)


def _classes() -> list[Any]:
    """Return the estimators and their bases: the `fit` of a search is that of a base."""
    found = load("sklearn.utils", "demo", "autolog").all_estimators()
    classes: dict[Any, None] = {}
    for _, cls in found:
        for base in cls.__mro__:
            if base.__module__.startswith("sklearn."):
                classes[base] = None
    return list(classes)


def _recorded(
    fit: Callable[..., Any], settings: Mapping[str, Any], *, score: bool, log_model: bool
) -> Callable[..., Any]:
    @functools.wraps(fit)
    def recorded(self: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(_state, "fitting", False):
            return fit(self, *args, **kwargs)
        _state.fitting = True
        held = HeldRun(**settings)
        try:
            _quietly(lambda: _describe(held, self))
            fitted = fit(self, *args, **kwargs)
            _quietly(
                lambda: _results(held, self, fit, args, kwargs, score=score, log_model=log_model)
            )
        except BaseException as error:
            raised = error
            _quietly(lambda: held.finish(raised))
            raise
        finally:
            _state.fitting = False
        held.finish()
        return fitted

    return recorded


def _quietly(work: Callable[[], object]) -> None:
    """Call what logs: whatever goes wrong there is no reason for a fit to fail."""
    try:
        work()
    except Exception as error:
        warn(f"a fit was not logged completely: {error!r}")


def _describe(held: HeldRun, estimator: Any) -> None:
    held.run.tag(estimator=type(estimator).__name__)
    held.log_params({"class": type(estimator).__name__, **_plain(estimator.get_params(deep=True))})


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters; of a part that is an estimator, the name of its class."""
    return {k: type(v).__name__ if hasattr(v, "get_params") else v for k, v in params.items()}


def _results(
    held: HeldRun,
    estimator: Any,
    fit: Callable[..., Any],
    args: Any,
    kwargs: Any,
    *,
    score: bool,
    log_model: bool,
) -> None:
    if hasattr(estimator, "cv_results_"):
        _search(held, estimator)
    figures = {
        name: getattr(estimator, name, None)
        for name in ("n_iter_", "loss_", "best_loss_", "inertia_")
    }
    held.log({k.strip("_"): v for k, v in figures.items() if v is not None}, 0)
    for step, loss in enumerate(getattr(estimator, "loss_curve_", ())):
        held.log({"loss": loss}, step)
    if score and hasattr(estimator, "score"):
        with suppress(Exception):  # an estimator whose score needs something else
            given = inspect.signature(fit).bind(estimator, *args, **kwargs).arguments
            data = [given[name] for name in ("X", "y") if given.get(name) is not None]
            held.log({"train/score": estimator.score(*data)}, 0)
    if log_model:
        joblib = load("joblib", "demo", "log_model")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.joblib"
            joblib.dump(estimator, path)
            held.run.log_artifact(path, kind="model", metadata={"class": type(estimator).__name__})


def _search(held: HeldRun, search: Any) -> None:
    """Log a search: its best candidate, the table of all, and each candidate as a child."""
    results = search.cv_results_
    plain = {name: list(column) for name, column in results.items() if name != "params"}
    held.run.log_table("cv_results", plain, step=0)
    if hasattr(search, "best_params_"):
        held.log_params({f"best/{key}": value for key, value in search.best_params_.items()})
    if hasattr(search, "best_score_"):
        held.log({"best_score": search.best_score_}, 0)
    for place in _best_first(results)[:MOST_CHILDREN]:
        child = start_run(
            held.run.experiment, params=_plain(results["params"][place]), parent=held.run, capture=False,
            home=held.run.folder.parents[2],
        )  # fmt: skip
        figures = {
            name: column[place]
            for name, column in results.items()
            if name.startswith(("mean_", "std_", "split", "rank_"))
        }
        child.log(numbers(figures), 0)
        child.finish()


def _best_first(results: Mapping[str, Any]) -> list[int]:
    ranks = next((results[name] for name in results if name.startswith("rank_test")), None)
    places: Iterator[int] = iter(range(len(results["params"])))
    return sorted(places, key=lambda place: 0 if ranks is None else ranks[place])
