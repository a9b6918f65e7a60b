"""Weights that are given: equal, by hand, or a single term."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trainables.errors import UserError
from trainables.weighting.base import LossWeighting


class _Constant(LossWeighting):
    def next_weights(self, losses: Tensor) -> Tensor:
        return self.weights.clone()


class FixedWeighting(_Constant):
    """Given weights, scaled to sum to 1.

    Args:
        num_terms: K.
        weights: (K,) at least 0 and not all 0.

    Raises:
        UserError: there are not K weights, one is negative or not finite, or all are 0.
    """

    name = "fixed"

    def __init__(self, num_terms: int, weights: Sequence[float], **options: Any) -> None:
        super().__init__(num_terms, **options)
        given = torch.tensor(weights, dtype=torch.float64)
        if given.shape != (num_terms,) or not given.isfinite().all() or (given < 0).any() or given.sum() == 0:
            raise UserError(
                f"fixed weights must be {num_terms} numbers of 0 or more, not all 0, but are {list(weights)}"
            )
        self.weights.copy_(given / given.sum())
        self.mean_weights.copy_(self.weights)


class EqualWeighting(_Constant):
    """1 / K for every term."""

    name = "equal"


class SingleWeighting(_Constant):
    """One term alone.

    Args:
        num_terms: K.
        term: its index, 0 .. K - 1.

    Raises:
        UserError: there is no such term.
    """

    name = "single"

    def __init__(self, num_terms: int, term: int, **options: Any) -> None:
        super().__init__(num_terms, **options)
        if not 0 <= term < num_terms:
            raise UserError(f"there is no term {term} of {num_terms}")
        self.weights.zero_()[term] = 1
        self.mean_weights.copy_(self.weights)
