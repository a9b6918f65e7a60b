"""What a study will take, told before anything is spent: a few real steps are timed, then the plan is rehearsed."""

import heapq
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from search_spaces.arm import Spec
from study.cohort import obtain, simulate
from study.config import StudyConfig
from study.console import make_console, make_table
from study.journal import apply
from study.parts import check_parts, goals_of
from study.plan import Plan
from study.run import make_plan
from study.runner import resources_of
from study.state import StudyState, Trial
from study.units import duration, size
from trainables.cohort import PreparedCohort, PreparedSubject, find_cohort
from trainables.cpus import usable_cpus
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


def estimate(config: StudyConfig, directory: Path, *, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """What a study in `directory` will take on this machine; its cohort is prepared, nothing else is done.

    Returns:
        `arms` (`arm`, `num_trials`, `device_seconds`, `step_seconds` each), `num_trials`, `device_seconds`,
        `makespan_seconds` for `workers`, `disk` (bytes by kind, `total`, `free`) and `device`.

    Raises:
        UserError: the configuration or the images do not fit.
    """
    import torch

    from trainables.hardware import describe, ready_process, training_device

    check_parts(config)
    resources = resources_of(config, {"CPU": float(usable_cpus()), "GPU": float(torch.cuda.device_count())})
    ready_process(max(1, int(resources.cpus)))
    cache = directory.absolute().parent / "cohorts"
    cohort = obtain(config.cohort, cache, say=say)
    timings: dict[str, Timing] = {}

    def timing_of(trial: Trial) -> Timing:
        weighting = {key: value for key, value in trial.weighting.items() if key != "weights"}
        key = json.dumps([trial.terms, weighting], sort_keys=True)
        if key not in timings:
            say(f"Timing {trial.arm}: {', '.join(trial.terms)}")
            if not timings:  # whatever comes first in a process pays for imports and warm caches
                time_training(config, cohort, trial.terms, trial.weighting)
            timings[key] = time_training(config, cohort, trial.terms, trial.weighting)
        return timings[key]

    plan = make_plan(_with_random_points(config), None, goals_of(config))
    state = rehearse(
        plan,
        config.terms,
        workers=resources.workers,
        share=resources.share,
        seconds_of=lambda trial: timing_of(trial).trial_seconds,
    )
    trials = list(state.trials.values())
    return {
        "name": config.name,
        "device": describe(training_device())["name"],
        "workers": resources.workers,
        "arms": [
            {
                "arm": arm.name,
                "num_trials": len(of_arm := state.of_arm(arm.name)),
                "step_seconds": timing_of(of_arm[0]).step_seconds,
                "device_seconds": sum(trial.device_seconds for trial in of_arm),
            }
            for arm in plan.arms
        ],
        "num_trials": len(trials),
        "device_seconds": sum(trial.device_seconds for trial in trials),
        "makespan_seconds": max(trial.ended or 0.0 for trial in trials),
        "disk": _disk(config, cohort, cache, [(trial, timing_of(trial)) for trial in trials], resources.workers),
    }


def _with_random_points(config: StudyConfig) -> StudyConfig:
    """The same plan; where its searches go takes no part in what it costs, so they need not think."""
    plain = {"sampler": "random", "sampler_options": {}}
    return config.model_copy(update={"arms": {name: arm.model_copy(update=plain) for name, arm in config.arms.items()}})


def time_training(config: StudyConfig, cohort: PreparedCohort, terms: list[str], weighting: Spec) -> Timing:
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


def rehearse(
    plan: Plan,
    terms: tuple[str, ...],
    *,
    workers: int,
    share: float,
    seconds_of: Callable[[Trial], float],
) -> StudyState:
    """Walks a plan on a clock that starts at 0, every trial taking as long as `seconds_of` says.

    The plan itself decides what runs when and when a budget is spent. All trials measure the same quality, so that a
    search which would stop once it wins never does: what comes out is the most the plan can take.
    """
    state = StudyState()
    now = 0.0
    running: list[tuple[float, str]] = []
    metrics = {f"val/{name}": 1.0 for name in plan.goals}

    def tell(kind: str, **fields: Any) -> None:
        apply(state, {"time": now, "event": kind, **fields})

    tell("scale", losses=dict.fromkeys(terms, 1.0))
    while True:
        while endings := plan.endings(state):
            for ending in endings:
                tell("search_ended", **asdict(ending))
        trial = plan.next(state) if len(running) < workers else None
        if trial is not None:
            tell("trial", **asdict(trial) | {"trial": trial.key})
            tell("attempt_started", trial=trial.key, attempt=1, started=now, share=share)
            heapq.heappush(running, (now + seconds_of(trial), trial.key))
        elif running:
            now, key = heapq.heappop(running)
            tell("heartbeat")
            trial = state.trials[key]
            tell(
                "measurement",
                trial=key,
                attempt=1,
                epoch=1,
                step=1,
                metrics=metrics,
                weights=dict.fromkeys(trial.terms, 1 / len(trial.terms)),
                cost={"device_seconds": trial.device_seconds},
                device={"name": "", "uuid": None, "node": ""},
            )
            tell("attempt_ended", trial=key, state="complete")
        else:
            return state


def _disk(
    config: StudyConfig, cohort: PreparedCohort, cache: Path, trials: list[tuple[Trial, Timing]], workers: int
) -> dict[str, int]:
    """Bytes by kind. Checkpoints are the most there are at a time: two of each training in flight."""
    path = config.cohort.path or simulate(config.cohort, cache, say=lambda line: None)
    files = {
        file
        for subject in find_cohort(path.absolute(), config.cohort.prepare).subjects
        for file in (subject.source, subject.target, subject.mask, subject.lesion)
        if file is not None
    }
    arrays = (cohort.source, cohort.target, cohort.mask, cohort.lesion)
    needed = {
        "images": sum(file.stat().st_size for file in files),
        "prepared": sum(array.nbytes for array in arrays if array is not None),
        "checkpoints": 2 * workers * max(timing.checkpoint_bytes for _, timing in trials),
        "models": sum(timing.kept_bytes for trial, timing in trials if trial.role != "search"),
    }
    return needed | {"total": sum(needed.values()), "free": shutil.disk_usage(cache).free}


def show_estimate(found: dict[str, Any], *, as_json: bool = False) -> None:
    """Prints what `estimate` found."""
    if as_json:
        print(json.dumps(found, indent=2))
        return
    console = make_console()
    rows = [
        (row["arm"], str(row["num_trials"]), f"{row['step_seconds'] * 1000:.3g}", duration(row["device_seconds"]))
        for row in found["arms"]
    ]
    rows.append(("all", str(found["num_trials"]), "", duration(found["device_seconds"])))
    title = f"{found['name']} on {found['device']}"
    console.print(make_table(title, ("arm", "trials", "ms a step", "device time"), rows))
    disk, hours = found["disk"], found["device_seconds"] / 3600
    kinds = ", ".join(f"{kind} {size(disk[kind])}" for kind in ("images", "prepared", "checkpoints", "models"))
    for line in (
        f"{f'{hours:.3g}' if hours >= 0.01 else 'less than 0.01'} device-hours, about "
        f"{duration(found['makespan_seconds'])} with {found['workers']} trial(s) at a time; trials that share a "
        "machine's memory slow each other a little.",
        f"Disk: {size(disk['total'])} ({kinds}); {size(disk['free'])} are free.",
    ):
        console.print(line, markup=False)
