"""The kept model of an arm applied to new images, and what the user should know of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from study.record.environment import versions
from study.record.record import load_state
from study.settings.settled import begun_config
from study.synthesis.jobs import Job, find_jobs
from study.synthesis.models import choose_trial
from trainables.cohort import write_volume
from trainables.errors import UserError
from trainables.extensions import extend_path

if TYPE_CHECKING:
    from trainables.inference import Synthesiser


class Onlooker(Protocol):
    """Told how far a synthesis has come."""

    def say(self, line: str) -> None:
        """One line for a person."""

    @contextmanager
    def image(self, job: Job, number: int, total: int) -> Iterator[Callable[[int, int], None]]:
        """While inside, an image is made: the `number`-th, from 1, of `total`. Yields what is to be called with
        (slices done, slices in all)."""


class Silence:
    """Looks on and says nothing."""

    def say(self, line: str) -> None:
        """Nothing."""

    @contextmanager
    def image(self, job: Job, number: int, total: int) -> Iterator[Callable[[int, int], None]]:
        """Nothing."""
        yield lambda done, total: None


def synthesize(
    directory: Path,
    source: Path,
    out: Path,
    *,
    arm: str | None = None,
    key: str | None = None,
    mask: Path | None = None,
    force: bool = False,
    onlooker: Onlooker | None = None,
) -> list[Path]:
    """Applies a kept model of a study to an image, or to a folder of images.

    Args:
        directory: the study's folder.
        source: a NIfTI file, a folder of them, or a BIDS folder.
        out: a file for a file, a folder for a folder.
        arm: of its judged trials the best validated one is used.
        key: this trial is used.
        mask: the source's mask; for a folder a folder of masks with the same names.
        force: replace what is there.
        onlooker: told of progress and warnings; by default nobody.

    Returns:
        What was written, in the order of the sources.

    Raises:
        UserError: no such model, or a file can't be used. Of a folder the other images are written nevertheless.
    """
    onlooker = onlooker or Silence()
    state = load_state(directory)
    trial = choose_trial(state, directory, arm=arm, key=key)
    config = begun_config(directory, state.info)
    jobs = find_jobs(source, out, mask=mask, force=force, config=config.cohort.prepare)
    extend_path(config.module_path)  # the network may be user-defined
    # Torch takes seconds to import; by now every name is known to be right.
    from trainables.hardware import training_device
    from trainables.inference import Synthesiser

    synthesiser = Synthesiser.load(directory / "checkpoints" / trial.key, training_device())
    value = state.objective.value(trial)
    onlooker.say(f"Model: trial {trial.key} of arm {trial.arm}, {state.objective.key} {value:.4g}")
    note = f"Synthesised, not acquired: cov-study {versions().get('cov-study', '')}, trial {trial.key}"
    written = _synthesize_all(jobs, synthesiser, note, onlooker)
    if len(written) < len(jobs):
        raise UserError(
            f"{source}: {len(jobs) - len(written)} of {len(jobs)} images cannot be used, as said above; "
            f"the others are in {out}"
        )
    return written


def _synthesize_all(jobs: Sequence[Job], synthesiser: "Synthesiser", note: str, onlooker: Onlooker) -> list[Path]:
    """What was written. One image that cannot be used is an error; of several it is told, and the others are made."""
    written = []
    for number, job in enumerate(jobs, 1):
        try:
            with onlooker.image(job, number, len(jobs)) as advance:
                _synthesize(job, synthesiser, note, onlooker, advance)
            written.append(job.out)
        except UserError as error:
            if len(jobs) == 1:
                raise
            onlooker.say(str(error))
    return written


def _synthesize(
    job: Job, synthesiser: "Synthesiser", note: str, onlooker: Onlooker, advance: Callable[[int, int], None]
) -> None:
    """One image, from reading to writing."""
    volume = synthesiser.prepare(job.source, job.mask)
    for warning in (*volume.notes, *synthesiser.departures(volume, masked=job.mask is not None)):
        onlooker.say(f"warning: {job.source}: {warning}")
    write_volume(synthesiser.synthesise(volume, advance), volume, job.out, note=note)
