"""Weightings: several losses become one."""

from trainables.weighting.base import LossWeighting
from trainables.weighting.cov import CoVWeighting
from trainables.weighting.dwa import DWAWeighting
from trainables.weighting.fixed import EqualWeighting, FixedWeighting, SingleWeighting
from trainables.weighting.geometric_mean import GeometricMeanWeighting
from trainables.weighting.gradnorm import GradNormWeighting
from trainables.weighting.imtl_l import IMTLLWeighting
from trainables.weighting.inverse import InverseInitialWeighting
from trainables.weighting.make import make_weighting
from trainables.weighting.random_weights import RandomWeighting
from trainables.weighting.relobralo import ReLoBRaLoWeighting
from trainables.weighting.siblings import ScalarizerWeighting
from trainables.weighting.softadapt import SoftAdaptWeighting
from trainables.weighting.stch import STCHWeighting
from trainables.weighting.uncertainty import UncertaintyWeighting

WEIGHTINGS: dict[str, type[LossWeighting]] = {
    weighting.name: weighting
    for weighting in (
        EqualWeighting,
        FixedWeighting,
        SingleWeighting,
        InverseInitialWeighting,
        CoVWeighting,
        UncertaintyWeighting,
        IMTLLWeighting,
        DWAWeighting,
        RandomWeighting,
        GeometricMeanWeighting,
        STCHWeighting,
        SoftAdaptWeighting,
        ReLoBRaLoWeighting,
        GradNormWeighting,
    )
}
"""The built-in weightings by their own names."""

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
