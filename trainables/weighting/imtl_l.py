"""IMTL-L: learned scales bring all losses to one level."""

from typing import Any

from trainables.weighting.siblings import LearnedWeighting, make_scalarizer


class IMTLLWeighting(LearnedWeighting):
    """IMTL-L: sum(exp(s_i) L_i - s_i) with learned scales s.

    Source: Liu et al., "Towards impartial multi-task learning", ICLR 2021.
    """

    name = "imtl-l"

    def __init__(self, num_terms: int, **options: Any) -> None:
        super().__init__(num_terms, make_scalarizer("IMTLL", num_terms), **options)
