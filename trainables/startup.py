"""What makes a process start sooner, and what readies it to compute. Each saves what is written beside it.

| | saves | measured |
|---|---|---|
| `without_collector` | 0.8 s from the command to the first training step | docs/benchmarks.md, "Start" |
| `lean_import` of MONAI | two thirds of its import in each process that trains | on two busy cores, 3.2 of 9.8 s |
| `import_ray_integration` | most of a second of the driver's start | that import alone |
| `without_compiler` | 1 s of every worker's start | docs/benchmarks.md, "Start" |
| `ready_process` | a sixth of a training step, to the same bits | docs/benchmarks.md, "Memory that is kept" |

What needs no trick stands where it happens: Ray Tune is imported while Ray's servers start, and Ray starts no
processes that no trial would use (`study/engine/trials.py`, together 1 to 2 s).
"""

import ctypes
import gc
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

BY_MONAI = (
    *("mlflow", "optuna", "ignite", "tensorboard", "clearml"),
    *("pandas", "matplotlib", "skimage", "sklearn", "scipy.signal"),
)
"""What MONAI imports where it is installed, with all submodules, and what no training uses."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h: bytes free at the heap's end, bytes of a block, from which they go back to the system."""


@contextmanager
def without_collector() -> Iterator[None]:
    """Imports without the garbage collector.

    Imports make objects by the hundred thousand, and nearly all of them stay: the collector would look through them
    again and again and find nothing. It is off meanwhile, and what was imported is left out of later searches too.
    """
    was_enabled, num_modules = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > num_modules:
            gc.freeze()
        if was_enabled:
            gc.enable()


@contextmanager
def lean_import(library: str = "monai", without: tuple[str, ...] = BY_MONAI) -> Iterator[None]:
    """Lets `import library` believe that optional packages are not installed.

    Packages that are loaded already are not hidden, and a library that is loaded already is left as it is.
    """
    hidden = [name for name in without if name not in sys.modules] if library not in sys.modules else []
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import fail
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def import_ray_integration() -> None:
    """Imports Ray's integration with MLflow without MLflow.

    Ray's Tuner asks of each callback whether it is that integration's, and imports it to know. Call this before any
    thread may import MLflow itself, which is hidden meanwhile.
    """
    integration = "ray.air.integrations.mlflow"
    with without_collector(), lean_import(integration, without=("mlflow",)):
        import_module(integration)


def without_compiler(method: Callable[..., Any]) -> Any:
    """A method of torch's optimisers below the decorators that keep it out of compiled graphs.

    Those decorators load torch's compiler when the method is first called. No training here compiles its optimiser.
    """
    return inspect.unwrap(method)


def ready_process(num_threads: int) -> None:
    """Sets the threads of an operation, and lets this process keep the memory that it has once used.

    By default glibc gives large freed blocks back to the system, and every training step takes them anew, page after
    page.
    """
    import torch

    torch.set_num_threads(num_threads)
    with suppress(OSError, AttributeError):  # another C library
        set_option = ctypes.CDLL(None).mallopt
        set_option(M_MMAP_THRESHOLD, 2**25)  # the largest it takes
        set_option(M_TRIM_THRESHOLD, 2**30)
