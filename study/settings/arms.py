"""From a configuration to the arms of a study."""

from search_spaces.arm import Arm, SearchPlan, strategy_by_name
from search_spaces.automatic import automatic, frozen
from search_spaces.fixed import equal, given, single
from search_spaces.halving import Halving, rungs
from search_spaces.learning_rate import LearningRates, tuned_as_well
from search_spaces.tuned import tuned
from study.settings.schema import ArmConfig, LearningRateConfig, StudyConfig
from trainables.errors import UserError


def make_arms(config: StudyConfig) -> tuple[Arm, ...]:
    """The arms in order; `single` becomes one arm a term.

    Raises:
        UserError: an arm asks for what does not fit.
    """
    arms = [arm for name, wanted in config.arms.items() for arm in _arms_of(config, name, wanted)]
    if config.tune_learning_rate is not None:
        arms = [_with_learning_rate(config, arm, config.tune_learning_rate) for arm in arms]
    names = [arm.name for arm in arms]
    for arm in arms:
        if arm.waits_for and arm.waits_for not in names:
            raise UserError(f"arms.{arm.name}.source: waits for the arm {arm.waits_for!r}, which is not in `arms`.")
        needed = arm.search and arm.search.budget
        if needed and needed.needs_reference and needed.reference not in names:
            raise UserError(
                f"arms.{arm.name}.budget.reference: refers to the arm {needed.reference!r}, which is not in `arms`."
            )
    return tuple(arms)


def _arms_of(study: StudyConfig, name: str, config: ArmConfig) -> list[Arm]:
    strategy = config.strategy or strategy_by_name(name)
    if config.seeds > len(study.seeds):
        raise UserError(
            f"arms.{name}.seeds: asks for {config.seeds} seeds, but `seeds` lists {len(study.seeds)}: "
            f"{list(study.seeds)}; lower it, or list more."
        )
    seeds = study.seeds[: config.seeds]
    match strategy:
        case "single":
            return [single(term, seeds=seeds) for term in study.terms]
        case "equal":
            return [equal(study.terms, seeds=seeds, name=name)]
        case "given":
            return [given(name, config.weights or {}, study.terms, seeds=seeds)]
        case "tuned":
            return [tuned(name, _search(study, name, config))]
        case "frozen":
            return [frozen(name, study.terms, seeds=seeds, source=config.source)]
        case _:
            return [automatic(name, study.terms, seeds=seeds, weighting=strategy, options=config.options)]


def _with_learning_rate(study: StudyConfig, arm: Arm, tuning: LearningRateConfig) -> Arm:
    first = study.training.learning_rate
    if not tuning.low <= first <= tuning.high:
        raise UserError(
            f"tune_learning_rate: every search begins with training.learning_rate = {first:g}, which is not "
            f"between low = {tuning.low:g} and high = {tuning.high:g}."
        )
    search = SearchPlan(
        terms=arm.terms,
        budget=tuning.budget,
        sampler=tuning.sampler,
        objectives=(study.objective,),
    )
    return tuned_as_well(arm, LearningRates(low=tuning.low, high=tuning.high, first=first), search=search)


def _search(study: StudyConfig, name: str, config: ArmConfig) -> SearchPlan:
    if config.budget is None:
        raise UserError(f"arms.{name}.budget: a search needs one, for example `budget: {{trials: 12}}`.")
    if len(study.terms) < 2:
        raise UserError(f"arms.{name}: there is nothing to tune with one term; `terms` needs two or more.")
    if len(config.objectives) > 1 and config.sampler == "cma-es":
        raise UserError(f"arms.{name}.sampler: cma-es searches for one objective; give one, or another sampler.")
    return SearchPlan(
        terms=study.terms,
        budget=config.budget,
        replicates=config.replicates,
        parallel=config.parallel,
        sampler=config.sampler,
        sampler_options=config.sampler_options,
        objectives=config.objectives or (study.objective,),
        halving=_halving(study, name, config),
        confirm_seeds=study.seeds[: config.seeds],
    )


def _halving(study: StudyConfig, name: str, config: ArmConfig) -> Halving | None:
    pruner = config.pruner
    if pruner is None:
        return None
    if len(config.objectives) > 1:
        raise UserError(f"arms.{name}.objectives: a pruner compares by one objective; give one, or no pruner.")
    epochs = rungs(pruner.min_epochs, pruner.reduction, study.training.epochs)
    if not epochs:
        raise UserError(
            f"arms.{name}.pruner.min_epochs: {pruner.min_epochs} leaves nothing to save of "
            f"training.epochs = {study.training.epochs}; lower it."
        )
    return Halving(rungs=epochs, reduction=pruner.reduction)
