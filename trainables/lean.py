"""Imports that take less time: without what a library only tries out, and without a search for garbage."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

BY_MONAI = (
    *("mlflow", "optuna", "ignite", "tensorboard", "clearml"),
    *("pandas", "matplotlib", "skimage", "sklearn", "scipy.signal"),
)
"""What MONAI imports if it is there, all submodules at once: some seconds in every worker."""


@contextmanager
def without_collector() -> Iterator[None]:
    """Imports make objects by the hundred thousand, and all stay: no garbage is sought among them, then or later."""
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
    """Lets `import library` believe that optional packages are not installed; what is loaded already stays."""
    hidden = [name for name in without if name not in sys.modules] if library not in sys.modules else []
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import fail
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
