"""What an experiment's trials teach: warm-up for optimizers, ranking, groups, and what to try next."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runbase import model
from runbase.errors import RunbaseError, UsageError
from runbase.status import ACTIVE, WAITING
from runbase.storage.types import Observation
from runbase.trials import observations, ranking, sampling
from runbase.trials.groups import Group, group
from runbase.trials.observations import ENDED, Observations
from runbase.trials.ranking import Scored
from runbase.trials.sampling import Suggestion

_UNDER_WAY = ", ".join(f"'{status}'" for status in sorted({*WAITING, *ACTIVE}))

if TYPE_CHECKING:
    from runbase.store.store import Store
    from runbase.trials.experiment import Experiment


class Learner(model.Experiment, frozen=True, kw_only=True, dict=True):
    """The reading side of `runbase.trials.experiment.Experiment`."""

    def load(
        self,
        after: "int | Mapping[str, int]" = 0,
        *,
        metrics: Sequence[str] | None = None,
        merged: bool = True,
    ) -> Observations:
        """Every trial that has ended, for an optimizer to begin from, in two queries.

        Args:
            after: only those with a greater number; or the `after` of an earlier result, which goes on from
                there in merged experiments as well.
            metrics: which metrics are the scores; default: the objectives.
            merged: also those of merged experiments, with the parameters they lack imputed and marked.

        Raises UsageError where there are neither objectives nor `metrics`.
        """
        others = self.merged() if merged else []
        given = after if isinstance(after, Mapping) else {self.id: after}
        since = {each.id: given.get(each.id, 0) for each in (self, *others)}
        if not isinstance(after, Mapping) and after > 0:  # the others' were taken in with the first
            others, since = [], {self.id: after}
        wanted = self._objective_metrics() if metrics is None else list(metrics)
        found = self._observations(since, wanted)
        return observations.assemble(self, others, found)

    def merge(self, *others: Any) -> list["Experiment"]:
        """Learn from other experiments as well: `load` includes their trials from now on.

        Raises UsageError, with the reason, for one that is not compatible: an objective with the opposite
        direction, a parameter of another type, no common parameter.
        """
        own = self._observations({self.id: 0}, [])
        found = [self._store.experiment(other) for other in others]
        for other in found:
            if other.id == self.id:
                raise UsageError(f"experiment {self.name!r} cannot be merged into itself")
            theirs = self._observations({other.id: 0}, [])
            observations.check_compatible(self, other, own, theirs)
        for other in found:
            self._store._storage.link("experiment", self.id, "merges", other.id)  # pyright: ignore[reportPrivateUsage]
        return self.merged()

    def merged(self) -> list["Experiment"]:
        """The experiments whose trials `load` includes."""
        links = self._store.experiment_links(self)
        ids = [link.to_id for link in links if (link.from_id, link.kind) == (self.id, "merges")]
        return [self._store.experiment(each) for each in ids]

    def suggest(
        self, *, sampler: Any = "random", seed: int | None = None, **options: Any
    ) -> Suggestion | None:
        """What to try next, from the search space: parameters for `new_trial`. None when a grid is used up.

        Args:
            sampler: ``"random"``; ``"grid"``, in the order of the space, without what has been tried or waits; or
                one of Optuna's, ``"optuna:TPESampler"`` (short: ``"optuna:tpe"``), or an object of
                `optuna.samplers`. Those learn from all trials that `load` gives, merged ones too, spare what
                still runs, and keep what they note in this record, so that any process goes on from it.
            seed: for the same suggestions from the same record.
            options: of Optuna's sampler, such as ``n_startup_trials=20``.

        Raises UsageError where the experiment has no search space, or an optimizer has no objectives.
        """
        if not self.space:
            raise UsageError(
                f"experiment {self.name!r} has no search space; set one with "
                "store.update_experiment(…, space={'lr': Float(1e-5, 1e-1, log=True)})"
            )
        if sampler in ("random", "grid"):
            if options:
                raise UsageError(f"the sampler {sampler!r} takes no {', '.join(sorted(options))}")
            tried = self._store.runs(experiment=self)
            if sampler == "random":
                return sampling.random(self.space, None if seed is None else (seed, len(tried)))
            return sampling.grid(self.space, [run.params for run in tried])
        from runbase.trials import optuna_samplers

        waiting = self._store.runs(f"status in ({_UNDER_WAY})", experiment=self)
        seen = self.load(metrics=[*self._objective_metrics(), *self.limits])
        storage = self._store._storage  # pyright: ignore[reportPrivateUsage]
        notes = optuna_samplers.Notes(
            study=storage.attributes("experiment", [self.id], optuna_samplers.SCOPE)[self.id],
            runs=storage.attributes("run", seen.runs, optuna_samplers.SCOPE),
        )
        found = optuna_samplers.suggest(
            self, seen, [r.params for r in waiting], notes, sampler, seed, options
        )
        if notes.changed:
            storage.put_attributes("experiment", self.id, optuna_samplers.SCOPE, notes.changed)
        return found

    def best_trials(self, count: int = 1) -> list[Scored]:
        """The best trials within the limits, by the weighted sum of the objectives."""
        return ranking.best(self._scored(), count)

    def pareto_front(self) -> list[Scored]:
        """The trials within the limits that no other beats in every objective, by number."""
        return ranking.pareto_front(self.objectives, self._scored())

    def progress(self) -> list[tuple[int, float]]:
        """(number, the best so far) over the trials within the limits; the best is the least weighted sum of the
        objectives, with the sign of those turned of which more is better.
        """
        return ranking.progress(self._scored())

    def groups(
        self, metrics: Sequence[str] | None = None, *, confidence: float = 0.95
    ) -> list[Group]:
        """Repeated measurements: the trials that share parameters, with count, mean, standard deviation and
        Student's confidence interval of each metric (default: the objectives), and the share that failed.
        """
        wanted = self._objective_metrics() if metrics is None else list(metrics)
        return group(self._observations({self.id: 0}, wanted), confidence)

    def _scored(self) -> list[Scored]:
        wanted = [*self._objective_metrics(), *self.limits]
        found = self._observations({self.id: 0}, wanted, ("COMPLETED",))
        return ranking.score(self, found)

    def _observations(
        self, after: Mapping[str, int], metrics: Sequence[str], statuses: Sequence[str] = ENDED
    ) -> list[Observation]:
        return self._store._storage.observations(after, statuses, metrics)  # pyright: ignore[reportPrivateUsage]

    def _objective_metrics(self) -> list[str]:
        if not self.objectives:
            raise UsageError(
                f"experiment {self.name!r} has no objectives; name the metrics, or set them with "
                "store.update_experiment(…, objectives={'loss': 'min'})"
            )
        return [objective.metric for objective in self.objectives]

    @property
    def _store(self) -> "Store":
        try:
            return vars(self)["_store"]
        except KeyError:
            raise RunbaseError(
                f"this record of experiment {self.name!r} has lost its store; use store.experiment(…)"
            ) from None
