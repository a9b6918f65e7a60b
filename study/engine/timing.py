"""How long a training takes on this machine, from a few real steps of it."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from study.record.events import Document
from study.settings.schema import StudyConfig
from trainables.cohort import PreparedCohort, PreparedSubject
from trainables.errors import UserError

NUM_STEPS = 6
"""Steps that are timed, after as many that warm up."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What one training takes, in seconds and bytes."""

    setup_seconds: float
    step_seconds: float
    validation_seconds: float
    """Of all validation subjects, once."""
    checkpoint_seconds: float
    """Writing a checkpoint, once an epoch."""
    test_seconds: float
    """Of all test subjects, the model written too."""
    checkpoint_bytes: int
    kept_bytes: int
    """Of what a judged trial leaves behind: model, its card and its sample slices."""
    steps_per_epoch: int
    epochs: int

    @property
    def trial_seconds(self) -> float:
        """Seconds that the device is held for one trial."""
        epoch_seconds = self.steps_per_epoch * self.step_seconds + self.validation_seconds + self.checkpoint_seconds
        return self.setup_seconds + self.epochs * epoch_seconds + self.test_seconds


def time_training(config: StudyConfig, cohort: PreparedCohort, terms: Sequence[str], weighting: Document) -> Timing:
    """Times two short epochs of a real training, of which the second counts, with one subject to evaluate.

    Evaluation goes by slices: that of one subject is scaled to all. Stopping a trial early saves what is not known
    beforehand, so every trial is taken to run to its end.
    """
    from trainables.hardware import training_device
    from trainables.meter import Meter
    from trainables.training import Training, TrainingDiverged
    from trainables.weighting import make_weighting

    judged = {split: cohort.split(split) for split in ("validation", "test")}
    few = replace(cohort, subjects=(*cohort.split("train"), judged["validation"][0], judged["test"][0]))
    few = replace(few, subjects=tuple(sorted(few.subjects, key=lambda subject: subject.start)))
    factor = {split: _num_slices(subjects) / _num_slices(subjects[:1]) for split, subjects in judged.items()}

    meter = Meter(taken=time.monotonic())
    training = Training(
        config.training.model_copy(update={"epochs": 2, "steps_per_epoch": NUM_STEPS}),
        few,
        terms=terms,
        weighting=make_weighting(weighting, len(terms), seed=config.seed),
        seed=config.seed,
        meter=meter,
        objective=config.objective,
        metrics=config.metrics,
        device=training_device(),
    )
    training.initial_losses(config.terms)
    meter.end_setup()
    try:
        warm, done = training.run_epoch().cost, training.run_epoch().cost
    except TrainingDiverged as error:
        raise UserError(f"training: {error}; lower training.learning_rate.") from None
    with tempfile.TemporaryDirectory(prefix="cov-study-") as folder:
        began = time.perf_counter()
        training.save(Path(folder))
        saved = time.perf_counter()
        checkpoint_bytes = _bytes_in(Path(folder))
        training.finish(Path(folder))
        tested = time.perf_counter()
        slice_bytes = (Path(folder) / "slices.safetensors").stat().st_size
        kept_bytes = _bytes_in(Path(folder)) - checkpoint_bytes + slice_bytes * (len(judged["test"]) - 1)
    num_rows = int(cohort.mask[_rows(cohort.split("train"))].any(axis=(1, 2)).sum())
    return Timing(
        setup_seconds=done.setup_seconds,
        step_seconds=(done.train_seconds - warm.train_seconds) / NUM_STEPS,
        validation_seconds=(done.eval_seconds - warm.eval_seconds) * factor["validation"],
        checkpoint_seconds=saved - began,
        test_seconds=(tested - saved) * factor["test"],
        checkpoint_bytes=checkpoint_bytes,
        kept_bytes=kept_bytes,
        steps_per_epoch=config.training.steps_per_epoch or -(-num_rows // config.training.batch_size),
        epochs=config.training.epochs,
    )


def _num_slices(subjects: tuple[PreparedSubject, ...]) -> int:
    return sum(subject.stop - subject.start for subject in subjects)


def _rows(subjects: tuple[PreparedSubject, ...]) -> list[int]:
    return [row for subject in subjects for row in range(subject.start, subject.stop)]


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
