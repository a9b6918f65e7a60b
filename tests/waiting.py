"""Waiting for what another process does. One deadline for all: a green test never comes near it.

A machine with many times more to do than it has cores is slower by that much: a deadline is at least ten times what
a quiet machine takes.
"""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 900
"""For every wait of a test. Pytest's own `timeout` is for whole tests and longer."""


def wait_for(
    condition: Callable[[], object],
    process: subprocess.Popen[Any] | None = None,
    what: str = "nothing happened",
    *,
    log: Path | None = None,
    pause: float = 0.05,
) -> None:
    """Waits until the condition holds; asks every `pause` seconds.

    Raises:
        AssertionError: the process that should bring it about ended before, or patience did. Says `what`, and the end
            of the `log`.
    """

    def told() -> str:
        return what if log is None else f"{what}: {log.read_text()[-2000:]}"

    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        ended = process is not None and process.poll() is not None  # looked at first: its last deed may be the one
        if condition():
            return
        if process is not None and ended:
            raise AssertionError(f"{told()}: ended with {process.returncode}: {process.communicate()[1]}")
        assert time.monotonic() < deadline, told()
        time.sleep(pause)
