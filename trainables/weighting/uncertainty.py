"""Uncertainty weighting: every loss is divided by a learned variance."""

from typing import Any

from trainables.weighting.siblings import LearnedWeighting, make_scalarizer


class UncertaintyWeighting(LearnedWeighting):
    """UW: sum(exp(-s_i) L_i / 2 + s_i / 2) with learned log-variances s.

    Source: Kendall, Gal and Cipolla, CVPR 2018.
    """

    name = "uncertainty"

    def __init__(self, num_terms: int, **options: Any) -> None:
        super().__init__(num_terms, make_scalarizer("UW", num_terms), **options)
