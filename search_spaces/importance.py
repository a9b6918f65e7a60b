"""Which free weight mattered in a search, as Optuna estimates it."""

from collections.abc import Mapping, Sequence

from search_spaces.arm import Range
from search_spaces.search import distributions_of

MIN_TRIALS = 8
"""Below this an importance says more about chance than about the weights."""


def importances(
    points: Sequence[Mapping[str, float]], values: Sequence[float], *, goal: str, space: Mapping[str, Range]
) -> dict[str, float]:
    """Importance of each parameter of a search, summing to 1, by PED-ANOVA (Watanabe, Bansal, Hutter 2023).

    Args:
        points: parameters of each trial, all with the same names.
        values: the objective of each trial.
        goal: `max` or `min`.
        space: bounds of the parameters.

    Returns:
        Parameter name -> share; empty with fewer than `MIN_TRIALS` trials, with one parameter (there is nothing to
        share), or where all values are equal.
    """
    names = list(points[0]) if points else []
    if len(points) < MIN_TRIALS or len(names) < 2 or max(values) == min(values):
        return {}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize" if goal == "max" else "minimize")
    distributions = distributions_of({name: space[name] for name in names})
    study.add_trials(
        [
            optuna.trial.create_trial(params=dict(point), distributions=distributions, value=value)
            for point, value in zip(points, values, strict=True)
        ]
    )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(found[name]) for name in names}
