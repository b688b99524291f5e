"""What a caller may see: all runs, or those of some experiments."""

from sqlglot import parse_one
from sqlglot.errors import SqlglotError

from runbase.errors import FilterError, NotFound
from runbase.model import Run
from runbase.server.access import Principal
from runbase.store.store import Store
from runbase.trials.experiment import Experiment


def visible(principal: Principal, where: str | None) -> str | None:
    """Return a filter with the condition that the caller may see the run."""
    if principal.experiments is None:
        return where
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in principal.experiments)
    limit = f"experiment_id in ({names})" if names else "experiment_id = ''"
    return both(where, limit)


def both(where: str | None, condition: str) -> str:
    """Return a filter that matches what a caller's filter and a condition of the server match.

    Raises:
        FilterError: the caller's filter is not complete; parentheses such as in `true) or (true` would cancel the condition.
    """
    if not where:
        return condition
    try:
        parse_one(where, dialect="sqlite")
    except (SqlglotError, RecursionError) as error:
        raise FilterError(f"the filter cannot be read: {where[:200]!r}") from error
    return f"({where}) and {condition}"


def run_for(store: Store, principal: Principal, word: str, permission: str = "read") -> Run:
    """Return a run that the caller may use.

    Raises:
        NotFound: it does not exist, or the caller may not read it.
        NotAllowed: the caller may read it, and not do this with it.
    """
    run = store.run(word)
    if not principal.may("read", run.experiment_id) and permission == "read":
        raise NotFound(f"no run matches {word!r}")
    principal.require(permission, run.experiment_id)
    return run


def experiment_for(
    store: Store, principal: Principal, word: str, permission: str = "read"
) -> Experiment:
    """Return an experiment that the caller may use. Raises as `run_for`."""
    experiment = store.experiment(word)
    if not principal.may("read", experiment.id) and permission == "read":
        raise NotFound(f"no experiment matches {word!r}")
    principal.require(permission, experiment.id)
    return experiment
