"""From a weighting's plain description to the weighting."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from trainables.errors import UserError, did_you_mean
from trainables.extensions import find
from trainables.weighting.base import LossWeighting


def make_weighting(
    spec: Mapping[str, Any], num_terms: int, *, seed: int = 0, names: Sequence[str] | None = None
) -> LossWeighting:
    """Makes a weighting of plain values, as they stand in YAML and JSON.

    Args:
        spec: `name`, one of `WEIGHTINGS` or from elsewhere (`trainables.extensions`), and the options of its class.
        num_terms: K.
        seed: of a weighting that draws at random.
        names: of the terms, for messages and for losses given as a mapping.

    Raises:
        UserError: the name or an option is unknown, an option is missing or out of range.
    """
    from trainables.weighting import WEIGHTINGS  # the package imports this module first

    options = dict(spec)
    name = options.pop("name", None)
    weighting = find("weightings", name, WEIGHTINGS)
    if not (isinstance(weighting, type) and issubclass(weighting, LossWeighting)):
        raise UserError(f"weighting {name!r} must be a subclass of trainables.weighting.LossWeighting")
    known = _options(weighting)
    for option in options:
        if option not in known:
            raise UserError(f"weighting {name!r} has no option {option!r}{did_you_mean(option, known)}")
    missing = [option for option, parameter in known.items() if parameter.default is parameter.empty]
    for option in missing:
        if option not in options:
            raise UserError(f"weighting {name!r} needs the option {option!r}")
    if "seed" in known:
        options.setdefault("seed", seed)
    try:
        return weighting(num_terms, names=names, **options)
    except (TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"weighting {name!r}: an option has the wrong type ({error})") from error


def _options(weighting: type[LossWeighting]) -> dict[str, inspect.Parameter]:
    """Options of a class: its own and those of every weighting."""
    own, common = (inspect.signature(cls.__init__).parameters for cls in (weighting, LossWeighting))
    taken = ("self", "num_terms", "names", "options")
    return {name: parameter for name, parameter in {**own, **common}.items() if name not in taken}
