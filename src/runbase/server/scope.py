"""What a caller may see: all runs, or those of some experiments."""

from collections.abc import Iterable

from msgspec.structs import replace
from sqlglot import parse_one
from sqlglot.errors import SqlglotError

from runbase.errors import FilterError, NotFound
from runbase.model import Run
from runbase.server.principals import Principal
from runbase.storage.protocol import Storage
from runbase.storage.server_protocol import Document
from runbase.store.store import Store
from runbase.trials.experiment import Experiment


def visible(principal: Principal, where: str | None, permission: str = "read") -> str | None:
    """Return a filter for runs, with the condition that the caller has a permission on their experiments, or is a link to them."""
    if principal.only is not None and permission == "read":
        shared = both(where, among("id", principal.only.runs))
        owner = principal.owner
        return shared if owner is None else _limited("experiment_id", owner, shared, "read")
    return _limited("experiment_id", principal, where, permission)


def visible_experiments(principal: Principal, where: str | None) -> str | None:
    """Return a filter for experiments, with the condition that the caller may read them."""
    return _limited("id", principal, where, "read")


def _limited(column: str, principal: Principal, where: str | None, permission: str) -> str | None:
    if principal.may_everywhere(permission):
        return where
    general = principal.may(permission)
    # Those that differ from what holds in general.
    names = [e for e in principal.grants if principal.may(permission, e) != general]
    return both(where, among(column, names, negated=general))


def among(column: str, values: Iterable[str], *, negated: bool = False) -> str:
    """Return the condition that a column has one of some texts, or none of them."""
    listed = ", ".join("'" + value.replace("'", "''") + "'" for value in values) or "''"
    return f"{column} {'not in' if negated else 'in'} ({listed})"


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
    if permission != "read" or not principal.may_read_run(run.id, run.experiment_id):
        _check(principal, run.experiment_id, permission, f"no run matches {word!r}")
    return run


def readable_runs(storage: Storage, principal: Principal, ids: Iterable[str]) -> set[str]:
    """Return which of some runs the caller may read; without ids of runs that were purged."""
    known = storage.get_runs([*dict.fromkeys(ids)])
    return {run.id for run in known if principal.may_read_run(run.id, run.experiment_id)}


def without_hidden(storage: Storage, principal: Principal, run: Run) -> Run:
    """Return a run without the ids of other runs that the caller may not read: parent, links, uses of artifacts."""
    if principal.may_everywhere("read"):
        return run
    others = {link.from_id for link in run.links} | {link.to_id for link in run.links}
    others |= {use.run_id for use in run.uses} | {use.owner_id for use in run.uses}
    if run.parent_id is not None:
        others.add(run.parent_id)
    seen = readable_runs(storage, principal, others - {run.id}) | {run.id}
    return replace(
        run,
        parent_id=run.parent_id if run.parent_id in seen else None,
        links=[link for link in run.links if {link.from_id, link.to_id} <= seen],
        uses=[use for use in run.uses if {use.run_id, use.owner_id} <= seen],
    )


def trashed_run_for(store: Store, principal: Principal, word: str) -> Run:
    """Return a run in the trash that the caller may change. Raises as `run_for`."""
    missing = f"no run in the trash matches {word!r}"
    found = store.storage.get_runs([store.storage.find_run(word, deleted=True)])
    if not found:
        raise NotFound(missing)
    _check(principal, found[0].experiment_id, "write", missing)
    return found[0]


def experiment_for(
    store: Store, principal: Principal, word: str, permission: str = "read"
) -> Experiment:
    """Return an experiment that the caller may use. Raises as `run_for`."""
    experiment = store.experiment(word)
    _check(principal, experiment.id, permission, f"no experiment matches {word!r}")
    return experiment


def document_for(store: Store, principal: Principal, document: str) -> Document:
    """Return a document that the caller may read.

    Raises:
        NotFound: it does not exist, or the caller may not read it.
    """
    found = store.storage.document(document)
    if found is None or not principal.may_read_document(document, found.experiment):
        raise NotFound(f"no document {document!r}")
    return found


def _check(principal: Principal, experiment: str, permission: str, missing: str) -> None:
    if not principal.may("read", experiment) and not principal.may(permission, experiment):
        raise NotFound(missing)
    principal.require(permission, experiment)


def id_of_experiment(storage: Storage, name: str) -> str | None:
    """Return the id of the experiment to which a new run with this name of an experiment goes; None: to a new one."""
    try:
        found = storage.get_experiments([storage.find_experiment(name)])
    except NotFound:
        return None
    return found[0].id if found and found[0].name == name else None
