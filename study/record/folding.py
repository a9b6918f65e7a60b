"""Folds events into the state of a study, one after the other."""

from collections.abc import Iterable

from study.record.events import (
    AttemptEnded,
    AttemptStarted,
    Baseline,
    DriverStarted,
    DriverStopped,
    Finished,
    Heartbeat,
    Measured,
    Note,
    ScaleMeasured,
    Scored,
    SearchEnded,
    StudyBegun,
    TrialPlanned,
)
from study.record.info import StudyInfo
from study.record.journal import Stamped
from study.record.state import Attempt, Driver, StudyState, Trial, TrialState
from trainables.by_subject import by_subject


def replay(events: Iterable[Stamped]) -> StudyState:
    """The state that the events add up to."""
    state = StudyState()
    for stamped in events:
        apply(state, stamped)
    return state


def apply(state: StudyState, stamped: Stamped) -> None:
    """Folds one event into the state."""
    event = stamped.event
    state.updated, state.clock = stamped.time, stamped.seconds
    match event:
        case StudyBegun():
            state.info = StudyInfo(document=event.document)
            state.started = stamped.time
        case DriverStarted():
            state.finished = False
            _close_running(state)
            state.drivers.append(_driver(state, event))
            state.info = state.info.with_settings(event.taken_up or {})
        case DriverStopped():
            _close_running(state)
        case Heartbeat():
            for trial in state.trials.values():
                if trial.state is TrialState.RUNNING:
                    _hear_of(trial.attempts[-1], stamped)
        case Baseline():
            _mark_work(state)
            state.baseline_scans[event.name] = event.scores
            state.baselines[event.name] = by_subject(event.scores, state.info.subject_of)
        case ScaleMeasured():
            state.scale = event.losses
        case TrialPlanned():
            state.trials[event.spec.key] = Trial(spec=event.spec)
        case AttemptStarted():
            trial = state.trials[event.trial]
            trial.state = TrialState.RUNNING
            _mark_work(state)
            # A journal from before there was a clock has Unix times, which serve for both.
            started = event.started if stamped.clock is None else stamped.clock
            attempt = Attempt(number=event.attempt, started=started, started_time=event.started, share=event.share)
            _hear_of(attempt, stamped)
            trial.attempts.append(attempt)
        case Measured():
            _measure(state.trials[event.trial], event, stamped)
        case Scored():
            trial = state.trials[event.trial]
            trial.scan_scores = event.scores
            trial.scores = by_subject(event.scores, state.info.subject_of)
        case AttemptEnded():
            _end_attempt(state.trials[event.trial], event, stamped)
        case SearchEnded():
            state.searches[event.arm, event.replicate] = event
        case Note():
            state.notes.append(event.text)
        case Finished():
            state.finished = True


def _driver(state: StudyState, event: DriverStarted) -> Driver:
    """Who began to run the study. Of the first an earlier version told when the study began."""
    if event.versions is None and not state.drivers:
        info = state.info
        return Driver(versions=info.versions, hardware=info.hardware, git_revision=info.git_revision)
    return Driver(versions=event.versions, hardware=event.hardware, git_revision=event.git_revision, code=event.code)


def _mark_work(state: StudyState) -> None:
    if state.drivers:  # a rehearsal has none
        state.drivers[-1].worked = True


def _measure(trial: Trial, event: Measured, stamped: Stamped) -> None:
    """An epoch of a trial, and what it tells of the attempt: how long the device has been held, and which it is."""
    measured = event.measurement
    # A repeated epoch (after a crash) supersedes what the lost attempt had measured.
    trial.measurements = [m for m in trial.measurements if m.epoch < measured.epoch]
    trial.measurements.append(measured)
    attempt = trial.attempts[event.attempt - 1]
    attempt.cost, attempt.device, attempt.last_epoch = measured.cost, event.device, measured.epoch
    if attempt.state is TrialState.RUNNING:
        _hear_of(attempt, stamped)
        # The worker knows when it took the device; a duration is free of the skew between two machines' clocks.
        taken = min(attempt.started, stamped.seconds - measured.cost.device_seconds / attempt.share)
        attempt.started_time -= attempt.started - taken
        attempt.started = taken


def _hear_of(attempt: Attempt, stamped: Stamped) -> None:
    """The attempt holds its device at least until this event."""
    attempt.ended, attempt.ended_time = stamped.seconds, stamped.time


def _end_attempt(trial: Trial, event: AttemptEnded, stamped: Stamped) -> None:
    attempt = trial.attempts[-1]
    attempt.state, attempt.reason = TrialState(event.state), event.reason
    _hear_of(attempt, stamped)
    if event.ended is not None:
        attempt.ended_time = event.ended
        attempt.ended = event.ended if stamped.clock is None else stamped.clock
    attempt.cost = event.cost or attempt.cost
    trial.state = TrialState.WAITING if event.retry else TrialState(event.state)


def _close_running(state: StudyState) -> None:
    """A driver came or went: what still ran is lost, keeps its cost, and waits to go on."""
    for trial in state.trials.values():
        if trial.state is TrialState.RUNNING:
            trial.state = TrialState.WAITING
            trial.attempts[-1].state = TrialState.LOST
