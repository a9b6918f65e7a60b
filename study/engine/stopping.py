"""How a study is stopped so that it can be resumed: Ctrl-C, SIGTERM, a preemption notice, or a failing storage."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StudyStopped(RuntimeError):
    """The study cannot go on now, but can be resumed: its storage failed."""


class StudyInterrupted(StudyStopped):
    """A person, or the system, asked the study to stop; it can be resumed."""


class Stop:
    """How a signal takes effect: at once, or, while trials run, at the next turn of their loop.

    Args:
        say: takes one line for the user.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.asked = threading.Event()
        self._say = say
        self._gentle = False

    def listen(self) -> None:
        """Takes the signals; again where a library (Ray does, twice) has taken them for itself.

        Only the main thread may: a study run from another one is stopped by its own program.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            if signal.getsignal(number) is not self:
                signal.signal(number, self)

    @contextmanager
    def gently(self) -> Iterator[None]:
        """While inside, the first signal only sets `asked`; a second one interrupts at once."""
        self._gentle = True
        try:
            yield
        finally:
            self._gentle = False

    def __call__(self, number: int, frame: Any) -> None:
        again = self.asked.is_set()
        self.asked.set()
        if again or not self._gentle:
            raise KeyboardInterrupt
        self._say("Stopping: closing the journal. Once more to stop at once.")


@contextmanager
def stop_signals(say: Callable[[str], None]) -> Iterator[Stop]:
    """Catches Ctrl-C, SIGTERM and the notice of a preemption (SIGUSR1): the journal is closed, the study resumable."""
    stop = Stop(say)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    stop.listen()
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
