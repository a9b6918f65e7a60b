"""From a configuration to a finished study: cohort, journal, trials, report."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from study.arms import describe_arm
from study.cohort import describe, obtain, save_reference
from study.config import StudyConfig
from study.environment import code_in_use, git_revision, hardware, versions
from study.journal import Journal, apply, begun_state
from study.objective import Objective
from study.parts import changed_parts, check_parts, goals_of, origins
from study.plan import Plan
from study.progress import Progress
from study.runner import check_cpus, check_nodes, check_storage, cluster, run_trials
from study.settled import edits_left, settle, write_study
from study.state import StudyState
from study.stopping import StudyStopped, stop_signals
from study.tracking_config import TrackingSettings
from trainables.cohort import PreparedCohort
from trainables.errors import UserError
from trainables.goals import GOALS
from trainables.lean import without_collector

__all__ = ["StudyStopped", "finish", "make_plan", "resume_study", "run_study"]


def run_study(
    config: StudyConfig,
    directory: Path,
    *,
    tracking: TrackingSettings | None,
    address: str | None = None,
    progress: Progress,
) -> StudyState:
    """Runs a study in a new folder.

    Raises:
        UserError: the input is wrong; nothing has been written then.
        StudyStopped: interrupted or out of storage; `resume_study` goes on from there.
    """
    if (directory / "journal.jsonl").exists():
        raise UserError(
            f"{directory}: holds a study already. Go on with it: `cov-study resume {directory}`, "
            f"or choose another --out."
        )
    return _go(config, directory, tracking=tracking, address=address, progress=progress)


def resume_study(
    directory: Path, *, tracking: TrackingSettings | None, address: str | None = None, progress: Progress
) -> StudyState:
    """Goes on where a study stopped, with the configuration in its journal.

    Raises:
        UserError: there is no study, or `study.yaml` was edited so that its results would change.
    """
    if not (directory / "journal.jsonl").exists():
        raise UserError(f"{directory}: no study here (no journal.jsonl). Start one: `cov-study run --out {directory}`.")
    config, taken_up = settle(directory, begun_state(directory), progress.say)
    return _go(config, directory, tracking=tracking, address=address, progress=progress, taken_up=taken_up)


def _go(
    config: StudyConfig,
    directory: Path,
    *,
    tracking: TrackingSettings | None,
    address: str | None,
    progress: Progress,
    taken_up: Mapping[str, Any] = MappingProxyType({}),
) -> StudyState:
    directory, code = directory.absolute(), code_in_use()
    tracked = None if tracking is None else {"uri": tracking.masked_uri, "experiment": tracking.experiment}
    with without_collector():
        check_parts(config)
    if address is None:
        check_cpus(config.resources)
    with stop_signals(progress.say) as stop, Journal(directory / "journal.jsonl") as journal:
        cohort = obtain(config.cohort, directory.parent / "cohorts", say=progress.say)
        with cluster(config, address) as resources, mirrored(journal, tracking, directory, progress):
            if address is not None:
                check_storage(directory)
                check_nodes(code, config.module_path, origins(config))
            state = journal.replay() if journal.path.exists() else StudyState()
            journal.listeners.append(partial(apply, state))
            try:
                surroundings = {
                    "versions": versions(),
                    "hardware": hardware(resources.offered),
                    "git_revision": git_revision(),
                    "code": code,
                }
                _begin(config, directory, journal, state, cohort, surroundings)
                journal.append(
                    "driver_started",
                    pid=os.getpid(),
                    workers=resources.workers,
                    taken_up=dict(taken_up),
                    **surroundings,
                )
                write_study(directory, state.info, tracked)
                plan = make_plan(config, directory, state.goals)

                def tick() -> None:
                    stop.listen()
                    progress.tick()

                with progress.live(state, plan, resources.workers), stop.gently():
                    run_trials(
                        config,
                        plan,
                        journal,
                        state,
                        cohort,
                        directory,
                        resources,
                        shared=address is not None,
                        interrupted=stop.asked,
                        tick=tick,
                    )
                for line in edits_left(directory, state):
                    progress.say(line)
                write_study(directory, state.info, tracked)  # MLflow gets a copy
                journal.append("finished")
            except OSError as error:  # the journal's disk is full, or has become read-only
                raise StudyStopped(f"{error.filename or directory}: {error.strerror}") from error
            except BaseException as error:
                if state.info:
                    with suppress(OSError):
                        journal.append("driver_stopped", reason=f"{type(error).__name__}: {error}"[:300])
                raise
            finish(directory)
    return state


def finish(directory: Path) -> Any:
    """Writes everything that is derived from the journal: CSV files and the report. Returns the verdict."""
    from study.report.build import build_report

    return build_report(directory)


def make_plan(config: StudyConfig, directory: Path | None, goals: Mapping[str, str] = GOALS) -> Plan:
    """The plan of a configuration with metrics of these goals; `directory` holds Optuna's files, if anything does."""
    return Plan(
        config.make_arms(),
        seed=config.seed,
        objective=Objective(name=config.objective, goal=goals[config.objective]),
        goals=goals,
        storage=directory / "optuna" if directory else None,
    )


def _begin(
    config: StudyConfig,
    directory: Path,
    journal: Journal,
    state: StudyState,
    cohort: PreparedCohort,
    surroundings: Mapping[str, Any],
) -> None:
    """Writes what the study is, once, and what changed since it began.

    Raises:
        UserError: the study was begun with other images.
    """
    description = describe(cohort)
    if not state.info:
        goals = goals_of(config)
        info = {
            "name": config.name,
            "config": config.model_dump(mode="json"),
            "objective": f"val/{config.objective}",
            "goal": goals[config.objective],
            "goals": goals,
            "parts": origins(config),
            "terms": list(config.terms),
            "arms": [describe_arm(arm) for arm in config.make_arms()],
            "seeds": {"search": config.seed, "judged": list(config.seeds)},
            "cohort": description,
            **surroundings,
        }
        save_reference(cohort, directory / "checkpoints")
        # Which scan is whose stays out of study.yaml: MLflow gets that file, with names where there are no pseudonyms.
        journal.append("study", **info, scans=cohort.scans)
    elif (
        state.info["cohort"]["digest"] != description["digest"] or state.info.get("scans", cohort.scans) != cohort.scans
    ):
        raise UserError(
            f"{config.cohort.path or 'the virtual cohort'}: the images are not those that {directory.name} was begun "
            f"with; restore them, or start a new study with another --out."
        )
    note = changed_parts(state.info.get("parts") or {}, origins(config))
    if note and note not in state.notes and not state.finished:
        journal.append("note", text=note)


@contextmanager
def mirrored(
    journal: Journal, tracking: TrackingSettings | None, directory: Path, progress: Progress
) -> Iterator[None]:
    """Mirrors the journal into MLflow for as long as it is written."""
    if tracking is None:
        yield
        return
    from study.tracking import Mirror

    mirror = Mirror(tracking, directory, say=progress.say)
    journal.listeners.append(mirror)
    try:
        yield
    finally:
        mirror.close()
