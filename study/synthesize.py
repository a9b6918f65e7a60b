"""The kept model of an arm applied to new images: which model it is, and what the user should know of the images."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from study.config import validate
from study.environment import versions
from study.journal import load_state
from study.progress import objective_of
from study.state import StudyState, Trial
from study.synthesis_jobs import Job, find_jobs
from trainables.cohort import write_volume
from trainables.errors import UserError, did_you_mean
from trainables.extensions import extend_path

if TYPE_CHECKING:
    from trainables.inference import Synthesiser


def synthesize(
    directory: Path,
    source: Path,
    out: Path,
    *,
    arm: str | None = None,
    key: str | None = None,
    mask: Path | None = None,
    force: bool = False,
    console: Console | None = None,
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
        console: where progress and warnings go; by default standard error.

    Returns:
        What was written, in the order of the sources.

    Raises:
        UserError: no such model, or a file can't be used. Of a folder the other images are written nevertheless.
    """
    console = console or Console(file=sys.stderr, soft_wrap=True)
    state = load_state(directory)
    trial = choose_trial(state, directory, arm=arm, key=key)
    config = validate(state.info["config"], str(directory / "journal.jsonl"))
    jobs = find_jobs(source, out, mask=mask, force=force, config=config.cohort.prepare)
    extend_path(config.module_path)  # the network may be one's own
    # Torch takes seconds to import; by now every name is known to be right.
    from trainables.hardware import training_device
    from trainables.inference import Synthesiser

    synthesiser = Synthesiser.load(directory / "checkpoints" / trial.key, training_device())
    value = objective_of(state).value(trial)
    _say(console, f"Model: trial {trial.key} of arm {trial.arm}, {state.info['objective']} {value:.4g}")
    note = f"Synthesised, not acquired: cov-study {versions().get('cov-study', '')}, trial {trial.key}"
    written = []
    with _progress(console) as progress:
        images = progress.add_task("images", total=len(jobs), visible=len(jobs) > 1)
        for job in jobs:
            try:
                _synthesize(job, synthesiser, note, progress)
                written.append(job.out)
            except UserError as error:
                if len(jobs) == 1:
                    raise
                _say(console, str(error))
            progress.advance(images)
    if len(written) < len(jobs):
        raise UserError(
            f"{source}: {len(jobs) - len(written)} of {len(jobs)} images cannot be used, as said above; "
            f"the others are in {out}"
        )
    return written


def choose_trial(state: StudyState, directory: Path, *, arm: str | None, key: str | None) -> Trial:
    """The trial `key`, or the best validated one of those by which an arm is judged; the earlier one of equals.

    Raises:
        UserError: there is no such arm or trial, or it has kept no model.
    """
    if key is not None:
        if key not in state.trials:
            raise UserError(f"--trial {key}: {directory.name} has no such trial{did_you_mean(key, state.trials)}")
        trial = state.trials[key]
        if arm is not None and trial.arm != arm:
            raise UserError(f"--trial {key}: belongs to arm {trial.arm}, not {arm}; leave one of the two out")
        if trial.role == "search":
            raise UserError(
                f"--trial {key}: is a trial of a search, which keeps no models; use --arm {trial.arm}, "
                f"whose incumbent was trained again"
            )
        if trial.state != "complete":
            raise UserError(f"--trial {key}: is {trial.state}, and has no model yet; see `cov-study status`")
        return trial
    names = [entry["name"] for entry in state.info.get("arms", ())]
    if arm is None:
        raise UserError(f"give --arm (one of {', '.join(names)}), or --trial")
    if arm not in names:
        raise UserError(f"--arm {arm}: {directory.name} has no such arm{did_you_mean(arm, names)}")
    judged = [trial for trial in state.of_arm(arm) if trial.role != "search"]
    best = objective_of(state).incumbent(judged)
    if best is None:
        raise UserError(
            f"--arm {arm}: has no model yet, since no trial it is judged by is complete; "
            f"go on with `cov-study resume {directory}`"
        )
    return best


def _synthesize(job: Job, synthesiser: "Synthesiser", note: str, progress: Progress) -> None:
    """One image, from reading to writing."""
    task = progress.add_task(job.source.name, total=None)
    try:
        volume = synthesiser.prepare(job.source, job.mask)
        for warning in (*volume.notes, *synthesiser.departures(volume, masked=job.mask is not None)):
            _say(progress.console, f"warning: {job.source}: {warning}")
        slices = synthesiser.synthesise(
            volume, lambda done, total: progress.update(task, completed=done, total=total, refresh=done == total)
        )
        write_volume(slices, volume, job.out, note=note)
    finally:
        progress.remove_task(task)


def _progress(console: Console) -> Progress:
    """Slices of the image at hand and images in all; nothing where there is no terminal."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal)


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False)
