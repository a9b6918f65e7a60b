"""Imports MONAI without what it only tries out: MLflow, pandas, scipy.signal and others take most of its start."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

NOT_NEEDED = (
    *("mlflow", "optuna", "ignite", "tensorboard", "clearml"),
    *("pandas", "matplotlib", "skimage", "sklearn", "scipy.signal"),
)


@contextmanager
def lean_import() -> Iterator[None]:
    """Lets `import monai` believe that optional packages are not installed; what is loaded already stays.

    MONAI imports all its submodules and with them every optional package it finds, some seconds in every worker.
    """
    hidden = [name for name in NOT_NEEDED if name not in sys.modules] if "monai" not in sys.modules else []
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import fail
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
