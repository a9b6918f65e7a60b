"""One training, an epoch at a time; `trainables.synthesis` goes through its epochs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from trainables.by_subject import by_subject
from trainables.checkpoint import CARD, MODEL, load_state, save_json, save_state, save_tensors
from trainables.cohort import PreparedCohort, PreparedSubject
from trainables.cohort.config import Augmentation
from trainables.cohort.digests import digest_file
from trainables.cohort.prepared import sample_slice
from trainables.config import TrainingConfig
from trainables.cuda_graphs import NetworkLosses, RecordedLosses, can_be_recorded
from trainables.inference import autocast, predict
from trainables.losses import LossTerms
from trainables.meter import Cost, Meter
from trainables.metrics import METRICS, Metric, find_metric, score_volume
from trainables.networks import make_network
from trainables.optimiser import Adam
from trainables.quantities import Goal
from trainables.slices import Slices
from trainables.task import Measurement
from trainables.weighting import LossWeighting

if TYPE_CHECKING:
    from trainables.cohort.augment import Augment

Scores = dict[str, dict[str, dict[str, float]]]
"""scan (pseudonym; of one scan its subject's) -> region -> metric -> value."""


class TrainingDiverged(ArithmeticError):
    """A loss or a weight became infinite or NaN."""


class Training:
    """A training run, an epoch at a time.

    The initial weights are a function of `seed`, the batches of (`seed`, epoch): the same in every arm.

    Args:
        config: what is the same in every arm.
        cohort: prepared images.
        terms: names of the loss terms trained on, K of them.
        weighting: combines the K losses.
        seed: of initial weights and batch order.
        meter: clocks of this attempt.
        objective: validation metric that selects the kept model: `psnr`, `ssim`, `rmse` or one of `metrics`.
        metrics: names of what is measured beside these three, see `trainables.metrics.find_metric`.
        device: where to train.
    """

    def __init__(
        self,
        config: TrainingConfig,
        cohort: PreparedCohort,
        *,
        terms: Sequence[str],
        weighting: LossWeighting,
        seed: int,
        meter: Meter,
        objective: str = "psnr",
        metrics: Sequence[str] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        self.config, self.cohort, self.seed, self.meter = config, cohort, seed, meter
        self.objective = find_metric(objective)
        self.extra_metrics = [find_metric(name) for name in metrics]
        self.device = torch.device(device)
        self.slices = Slices(cohort, self.device)
        torch.manual_seed(seed)  # dropout and random weightings draw from the global generator
        self._in_channels = 1 + 2 * cohort.neighbours
        self.network = make_network(config.network, in_channels=self._in_channels, seed=seed, device=self.device)
        self.losses = self._make_losses(terms)
        self.weighting = weighting.to(self.device)
        self.weighting.attach(self.network)
        self._step = self._make_step(terms)
        self._augment = self._make_augment(config.augmentation) if config.augmentation else None
        self._rows = _training_rows(cohort)
        self._steps_per_epoch = config.steps_per_epoch or math.ceil(len(self._rows) / config.batch_size)
        self.optimiser = Adam(
            [*self.network.parameters(), *self.weighting.parameters()],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.epoch = 0
        self.measurements: list[Measurement] = []
        """Of all epochs done, those before a resume too."""
        self.best_value: float | None = None
        self.best_epoch = 0
        self._best: dict[str, Tensor] = {}

    # --- training -----------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= self.config.epochs

    def initial_losses(self, terms: Sequence[str]) -> dict[str, float]:
        """Value of each of `terms` on the first batch before any step: their natural scale."""
        source, target, mask = self._batch(self._order(epoch=0)[: self.config.batch_size])
        with torch.inference_mode(), self._autocast():
            values = self._make_losses(terms)(self.network(source), target, mask)
        return dict(zip(terms, values.tolist(), strict=True))

    def _make_augment(self, changes: Augmentation) -> "Augment":
        from trainables.cohort.augment import Augment  # MONAI's transforms take a second to import

        return Augment(changes, seed=self.seed)

    def _make_losses(self, terms: Sequence[str]) -> LossTerms:
        options = {name: options for name, options in self.config.term_options.items() if name in terms}
        return LossTerms(terms, options).to(self.device)

    def _make_step(self, terms: Sequence[str]) -> Callable[..., Tensor]:
        step = NetworkLosses(self.network, self.losses, self.config, self.device)
        return RecordedLosses(step) if can_be_recorded(self.config, terms, self.weighting, self.device) else step

    def run_epoch(self) -> Measurement:
        """Trains one epoch and validates.

        Raises:
            TrainingDiverged: a loss or weight is not finite. It is looked for once an epoch, so that no step waits
                for the device.
        """
        with self.meter.measure("train"):
            losses, weights = self._train_epoch()
        self.epoch += 1
        self.weighting.check()
        names = self.losses.names
        for name, loss, weight in zip(names, losses, weights, strict=True):
            if not (math.isfinite(loss) and math.isfinite(weight)):
                raise TrainingDiverged(
                    f"epoch {self.epoch}: loss {name} = {loss}, weight = {weight}; the training diverged"
                )
        with self.meter.measure("eval"):
            validation = self.validate()
        if math.isnan(validation[self.objective.name]):
            raise TrainingDiverged(f"epoch {self.epoch}: val/{self.objective.name}, which selects, is not a number")
        self._keep_best(validation[self.objective.name])
        metrics = {f"val/{name}": value for name, value in validation.items()}
        metrics |= {f"loss/{name}": value for name, value in zip(names, losses, strict=True)}
        metrics["lr"] = self.optimiser.param_groups[0]["lr"]
        measurement = Measurement(
            epoch=self.epoch,
            step=self.epoch * self._steps_per_epoch,
            metrics=metrics,
            weights=dict(zip(names, weights, strict=True)),
            cost=self.meter.cost(),
        )
        self.measurements.append(measurement)
        return measurement

    def _train_epoch(self) -> tuple[list[float], list[float]]:
        """One epoch of steps. Returns the mean loss and the mean weight of each term."""
        self.network.train()
        self.weighting.train()
        order = self._order(self.epoch)
        size = self.config.batch_size
        sums = torch.zeros(2, len(self.losses.names), device=self.device)
        for step in range(self._steps_per_epoch):
            self._set_learning_rate(self.epoch * self._steps_per_epoch + step)
            source, target, mask = self._batch(order[step * size : (step + 1) * size])
            if self._augment is not None:
                source, target, mask = self._augment(source, target, mask, epoch=self.epoch, batch=step)
            losses = self._step(source, target, mask)
            total = self.weighting(losses)
            self.optimiser.zero_grad(set_to_none=True)
            total.backward()
            self.optimiser.step()
            sums += torch.stack((losses.detach().float(), self.weighting.weights.float()))
        means = (sums / self._steps_per_epoch).tolist()
        return means[0], means[1]

    def _order(self, epoch: int) -> np.ndarray:
        """Rows of the epoch's batches, enough for its steps; a function of (seed, epoch) alone."""
        rng = np.random.default_rng([self.seed, epoch])
        if self.config.steps_per_epoch is None:
            return rng.permutation(self._rows)
        needed = self.config.steps_per_epoch * self.config.batch_size
        passes = math.ceil(needed / len(self._rows))
        return np.concatenate([rng.permutation(self._rows) for _ in range(passes)])[:needed]

    def _set_learning_rate(self, step: int) -> None:
        if self.config.schedule == "cosine":
            progress = step / (self.config.epochs * self._steps_per_epoch)
            rate = self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
            for group in self.optimiser.param_groups:
                group["lr"] = rate

    def _autocast(self) -> torch.autocast:
        return autocast(self.device, self.config.precision)

    # --- data ---------------------------------------------------------------------------------------------------

    def _batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor | None]:
        """Source (B, 1 + 2 neighbours, H, W), target and, where losses are masked, mask (B, 1, H, W) by row."""
        mask = self.slices.mask(rows).unsqueeze(1) if self.config.masked_losses else None
        return self.slices.inputs(rows), self.slices.target(rows).unsqueeze(1), mask

    # --- evaluation ---------------------------------------------------------------------------------------------

    def predict(self, subject: PreparedSubject) -> Tensor:
        """The synthesised volume of a prepared subject, (D, H, W) in normalised units."""
        return predict(
            self.network.eval(),
            self.slices.inputs,
            np.arange(subject.start, subject.stop),
            batch_size=self.config.eval_batch_size,
            precision=self.config.precision,
            device=self.device,
        )

    def validate(self) -> dict[str, float]:
        """Each metric in mask, mean over the validation subjects; scans of one subject are averaged first."""
        scans = self.cohort.scans
        scores = by_subject(self._scores("validation", whole=False), lambda scan: scans.get(scan, scan))
        names = [*METRICS, *(metric.name for metric in self.extra_metrics)]
        return {name: float(np.mean([s["mask"][name] for s in scores.values()])) for name in names}

    def test(self) -> tuple[Scores, Tensor]:
        """Scores of the kept (best-validated) model on every test scan, and its predictions of each scan's sample
        slice, (num_test_scans, H, W) float16."""
        self.network.load_state_dict(self._best)
        slices: list[Tensor] = []
        return self._scores("test", slices), torch.stack(slices)

    def finish(self, directory: Path, *, keep_model: bool = True) -> Scores:
        """Tests the kept model and writes `scores.json` and, where asked, `model.safetensors`, `model.json` and
        `slices.safetensors` to `directory`. The scores come last: where they are, all is there."""
        with self.meter.measure("eval"):
            scores, slices = self.test()
            directory.mkdir(parents=True, exist_ok=True)
            if keep_model:
                save_tensors(directory / MODEL, self._best)
                save_json(directory / CARD, self._card() | {"sha256": digest_file(directory / MODEL)})
                save_tensors(directory / "slices.safetensors", {"prediction": slices})
            save_json(directory / "scores.json", scores)
        return scores

    def _card(self) -> dict[str, Any]:
        """What is needed to use the kept model on a new volume."""
        return {
            "network": self.config.network.model_dump(mode="json"),
            "in_channels": self._in_channels,
            "precision": self.config.precision,
            "batch_size": self.config.eval_batch_size,
            "terms": list(self.losses.names),
            "seed": self.seed,
            "best_epoch": self.best_epoch,
            f"val/{self.objective.name}": self.best_value,
            "preparation": self.cohort.provenance,
        }

    def _scores(self, split: str, slices: list[Tensor] | None = None, *, whole: bool = True) -> Scores:
        scores = {}
        for subject in self.cohort.split(split):
            prediction = self.predict(subject)
            scores[subject.pseudonym] = score_subject(
                self.slices, subject, prediction, whole=whole, extra=self.extra_metrics
            )
            if slices is not None:
                slices.append(prediction[sample_slice(self.cohort, subject)].to("cpu", torch.float16))
        return scores

    def _keep_best(self, value: float) -> None:
        if self.best_value is None or Goal(self.objective.goal).better(value, self.best_value):
            self.best_value, self.best_epoch = value, self.epoch
            self._best = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    # --- checkpoints --------------------------------------------------------------------------------------------

    def save(self, directory: Path) -> None:
        """Writes everything needed to go on from here."""
        save_state(
            directory,
            {
                "epoch": self.epoch,
                "seed": self.seed,
                "network": self.network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "weighting": self.weighting.state_dict(),
                "losses": self.losses.state_dict(),
                "rng": torch.get_rng_state(),
                "best": {"value": self.best_value, "epoch": self.best_epoch, "model": self._best},
                "measurements": [asdict(measurement) for measurement in self.measurements],
            },
        )

    def resume(self, directory: Path) -> bool:
        """Goes on from the checkpoint in `directory`, if a readable one is there."""
        state = load_state(directory)
        if state is None or state["seed"] != self.seed:
            return False
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.weighting.load_state_dict(state["weighting"])
        self.losses.load_state_dict(state["losses"])
        torch.set_rng_state(state["rng"])
        self.epoch = state["epoch"]
        best = state["best"]
        self.best_value, self.best_epoch = best["value"], best["epoch"]
        self._best = {name: tensor.to(self.device) for name, tensor in best["model"].items()}
        self.measurements = [Measurement(**m | {"cost": Cost(**m["cost"])}) for m in state["measurements"]]
        return True


def score_subject(
    slices: Slices,
    subject: PreparedSubject,
    prediction: Tensor,
    *,
    whole: bool = True,
    extra: Sequence[Metric] = (),
) -> dict[str, dict[str, float]]:
    """Scores of a predicted volume (D, H, W) of one subject, by region and metric; see `score_volume`."""
    rows = np.arange(subject.start, subject.stop)
    target, mask, lesion = slices.target(rows), slices.mask(rows), slices.lesion(rows)
    return score_volume(prediction, target, mask, lesion, whole=whole, extra=extra)


def _training_rows(cohort: PreparedCohort) -> np.ndarray:
    """Rows of the training subjects' slices that show some of the mask."""
    rows = np.concatenate([np.arange(s.start, s.stop) for s in cohort.split("train")])
    return rows[cohort.mask[rows].any(axis=(1, 2))]
