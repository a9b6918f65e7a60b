"""Writes a realistic study - journal, sample slices - without training anything, on a fake clock.

Quality follows a smooth function of the weights plus effects of subject and seed, so that a test can ask for a
study in which the search wins, loses, fails or hardly differs.
"""

import heapq
import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from study.record.journal import Journal
from study.record.record import load_state
from tests.record.plain import append

START = 1_767_225_600.0  # 2026-01-01 00:00 UTC


@dataclass(kw_only=True)
class FakeStudy:
    """What to write. Defaults: the arms of the abstract, a search of 12 trials, three seeds each."""

    terms: Sequence[str] = ("l1", "ssim", "gradient", "perceptual")
    num_subjects: int = 24
    num_trials: int = 12
    replicates: int = 1
    seeds: Sequence[int] = (1, 2, 3)
    confirm_seeds: Sequence[int] = (1, 2, 3)
    search_seed: int = 0
    """Training seed of the first search; the next ones follow."""
    epochs: int = 8
    steps_per_epoch: int = 50
    tuned_arms: Sequence[tuple[str, str]] = (("tuned", "tpe"),)
    automatic_arms: Sequence[str] = ("cov", "cov-frozen")
    single_arms: bool = True
    equal_arms: Sequence[str] = ("equal",)
    called: Mapping[str, str] = field(default_factory=dict)
    """Arm -> the name it goes by in the journal; its trials keep their keys, and so their numbers."""
    says_strategies: bool = True
    """Whether the journal says each arm's strategy, as it does today; else the configuration does."""
    cov_gain: float = 0.02
    """PSNR in dB that CoV has over fixed weights at the place where its weights go."""
    subject_noise: float = 0.22
    seed_noise: float = 0.05
    """SD in dB between trainings that differ by their seed alone."""
    optimum: float = 1.5
    """How far from equal weights the best ones are, as a log-ratio."""
    score_search: bool = True
    images: bool = True
    finished: bool = True
    simulated: bool = True
    fail: Callable[[str], bool] = lambda key: False
    lose: Callable[[str], bool] = lambda key: False
    prune: Callable[[str], bool] = lambda key: False
    margin: dict[str, float] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    name: str = "Early to delayed enhancement"
    subject_name: Callable[[int], str] = lambda i: f"test-{i + 1:02d}"
    scans: dict[str, str] | None = None
    """Whose each scan is; None as in journals written before they said so."""
    devices: Sequence[str] = ("Imaginary CPU", "Imaginary CPU")
    resumed: Sequence[dict[str, Any]] = ()
    """What each driver after the first tells of itself; the last of them runs all trials."""
    seconds: float = 240.0
    objective: str = "psnr"
    percentiles: tuple[float, float] = (0.5, 99.5)
    regions: Sequence[str] = ("mask", "volume", "lesion")
    seed: int = 0

    def write(self, directory: Path) -> Path:
        """Writes the study and returns its directory."""
        directory.mkdir(parents=True, exist_ok=True)
        clock = _Clock()
        with Journal(directory / "journal.jsonl", clock=clock, timer=clock) as journal:
            for time, kind, fields in _Writer(self).events():
                clock.now = time
                if "arm" in fields:
                    fields = fields | {"arm": self.called.get(fields["arm"], fields["arm"])}
                append(journal, kind, **fields)
        if self.images:
            _write_slices(self, directory)
        return directory

    @property
    def subjects(self) -> list[str]:
        return [self.subject_name(i) for i in range(self.num_subjects)]


class _Clock:
    now = START

    def __call__(self) -> float:
        return self.now


Event = tuple[float, str, dict[str, Any]]


class _Writer:
    def __init__(self, study: FakeStudy) -> None:
        self.study = study
        self.rng = np.random.default_rng(study.seed)
        self.subject_effect = self.rng.normal(0.0, 1.3, study.num_subjects)
        # The best place in the space of log-ratios: off the centre, so that equal weights are not the best.
        self.optimum = np.linspace(study.optimum, -study.optimum - 0.2, len(study.terms) - 1)
        self._sign = -1 if study.objective == "rmse" else 1
        self.free = [(START + 30.0, i) for i in range(len(study.devices))]

    def events(self) -> Iterator[Event]:
        study = self.study
        yield START, "study", self._info()
        yield START + 1, "driver_started", {"pid": 1}
        for name, level in (("identity", -8.0), ("intensity_map", -2.0)):
            yield START + 5, "baseline", {"name": name, "scores": self._scores(level, self.rng)}
        scale = dict(zip(study.terms, (0.11, 0.42, 0.06, 0.8, 0.2), strict=False))
        yield START + 6, "scale", {"losses": scale}
        for told in study.resumed:
            yield START + 7, "driver_started", {"pid": 2, **told}
        trials: list[Event] = []
        for arm in self._fixed() + list(study.automatic_arms):
            for seed in study.seeds:
                trials += self._trial(f"{arm}-s{seed}", arm, "single", seed)
        for arm, sampler in study.tuned_arms:
            for replicate in range(study.replicates):
                trials += self._search(arm, sampler, replicate)
        yield from sorted(trials, key=lambda event: event[0])
        if study.finished:
            yield max(event[0] for event in trials) + 1 if trials else START + 7, "finished", {}

    def _fixed(self) -> list[str]:
        singles = [f"single-{term}" for term in self.study.terms] if self.study.single_arms else []
        return [*singles, *self.study.equal_arms]

    def _info(self) -> dict[str, Any]:
        study = self.study
        arms = [{"name": name, "role": "fixed"} for name in self._fixed()]
        arms += [{"name": name, "role": "tuned"} for name, _ in study.tuned_arms]
        arms += [{"name": name, "role": "automatic"} for name in study.automatic_arms]
        settings: dict[str, dict[str, Any]] = {name: {"sampler": sampler} for name, sampler in study.tuned_arms}
        for arm in arms:
            strategy, arm["name"] = arm["name"], study.called.get(arm["name"], arm["name"])
            if arm["name"] != strategy:
                settings[arm["name"]] = settings.pop(strategy, {}) | {"strategy": strategy}
            if study.says_strategies and arm["name"] != strategy:
                arm["strategy"] = settings[arm["name"]].pop("strategy")
        return {
            "name": study.name,
            "config": {
                "seed": study.seed,
                "arms": settings,
                "report": {"margin": study.margin, "images": True, **study.report},
            },
            "cohort": {
                "num_subjects": study.num_subjects + 56,
                "splits": {"train": 48, "validation": 8, "test": study.num_subjects},
                "simulated": study.simulated,
                "shape": [96, 112],
                "provenance": {"percentiles": list(study.percentiles), "axis": "axial"},
            },
            "versions": {"python": "3.11.9", "torch": "2.13.0", "cov-study": "0.1.0"},
            "hardware": {"cpu": "Imaginary CPU", "gpu": None},
            "git_revision": "0123456789abcdef",
            "objective": f"val/{study.objective}",
            "goal": "min" if study.objective == "rmse" else "max",
            "terms": list(study.terms),
            "arms": arms,
            **({} if study.scans is None else {"scans": study.scans}),
        }

    # --- one trial ------------------------------------------------------------------------------------------------

    def _trial(
        self,
        key: str,
        arm: str,
        role: str,
        seed: int,
        *,
        params: dict[str, float] | None = None,
        replicate: int | None = None,
        number: int | None = None,
    ) -> list[Event]:
        study, rng = self.study, np.random.default_rng([self.study.seed, hash_of(key)])
        terms = [arm.removeprefix("single-")] if arm.startswith("single-") else list(study.terms)
        final = self._final_weights(arm, terms, params)
        level = self._level(arm, final) + rng.normal(0, study.seed_noise)
        free, device = heapq.heappop(self.free)
        events: list[Event] = []
        identity = {
            "role": role,
            "seed": seed,
            "replicate": replicate,
            "number": number,
            "params": params or {},
        }
        spec = {"name": "cov", "mode": "full"} if arm == "cov" else {"name": "fixed", "weights": list(final.values())}
        events.append((free, "trial", {"trial": key, "arm": arm, **identity, "weighting": spec, "terms": terms}))
        attempts = 2 if study.lose(key) else 1
        epoch, now = 1, free
        for attempt in range(1, attempts + 1):
            started = now + 0.2
            events.append(
                (now, "attempt_started", {"trial": key, "attempt": attempt, "started": started, "share": 1.0})
            )
            last = study.epochs
            state, retry = "complete", False
            if attempt < attempts:
                last, state, retry = study.epochs // 2, "lost", True
            elif study.fail(key):
                last, state = study.epochs // 3, "failed"
            elif study.prune(key):
                last, state = max(1, study.epochs // 4), "pruned"
            seconds = study.seconds / study.epochs * rng.uniform(0.97, 1.03)
            now = started + 2.5
            while epoch <= last:
                now += seconds
                where = {"name": study.devices[device], "uuid": None, "node": "here"}
                measured = self._measurement(key, arm, epoch, now - started, final, level)
                events.append((now, "measurement", {"attempt": attempt, "device": where, **measured}))
                epoch += 1
            now += 3.0
            cost = _cost(now - started)
            ended = {"trial": key, "state": state, "retry": retry, "ended": now, "cost": cost}
            reason = None if state in ("complete", "pruned") else f"{state}: the worker went away"
            events.append((now, "attempt_ended", {**ended, "reason": reason}))
        judged = role != "search" or study.score_search
        if state == "complete" and judged:
            events.append((now, "scores", {"trial": key, "scores": self._scores(level, rng, arm)}))
        heapq.heappush(self.free, (now + 0.3, device))
        return events

    def _search(self, arm: str, sampler: str, replicate: int) -> list[Event]:
        study = self.study
        rng = np.random.default_rng([study.seed, replicate, 7])
        events: list[Event] = []
        best: tuple[float, str, dict[str, float]] | None = None
        for number in range(study.num_trials):
            key = f"{arm}-r{replicate}-t{number:03d}"
            point = rng.uniform(-3.0, 3.0, len(self.optimum))
            if sampler != "random" and best is not None and number > 4:
                point = (
                    0.5 * np.array(list(best[2].values()) or 0.0)
                    + 0.5 * self.optimum
                    + rng.normal(0, 0.6, len(self.optimum))
                )
            params = {f"log_ratio/{t}": float(z) for t, z in zip(study.terms[1:], point, strict=True)}
            if number == 0:  # equal weights, before the scale of the terms is known
                params = {}
            new = self._trial(
                key, arm, "search", study.search_seed + replicate, params=params, replicate=replicate, number=number
            )
            events += new
            values = [self._sign * e[2]["metrics"][f"val/{study.objective}"] for e in new if e[1] == "measurement"]
            if any(e[1] == "scores" for e in new) or any(e[2].get("state") == "complete" for e in new):
                value = max(values)
                if best is None or value > best[0]:
                    best = (value, key, params)
        end = max(event[0] for event in events)
        fields = {
            "arm": arm,
            "replicate": replicate,
            "incumbent": best and best[1],
            "reason": "all trials done",
        }
        events.append((end, "search_ended", fields))
        if best is not None:
            self.free = [(max(free, end), device) for free, device in self.free]
            for seed in study.confirm_seeds:
                key = f"{arm}-r{replicate}-confirm-s{seed}"
                events += self._trial(key, arm, "confirmation", seed, params=best[2], replicate=replicate)
        return events

    # --- numbers --------------------------------------------------------------------------------------------------

    def _final_weights(self, arm: str, terms: list[str], params: dict[str, float] | None) -> dict[str, float]:
        if params:
            logits = np.array([0.0, *params.values()])
        elif arm in ("cov", "cov-frozen"):
            logits = np.array([0.0, *(self.optimum * 0.75)])
        else:
            logits = np.zeros(len(terms))
        weights = np.exp(logits - logits.max())
        return dict(zip(terms, (weights / weights.sum()).tolist(), strict=True))

    def _level(self, arm: str, weights: dict[str, float]) -> float:
        """PSNR in dB around 24, before effects of seed and subject."""
        if arm.startswith("single-"):
            return {"l1": -0.4, "ssim": -1.4}.get(arm.removeprefix("single-"), -2.2)
        logits = np.log(np.maximum(list(weights.values()), 1e-9))
        distance = float(np.mean((logits[1:] - logits[0] - self.optimum) ** 2)) if len(logits) > 1 else 0.0
        gain = self.study.cov_gain if arm == "cov" else 0.0
        return 0.9 - 0.55 * math.log1p(distance) + gain

    def _measurement(
        self, key: str, arm: str, epoch: int, seconds: float, final: dict[str, float], level: float
    ) -> dict[str, Any]:
        study = self.study
        progress = 1 - math.exp(-3.0 * epoch / study.epochs)
        psnr = 24.0 + level - 3.0 * (1 - progress)
        weights = final
        if arm == "cov":
            rng = np.random.default_rng([hash_of(key), epoch])
            early = math.exp(-4.0 * epoch / study.epochs)
            raw = np.array(list(final.values())) * (1 - early) + early * rng.dirichlet(np.full(len(final), 5.0))
            weights = dict(zip(final, (raw / raw.sum()).tolist(), strict=True))
        metrics = {"val/psnr": psnr, "val/ssim": _ssim(psnr, arm), "val/rmse": 10 ** (-psnr / 20), "lr": 1e-3}
        metrics |= {f"loss/{term}": 0.3 * math.exp(-progress) for term in final}
        step = epoch * study.steps_per_epoch
        return {
            "trial": key, "epoch": epoch, "step": step, "metrics": metrics,
            "weights": weights, "cost": _cost(seconds),
        }  # fmt: skip

    def _scores(self, level: float, rng: np.random.Generator, arm: str = "") -> dict[str, Any]:
        study = self.study
        noise = rng.normal(0, study.subject_noise, study.num_subjects)
        scores = {}
        for i, subject in enumerate(study.subjects):
            psnr = 24.0 + level + self.subject_effect[i] + noise[i]
            regions = {"mask": psnr, "volume": psnr + 6.0}
            if i % 4 != 3:  # a quarter of the subjects has no lesion
                regions["lesion"] = psnr - 4.0
            scores[subject] = {
                region: {"psnr": value, "ssim": _ssim(value, arm), "rmse": 10 ** (-value / 20)}
                for region, value in regions.items()
                if region in study.regions
            }
        return scores


def hash_of(text: str) -> int:
    """A hash that is the same in every process."""
    return zlib.crc32(text.encode("utf-8", "replace"))


def _ssim(psnr: float, arm: str) -> float:
    return 1 / (1 + math.exp(-(psnr - 20.0) / 4.0)) + (0.012 if arm.startswith("tuned") else 0.0)


def _cost(seconds: float) -> dict[str, float | None]:
    return {
        "setup_seconds": 2.5, "train_seconds": 0.8 * (seconds - 2.5), "eval_seconds": 0.15 * (seconds - 2.5),
        "device_seconds": seconds, "cpu_seconds": 0.97 * seconds, "peak_bytes": 900_000_000, "energy_joules": None,
    }  # fmt: skip


def _write_slices(study: FakeStudy, directory: Path) -> None:
    rng = np.random.default_rng(study.seed)
    height, width, n = 96, 80, study.num_subjects
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    mask = np.broadcast_to((x / 0.85) ** 2 + (y / 0.92) ** 2 < 1, (n, height, width)).copy()
    source, target, lesion = (np.zeros((n, height, width), np.float32) for _ in range(3))
    for i in range(n):
        folds = 0.5 + 0.13 * np.sin(9 * x + rng.uniform(0, 6)) * np.cos(8 * y + rng.uniform(0, 6))
        cx, cy, r = rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4), rng.uniform(0.12, 0.25)
        blob = np.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / r**2))
        if i % 4 != 3:
            lesion[i] = blob > 0.5
        source[i] = (folds + 0.5 * blob + rng.normal(0, 0.02, x.shape)) * mask[i]
        target[i] = (0.9 * folds + 0.35 * blob**0.5 + rng.normal(0, 0.02, x.shape)) * mask[i]
    folder = directory / "checkpoints"
    folder.mkdir(exist_ok=True)
    tensors = {"source": source, "target": target, "mask": mask, "lesion": lesion > 0.5}
    save_file(tensors, folder / "reference.safetensors", metadata={"subjects": json.dumps(study.subjects)})
    for trial in load_state(directory).trials.values():
        if trial.scores is None or (trial.role == "search"):
            continue
        if not trial.key.isascii() or not trial.key.replace("-", "").isalnum():
            continue  # a hostile name is no folder
        error = 0.05 if trial.arm.startswith("single") else 0.03
        noise = rng.normal(0, error, target.shape).astype(np.float32)
        prediction = (0.93 * target + 0.07 * source + noise) * mask
        (folder / trial.key).mkdir(exist_ok=True)
        save_file({"prediction": prediction.astype(np.float16)}, folder / trial.key / "slices.safetensors")
