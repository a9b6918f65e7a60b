"""Smooth Tchebycheff: mostly the largest loss counts."""

from typing import Any

from trainables.errors import UserError
from trainables.weighting.siblings import ScalarizerWeighting, make_scalarizer


class STCHWeighting(ScalarizerWeighting):
    """Smooth Tchebycheff: mu log sum exp(L_i / (K mu)), a smooth form of the largest loss.

    Source: Lin et al., "Smooth Tchebycheff scalarization for multi-objective optimization", ICML 2024.

    Args:
        num_terms: K.
        mu: smoothing, above 0; small looks at the largest loss alone. Compare it with the losses' scale.
        **options: of `LossWeighting`.
    """

    name = "stch"

    def __init__(self, num_terms: int, *, mu: float = 0.1, **options: Any) -> None:
        if not mu > 0:
            raise UserError(f"STCH needs mu above 0, not {mu}")
        super().__init__(num_terms, make_scalarizer("STCH", mu), **options)
