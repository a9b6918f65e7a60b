"""Tries user-defined components on small random images before anything is spent: do they what the training asks?

What is wrong raises a `UserError`. The tests of a user's package can call these checks too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainables.errors import UserError, blame
from trainables.metrics import Metric
from trainables.networks import Residual
from trainables.weighting import LossWeighting

SHAPE = (2, 1, 128, 192)
"""Of the images: six halvings are possible, and no two axes are alike."""


def check_term(name: str, term: Callable[[Tensor, Tensor, Tensor | None], Tensor]) -> None:
    """A term gives a finite scalar that can be differentiated, with and without a mask."""
    prediction, target, mask = _images(SHAPE)
    for region in (None, mask):
        image = prediction.clone().requires_grad_()
        with _told(f"loss term {name!r}"):
            value = term(image, target, region)
            _require(isinstance(value, Tensor), f"must return a tensor, not {type(value).__name__}")
            _require(value.dim() == 0, f"must return a scalar, not a tensor of shape {tuple(value.shape)}")
            _require(bool(value.isfinite()), f"must be finite, not {value.item()}")
            _require(value.requires_grad, "cannot be differentiated: it does not depend on the prediction")
            value.backward()
            _require(image.grad is not None and bool(image.grad.isfinite().all()), "has no finite gradient")


def check_weighting(name: str, make: Callable[[], LossWeighting]) -> None:
    """A weighting's weights sum to 1 and are the gradient of its total; all of its state is in `state_dict()`."""
    with _told(f"weighting {name!r}"):
        weighting, other = make(), make()
        _require(isinstance(weighting, LossWeighting), "must be a subclass of trainables.weighting.LossWeighting")
        shared = nn.Parameter(torch.tensor([0.6, 0.8]))
        for each in (weighting, other):
            each.attach([shared])
        generator = torch.Generator().manual_seed(0)
        for _ in range(4):
            values = 0.1 + torch.rand(weighting.num_terms, generator=generator)
            _check_step(weighting, values, shared)
        other.load_state_dict(weighting.state_dict())
        values = 0.1 + torch.rand(weighting.num_terms, generator=generator)
        torch.manual_seed(0)
        expected = _check_step(weighting, values, shared)
        torch.manual_seed(0)
        same = torch.equal(_check_step(other, values, shared), expected)
        _require(same, "restored from its state_dict() goes on differently: keep its state in buffers")


def _check_step(weighting: LossWeighting, values: Tensor, shared: nn.Parameter) -> Tensor:
    losses = values.clone().requires_grad_()
    total = weighting(losses + 0 * shared.norm())  # a weighting that looks at gradients finds what it was attached to
    _require(isinstance(total, Tensor) and total.dim() == 0, "must return a scalar tensor")
    weights = weighting.weights
    _require(weights.shape == values.shape, f"must give {len(values)} weights, not {tuple(weights.shape)}")
    _require(bool((weights >= 0).all()), f"gives a weight that is negative or not a number: {weights.tolist()}")
    _require(abs(weights.sum().item() - 1) < 1e-4, f"gives weights that sum to {weights.sum().item():.4g}, not to 1")
    total.backward()
    is_gradient = losses.grad is not None and torch.allclose(losses.grad, weights, atol=1e-4)
    _require(is_gradient, "must return a total whose gradient by the losses is its weights")
    return weights.clone()


def check_network(name: str, network: nn.Module, in_channels: int) -> None:
    """A network makes images of the target's shape, finite and differentiable, of source images."""
    source, _, _ = _images((SHAPE[0], in_channels, *SHAPE[2:]))
    with _told(f"network {name!r}"):
        body = network.body if isinstance(network, Residual) else network
        _require(any(p.requires_grad for p in network.parameters()), "has no parameter to train")
        image = body(source)
        made = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        _require(made == SHAPE, f"must turn (B, {in_channels}, H, W) into (B, 1, H, W): of {SHAPE} it made {made}")
        _require(bool(image.isfinite().all()), "gives images that are not finite")
        _require(image.requires_grad, "gives images that do not depend on its parameters")


def check_metric(name: str, metric: Metric) -> None:
    """A metric has a goal and gives a finite number for every region."""
    prediction, target, mask = (volume[:, 0] for volume in _images((12, 1, 32, 48)))
    with _told(f"metric {name!r}"):
        _require(isinstance(metric, Metric), "must be a trainables.metrics.Metric")
        _require(metric.goal in ("max", "min"), f"needs the goal 'max' or 'min', not {metric.goal!r}")
        _require(callable(metric.score), "needs a function `score`")
        for region in (mask, torch.ones_like(mask)):
            value = float(metric.score(prediction, target, region))  # type: ignore[misc]  # callable, see above
            _require(abs(value) < float("inf"), f"must be finite, not {value}")


def _images(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """A prediction, a target not far from it, and a mask (a box)."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(shape, generator=generator)
    prediction = target + 0.1 * torch.randn(shape, generator=generator)
    mask = torch.zeros((shape[0], 1, *shape[2:]), dtype=torch.bool)
    mask[..., shape[-2] // 4 : -shape[-2] // 4, shape[-1] // 4 : -shape[-1] // 4] = True
    return prediction, target, mask


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Begins every message with the component's name."""
    try:
        with blame(f"{what}, on a small example,"):
            yield
    except _Broken as broken:
        raise UserError(f"{what} {broken}") from None


class _Broken(UserError):
    """A promise is not kept."""


def _require(kept: Any, promise: str) -> None:
    if not kept:
        raise _Broken(promise)
