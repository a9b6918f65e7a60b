"""The parts of one's own that a study uses: found, tried on a small example, and written down where they come from."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from study.config import STRATEGIES, StudyConfig
from trainables.errors import UserError
from trainables.extensions import Kind, extend_path, origin, refuse_clashes
from trainables.goals import GOALS, Goal

Foreign = list[tuple[Kind, str]]
"""Parts that are not built in: kind and name."""


def check_parts(config: StudyConfig) -> None:
    """Makes every loss, weighting, network and metric once, so that what is wrong is told before anything is done.

    Parts that are not built in are tried on a small example too.

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
    foreign = foreign_parts(config)
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
    for name in config.metrics:
        with _at("metrics"):
            dry_run.check_metric(name, find_metric(name))
    for arm in config.make_arms():
        with _at(f"arms.{arm.name}"):
            spec = arm.make_weighting({}, dict.fromkeys(arm.terms, 1 / len(arm.terms)))
            make_weighting(spec, len(arm.terms))
            if ("weightings", spec["name"]) in foreign:
                dry_run.check_weighting(spec["name"], partial(make_weighting, spec, len(arm.terms)))


def goals_of(config: StudyConfig) -> dict[str, Goal]:
    """The metrics that a study measures, and which way is better."""
    if not config.metrics:
        return dict(GOALS)
    from trainables.metrics import find_metric

    extend_path(config.module_path)
    return {**GOALS, **{name: find_metric(name).goal for name in config.metrics}}


def foreign_parts(config: StudyConfig) -> Foreign:
    """The parts that are not built in."""
    builtin = _builtin()
    return [(kind, name) for kind, names in config.parts().items() for name in names if name not in builtin[kind]]


def origins(config: StudyConfig) -> dict[str, str | None]:
    """Where each part that is not built in comes from, for `study.yaml` and the journal."""
    return {f"{kind}/{name}": origin(kind, name, ()) for kind, name in foreign_parts(config)}


def changed_parts(recorded: Mapping[str, str | None], found: Mapping[str, str | None]) -> str | None:
    """What a report must say where a study went on with other code than it was begun with; None where it did not."""
    changed = [f"{part} ({recorded.get(part)}, then {now})" for part, now in found.items() if recorded.get(part) != now]
    return f"Went on with other code than it was begun with: {', '.join(changed)}." if changed else None


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
