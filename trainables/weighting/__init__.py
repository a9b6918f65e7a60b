"""Weightings: several losses become one."""

from trainables.weighting.base import LossWeighting
from trainables.weighting.cov import CoVWeighting
from trainables.weighting.fixed import EqualWeighting, FixedWeighting, SingleWeighting
from trainables.weighting.make import WEIGHTINGS, make_weighting

__all__ = [
    "WEIGHTINGS",
    "CoVWeighting",
    "EqualWeighting",
    "FixedWeighting",
    "LossWeighting",
    "SingleWeighting",
    "make_weighting",
]
