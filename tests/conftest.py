"""Shared by all tests: quiet libraries, one thread, no network."""

import os

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

settings.register_profile("shared machine", deadline=None, derandomize=True)
settings.load_profile("shared machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole studies first: the processes share the files, and the longest must not be left for the end."""
    items.sort(key=lambda item: item.path.parent.name not in ("study", "docs"))
