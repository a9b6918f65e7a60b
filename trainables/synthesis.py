"""The Ray Trainable: one actor trains one trial after another, a step an epoch."""

import time

TAKEN = time.monotonic()  # as near as a worker comes to the moment Ray gave it its device: before the slow imports

import errno  # noqa: E402
import socket  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from trainables.lean import without_collector  # noqa: E402
from trainables.proof import OtherCode, check_code, source_digest  # noqa: E402

with without_collector():
    from ray import tune

STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""Errors that no other trial would escape: the study stops, resumable, instead of failing trial after trial."""


class Synthesis(tune.Trainable):
    """Trains what `config["trial"]` says and leaves the outcome in the trial's own checkpoint folder.

    Ray's results carry validation measurements only. Test scores go to `scores.json` in the checkpoint folder, so
    that no searcher can see them.
    """

    def setup(self, config: dict[str, Any], *, cohort: Any = None, settings: dict[str, Any] | None = None) -> None:
        """First trial of this actor. `cohort` comes from the object store; `settings` are the study's constants."""
        self._cohort, self._settings, self._proven = cohort, settings or {}, False
        self._begin(config["trial"], taken=TAKEN)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial in the same process: everything fresh, through the same code as the first."""
        self._begin(new_config["trial"], taken=time.monotonic())
        return True

    def _begin(self, trial: dict[str, Any], *, taken: float) -> None:
        self._trial = trial
        self._outcome: dict[str, Any] = {}
        self._num_reported = 0
        self._training: Any = None
        try:
            self._prepare(trial, taken)
        except Exception as error:  # told by the first step, so that the attempt is charged and named
            self._outcome = _failed(error)

    def _prepare(self, trial: dict[str, Any], taken: float) -> None:
        with without_collector():
            from trainables.config import TrainingConfig
            from trainables.extensions import extend_path
            from trainables.hardware import (
                describe,
                energy_counter,
                peak_bytes,
                ready_process,
                reset_peak,
                training_device,
            )
            from trainables.meter import Meter
            from trainables.training import Training
            from trainables.weighting import make_weighting

        settings = self._settings
        ready_process(settings["num_threads"])
        extend_path(settings["module_path"])
        if not self._proven:  # once a process: it does not import anew what changes later
            check_code(**settings["code"])
            self._proven = True
        device = training_device()
        reset_peak(device)
        self._directory = Path(settings["directory"]) / "checkpoints" / trial["key"]
        self._device = describe(device)
        self._meter = Meter(
            taken=taken,
            share=settings["share"],
            peak=lambda: peak_bytes(device),
            energy=energy_counter(device, settings["share"]),
        )
        training = Training(
            TrainingConfig(**settings["training"] | trial["training"]),
            self._cohort,
            terms=trial["terms"],
            weighting=make_weighting(trial["weighting"], len(trial["terms"]), seed=trial["seed"]),
            seed=trial["seed"],
            meter=self._meter,
            objective=settings["objective"],
            metrics=settings["metrics"],
            device=device,
        )
        self._initial_losses = training.initial_losses(settings["terms"])
        training.resume(self._directory)
        self._training = training
        self._meter.end_setup()

    def step(self) -> dict[str, Any]:
        """One epoch; after the last, the test. A failure is a result too, so that the actor lives on."""
        unheard = self._training is not None and len(self._training.measurements) > self._num_reported
        # After a resume, what an earlier attempt measured is told before anything is trained: the study may stop there.
        if not self._outcome and not unheard:
            try:
                self._advance()
            except Exception as error:
                self._outcome = _failed(error)
        result: dict[str, Any] = {"key": self._trial["key"], "done": bool(self._outcome), "outcome": self._outcome}
        result["code"] = source_digest("trainables")
        if self._training is not None:
            cost = vars(self._meter.cost())
            news = [measurement.as_dict() for measurement in self._training.measurements[self._num_reported :]]
            self._num_reported += len(news)
            # What an earlier attempt measured was paid for by that attempt.
            result["measurements"] = [measurement | {"cost": cost} for measurement in news] if unheard else news
            result["initial_losses"] = self._initial_losses
            result["device"] = self._device
            result["cost"] = cost
        return result

    def _advance(self) -> None:
        training = self._training
        if not training.finished:
            training.run_epoch()
            with self._meter.measure("eval"):
                training.save(self._directory)
        if training.finished:
            training.finish(self._directory, keep_model=self._trial["keep_model"])
            self._outcome = {"state": "complete"}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: a trial keeps its own checkpoint under its own key. Ray wants the method when actors are reused."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing, see `save_checkpoint`."""


def _failed(error: Exception) -> dict[str, Any]:
    """The outcome that an exception makes: the trial failed, or the study must stop, where the storage failed or this
    process has other code than the driver."""
    if isinstance(error, OSError) and error.errno in STORAGE_ERRORS:
        return {"state": "lost", "stop": f"{error.filename or 'the study folder'}: {error.strerror}"}
    if isinstance(error, OtherCode):
        return {"state": "lost", "stop": f"node {socket.gethostname()}: {error}"}
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
        reason = f"out of memory: lower training.batch_size or the share of trials a device ({reason})"
    return {"state": "failed", "reason": reason[:500]}
