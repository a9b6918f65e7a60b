"""Hand-tuned weights: a space of log-ratios, searched by Optuna through ask and tell."""

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.arm import Arm, SearchPlan, Spec, Weights
from trainables.errors import UserError

if TYPE_CHECKING:
    import optuna

BOUND = math.log(100)
"""A term weighs between 1/100 and 100 times the reference term, after each is scaled by its initial value."""

SAMPLERS = ("tpe", "random", "qmc", "gp", "cma-es")


def space(terms: Sequence[str]) -> dict[str, tuple[float, float]]:
    """K - 1 log-ratios to the first term: a scale common to all weights would be a redundant dimension."""
    return {f"log_ratio/{term}": (-BOUND, BOUND) for term in terms[1:]}


def weights_of(params: Mapping[str, float], terms: Sequence[str], scale: Weights) -> list[float]:
    """Weights (K,) of a point: softmax of its log-ratios over the terms scaled to 1 at the start, summing to 1."""
    logits = [0.0, *(params[f"log_ratio/{term}"] for term in terms[1:])]
    logits = [logit - math.log(scale[term]) for logit, term in zip(logits, terms, strict=True)]
    top = max(logits)
    powers = [math.exp(logit - top) for logit in logits]
    return [power / sum(powers) for power in powers]


def equal_point(terms: Sequence[str], scale: Weights) -> dict[str, float]:
    """The point whose weights are all 1/K, or the nearest one inside the bounds."""
    first = math.log(scale[terms[0]])
    return {f"log_ratio/{term}": min(BOUND, max(-BOUND, math.log(scale[term]) - first)) for term in terms[1:]}


def tuned(name: str, search: SearchPlan) -> Arm:
    """Weights searched over many trials, the incumbent then confirmed under fresh seeds."""
    terms = search.terms

    def make_weighting(params: Mapping[str, Any], scale: Weights) -> Spec:
        # The first trial has no parameters yet: it weighs equally, and its first batch sets the scale.
        if not params:
            return {"name": "equal"}
        return {"name": "fixed", "weights": weights_of(params, terms, scale)}

    return Arm(name=name, role="tuned", terms=terms, make_weighting=make_weighting, search=search)


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


class WeightSearch:
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
        self._plan = plan
        self._study = optuna.create_study(
            study_name=name,
            storage=backend,
            sampler=_make_sampler(plan.sampler, plan.sampler_options or {}, seed),
            directions=["maximize" if goal == "max" else "minimize" for goal in goals],
        )
        self._distributions: dict[str, optuna.distributions.BaseDistribution] = {
            key: optuna.distributions.FloatDistribution(low, high) for key, (low, high) in space(plan.terms).items()
        }
        self._asked: list[optuna.trial.Trial] = []
        self.num_told = 0

    @property
    def num_asked(self) -> int:
        """Trials asked for so far."""
        return len(self._asked)

    def ask(self, number: int, key: str, scale: Weights) -> dict[str, float]:
        """The point of trial `number`: equal weights first, then what the sampler suggests. Asking again is free.

        Trials are asked for in order; the sampler knows what has been told by then.
        """
        if number == len(self._asked):
            if number == 0:
                self._study.enqueue_trial(equal_point(self._plan.terms, scale))
            trial = self._study.ask(self._distributions)
            trial.set_user_attr("key", key)
            trial.set_user_attr("weights", weights_of(trial.params, self._plan.terms, scale))
            self._asked.append(trial)
        return dict(self._asked[number].params)

    def tell(self, values: Sequence[float] | None, *, pruned: bool = False) -> None:
        """Tells the oldest trial not yet told: its objectives, or None when it failed."""
        import optuna

        trial = self._asked[self.num_told]
        self.num_told += 1
        if values is not None:
            self._study.tell(trial, list(values))
        else:
            state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.FAIL
            self._study.tell(trial, state=state)
