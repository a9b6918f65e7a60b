"""The geometric mean of the losses in place of their sum."""

from typing import Any

from torch import Tensor

from trainables.weighting.siblings import LEAST, MOST, ScalarizerWeighting, make_scalarizer


class GeometricMeanWeighting(ScalarizerWeighting):
    """Geometric mean of the losses: weights proportional to 1 / L_i. TorchJD reads their signs on the host.

    Source: Chennupati et al., "MultiNet++", CVPR workshops 2019.
    """

    name = "geometric-mean"
    refuses_negative = True

    def __init__(self, num_terms: int, **options: Any) -> None:
        super().__init__(num_terms, make_scalarizer("GeometricMean"), **options)

    def _slopes(self, losses: Tensor) -> Tensor:
        return super()._slopes(losses.clamp(LEAST, MOST))
