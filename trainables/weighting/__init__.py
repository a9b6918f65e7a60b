"""Weightings: several losses become one."""

from trainables.weighting.base import LossWeighting
from trainables.weighting.cov import CoVWeighting
from trainables.weighting.fixed import EqualWeighting, FixedWeighting, SingleWeighting
from trainables.weighting.gradnorm import GradNormWeighting
from trainables.weighting.inverse import InverseInitialWeighting
from trainables.weighting.make import WEIGHTINGS, make_weighting
from trainables.weighting.relobralo import ReLoBRaLoWeighting
from trainables.weighting.siblings import (
    DWAWeighting,
    GeometricMeanWeighting,
    IMTLLWeighting,
    RandomWeighting,
    ScalarizerWeighting,
    STCHWeighting,
    UncertaintyWeighting,
)
from trainables.weighting.softadapt import SoftAdaptWeighting

__all__ = [
    "WEIGHTINGS",
    "CoVWeighting",
    "DWAWeighting",
    "EqualWeighting",
    "FixedWeighting",
    "GeometricMeanWeighting",
    "GradNormWeighting",
    "IMTLLWeighting",
    "InverseInitialWeighting",
    "LossWeighting",
    "RandomWeighting",
    "ReLoBRaLoWeighting",
    "STCHWeighting",
    "ScalarizerWeighting",
    "SingleWeighting",
    "SoftAdaptWeighting",
    "UncertaintyWeighting",
    "make_weighting",
]
