"""The user-defined components of a study: found, tried on a small example, and where they come from written down."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from search_spaces.arm import Arm
from study.settings.schema import STRATEGIES, StudyConfig
from trainables.errors import UserError
from trainables.extensions import Kind, extend_path, origin, refuse_clashes
from trainables.quantities import GOALS, Goal
from trainables.task import JSON

Foreign = list[tuple[Kind, str]]
"""Components that are not built in: kind and name."""


@dataclass(frozen=True, kw_only=True)
class Components:
    """The losses, weightings, networks and metrics of a study, found and tried."""

    goals: Mapping[str, Goal]
    """The metrics that are measured, and which way is better."""
    foreign: Foreign
    origins: Mapping[str, str | None]
    """Where each user-defined component comes from, for `study.yaml` and the journal."""

    def changed_since(self, recorded: Mapping[str, JSON]) -> str | None:
        """What a report must say of a study that goes on with other code than it began with; None if it does not."""
        changed = [
            f"{name} ({recorded.get(name)}, then {now})"
            for name, now in self.origins.items()
            if recorded.get(name) != now
        ]
        return f"Went on with other code than it was begun with: {', '.join(changed)}." if changed else None


def check_components(config: StudyConfig, arms: Sequence[Arm]) -> Components:
    """Makes every loss, weighting, network and metric once, so that what is wrong is told before anything is done.

    User-defined components are tried on a small example too.

    Raises:
        UserError: one does not exist, an option does not fit, or it does not do what is asked of it.
    """
    from trainables import dry_run
    from trainables.losses import LossTerms
    from trainables.metrics import find_metric
    from trainables.networks import make_network
    from trainables.weighting import make_weighting

    extend_path(config.module_path)
    for kind, builtin in _builtin().items():
        refuse_clashes(kind, builtin)
    foreign = foreign_components(config)
    with _at("terms"):
        terms = LossTerms(config.terms, config.training.term_options)
        for name in config.terms:
            if ("terms", name) in foreign:
                dry_run.check_term(name, terms.terms[name])
    settings, in_channels = config.training.network, 1 + 2 * config.cohort.prepare.neighbours
    network = make_network(settings, in_channels=in_channels, seed=0)
    if ("networks", settings.name) in foreign:
        with _at("training.network"):
            dry_run.check_network(settings.name, network, in_channels)
    goals = dict(GOALS)
    for name in config.metrics:
        with _at("metrics"):
            metric = find_metric(name)
            dry_run.check_metric(name, metric)
            goals[name] = Goal(metric.goal)
    for arm in arms:
        with _at(f"arms.{arm.name}"):
            spec = arm.make_weighting({}, dict.fromkeys(arm.terms, 1 / len(arm.terms)))
            make_weighting(spec, len(arm.terms))
            if ("weightings", spec["name"]) in foreign:
                dry_run.check_weighting(spec["name"], partial(make_weighting, spec, len(arm.terms)))
    origins = {f"{kind}/{name}": origin(kind, name, ()) for kind, name in foreign}
    return Components(goals=goals, foreign=foreign, origins=origins)


def foreign_components(config: StudyConfig) -> Foreign:
    """The components that are not built in."""
    builtin = _builtin()
    return [(kind, name) for kind, names in config.components().items() for name in names if name not in builtin[kind]]


def _builtin() -> Mapping[Kind, Iterable[str]]:
    from trainables.losses import NETWORK_TERMS, TERMS
    from trainables.metrics import METRICS
    from trainables.networks import NETWORKS
    from trainables.weighting import WEIGHTINGS

    return {
        "terms": {*TERMS, *NETWORK_TERMS},
        "weightings": {*WEIGHTINGS, *STRATEGIES},
        "networks": set(NETWORKS),
        "metrics": set(METRICS),
    }


@contextmanager
def _at(key: str) -> Iterator[None]:
    """Names the key of the configuration in front of what is wrong."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{key}: {error}") from error
