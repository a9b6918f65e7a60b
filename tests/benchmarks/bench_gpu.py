"""The `paper` network at 192 x 224 on a GPU; blank where there is none.

Needs torch and the ground floor only (`trainables`), no Ray and no MLflow:

    python -m tests.benchmarks.bench_gpu

prints the rows as JSON lines. `tests.benchmarks` shows them in its table.
"""

import contextlib
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

import torch
from torch import Tensor, multiprocessing, nn

from tests.benchmarks.table import Row, Times, race, ratio
from trainables.config import NetworkConfig
from trainables.losses import LossTerms
from trainables.networks import make_network
from trainables.weighting import make_weighting

NETWORK = NetworkConfig(channels=(32, 64, 128, 256), strides=(2, 2, 2), norm="instance", num_res_units=2)
"""That of the preset `paper`, held by a test."""
TERMS = ("l1", "ssim", "gradient", "frequency")
BATCH_SIZE = 16
SIZE = (192, 224)
NUM_STEPS = 20
"""Steps that are timed as one: the GPU works ahead of the program."""
BLANK = (
    *("bf16", "channels-last", "bf16, channels-last", "compiled", "CUDA graph"),
    *("CoV / fixed weights", "two trials on one GPU / one after the other", "utilisation"),
)

Step = Callable[[], None]


def make_step(
    device: torch.device,
    *,
    bf16: bool = False,
    channels_last: bool = False,
    compiled: bool = False,
    weighting: str = "fixed",
    size: tuple[int, int] = SIZE,
) -> Step:
    """A training step as the training loop takes it, on images that lie on the device."""
    network: nn.Module = make_network(NETWORK, in_channels=1, seed=0).to(device)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = network.to(memory_format=layout)
    losses = LossTerms(TERMS).to(device)
    weights = {"weights": [0.25] * len(TERMS)} if weighting == "fixed" else {}
    weigh = make_weighting({"name": weighting, **weights}, len(TERMS)).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True, capturable=device.type == "cuda")
    target = torch.rand(BATCH_SIZE, 1, *size, device=device)
    source = (target + 0.1 * torch.randn_like(target)).contiguous(memory_format=layout)
    forward: Callable[[Tensor], Tensor] = torch.compile(network) if compiled else network

    def step() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            values = losses(forward(source), target)
        optimiser.zero_grad(set_to_none=True)
        weigh(values).backward()
        optimiser.step()

    return step


def as_graph(step: Step) -> Step:
    """The step recorded once as a CUDA graph, and replayed."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def steps_in_a_row(step: Step, device: torch.device) -> Step:
    """`NUM_STEPS` steps, and the wait until the device has done them."""

    def block() -> None:
        for _ in range(NUM_STEPS):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    block()
    return block


def rows(quick: bool) -> Iterator[Row]:
    """Precision and layout, weighting, several trials on one GPU."""
    if not torch.cuda.is_available():
        for name in BLANK:
            yield Row(what=f"GPU: {name}", value=None, detail="no GPU here: not measured")
        return
    device = torch.device("cuda")
    name, num_rounds = torch.cuda.get_device_name(device), 3 if quick else 9
    builders: dict[str, Callable[[], Step]] = {
        "fp32": lambda: make_step(device),
        "bf16": lambda: make_step(device, bf16=True),
        "channels-last": lambda: make_step(device, channels_last=True),
        "bf16, channels-last": lambda: make_step(device, bf16=True, channels_last=True),
        "compiled": lambda: make_step(device, compiled=True),
        "CUDA graph": lambda: as_graph(make_step(device)),
    }
    blocks: dict[str, Step] = {}
    for variant, build in builders.items():
        try:
            blocks[variant] = steps_in_a_row(build(), device)
        except RuntimeError as error:  # no compiler, or an operation that cannot be recorded
            yield Row(what=f"GPU: {variant}", value=None, detail=str(error).splitlines()[0][:80])
    seconds = race(blocks, num_rounds, clock=time.perf_counter)
    for variant in list(blocks)[1:]:
        yield Row(
            what=f"GPU: {variant} / fp32 as it is written",
            value=ratio(seconds, "fp32", variant),
            detail=f"{_rate(seconds, variant):.0f} / {_rate(seconds, 'fp32'):.0f} samples a second on {name}",
        )
    pair = {kind: make_step(device, weighting=kind) for kind in ("fixed", "cov")}
    seconds = race(
        {kind: steps_in_a_row(step, device) for kind, step in pair.items()}, 3 * num_rounds, clock=time.perf_counter
    )
    yield Row(
        what="GPU: CoV / fixed weights",
        value=ratio(seconds, "cov", "fixed"),
        at_most=1.005,
        detail=f"{_rate(seconds, 'cov'):.0f} / {_rate(seconds, 'fixed'):.0f} samples a second on {name}",
    )
    yield _sharing(name, 1 if quick else 3)
    yield _utilisation(blocks["fp32"], name)


def _rate(seconds: Times, name: str) -> float:
    return NUM_STEPS * BATCH_SIZE / statistics.median(seconds[name])


def _sharing(name: str, num_rounds: int) -> Row:
    """Two processes that share the GPU, each as long as one that has it alone."""
    alone, shared = [], []
    for _ in range(num_rounds):
        alone.append(_train_together(1))
        shared.append(_train_together(2))
    gain = statistics.median(2 * one / two for one, two in zip(alone, shared, strict=True))
    return Row(
        what="GPU: two trials on one GPU / one after the other",
        value=gain,
        detail=f"{2 * statistics.median(alone):.1f} / {statistics.median(shared):.1f} s on {name}",
    )


def _train_together(number: int) -> float:
    """Seconds until `number` processes have each taken some steps, from when all are ready."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(number + 1)
    processes = [context.Process(target=_train, args=(barrier,)) for _ in range(number)]
    for process in processes:
        process.start()
    barrier.wait()
    start = time.perf_counter()
    barrier.wait()
    seconds = time.perf_counter() - start
    for process in processes:
        process.join()
    return seconds


def _train(barrier: threading.Barrier) -> None:
    device = torch.device("cuda")
    block = steps_in_a_row(make_step(device), device)
    barrier.wait()
    for _ in range(10):
        block()
    barrier.wait()


def _utilisation(block: Step, name: str) -> Row:
    """Share of the time in which some kernel ran, as NVML counts it."""
    what = "GPU: utilisation while one trial trains"
    with contextlib.suppress(Exception):  # NVML or its Python package is not there
        found: list[int] = []
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.2):
                found.append(torch.cuda.utilization())

        torch.cuda.utilization()
        watcher = threading.Thread(target=watch)
        watcher.start()
        until = time.monotonic() + 5
        while time.monotonic() < until:
            block()
        done.set()
        watcher.join()
        return Row(what=what, value=statistics.median(found), unit="%", detail=f"fp32 on {name}")
    return Row(what=what, value=None, unit="%", detail="NVML does not answer")


if __name__ == "__main__":
    for row in rows(quick="--quick" in sys.argv):
        print(json.dumps(asdict(row)), flush=True)
