"""What loss terms and weightings cost in a training step: `python tests/benchmarks/bench_step.py [--rounds 30]`.

One thread, slices of 96 x 112, batch 8, the default network. All candidates take a step in turn, round after round, in
an order that changes, and each round gives one ratio to the reference: a busy machine slows all alike. Printed are
medians over the rounds. CPU time of the process, so that waiting for the processor doesn't count.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainables.config import NetworkConfig
from trainables.losses import LossTerms
from trainables.networks import make_network
from trainables.weighting import WEIGHTINGS, LossWeighting, make_weighting

DEFAULT_TERMS = ("l1", "ssim", "gradient", "frequency")
OTHER_TERMS = ("l2", "charbonnier", "ms-ssim", "adversarial")
NEEDED = {"fixed": {"weights": [0.4, 0.3, 0.2, 0.1]}, "single": {"term": 0}}


class MonaiSSIM(nn.Module):
    """L1 and MONAI's dense SSIM: what a step costs without a separable window."""

    def __init__(self) -> None:
        super().__init__()
        from monai.losses import SSIMLoss

        self._ssim = SSIMLoss(spatial_dims=2)

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        return torch.stack(((prediction - target).abs().mean(), self._ssim(prediction, target)))


def make_step(terms: nn.Module, weighting: LossWeighting) -> Callable[[], None]:
    """One training step, as the training loop takes it."""
    network = make_network(NetworkConfig(), in_channels=1, seed=0)
    weighting.attach(network)
    parameters = [*network.parameters(), *weighting.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    torch.manual_seed(0)
    target = torch.rand(8, 1, 96, 112)
    source = target + 0.1 * torch.randn_like(target)
    mask = torch.zeros(8, 1, 96, 112, dtype=torch.bool)
    mask[..., 8:-8, 8:-8] = True

    def step() -> None:
        total = weighting(terms(network(source), target, mask))
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        optimiser.step()

    return step


def race(steps: dict[str, Callable[[], None]], num_rounds: int) -> dict[str, list[float]]:
    """CPU seconds of every step in every round."""
    for step in steps.values():
        for _ in range(3):
            step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    order = list(steps)
    for _ in range(num_rounds):
        random.shuffle(order)
        for name in order:
            start = time.process_time()
            steps[name]()
            seconds[name].append(time.process_time() - start)
    return seconds


def report(title: str, seconds: dict[str, list[float]], reference: str) -> None:
    """Prints medians in milliseconds, and of the ratios to the reference in the same round."""
    print(f"\n| {title} | ms a step | x {reference} |\n|---|---|---|")
    for name, times in seconds.items():
        ratios = [a / b for a, b in zip(times, seconds[reference], strict=True)]
        print(f"| {name} | {1e3 * statistics.median(times):.1f} | {statistics.median(ratios):.3f} |")


def weighting_microseconds(spec: dict, num_steps: int = 300) -> float:
    """CPU microseconds of one weighting of four losses, forward and backward, without network and terms."""
    weighting = make_weighting(spec, 4)
    shared = nn.Parameter(torch.ones(1, 1))
    weighting.attach([shared])
    values = torch.tensor([0.1, 0.2, 0.3, 0.4])
    seconds = []
    for _ in range(num_steps):
        losses = values * shared.squeeze()
        start = time.process_time_ns()
        weighting(losses).backward()
        seconds.append(time.process_time_ns() - start)
    return statistics.median(seconds) / 1e3


def main() -> None:
    """Terms first, then weightings on the default terms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    num_rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    random.seed(0)
    specs = {name: {"name": name, **NEEDED.get(name, {})} for name in WEIGHTINGS}

    def with_terms(names: tuple[str, ...]) -> Callable[[], None]:
        return make_step(LossTerms(names), make_weighting({"name": "equal"}, len(names)))

    steps = {"l1": with_terms(("l1",)), "four default terms": with_terms(DEFAULT_TERMS)}
    steps |= {f"l1 + {name}": with_terms(("l1", name)) for name in (*DEFAULT_TERMS[1:], *OTHER_TERMS)}
    steps["l1 + MONAI SSIMLoss"] = make_step(MonaiSSIM(), make_weighting({"name": "equal"}, 2))
    report("terms", race(steps, num_rounds), "l1")

    def with_weighting(spec: dict) -> Callable[[], None]:
        return make_step(LossTerms(DEFAULT_TERMS), make_weighting(spec, 4))

    pair = {name: with_weighting(specs[name]) for name in ("fixed", "cov")}
    seconds = race(pair, 10 * num_rounds)
    report("weightings of the four default terms", seconds, "fixed")
    seconds = race({name: with_weighting(specs[name]) for name in ("fixed", "gradnorm")}, num_rounds)
    report("a weighting that needs gradients of each term", seconds, "fixed")

    step_seconds = statistics.median(seconds["fixed"])
    alone = {name: weighting_microseconds(spec) for name, spec in specs.items()}
    print("\n| weighting alone | us a step | more than fixed, % of a step |\n|---|---|---|")
    for name, microseconds in alone.items():
        print(f"| {name} | {microseconds:.0f} | {(microseconds - alone['fixed']) / step_seconds / 1e4:.2f} |")


if __name__ == "__main__":
    main()
