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

import numpy as np
import torch
from torch import Tensor, multiprocessing

from tests.benchmarks.table import Row, Times, race, ratio
from trainables.cohort import PreparedCohort
from trainables.cohort.geometry import Geometry
from trainables.cohort.prepared import PreparedSubject
from trainables.config import NetworkConfig, Precision, TrainingConfig
from trainables.cuda_graphs import NetworkLosses, RecordedLosses
from trainables.losses import LossTerms
from trainables.meter import Meter
from trainables.networks import make_network
from trainables.training import Training
from trainables.weighting import make_weighting

NETWORK = NetworkConfig(channels=(32, 64, 128, 256), strides=(2, 2, 2), norm="instance", num_res_units=2)
"""That of the preset `paper`, held by a test."""
TERMS = ("l1", "ssim", "gradient", "frequency")
BATCH_SIZE = 16
"""Slices a step, as in the preset."""
SIZE = (192, 224)
"""(H, W) of a slice."""
NUM_STEPS = 20
"""Steps that are timed as one: the GPU works ahead of the program."""
NUM_SLICES = 320
"""Slices of a training subject: an epoch is `NUM_STEPS` steps."""
NUM_EPOCHS = 20
"""Of each of the trainings that share the GPU."""
EVAL_BATCH_SIZES = (32, 160)
"""The default, and a whole subject."""
SHARES = (2, 4)
"""Trainings at once on one GPU."""
DEFAULT = "bf16, recorded"
"""What the training loop does on a GPU."""
BLANK = (
    *("precision and layout", "CUDA graph", "compiled", "CoV / fixed weights", "training loop / its steps alone"),
    *("several trials, one after the other / at once", "utilisation"),
)

Step = Callable[[], None]


def make_step(
    device: torch.device,
    *,
    precision: Precision = "auto",
    channels_last: bool = False,
    recorded: bool = True,
    compiled: bool = False,
    weighting: str = "fixed",
    batch_size: int = BATCH_SIZE,
) -> Step:
    """A training step as the training loop takes it, on images that lie on the device."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = make_network(NETWORK, in_channels=1, seed=0, device=device).to(memory_format=layout)
    losses = NetworkLosses(network, LossTerms(TERMS).to(device), TrainingConfig(precision=precision), device)
    weights = {"weights": [0.25] * len(TERMS)} if weighting == "fixed" else {}
    weigh = make_weighting({"name": weighting, **weights}, len(TERMS)).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True, capturable=device.type == "cuda")
    target = torch.rand(batch_size, 1, *SIZE, device=device)
    source = (target + 0.1 * torch.randn_like(target)).contiguous(memory_format=layout)
    forward: Callable[..., Tensor] = losses
    if recorded and device.type == "cuda":
        forward = RecordedLosses(losses)
    elif compiled:
        forward = torch.compile(losses)

    def step() -> None:
        values = forward(source, target)
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
    """Precision and layout, weighting, the training loop, several trials on one GPU."""
    if not torch.cuda.is_available():
        for name in BLANK:
            yield Row(what=f"GPU: {name}", value=None, detail="no GPU here: not measured")
        return
    device = torch.device("cuda")
    name, num_rounds = torch.cuda.get_device_name(device), 3 if quick else 9
    builders: dict[str, Callable[[], Step]] = {
        "fp32, one kernel after another": lambda: make_step(device, precision="fp32", recorded=False),
        "fp32, channels last": lambda: make_step(device, precision="fp32", channels_last=True, recorded=False),
        "bf16": lambda: make_step(device, recorded=False),
        "bf16, channels last": lambda: make_step(device, channels_last=True, recorded=False),
        "fp32, recorded": lambda: make_step(device, precision="fp32"),
        "fp32, channels last, recorded": lambda: make_step(device, precision="fp32", channels_last=True),
        DEFAULT: lambda: make_step(device),
        "bf16, channels last, recorded": lambda: make_step(device, channels_last=True),
        "bf16, all of the step one graph": lambda: as_graph(make_step(device, recorded=False)),
    }
    if not quick:  # compiling takes a minute
        builders["bf16, compiled"] = lambda: make_step(device, recorded=False, compiled=True)
    blocks: dict[str, Step] = {}
    for variant, build in builders.items():
        try:
            blocks[variant] = steps_in_a_row(build(), device)
        except Exception as error:  # no compiler, or an operation that cannot be recorded
            yield Row(what=f"GPU: {variant}", value=None, detail=(str(error).splitlines() or [repr(error)])[0][:80])
    seconds = race(blocks, num_rounds, clock=time.perf_counter)
    first, *others = blocks
    for variant in others:
        yield Row(
            what=f"GPU: {variant} / {first}",
            value=ratio(seconds, first, variant),
            detail=f"{_rate(seconds, variant):.0f} / {_rate(seconds, first):.0f} samples a second on {name}",
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
    sizes = {size: steps_in_a_row(make_step(device, batch_size=size), device) for size in (BATCH_SIZE, 2 * BATCH_SIZE)}
    seconds = race({str(size): block for size, block in sizes.items()}, num_rounds, clock=time.perf_counter)
    yield Row(
        what=f"GPU: slices a second, {2 * BATCH_SIZE} / {BATCH_SIZE} a step",
        value=2 * ratio(seconds, str(BATCH_SIZE), str(2 * BATCH_SIZE)),
        detail=f"{2 * _rate(seconds, str(2 * BATCH_SIZE)):.0f} / {_rate(seconds, str(BATCH_SIZE)):.0f} on {name}",
    )
    yield from _loop(device, blocks[DEFAULT], num_rounds)
    yield from _sharing(name, 1 if quick else 3)
    yield _utilisation(blocks[DEFAULT], name)


def _rate(seconds: Times, name: str) -> float:
    return NUM_STEPS * BATCH_SIZE / statistics.median(seconds[name])


def make_cohort() -> PreparedCohort:
    """Noise as large as slices of 1 mm, one subject a split: an epoch is `NUM_STEPS` steps."""
    target = np.random.default_rng(0).random((3 * NUM_SLICES, *SIZE), dtype=np.float32)
    geometry = Geometry(**dict.fromkeys(Geometry.__dataclass_fields__))
    subjects = tuple(
        PreparedSubject(
            pseudonym=split, split=split, start=n * NUM_SLICES, stop=(n + 1) * NUM_SLICES, geometry=geometry
        )
        for n, split in enumerate(("train", "validation", "test"))
    )
    mask = np.ones(target.shape, dtype=bool)
    return PreparedCohort(source=target + 0.1, target=target, mask=mask, lesion=None, subjects=subjects, provenance={})


def make_training(device: torch.device, **options: int) -> Training:
    """The training loop on slices of 1 mm, as the preset `paper` has it."""
    config = TrainingConfig(network=NETWORK, epochs=10_000, batch_size=BATCH_SIZE, precision="auto", **options)
    weighting = make_weighting({"name": "fixed", "weights": [0.25] * len(TERMS)}, len(TERMS))
    meter = Meter(taken=time.monotonic())
    return Training(config, make_cohort(), terms=TERMS, weighting=weighting, seed=0, meter=meter, device=device)


def _loop(device: torch.device, block: Step, num_rounds: int) -> Iterator[Row]:
    """Epochs of the training loop, batches and all, beside as many steps on images that lie on the device."""
    trainings = {size: make_training(device, eval_batch_size=size) for size in EVAL_BATCH_SIZES}
    ratios: list[float] = []
    evals: dict[int, list[float]] = {size: [] for size in trainings}
    for _ in range(1 + num_rounds):
        start = time.perf_counter()
        block()
        alone = time.perf_counter() - start
        for size, training in trainings.items():
            before = training.meter.cost()
            after = training.run_epoch().cost
            evals[size].append(1e3 * (after.eval_seconds - before.eval_seconds) / NUM_SLICES)
            ratios.append((after.train_seconds - before.train_seconds) / alone)
    yield Row(
        what="GPU: training loop / its steps alone",
        value=statistics.median(ratios[2:]),
        detail=f"of {1e3 * alone / NUM_STEPS:.2f} ms",
        figures={"ratios": ratios},
    )
    few, many = (statistics.median(evals[size][1:]) for size in EVAL_BATCH_SIZES)
    yield Row(
        what="GPU: validation, {} / {} slices at a time".format(*EVAL_BATCH_SIZES),
        value=few / many,
        detail=f"{few:.2f} / {many:.2f} ms a slice",
        figures={"milliseconds": evals},
    )


def _sharing(name: str, num_rounds: int) -> Iterator[Row]:
    """Processes that share the GPU, each as long as one that has it alone."""
    seconds: dict[int, list[float]] = {number: [] for number in (1, *SHARES)}
    for _ in range(num_rounds):
        for number, found in seconds.items():
            found.append(_train_together(number))
    for number in SHARES:
        one_by_one, at_once = number * statistics.median(seconds[1]), statistics.median(seconds[number])
        yield Row(
            what=f"GPU: {number} trials, one after the other / at once",
            value=one_by_one / at_once,
            detail=f"{one_by_one:.1f} / {at_once:.1f} s on {name}",
            figures={"seconds": seconds},
        )


def _train_together(number: int) -> float:
    """Seconds until `number` processes have each trained `NUM_EPOCHS` epochs, from when all are ready."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(number + 1)
    processes = [context.Process(target=_train, args=(barrier,)) for _ in range(number)]
    for process in processes:
        process.start()
    barrier.wait(120)
    start = time.perf_counter()
    barrier.wait(120)
    seconds = time.perf_counter() - start
    for process in processes:
        process.join()
    return seconds


def _train(barrier: threading.Barrier) -> None:
    training = make_training(torch.device("cuda"))
    training.run_epoch()
    barrier.wait(120)
    for _ in range(NUM_EPOCHS):
        training.run_epoch()
    barrier.wait(120)


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
        return Row(what=what, value=statistics.median(found), unit="%", detail=f"bf16 on {name}")
    return Row(what=what, value=None, unit="%", detail="NVML does not answer")


if __name__ == "__main__":
    for row in rows(quick="--quick" in sys.argv):
        print(json.dumps(asdict(row)), flush=True)
