"""One data-parallel rank: `python -m tests.weighting.rank RANK FOLDER`."""

import sys
from pathlib import Path

import torch
from torch import distributed

from tests.weighting.streams import make, stream
from trainables.losses import LossTerms

SPECS = [{"name": name} for name in ("cov", "uncertainty", "softadapt", "gradnorm", "inverse-initial")]


def train(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    together = [make({**spec, "all_reduce": True}) for spec in SPECS]
    alone, shared_alone = make({"name": "cov"})
    for values in stream(4, 12, seed=rank):
        for weighting, shared in together:
            weighting(values * shared.norm()).backward()
            for parameter in weighting.parameters():
                parameter.data -= 0.1 * parameter.grad
                parameter.grad = None
        alone(values * shared_alone.norm())
    adversarial = LossTerms(["adversarial"], {"adversarial": {"channels": 4, "num_layers": 1}})
    generator = torch.Generator().manual_seed(rank)
    for _ in range(2):
        prediction, target = torch.rand(2, 2, 1, 16, 16, generator=generator)
        adversarial(prediction.requires_grad_(), target)
    result = {
        "together": [weighting.weights for weighting, _ in together],
        "alone": alone.weights,
        "discriminator": torch.cat([p.flatten() for p in adversarial.parameters()]).detach(),
    }
    torch.save(result, folder / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    train(int(sys.argv[1]), Path(sys.argv[2]))
