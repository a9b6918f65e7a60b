"""From a plan to its last trial: what a driver writes down, and how it ends."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from search_spaces.arm import Arm
from study.engine.stopping import Stop, StudyStopped
from study.engine.trials import Engine
from study.engine.watcher import Watcher
from study.planning.plan import Plan
from study.record.events import DriverStopped
from study.record.objective import Objective
from study.record.record import Record
from study.settings.schema import StudyConfig
from trainables.cohort import PreparedCohort
from trainables.quantities import Goal


def make_plan(config: StudyConfig, arms: Sequence[Arm], goals: Mapping[str, Goal], *, storage: Path | None) -> Plan:
    """The plan of a study.

    Args:
        arms: of the configuration, in order.
        goals: of the metrics that are measured.
        storage: folder for Optuna's files; None keeps them in memory.
    """
    objective = Objective(name=config.objective, goal=goals[config.objective])
    return Plan(arms, seed=config.seed, objective=objective, goals=goals, storage=storage)


def drive(record: Record, plan: Plan, engine: Engine, cohort: PreparedCohort, *, stop: Stop, watcher: Watcher) -> None:
    """Runs a plan to its last trial. The record says already what the study is.

    Raises:
        StudyStopped: interrupted, or out of storage; the study can be resumed.
    """
    watcher.begin(record.state, plan, engine.resources.workers)
    try:
        with stop.gently():
            engine.run(record, plan, cohort, stop=stop, watcher=watcher)
    finally:
        watcher.end()


@contextmanager
def told(record: Record) -> Iterator[None]:
    """Writes down why a driver stops, where it does; what the disk refuses stops the study, resumable."""
    try:
        yield
    except OSError as error:  # the journal's disk is full, or has become read-only
        raise StudyStopped(f"{error.filename or record.directory}: {error.strerror}") from error
    except BaseException as error:
        if record.state.begun:
            with suppress(OSError):
                record.append(DriverStopped(reason=f"{type(error).__name__}: {error}"[:300]))
        raise
