"""One study, from its configuration to its report: what a notebook, a script and the commands use."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.arm import Arm
from study.engine.watcher import Silence, Watcher
from study.planning.plan import Plan
from study.planning.standing import ArmStanding, arm_standings, seconds_left
from study.record.environment import code_in_use
from study.record.events import Document, Finished
from study.record.record import JOURNAL, Record, is_running, load_state
from study.record.state import StudyState
from study.settings.arms import make_arms
from study.settings.schema import StudyConfig
from study.settings.settled import begun_config, edits_left, settle, write_study
from trainables.errors import UserError
from trainables.quantities import Goal
from trainables.startup import without_collector

if TYPE_CHECKING:
    import pandas as pd

    from study.engine.estimate import Estimate
    from study.report.build import Report
    from study.tracking.settings import TrackingSettings
    from trainables.inference import Synthesiser


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A trial that failed, and why."""

    trial: str
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """What a study looks like right now."""

    name: str
    state: str
    """`preparing` (no trial has begun), `running`, `stopped` or `finished`."""
    objective: str | None = None
    failures: tuple[Failure, ...] = ()
    arms: tuple[ArmStanding, ...] = ()
    device_seconds: float = 0.0
    seconds_left: float | None = None
    updated: float | None = None
    """Unix time of the last event."""


class Study:
    """A study in its folder. It says nothing unless a watcher is given.

    Make one with `Study.create` or `Study.open`:

        study = Study.create("runs/mine", load_config(preset="smoke"))
        study.run()
        study.trials()

    Args:
        directory: the study's folder.
        config: what it compares; None is what its journal says.
    """

    def __init__(self, directory: Path, config: StudyConfig | None = None) -> None:
        self.directory, self._config = directory, config

    @classmethod
    def create(cls, directory: Path | str, config: StudyConfig) -> "Study":
        """A new study; nothing is written yet.

        Raises:
            UserError: an arm asks for what does not fit.
        """
        study = cls(Path(directory), config)
        study.arms  # noqa: B018  # made now, so that what does not fit is told now
        return study

    @classmethod
    def open(cls, directory: Path | str) -> "Study":
        """The study in a folder, running, stopped or finished.

        Raises:
            UserError: there is none, or its files cannot be read.
        """
        study = cls(Path(directory))
        if not is_running(study.directory):  # one that is being prepared has no journal yet
            study.state  # noqa: B018  # says what is there instead
        return study

    # --- running --------------------------------------------------------------------------------------------------

    @cached_property
    def config(self) -> StudyConfig:
        """What it compares: the configuration that it was begun with, whatever `study.yaml` says now."""
        return self._config or begun_config(self.directory, self._begun_state().info)

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """The arms in order."""
        return make_arms(self.config)

    def run(
        self,
        *,
        watcher: Watcher | None = None,
        tracking: "TrackingSettings | None" = None,
        address: str | None = None,
    ) -> "Report":
        """Runs a new study to its report.

        Args:
            watcher: told how far it has come; by default nobody.
            tracking: where MLflow mirrors it (`study.tracking.settings.load_settings`); None mirrors it nowhere.
            address: of a Ray cluster; None starts Ray on this machine.

        Raises:
            UserError: the input is wrong; nothing has been written then.
            StudyStopped: interrupted or out of storage; `resume` goes on from there.
        """
        if (self.directory / JOURNAL).exists():
            raise UserError(
                f"{self.directory}: holds a study already. Go on with it: `cov-study resume {self.directory}`, "
                f"or choose another --out."
            )
        return self._go(watcher or Silence(), tracking, address, taken_up={})

    def resume(
        self,
        *,
        watcher: Watcher | None = None,
        tracking: "TrackingSettings | None" = None,
        address: str | None = None,
    ) -> "Report":
        """Goes on where the study stopped, with the configuration in its journal; see `run`.

        Raises:
            UserError: there is no study, or `study.yaml` was edited so that its results would change.
        """
        if not (self.directory / JOURNAL).exists():
            where = self.directory
            raise UserError(f"{where}: no study here (no journal.jsonl). Start one: `cov-study run --out {where}`.")
        watcher = watcher or Silence()
        info = self._begun_state().info
        taken_up = settle(self.directory, info, watcher.say)
        goes_on = Study(self.directory, begun_config(self.directory, info.with_settings(taken_up)))
        return goes_on._go(watcher, tracking, address, taken_up=taken_up)

    def _go(
        self, watcher: Watcher, tracking: "TrackingSettings | None", address: str | None, *, taken_up: Document
    ) -> "Report":
        from study.engine.begin import begin
        from study.engine.cluster import cluster
        from study.engine.drive import drive, make_plan, told
        from study.engine.images import obtain
        from study.engine.nodes import check_nodes, check_storage
        from study.engine.resources import check_cpus
        from study.engine.stopping import stop_signals
        from study.engine.trials import Engine
        from study.settings.components import check_components

        config, folder, code = self.config, self.directory.absolute(), code_in_use()
        tracked = {"uri": tracking.masked_uri, "experiment": tracking.experiment} if tracking else None
        with without_collector():
            components = check_components(config, self.arms)
        if address is None:
            check_cpus(config.resources)
        with stop_signals(watcher.say) as stop, Record(folder) as record:
            cohort = obtain(config.cohort, folder.parent / "cohorts", say=watcher.say)
            with cluster(config.resources, address) as resources, _mirrored(record, tracking, watcher.say):
                if address is not None:
                    check_storage(folder)
                    check_nodes(code, config.module_path, components.origins)
                with told(record):
                    begin(record, config, components, self.arms, cohort, resources, code=code, taken_up=taken_up)
                    write_study(folder, record.state.info.document, tracked)
                    plan = make_plan(config, self.arms, components.goals, storage=folder / "optuna")
                    engine = Engine(
                        config=config,
                        resources=resources,
                        is_shared=address is not None,
                        code=code,
                        components=components.origins,
                    )
                    drive(record, plan, engine, cohort, stop=stop, watcher=watcher)
                    for line in edits_left(folder, record.state.info):
                        watcher.say(line)
                    write_study(folder, record.state.info.document, tracked)  # MLflow gets a copy
                    record.append(Finished())
                return self.report()  # before the mirror ends: it attaches the report

    # --- asking ---------------------------------------------------------------------------------------------------

    @property
    def state(self) -> StudyState:
        """All that the journal says, read anew."""
        return load_state(self.directory)

    def status(self) -> StudyStatus:
        """Where the study stands; works while it runs."""
        is_driven = is_running(self.directory)
        if is_driven and not (self.directory / JOURNAL).exists():
            return StudyStatus(name=self.directory.absolute().name, state="preparing")
        state = self._begun_state()
        plan = self._plan(state.goals)
        arms = arm_standings(state, plan)
        workers = max(1, sum(arm.running for arm in arms))
        return StudyStatus(
            name=state.info.name,
            state="finished" if state.finished else "running" if is_driven else "stopped",
            objective=state.objective.key,
            failures=tuple(
                Failure(trial=trial.key, reason=trial.attempts[-1].reason)
                for trial in state.trials.values()
                if trial.state == "failed"
            ),
            arms=tuple(arms),
            device_seconds=sum(arm.device_seconds for arm in arms),
            seconds_left=None if state.finished else seconds_left(state, plan, workers),
            updated=state.updated,
        )

    def estimate(self, *, say: Callable[[str], None] = lambda line: None) -> "Estimate":
        """Times a few real steps and rehearses the plan: what the study will take on this machine."""
        from study.engine.estimate import estimate

        return estimate(self.config, self.directory, say=say)

    def report(self) -> "Report":
        """Builds the page, `summary.json`, tables and figures from the journal alone, and the three CSV files."""
        from study.report.build import build_report

        return build_report(self.directory)

    def sync(self, tracking: "TrackingSettings") -> Mapping[str, int]:
        """Replays the journal into MLflow; what is there already is not written twice."""
        from study.tracking.mirror import sync

        if self.edits():
            write_study(self.directory, self._begun_state().info.document)  # what is attached is the study's own
        return sync(self.directory.absolute(), tracking)

    def synthesiser(self, *, arm: str | None = None, trial: str | None = None) -> "Synthesiser":
        """The kept model of an arm (its best validated one), or of a trial, ready for new images.

        Raises:
            UserError: there is no such arm or trial, or it has kept no model.
        """
        from study.synthesis.models import choose_trial
        from trainables.extensions import extend_path
        from trainables.hardware import training_device
        from trainables.inference import Synthesiser

        chosen = choose_trial(self.state, self.directory, arm=arm, key=trial)
        extend_path(self.config.module_path)  # the network may be user-defined
        return Synthesiser.load(self.directory / "checkpoints" / chosen.key, training_device())

    # --- as tables ------------------------------------------------------------------------------------------------

    def trials(self) -> "pd.DataFrame":
        """`trials.csv`: a row a trial, with weights, scores and cost."""
        from study.record.ledger import trial_columns, trial_rows

        state = self.state
        return _frame(trial_rows(state), trial_columns(state))

    def subjects(self) -> "pd.DataFrame":
        """`subjects.csv`: test scores in long form."""
        from study.record.ledger import SUBJECT_COLUMNS, subject_rows

        return _frame(subject_rows(self.state), SUBJECT_COLUMNS)

    def ledger(self) -> "pd.DataFrame":
        """`ledger.csv`: a row an attempt, and what it cost."""
        from study.record.ledger import LEDGER_COLUMNS, attempt_rows

        return _frame(attempt_rows(self.state), LEDGER_COLUMNS)

    def measurements(self) -> "pd.DataFrame":
        """A row an epoch of a trial: validation metrics, mean losses, mean weights, cost so far."""
        from study.record.ledger import measurement_columns, measurement_rows

        state = self.state
        return _frame(measurement_rows(state), measurement_columns(state))

    def edits(self) -> list[str]:
        """A line for everything that was edited in `study.yaml` and does not count."""
        return edits_left(self.directory, self.state.info)

    def _begun_state(self) -> StudyState:
        state = self.state
        if not state.begun:
            raise UserError(
                f"{self.directory}: its journal is empty; remove the folder and start again with `cov-study run`."
            )
        return state

    def _plan(self, goals: Mapping[str, Goal]) -> Plan:
        from study.engine.drive import make_plan

        return make_plan(self.config, self.arms, goals, storage=None)

    def __repr__(self) -> str:
        return f"Study({str(self.directory)!r}: {', '.join(arm.name for arm in self.arms)})"


@contextmanager
def _mirrored(record: Record, tracking: "TrackingSettings | None", say: Callable[[str], None]) -> Iterator[None]:
    """Mirrors the journal into MLflow for as long as it is written."""
    if tracking is None:
        yield
        return
    from study.tracking.mirror import Mirror

    mirror = Mirror(tracking, record.directory, say=say)
    record.subscribe(mirror)
    try:
        yield
    finally:
        mirror.close()


def _frame(rows: Iterator[Mapping[str, object]], columns: "tuple[str, ...] | list[str]") -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(columns))
