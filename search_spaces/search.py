"""A search by Optuna, through ask and tell."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.arm import Range, SearchPlan
from trainables.errors import UserError

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("tpe", "random", "qmc", "gp", "cma-es")


def _make_sampler(name: str, options: Mapping[str, Any], seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    make = {
        "tpe": lambda: optuna.samplers.TPESampler(
            **{"seed": seed, "constant_liar": True, "multivariate": True, "n_startup_trials": 5, **options}
        ),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "qmc": lambda: optuna.samplers.QMCSampler(**{"seed": seed, "scramble": True, **options}),
        "gp": lambda: optuna.samplers.GPSampler(**{"seed": seed, "deterministic_objective": False, **options}),
        "cma-es": lambda: optuna.samplers.CmaEsSampler(**{"seed": seed, **options}),
    }[name]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return make()
    except (TypeError, ImportError) as error:
        raise UserError(f"sampler {name!r}: {error}. See Optuna's documentation of its options.") from None


def distributions_of(space: Mapping[str, Range]) -> "dict[str, optuna.distributions.BaseDistribution]":
    """The dimensions of a space, as Optuna takes them."""
    import optuna

    return {
        name: optuna.distributions.FloatDistribution(bounds.low, bounds.high, log=bounds.log)
        for name, bounds in space.items()
    }


class OptunaSearch:
    """One replicate of a search, replayable: the same asks and tells in the same order give the same points.

    Args:
        plan: space, sampler and objectives.
        name: of the Optuna study, `<arm>-r<replicate>`.
        seed: of the sampler.
        storage: file of Optuna's journal storage, made anew; None keeps the study in memory.
        goals: `max` or `min` of each objective.
    """

    def __init__(self, plan: SearchPlan, *, name: str, seed: int, storage: Path | None, goals: Sequence[str]) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        backend: Any = None
        if storage is not None:
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            storage.parent.mkdir(parents=True, exist_ok=True)
            storage.unlink(missing_ok=True)
            backend = JournalStorage(JournalFileBackend(str(storage)))
        self._study = optuna.create_study(
            study_name=name,
            storage=backend,
            sampler=_make_sampler(plan.sampler, plan.sampler_options or {}, seed),
            directions=["maximize" if goal == "max" else "minimize" for goal in goals],
        )
        self._distributions = distributions_of(plan.space)
        self._asked: list[optuna.trial.Trial] = []
        self.num_told = 0

    @property
    def num_asked(self) -> int:
        """Trials asked for so far."""
        return len(self._asked)

    def ask(
        self, number: int, *, first: Mapping[str, float], describe: Callable[[dict[str, float]], Mapping[str, Any]]
    ) -> dict[str, float]:
        """The point of trial `number`. Asking again is free.

        Trials are asked for in order; the sampler knows what has been told by then.

        Args:
            number: from 0.
            first: the point of trial 0.
            describe: point -> what Optuna's tools show beside it.
        """
        if number == len(self._asked):
            if number == 0:
                self._study.enqueue_trial(dict(first))
            trial = self._study.ask(self._distributions)
            for name, value in describe(dict(trial.params)).items():
                trial.set_user_attr(name, value)
            self._asked.append(trial)
        return dict(self._asked[number].params)

    def tell(
        self, values: Sequence[float] | None, *, pruned: bool = False, reports: Mapping[int, float] | None = None
    ) -> None:
        """Tells the oldest trial not yet told: its objectives, or None when it was pruned or failed.

        Args:
            values: one an objective.
            pruned: whether it was stopped because it had fallen behind.
            reports: epoch -> value at which it was compared with the others.
        """
        import optuna

        trial = self._asked[self.num_told]
        self.num_told += 1
        for epoch, value in (reports or {}).items():
            trial.report(value, epoch)
        if values is not None:
            self._study.tell(trial, list(values))
        else:
            state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.FAIL
            self._study.tell(trial, state=state)
