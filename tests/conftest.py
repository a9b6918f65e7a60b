"""Shared by all tests: quiet libraries, one thread, no network."""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
