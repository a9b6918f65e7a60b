"""What a training step costs beside the network's own, and beside what the processor can do at best.

One thread, slices of 96 x 112, batch 8, the default network, in a process readied as a worker is.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks.table import Row, Times, milliseconds, race, ratio
from trainables.config import NetworkConfig
from trainables.losses import LossTerms
from trainables.networks import make_network
from trainables.startup import ready_process
from trainables.weighting import WEIGHTINGS, LossWeighting, make_weighting

DEFAULT_TERMS = ("l1", "ssim", "gradient", "frequency")
OTHER_TERMS = ("l2", "charbonnier", "ms-ssim", "adversarial")
NEEDED = {"fixed": {"weights": [0.4, 0.3, 0.2, 0.1]}, "single": {"term": 0}}
BATCH = (8, 1, 96, 112)
MATRIX = 1536
NUM_WARM = 3

Step = Callable[[], None]


class MonaiSSIM(nn.Module):
    """L1 and MONAI's dense SSIM: what a step costs without a separable window."""

    def __init__(self) -> None:
        super().__init__()
        from monai.losses import SSIMLoss

        self._ssim = SSIMLoss(spatial_dims=2)

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        return torch.stack(((prediction - target).abs().mean(), self._ssim(prediction, target)))


def make_step(terms: nn.Module, weighting: LossWeighting) -> Step:
    """One training step, as the training loop takes it."""
    network = make_network(NetworkConfig(), in_channels=1, seed=0)
    weighting.attach(network)
    parameters = [*network.parameters(), *weighting.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    torch.manual_seed(0)
    target = torch.rand(BATCH)
    source = target + 0.1 * torch.randn_like(target)
    mask = torch.zeros(BATCH, dtype=torch.bool)
    mask[..., 8:-8, 8:-8] = True

    def step() -> None:
        total = weighting(terms(network(source), target, mask))
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        optimiser.step()

    return step


def with_terms(*names: str) -> Step:
    """A step with these terms, equally weighted."""
    return make_step(LossTerms(names), make_weighting({"name": "equal"}, len(names)))


def with_weighting(name: str) -> Step:
    """A step with the four default terms under a weighting."""
    return make_step(LossTerms(DEFAULT_TERMS), make_weighting({"name": name, **NEEDED.get(name, {})}, 4))


def only_network(layout: torch.memory_format = torch.channels_last) -> tuple[Step, int]:
    """The network's forward and backward pass with l1 and nothing else, and its floating-point operations."""
    network = make_network(NetworkConfig(), in_channels=1, seed=0).to(memory_format=layout)
    source, target = torch.rand(BATCH), torch.rand(BATCH)

    def passes() -> None:
        (network(source) - target).abs().mean().backward()

    with FlopCounterMode(display=False) as counter:
        passes()
    return passes, counter.get_total_flops()


def weighting_microseconds(name: str, num_steps: int) -> float:
    """CPU microseconds of one weighting of four losses, forward and backward, without network and terms."""
    weighting = make_weighting({"name": name, **NEEDED.get(name, {})}, 4)
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


def rows(quick: bool) -> Iterator[Row]:
    """Terms, the machine's limit, weightings, and what memory that is kept brings."""
    ready_process(1)
    num_rounds = 6 if quick else 30
    yield from _terms(num_rounds, quick)
    yield from _limit(num_rounds)
    yield from _weightings(num_rounds, quick)
    yield _memory(num_processes=1 if quick else 3)


def _terms(num_rounds: int, quick: bool) -> Iterator[Row]:
    steps = {"l1": with_terms("l1"), "four default terms": with_terms(*DEFAULT_TERMS)}
    others = DEFAULT_TERMS[1:] if quick else (*DEFAULT_TERMS[1:], *OTHER_TERMS)
    steps |= {f"l1 + {name}": with_terms("l1", name) for name in others}
    if not quick:
        steps["l1 + MONAI's SSIMLoss"] = make_step(MonaiSSIM(), make_weighting({"name": "equal"}, 2))
    seconds = race(steps, num_rounds, num_warm=NUM_WARM)
    for name in list(steps)[1:]:
        yield Row(
            what=f"step: {name} / l1 alone",
            value=ratio(seconds, name, "l1"),
            at_most=1.4 if name == "four default terms" else None,
            detail=f"{milliseconds(seconds, name):.1f} / {milliseconds(seconds, 'l1'):.1f} ms",
        )


def _limit(num_rounds: int) -> Iterator[Row]:
    passes, num_flops = only_network()
    one, other = torch.rand(MATRIX, MATRIX), torch.rand(MATRIX, MATRIX)
    seconds = race(
        {
            "network": passes,
            "channels-first": only_network(torch.contiguous_format)[0],
            "matmul": lambda: one @ other,
        },
        num_rounds,
        num_warm=NUM_WARM,
    )
    rates = {
        "network": num_flops / milliseconds(seconds, "network") / 1e6,
        "matmul": 2 * MATRIX**3 / milliseconds(seconds, "matmul") / 1e6,
    }
    yield Row(
        what="step: network's forward and backward / rate of a large matmul",
        value=ratio(seconds, "matmul", "network") * num_flops / (2 * MATRIX**3) * 100,
        unit="%",
        at_least=55,
        detail=f"{rates['network']:.1f} / {rates['matmul']:.1f} GFLOP/s; {num_flops / 1e9:.2f} GFLOP a step",
        figures=rates,
    )
    yield Row(
        what="step: network's forward and backward with channels first / as it is, last",
        value=ratio(seconds, "channels-first", "network"),
        detail=f"{milliseconds(seconds, 'channels-first'):.1f} / {milliseconds(seconds, 'network'):.1f} ms",
    )


def _weightings(num_rounds: int, quick: bool) -> Iterator[Row]:
    pair = {name: with_weighting(name) for name in ("fixed", "cov")}
    seconds = race(pair, num_rounds * 6, num_warm=NUM_WARM)
    step_seconds = statistics.median(seconds["fixed"])
    yield Row(
        what="step: CoV / fixed weights",
        value=ratio(seconds, "cov", "fixed"),
        at_most=1.005,
        detail=f"{milliseconds(seconds, 'cov'):.1f} / {milliseconds(seconds, 'fixed'):.1f} ms",
    )
    alone = {name: weighting_microseconds(name, 50 if quick else 300) for name in WEIGHTINGS}
    for name in ("cov",) if quick else (name for name in WEIGHTINGS if name != "fixed"):
        extra = alone[name] - alone["fixed"]
        yield Row(
            what=f"step: what {name} adds to fixed weights, measured alone",
            value=1 + extra / step_seconds / 1e6,
            at_most=1.005 if name == "cov" else None,
            detail=f"{extra:+.0f} us a step of {1e3 * step_seconds:.0f} ms",
        )
    if not quick:
        pair = {name: with_weighting(name) for name in ("fixed", "gradnorm")}
        seconds = race(pair, num_rounds, num_warm=NUM_WARM)
        yield Row(
            what="step: gradnorm, which needs the gradient of each term / fixed weights",
            value=ratio(seconds, "gradnorm", "fixed"),
            detail=f"{milliseconds(seconds, 'gradnorm'):.1f} / {milliseconds(seconds, 'fixed'):.1f} ms",
        )


def _memory(num_processes: int) -> Row:
    """A step in fresh processes with and without `ready_process`, in turn."""
    seconds: Times = {"ready": [], "as it comes": []}
    for _ in range(num_processes):
        for name, found in seconds.items():
            command = [sys.executable, "-m", "tests.benchmarks.bench_step", name]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout))
    return Row(
        what="step: a process as it comes / one that keeps its memory, as workers do",
        value=ratio(seconds, "as it comes", "ready"),
        detail=f"{milliseconds(seconds, 'as it comes'):.1f} / {milliseconds(seconds, 'ready'):.1f} ms",
    )


if __name__ == "__main__":
    if sys.argv[1] == "ready":
        ready_process(1)
    step = with_terms(*DEFAULT_TERMS)
    print(statistics.median(race({"step": step}, 15, num_warm=NUM_WARM)["step"]))
