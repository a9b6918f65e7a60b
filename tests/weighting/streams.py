"""Every weighting there is, and losses to feed it."""

import json
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from trainables.weighting import WEIGHTINGS, LossWeighting, make_weighting

REQUIRED = {"fixed": {"weights": None}, "single": {"term": 0}}
"""Options without a default; None stands for K weights 1 .. K."""
VARIANTS = [
    {"name": "cov", "mode": "decay", "decay": 0.9},
    {"name": "cov", "mode": "ema", "decay": 0.9},
    {"name": "cov", "warmup_steps": 4, "max_ratio": 3.0},
    {"name": "cov", "observe_every": 3},
    {"name": "softadapt", "normalised": True, "loss_weighted": True},
    {"name": "relobralo", "lookback": 0.5, "alpha": 0.8},
    {"name": "dwa", "epoch_steps": 2, "temperature": 0.5},
]
SPECS = [{"name": name, **REQUIRED.get(name, {})} for name in WEIGHTINGS] + VARIANTS


def name_of(spec: dict) -> str:
    """A readable test id."""
    return "-".join(f"{value}" for key, value in spec.items() if value is not None)


def make(spec: dict, num_terms: int = 4, **options) -> tuple[LossWeighting, nn.Parameter]:
    """The weighting of a description that went through JSON, attached to a shared parameter of norm 1."""
    spec = json.loads(json.dumps(spec))
    if "weights" in spec:
        spec["weights"] = [float(i + 1) for i in range(num_terms)]
    weighting = make_weighting(spec, num_terms, **options)
    shared = nn.Parameter(torch.tensor([0.6, 0.8]))
    weighting.attach([shared])
    return weighting, shared


def losses_of(values: Tensor, shared: nn.Parameter) -> Tensor:
    """Losses (K,) of these values, with gradients of the same norms with respect to the shared parameter."""
    return values * shared.norm()


def stream(num_terms: int, num_steps: int, seed: int = 0) -> Iterator[Tensor]:
    """Losses (K,) that fall at different rates, with noise."""
    generator = torch.Generator().manual_seed(seed)
    scale = 10.0 ** torch.linspace(-1, 1, num_terms)
    rate = torch.linspace(0.01, 0.1, num_terms)
    for step in range(num_steps):
        noise = 0.3 * torch.randn(num_terms, generator=generator)
        yield scale * torch.exp(-rate * step + noise)
