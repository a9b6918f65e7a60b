"""What a study will take, told before anything is spent: a few real steps are timed, then the plan is rehearsed."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from study.engine.drive import make_plan
from study.engine.images import obtain, simulate
from study.engine.resources import resources_of
from study.engine.timing import Timing, time_training
from study.planning.rehearsal import rehearse
from study.record.events import TrialSpec
from study.record.state import Trial
from study.settings.arms import make_arms
from study.settings.components import check_components
from study.settings.schema import StudyConfig
from trainables.cohort import PreparedCohort, find_cohort
from trainables.cpus import usable_cpus


@dataclass(frozen=True, kw_only=True)
class ArmEstimate:
    """What the trials of an arm will take."""

    arm: str
    num_trials: int
    step_seconds: float
    device_seconds: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a study will take."""

    name: str
    device: str
    workers: int
    """Trials at a time."""
    arms: Sequence[ArmEstimate]
    num_trials: int
    device_seconds: float
    makespan_seconds: float
    disk: Mapping[str, int]
    """Bytes by kind, `total` and `free` beside."""


def estimate(config: StudyConfig, directory: Path, *, say: Callable[[str], None] = lambda line: None) -> Estimate:
    """What a study in `directory` will take on this machine; its cohort is prepared, nothing else is done.

    Raises:
        UserError: the configuration or the images do not fit.
    """
    import torch

    from trainables.hardware import describe, training_device
    from trainables.startup import ready_process

    components = check_components(config, make_arms(config))
    resources = resources_of(config.resources, {"CPU": float(usable_cpus()), "GPU": float(torch.cuda.device_count())})
    ready_process(max(1, int(resources.cpus)))
    cache = directory.absolute().parent / "cohorts"
    cohort = obtain(config.cohort, cache, say=say)
    timings: dict[str, Timing] = {}

    def timing_of(trial: TrialSpec) -> Timing:
        weighting = {key: value for key, value in trial.weighting.items() if key != "weights"}
        key = json.dumps([trial.terms, weighting], sort_keys=True)
        if key not in timings:
            say(f"Timing {trial.arm}: {', '.join(trial.terms)}")
            if not timings:  # whatever comes first in a process pays for imports and warm caches
                time_training(config, cohort, trial.terms, trial.weighting)
            timings[key] = time_training(config, cohort, trial.terms, trial.weighting)
        return timings[key]

    plan = make_plan(config, make_arms(_with_random_points(config)), components.goals, storage=None)
    state = rehearse(
        plan,
        config.terms,
        workers=resources.workers,
        share=resources.share,
        seconds_of=lambda trial: timing_of(trial).trial_seconds,
    )
    trials = list(state.trials.values())
    timed = [(trial, timing_of(trial.spec)) for trial in trials]
    return Estimate(
        name=config.name,
        device=describe(training_device()).name,
        workers=resources.workers,
        arms=[
            ArmEstimate(
                arm=arm.name,
                num_trials=len(of_arm := state.of_arm(arm.name)),
                step_seconds=timing_of(of_arm[0].spec).step_seconds,
                device_seconds=sum(trial.device_seconds for trial in of_arm),
            )
            for arm in plan.arms
        ],
        num_trials=len(trials),
        device_seconds=sum(trial.device_seconds for trial in trials),
        makespan_seconds=max(trial.ended or 0.0 for trial in trials),
        disk=_disk(config, cohort, cache, timed, resources.workers),
    )


def _with_random_points(config: StudyConfig) -> StudyConfig:
    """The same plan; where its searches go takes no part in what it costs, so they need not think."""
    plain = {"sampler": "random", "sampler_options": {}}
    return config.model_copy(update={"arms": {name: arm.model_copy(update=plain) for name, arm in config.arms.items()}})


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
