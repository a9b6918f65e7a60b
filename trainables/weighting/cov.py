"""CoV weighting: a loss weighs as much as its progress varies.

Source: Groenendijk, Karaoglu, Gevers and Mensink, "Multi-loss weighting with coefficient of variations",
WACV 2021.
"""

from typing import Any

import torch
from torch import Tensor

from trainables.errors import UserError
from trainables.weighting.base import LossWeighting

MODES = ("full", "decay", "ema")
LARGEST_RATIO = 1e9
"""Bound of the loss ratio, so that its square stays finite in float32. No training comes near it."""


class CoVWeighting(LossWeighting):
    """Coefficient-of-variation weighting.

    At step t = 0, 1, 2, ... with losses L and, from the steps before, the means mu_L of the losses, mu_l of
    the ratios and the squares S of the ratios' deviations:

    1. ratio l = L / mu_L; 1 at t = 0;
    2. weights 1 / K for t <= 1, else c / sum(c) with c = sigma_l / mu_l and sigma_l = sqrt(S / t + 1e-8);
    3. with p = 0 at t = 0, else 1 - 1 / (t + 1): mu_l' = p mu_l + (1 - p) l; S' = S + (l - mu_l)(l - mu_l');
       mu_L' = p mu_L + (1 - p) L.

    Modes *full* (the above) and *decay* (p is the constant `decay` from t = 1 on; S still keeps all history,
    and is divided by t) are the published ones. Everything else departs from the paper, is off by default,
    and can be combined:

    - mode *ema*: an exponential window in which means and variance forget alike, v' = p (v + (1 - p)(l -
      mu_l)^2), with p = min(decay, 1 - 1 / (t + 1)), so that its first 1 / (1 - decay) steps are those of
      *full* (West, CACM 1979);
    - `warmup_steps`: equal weights for that many observations, as the first estimates are wild;
    - `max_ratio`: a ratio enters no larger than this and no smaller than its inverse, the loss likewise;
    - `observe_every`: n calls (micro-batches of gradient accumulation) are one observation, their mean, and
      share its weights;
    - `all_reduce`: see `LossWeighting`.

    Defined where the published code is not: l = 1 while mu_L is 0; the ratio is bounded by 1e9; an
    observation with a loss that is not finite is left out; a negative loss is refused.

    Args:
        num_terms: K.
        mode: `full`, `decay` or `ema`.
        decay: p of modes `decay` and `ema`, between 0 and 1.
        warmup_steps: observations with equal weights; the published 2 are the least.
        max_ratio: bound of the ratio, above 1; None is none.
        observe_every: calls per observation.
        **options: of `LossWeighting`.

    Raises:
        UserError: an option is out of its range.
    """

    name = "cov"
    refuses_negative = True

    num_observed: Tensor
    """() observations so far: t."""
    mean_loss: Tensor
    """(K,) mu_L."""
    mean_ratio: Tensor
    """(K,) mu_l."""
    squares: Tensor
    """(K,) S; in mode *ema* the variance v."""
    pending: Tensor
    """(K,) sum of the calls since the last observation."""
    num_pending: Tensor
    """() calls since the last observation."""

    def __init__(
        self,
        num_terms: int,
        mode: str = "full",
        *,
        decay: float = 0.99,
        warmup_steps: int = 0,
        max_ratio: float | None = None,
        observe_every: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(num_terms, **options)
        if mode not in MODES:
            raise UserError(f"CoV mode must be one of {', '.join(MODES)}, not {mode!r}")
        if not 0 < decay < 1:
            raise UserError(f"CoV decay must lie between 0 and 1, not {decay}")
        if max_ratio is not None and not max_ratio > 1:
            raise UserError(f"CoV max_ratio must be above 1, not {max_ratio}")
        if warmup_steps < 0 or observe_every < 1:
            raise UserError("CoV warmup_steps must be 0 or more and observe_every 1 or more")
        self.mode = mode
        self.decay = decay
        self.warmup_steps = max(2, warmup_steps)
        self.max_ratio = max_ratio
        self.observe_every = observe_every
        self.register_buffer("num_observed", torch.zeros((), dtype=torch.int64))
        for name in ("mean_loss", "mean_ratio", "squares"):
            self.register_buffer(name, torch.zeros(num_terms))
        if observe_every > 1:
            self.register_buffer("pending", torch.zeros(num_terms))
            self.register_buffer("num_pending", torch.zeros((), dtype=torch.int64))

    def next_weights(self, losses: Tensor) -> Tensor:
        weights = self._weights_of_statistics()
        if self.observe_every == 1:
            self._update(losses, losses.isfinite().all())
        else:
            self.pending += losses
            self.num_pending += 1
            due = self.num_pending == self.observe_every
            mean = self.pending / self.observe_every
            self._update(mean, due & mean.isfinite().all())
            self.pending.masked_fill_(due, 0)
            self.num_pending.masked_fill_(due, 0)
        return weights

    def _weights_of_statistics(self) -> Tensor:
        count = 1 if self.mode == "ema" else self.num_observed.clamp(min=1)
        deviation = (self.squares / count + 1e-8).sqrt()
        variation = deviation / self.mean_ratio.clamp(min=1e-12)
        known = self.num_observed >= self.warmup_steps
        return torch.where(known, variation / variation.sum(), 1.0 / self.num_terms)

    def _update(self, losses: Tensor, enters: Tensor) -> None:
        """Takes one observation into the statistics where the flag `enters` () says so."""
        ratio = torch.where(self.mean_loss > 0, losses / self.mean_loss, 1.0).clamp(max=LARGEST_RATIO)
        if self.max_ratio is not None:
            ratio = ratio.clamp(1 / self.max_ratio, self.max_ratio)
            losses = torch.where(self.mean_loss > 0, ratio * self.mean_loss, losses)
        keep = self._share_of_past()
        mean_ratio = keep * self.mean_ratio + (1 - keep) * ratio
        deviation = ratio - self.mean_ratio
        if self.mode == "ema":
            squares = keep * (self.squares + (1 - keep) * deviation.square())
        else:
            squares = self.squares + deviation * (ratio - mean_ratio)
        mean_loss = keep * self.mean_loss + (1 - keep) * losses
        for old, new in ((self.mean_loss, mean_loss), (self.mean_ratio, mean_ratio), (self.squares, squares)):
            old.copy_(torch.where(enters, new, old))
        self.num_observed += enters

    def _share_of_past(self) -> Tensor:
        """p: 0 at the first observation."""
        full = 1 - 1 / (self.num_observed + 1).to(self.mean_loss)
        if self.mode == "full":
            return full
        if self.mode == "ema":
            return full.clamp(max=self.decay)
        return (self.num_observed > 0) * torch.full_like(full, self.decay)
