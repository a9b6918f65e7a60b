"""The Ray Trainable: one actor trains one trial after another, a step an epoch."""

import errno
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainables.proof import OtherCode, check_code, source_digest
from trainables.startup import ready_process, without_collector
from trainables.task import REPORT, TASK, Outcome, TrialReport, TrialTask, WorkerSettings

TAKEN = time.monotonic()
"""The first moment that a worker knows of: as near as it comes to that at which Ray gave it its device. It is read here
because the imports below are slow; those above are loaded already in a process of Ray's."""

with without_collector():
    from ray import tune

if TYPE_CHECKING:
    from trainables.cohort import PreparedCohort
    from trainables.training import Training

STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""Errors that no other trial would escape: the study stops, resumable, instead of failing trial after trial."""


class Synthesis(tune.Trainable):
    """Trains what the task in its configuration says and leaves the outcome in the trial's own checkpoint folder.

    Ray's results carry validation measurements only. Test scores go to `scores.json` in the checkpoint folder, so
    that no searcher can see them.
    """

    def setup(
        self, config: dict[str, Any], *, cohort: "PreparedCohort | None" = None, settings: WorkerSettings | None = None
    ) -> None:
        """First trial of this actor. `cohort` comes from the object store; `settings` are the study's constants."""
        assert cohort is not None
        assert settings is not None
        self._cohort, self._settings, self._proven = cohort, settings, False
        self._begin(config[TASK], taken=TAKEN)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial in the same process: everything fresh, through the same code as the first."""
        self._begin(new_config[TASK], taken=time.monotonic())
        return True

    def _begin(self, task: TrialTask, *, taken: float) -> None:
        self._task = task
        self._outcome: Outcome | None = None
        self._num_reported = 0
        self._training: Training | None = None
        try:
            self._prepare(task, taken)
        except Exception as error:  # the first step reports it, so that the attempt is charged and its fault named
            self._outcome = _failed(error)

    def _prepare(self, task: TrialTask, taken: float) -> None:
        with without_collector():
            from trainables.config import TrainingConfig
            from trainables.extensions import extend_path
            from trainables.hardware import describe, energy_counter, peak_bytes, reset_peak, training_device
            from trainables.meter import Meter
            from trainables.training import Training
            from trainables.weighting import make_weighting

        settings = self._settings
        ready_process(settings.num_threads)
        extend_path(settings.module_path)
        if not self._proven:  # once a process: it does not import anew what changes later
            check_code(settings.code, settings.components)
            self._proven = True
        device = training_device()
        reset_peak(device)
        self._directory = settings.directory / "checkpoints" / task.key
        self._device = describe(device)
        self._meter = Meter(
            taken=taken,
            share=settings.share,
            peak=lambda: peak_bytes(device),
            energy=energy_counter(device, settings.share),
        )
        training = Training(
            TrainingConfig.model_validate({**settings.training, **task.training}),
            self._cohort,
            terms=task.terms,
            weighting=make_weighting(task.weighting, len(task.terms), seed=task.seed),
            seed=task.seed,
            meter=self._meter,
            objective=settings.objective,
            metrics=settings.metrics,
            device=device,
        )
        self._initial_losses = training.initial_losses(settings.terms)
        training.resume(self._directory)
        self._training = training
        self._meter.end_setup()

    def step(self) -> dict[str, Any]:
        """One epoch; after the last, the test. A failure is a result too, so that the actor lives on."""
        training = self._training
        unheard = training is not None and len(training.measurements) > self._num_reported
        # After a resume, what an earlier attempt measured is told before anything is trained: the study may stop there.
        if training is not None and self._outcome is None and not unheard:
            try:
                self._advance(training)
            except Exception as error:
                self._outcome = _failed(error)
        report = TrialReport(key=self._task.key, outcome=self._outcome, digest=source_digest("trainables"))
        if training is not None:
            cost = self._meter.cost()
            news = training.measurements[self._num_reported :]
            self._num_reported += len(news)
            report = replace(
                report,
                # What an earlier attempt measured was paid for by that attempt.
                measurements=tuple(replace(measured, cost=cost) for measured in news) if unheard else tuple(news),
                initial_losses=self._initial_losses,
                device=self._device,
                cost=cost,
            )
        return {REPORT: report, "done": report.outcome is not None}

    def _advance(self, training: "Training") -> None:
        if not training.finished:
            training.run_epoch()
            with self._meter.measure("eval"):
                training.save(self._directory)
        if training.finished:
            training.finish(self._directory, keep_model=self._task.keep_model)
            self._outcome = Outcome(state="complete")

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: a trial keeps its own checkpoint under its own key. Ray wants the method when actors are reused."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing, see `save_checkpoint`."""


def _failed(error: Exception) -> Outcome:
    """The outcome that an exception makes: the trial failed, or the study must stop, where the storage failed or this
    process has other code than the driver."""
    if isinstance(error, OSError) and error.errno in STORAGE_ERRORS:
        return Outcome(state="lost", stop=f"{error.filename or 'the study folder'}: {error.strerror}")
    if isinstance(error, OtherCode):
        return Outcome(state="lost", stop=f"node {socket.gethostname()}: {error}")
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
        reason = f"out of memory: lower training.batch_size or the share of trials a device ({reason})"
    return Outcome(state="failed", reason=reason[:500])
