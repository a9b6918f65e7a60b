"""Progress bars of a synthesis on standard error: the images in all, and the slices of the one at hand."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from study.synthesis.jobs import Job


class Bars:
    """Shows how far a synthesis has come; where there is no terminal, only its lines.

    Args:
        console: where to; by default standard error.
    """

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(file=sys.stderr, soft_wrap=True)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(
            *columns,
            TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            disable=not console.is_terminal,
        )
        self._images = self._progress.add_task("images", visible=False)

    def say(self, line: str) -> None:
        """One line, above the bars."""
        self._progress.console.print(line, markup=False, highlight=False)

    @contextmanager
    def image(self, job: Job, number: int, total: int) -> Iterator[Callable[[int, int], None]]:
        """Shows the slices of an image while it is made."""
        self._progress.update(self._images, total=total, completed=number - 1, visible=total > 1)
        task = self._progress.add_task(job.source.name, total=None)

        def advance(done: int, total: int) -> None:
            self._progress.update(task, completed=done, total=total, refresh=done == total)

        try:
            yield advance
        finally:
            self._progress.remove_task(task)
            self._progress.update(self._images, completed=number)

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
