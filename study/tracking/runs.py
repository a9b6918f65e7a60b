"""What MLflow should show of a study: its runs, folded from the journal event by event.

Pure: no MLflow and no network, so that a replay of the same journal asks for exactly the same runs, parameters and
points. Three levels: the study, its arms, their trials. What is written is forgotten, so memory grows with the
number of trials only.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from statistics import fmean

from study.record.events import (
    AttemptEnded,
    AttemptStarted,
    Baseline,
    DriverStarted,
    DriverStopped,
    Finished,
    Measured,
    Scored,
    Scores,
    SearchEnded,
    StudyBegun,
)
from study.record.folding import apply
from study.record.info import ArmInfo
from study.record.journal import Stamped
from study.record.ledger import mean_score, total_cost
from study.record.state import StudyState, Trial, TrialState
from study.tracking.notes import arm_note, study_note
from study.tracking.run import MLFLOW_STATUS, NOTE_TAG, Run, to_ms, to_text
from study.tracking.settings import TrackingSettings
from trainables.meter import Cost
from trainables.task import JSON

LAYOUT = 1
"""Raise it when runs get other points or another order of them: what older versions wrote is then not counted."""


@dataclass(kw_only=True)
class _Strand:
    """One way to a model within an arm, paid on its own: a replicate of a search, or the training of one seed."""

    prefix: str
    """Of the metric keys: `incumbent`, and `incumbent_r1` and so on for all but the first strand of an arm."""
    closed_seconds: float = 0.0
    """Device-seconds of ended attempts."""
    incumbent: str | None = None
    values: dict[str, float | None] = field(default_factory=dict)


class Runs:
    """Folds events into runs; `dirty` are those with something to write."""

    def __init__(self, settings: TrackingSettings) -> None:
        self.settings = settings
        self.layout = f"{settings.mirror} {LAYOUT}"
        self.state = StudyState()
        self.dirty: dict[str, Run] = {}
        self.runs: dict[str, Run] = {}
        self.study_key = ""
        self._strands: dict[tuple[str, int], _Strand] = {}
        self._running: dict[str, Trial] = {}
        self._best: dict[str, float] = {}
        self._measured_at: dict[str, int] = {}
        self._epochs: dict[str, int] = {}
        self._arm_seconds: dict[str, dict[str, float]] = defaultdict(lambda: {"search": 0.0, "confirmation": 0.0})

    # --- folding --------------------------------------------------------------------------------------------------

    def fold(self, stamped: Stamped) -> None:
        """Takes one event of the journal, in order."""
        event, now = stamped.event, to_ms(stamped.time)
        if isinstance(event, DriverStarted | DriverStopped):
            self._close_running(now)
        repeated = isinstance(event, Measured) and self._is_repeated(event)
        apply(self.state, stamped)
        match event:
            case StudyBegun() if not self.study_key:
                self._open_study(stamped.time)
            case DriverStarted() if self.study_key:
                self._touch(self.study_key).set("running")
            case DriverStopped():
                self.close_open(now)
            case AttemptStarted():
                self._start_attempt(self.state.trials[event.trial], to_ms(event.started))
            case Measured() if not repeated:
                self._measure(self.state.trials[event.trial], now)
            case AttemptEnded():
                self._end_attempt(self.state.trials[event.trial], now)
            case Scored() if self.state.trials[event.trial].role != "search":
                # Of a search only the confirmed incumbent is judged: a test score in its table would invite choosing.
                self._judge(self.state.trials[event.trial], now)
            case Baseline():
                scores = _means(self.state.baselines[event.name])
                self._touch(self.study_key).log({f"baseline_{event.name}/{k}": v for k, v in scores.items()}, now, 0)
            case SearchEnded() if event.incumbent:
                self._crown(event, event.incumbent)
            case Finished():
                self._finish(now)

    def close_open(self, now: int | None = None) -> None:
        """No driver runs the study: whatever is still open is lost, at `now` or when it was last heard of."""
        end = now if now is not None else to_ms(self.state.updated or 0)
        self._close_running(end)
        for run in self.runs.values():
            if run.state == "running":
                self._touch(run.key).set("lost", end)

    def attach(self, summary: Mapping[str, JSON] | None) -> None:
        """Hangs the finished report and the resolved configuration on the study's run, the verdict in its note."""
        if not self.study_key:
            return
        run = self._touch(self.study_key)
        run.tags[NOTE_TAG] = study_note(self.state, summary)
        if "config" in self.settings.artifacts:
            run.files["study.yaml"] = ""
        if "report" in self.settings.artifacts and self._may_show_subjects:
            run.files |= {"report/index.html": "report", "report/summary.json": "report"}

    def forget(self) -> None:
        """Everything so far is in MLflow already."""
        for run in self.dirty.values():
            run.forget()
        self.dirty.clear()

    # --- study and arms -------------------------------------------------------------------------------------------

    def _open_study(self, began: float) -> None:
        info = self.state.info
        mark = hashlib.sha256(f"{info.name} {began:.6f}".encode()).hexdigest()[:8]
        self.study_key = f"{info.name}-{mark}"
        run = self._add(self.study_key, info.name, None, to_ms(began), {"level": "study"})
        run.tags[NOTE_TAG] = study_note(self.state, None)
        if info.git_revision:
            run.tags["mlflow.source.git.commit"] = info.git_revision
        for name in ("config", "cohort", "versions", "hardware"):
            values = info.document.get(name)
            run.describe(values if isinstance(values, Mapping) else {}, f"{name}/")
        run.describe({name: info.document.get(name) for name in ("git_revision", "objective", "goal", "terms")})

    def _open_arm(self, name: str, now: int) -> None:
        arm = self.state.info.arms.get(name) or ArmInfo(name=name, label=name)
        labels = {"level": "arm", "arm": name, "strategy": arm.role or None}
        run = self._add(self._arm_key(name), name, self.study_key, now, labels)
        run.tags[NOTE_TAG] = arm_note(self.state, arm)
        self._touch(self.study_key).tags[NOTE_TAG] = study_note(self.state, None)  # its chart has one more curve

    def _finish(self, now: int) -> None:
        for run in [run for run in self.runs.values() if run.level == "arm"]:
            states = {trial.state for trial in self.state.of_arm(run.name)}
            self._conclude(self._touch(run.key), "complete" if TrialState.COMPLETE in states else "failed", now)
        self._conclude(self._touch(self.study_key), "complete", now)

    # --- trials ---------------------------------------------------------------------------------------------------

    def _start_attempt(self, trial: Trial, started: int) -> None:
        arm_key, key = self._arm_key(trial.arm), self._trial_key(trial)
        if arm_key not in self.runs:
            self._open_arm(trial.arm, started)
        elif self.runs[arm_key].state != "running":
            self._touch(arm_key).set("running")
        self._running[trial.key] = trial
        if self.settings.mirror == "arms":
            return
        if key not in self.runs:
            labels: dict[str, JSON] = {"level": "trial", "arm": trial.arm, "role": trial.role, "seed": trial.seed}
            labels |= {"replicate": trial.replicate, "number": trial.number}
            run = self._add(key, trial.key, arm_key, started, labels)
            run.describe(trial.params)
            run.describe(trial.weighting, "weighting/")
        run = self._touch(key)
        run.set("running")
        run.tags["attempts"] = str(len(trial.attempts))

    def _measure(self, trial: Trial, now: int) -> None:
        measured = trial.measurements[-1]
        self._measured_at[trial.key] = now
        trial.measurements[:-1] = []  # of each trial the last one is enough here: memory grows with trials alone
        objective = self.state.objective
        value = measured.metrics.get(objective.key)
        if value is not None and self._better(value, self._best.get(trial.key)):
            self._best[trial.key] = value
        if self.settings.mirror == "epochs":
            self._log_epoch(trial)
            self._log_cost(trial, now)
        if trial.role == "confirmation":
            return
        strand, paid_seconds = self._strand(trial), self._paid(self._strand(trial))
        if value is not None and self._better(value, strand.values.get(objective.key)):
            # Until now the former incumbent was the best in hand: the curve is a staircase, not a slope.
            self._log_incumbent(trial, strand, now - 1, paid_seconds)
            strand.incumbent = trial.key
            strand.values = {k: v for k, v in measured.metrics.items() if k.startswith("val/")}
            self._log_incumbent(trial, strand, now, paid_seconds)
        if strand.incumbent == trial.key:
            weights = {f"{strand.prefix}/weight_{term}": value for term, value in measured.weights.items()}
            self._touch(self._arm_key(trial.arm)).log(weights, now, round(paid_seconds))

    def _log_epoch(self, trial: Trial) -> None:
        for last in trial.measurements[-1:]:
            weights = {f"weight/{term}": value for term, value in last.weights.items()}
            run = self._touch(self._trial_key(trial))
            run.log({**last.metrics, **weights}, self._measured_at[trial.key], last.epoch)

    def _log_cost(self, trial: Trial, now: int) -> None:
        epoch = trial.measurements[-1].epoch if trial.measurements else 0
        cost = {f"cost/{name}": value for name, value in _total_cost(trial).items()}
        self._touch(self._trial_key(trial)).log(cost, now, epoch)

    def _log_incumbent(self, trial: Trial, strand: _Strand, now: int, paid_seconds: float) -> None:
        values = {f"{strand.prefix}/{key.replace('/', '_')}": value for key, value in strand.values.items()}
        self._touch(self._arm_key(trial.arm)).log(values, now, round(paid_seconds))

    def _end_attempt(self, trial: Trial, now: int) -> None:
        self._pay(trial)
        attempt = trial.attempts[-1]
        arm = self._touch(self._arm_key(trial.arm))
        if trial.role != "confirmation":
            strand = self._strand(trial)
            self._log_incumbent(trial, strand, now, self._paid(strand))
        seconds = self._arm_seconds[trial.arm]
        # Not `cost/`: a table grouped by arm averages equal keys, and this is a sum.
        paid = {f"paid/{part}_device_seconds": value for part, value in seconds.items()}
        num_ended = sum(t.ended is not None for t in self.state.of_arm(trial.arm))
        arm.log(paid | {"paid/device_seconds": sum(seconds.values()), "paid/num_trials": num_ended}, now, num_ended)
        if self.settings.mirror == "arms":
            return
        run = self._touch(self._trial_key(trial))
        if self.settings.mirror == "trials":
            self._log_epoch(trial)
        self._log_cost(trial, now)
        best = f"best/{self.state.objective.key.replace('/', '_')}"
        run.log({best: self._best.get(trial.key)}, now, 0)
        device = attempt.device
        about = {"device": device and device.name, "node": device and device.node, "reason": attempt.reason}
        run.tags |= {name: to_text(value) for name, value in about.items() if value}
        if trial.state in MLFLOW_STATUS:
            self._conclude(run, trial.state, to_ms(attempt.ended_time or now / 1000))
        else:  # it will be tried again
            run.set("lost", to_ms(attempt.ended_time or now / 1000))

    def _judge(self, trial: Trial, now: int) -> None:
        judged = [t for t in self.state.of_arm(trial.arm) if t.scores and t.role != "search"]
        scores = [_means(t.scores or {}) for t in judged]
        means = {key: fmean(s[key] for s in scores if key in s) for key in scores[-1]}
        self._touch(self._arm_key(trial.arm)).log({f"test/{k}": v for k, v in means.items()}, now, len(judged))
        if self.settings.mirror == "arms":
            return
        run = self._touch(self._trial_key(trial))
        run.log({f"test/{k}": v for k, v in _means(trial.scores or {}).items()}, now, 0)
        folder = f"checkpoints/{trial.key}"
        if "models" in self.settings.artifacts:
            run.files |= {f"{folder}/model.safetensors": "model", f"{folder}/model.json": "model"}
        if "images" in self.settings.artifacts and self._may_show_subjects and self._images_wanted:
            run.files[f"{folder}/slices.safetensors"] = "images"

    def _crown(self, search: SearchEnded, incumbent: str) -> None:
        trial = self.state.trials[incumbent]
        self._touch(self._arm_key(search.arm)).tags[f"incumbent_r{search.replicate}"] = trial.key
        if self.settings.mirror != "arms":
            self._touch(self._trial_key(trial)).tags["incumbent"] = "yes"

    # --- cost -----------------------------------------------------------------------------------------------------

    def _close_running(self, now: int) -> None:
        """A driver came or went: what ran is lost, keeps its cost, and waits to go on."""
        for trial in list(self._running.values()):
            self._pay(trial)
            if run := self.runs.get(self._trial_key(trial)):
                ended = to_ms(trial.attempts[-1].ended_time or now / 1000)
                self._log_cost(trial, ended)
                self._touch(run.key).set("lost", ended)

    def _pay(self, trial: Trial) -> None:
        """Books the ended attempt on its strand and arm."""
        if self._running.pop(trial.key, None) is None:
            return
        seconds = trial.attempts[-1].device_seconds
        part = "confirmation" if trial.role == "confirmation" else "search"
        self._arm_seconds[trial.arm][part] += seconds
        if trial.role != "confirmation":
            self._strand(trial).closed_seconds += seconds

    def _strand(self, trial: Trial) -> _Strand:
        number = trial.replicate if trial.replicate is not None else trial.seed
        known = self._strands.get((trial.arm, number))
        if known is None:
            first = not any(arm == trial.arm for arm, _ in self._strands)
            known = self._strands[trial.arm, number] = _Strand(prefix="incumbent" if first else f"incumbent_r{number}")
        return known

    def _paid(self, strand: _Strand) -> float:
        """Device-seconds that the strand has paid by now, what still runs included."""
        running = (t.attempts[-1] for t in self._running.values() if self._strand(t) is strand)
        return strand.closed_seconds + sum(max(0.0, self.state.clock - a.started) * a.share for a in running)

    def _better(self, value: float, best: float | None) -> bool:
        return best is None or self.state.objective.goal.better(value, best)

    def _is_repeated(self, event: Measured) -> bool:
        """A resumed trial measures its last epochs again; MLflow has them already and cannot take a point back."""
        before, epoch = self._epochs.get(event.trial, -1), event.measurement.epoch
        self._epochs[event.trial] = max(before, epoch)
        return epoch <= before

    # --- runs -----------------------------------------------------------------------------------------------------

    def _add(self, key: str, name: str, parent: str | None, started: int, labels: Mapping[str, JSON]) -> Run:
        run = Run(key=key, name=name, level=str(labels["level"]), parent=parent, started=started)
        # The UI groups by any of these, so every run has them all.
        shared = {"study": self.state.info.name, "arm": "all", "replicate": "all", "seed": "all", **labels}
        run.params = {name: to_text(value) for name, value in shared.items() if value is not None and name != "level"}
        run.tags = {**self.settings.tags, **run.params, "level": run.level, "state": "running"}
        run.tags["layout"] = self.layout
        self.runs[key] = run
        return self._touch(key)

    def _conclude(self, run: Run, state: str, ended: int) -> None:
        run.set(state, ended)
        if not run.concluded:  # a parameter cannot change; should a failed trial succeed later, the tag says so
            run.params["state"], run.concluded = state, True

    def _touch(self, key: str) -> Run:
        """The run, from now on to be written."""
        return self.dirty.setdefault(key, self.runs[key])

    def _arm_key(self, arm: str) -> str:
        return f"{self.study_key}/{arm}"

    def _trial_key(self, trial: Trial) -> str:
        return f"{self.study_key}/{trial.arm}/{trial.key}"

    @property
    def _may_show_subjects(self) -> bool:
        pseudonyms = self.state.info.setting("cohort", "prepare", "pseudonyms")
        return not self.settings.pseudonyms or pseudonyms is not False

    @property
    def _images_wanted(self) -> bool:
        return self.state.info.setting("report", "images") is not False


def _total_cost(trial: Trial) -> dict[str, float]:
    """Cost of all attempts together: sums, of peaks the highest; device-seconds as paid."""
    reported = {item.name: total_cost(trial, item.name) for item in fields(Cost)}
    known = {name: value for name, value in reported.items() if value is not None}
    return known | {"device_seconds": trial.device_seconds}


def _means(scores: Scores) -> dict[str, float]:
    """Mean over subjects: `psnr` in the mask, `lesion_psnr` and `volume_psnr` in the other regions."""
    measured = [
        (region, metric) for regions in scores.values() for region, metrics in regions.items() for metric in metrics
    ]
    means: dict[str, float] = {}
    for region, metric in dict.fromkeys(measured):
        mean = mean_score(scores, region, metric)
        if mean is not None:
            means[metric if region == "mask" else f"{region}_{metric}"] = mean
    return means
