"""How a study is stopped so that it can be resumed: Ctrl-C, SIGTERM, a preemption notice, or a failing storage."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class StudyStopped(RuntimeError):
    """The study cannot go on now, but can be resumed: the storage failed, or a person interrupted it."""


class Stop:
    """How a signal takes effect: at once, or, while trials run, at the next turn of their loop."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.gently = False

    def __call__(self, number: int, frame: Any) -> None:
        again = self.asked.is_set()
        self.asked.set()
        if again or not self.gently:
            raise KeyboardInterrupt


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Catches Ctrl-C, SIGTERM and the notice of a preemption (SIGUSR1): the journal is closed, the study resumable."""
    stop = Stop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
