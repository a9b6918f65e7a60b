"""A plan walked on a clock of its own, without training anything: what would run when."""

import heapq
from collections.abc import Callable, Sequence

from study.planning.plan import Plan
from study.record.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    Heartbeat,
    Measured,
    ScaleMeasured,
    TrialPlanned,
    TrialSpec,
)
from study.record.folding import apply
from study.record.journal import Stamped
from study.record.state import StudyState
from trainables.meter import Cost
from trainables.task import Device, Measurement

NOWHERE = Device(name="", uuid=None, node="")


def rehearse(
    plan: Plan,
    terms: Sequence[str],
    *,
    workers: int,
    share: float,
    seconds_of: Callable[[TrialSpec], float],
) -> StudyState:
    """Walks a plan on a clock that starts at 0, every trial taking as long as `seconds_of` says.

    The plan itself decides what runs when and when a budget is spent. All trials measure the same quality, so that a
    search which would stop once it wins never does: what comes out is the most the plan can take.
    """
    state = StudyState()
    now = 0.0
    running: list[tuple[float, str]] = []
    metrics = {f"val/{name}": 1.0 for name in plan.goals}

    def tell(event: Event) -> None:
        apply(state, Stamped(number=0, time=now, event=event))

    tell(ScaleMeasured(losses=dict.fromkeys(terms, 1.0)))
    while True:
        while endings := plan.endings(state):
            for ending in endings:
                tell(ending)
        spec = plan.next(state) if len(running) < workers else None
        if spec is not None:
            tell(TrialPlanned(spec=spec))
            tell(AttemptStarted(trial=spec.key, attempt=1, started=now, share=share))
            heapq.heappush(running, (now + seconds_of(spec), spec.key))
        elif running:
            now, key = heapq.heappop(running)
            tell(Heartbeat())
            trial = state.trials[key]
            measurement = Measurement(
                epoch=1,
                step=1,
                metrics=metrics,
                weights=dict.fromkeys(trial.terms, 1 / len(trial.terms)),
                cost=_cost(trial.device_seconds),
            )
            tell(Measured(trial=key, attempt=1, device=NOWHERE, measurement=measurement))
            tell(AttemptEnded(trial=key, state="complete", cost=measurement.cost))
        else:
            return state


def _cost(device_seconds: float) -> Cost:
    return Cost(
        setup_seconds=0.0,
        train_seconds=device_seconds,
        eval_seconds=0.0,
        device_seconds=device_seconds,
        cpu_seconds=0.0,
        peak_bytes=0,
    )
