"""What a training costs while it runs: clocks apart for set-up, training and evaluation, CPU seconds, peak memory."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cumulative cost of one attempt."""

    setup_seconds: float
    train_seconds: float
    eval_seconds: float
    device_seconds: float
    """Seconds since the device was taken, times the share of it that is held."""
    cpu_seconds: float
    """User plus system time of the process."""
    peak_bytes: int
    """Peak resident memory of the process; on a GPU, peak memory allocated there, with the cohort if it lies there."""
    energy_joules: float | None = None
    """Only where a whole GPU is held and counts its own energy; None elsewhere."""


def cpu_seconds() -> float:
    """User plus system seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Meter:
    """Clocks of one attempt.

    Args:
        taken: clock reading at which the device was taken.
        share: share of the device that is held, in (0, 1].
        clock: returns seconds that never step, also of another process of the machine: `taken` may come from there.
            While a computer sleeps it stands still.
        cpu_clock: returns the CPU seconds of this process.
        peak: returns the peak memory in bytes.
        energy: returns joules used by the whole device so far, or None where that is not honest.
    """

    def __init__(
        self,
        *,
        taken: float,
        share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = cpu_seconds,
        peak: Callable[[], int] | None = None,
        energy: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._taken = taken
        self._share = share
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._cpu_start = cpu_clock()
        self._peak = peak or (lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        self._energy = energy
        self._energy_start = energy()
        self._seconds = {"train": 0.0, "eval": 0.0}
        self._setup_seconds = 0.0

    def end_setup(self) -> None:
        """Marks the end of set-up: all since the device was taken counts as set-up."""
        self._setup_seconds = self._clock() - self._taken

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        """Adds the seconds spent inside to `train` or `eval`."""
        start = self._clock()
        try:
            yield
        finally:
            self._seconds[phase] += self._clock() - start

    def cost(self) -> Cost:
        """The cost up to now."""
        energy = self._energy()
        return Cost(
            setup_seconds=self._setup_seconds,
            train_seconds=self._seconds["train"],
            eval_seconds=self._seconds["eval"],
            device_seconds=(self._clock() - self._taken) * self._share,
            cpu_seconds=self._cpu_clock() - self._cpu_start,
            peak_bytes=self._peak(),
            energy_joules=None if energy is None or self._energy_start is None else energy - self._energy_start,
        )
