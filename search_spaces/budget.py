"""When a search is over: the limits, and the rule."""

from dataclasses import dataclass

from pydantic import Field, model_validator

from trainables.frozen import FrozenModel

NUM_FAILURES = 20
"""So many trials of a search that failed one after another end it: they may cost next to nothing, and no limit in hours
would ever be reached."""


@dataclass(frozen=True, kw_only=True)
class Spending:
    """What a replicate of a search has spent so far, and what it has for that."""

    num_trials: int
    device_seconds: float
    wall_seconds: float
    """Since its first trial began, counted while the study runs."""
    best: float | None = None
    """Validated objective of its incumbent, larger is better; None while it has none."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What trainings of the reference arm took, and what they are worth."""

    device_seconds: float
    """Of one training, mean over those that are complete."""
    value: float
    """Their mean validated objective, larger is better."""


class Budget(FrozenModel):
    """When one replicate of a search is over: at whichever limit comes first."""

    trials: int | None = Field(default=None, ge=1)
    """Trainings of the search."""
    device_hours: float | None = Field(default=None, gt=0)
    """Device-hours paid for."""
    wall_hours: float | None = Field(default=None, gt=0)
    """Since the first trial began, counted while the study runs."""
    times_cov: float | None = Field(default=None, gt=0)
    """Multiples of the paid cost of one training of `reference`."""
    reference: str = "cov"
    """The arm that `times_cov` and `stop_when_beaten` compare with."""
    stop_when_beaten: float | None = None
    """Stop once the incumbent's validation objective beats the reference's by this much."""

    @model_validator(mode="after")
    def _some_limit(self) -> "Budget":
        if not any((self.trials, self.device_hours, self.wall_hours, self.times_cov)):
            raise ValueError("give at least one of trials, device_hours, wall_hours, times_cov")
        return self

    @property
    def needs_reference(self) -> bool:
        """Whether trainings of the reference arm bound the search."""
        return self.times_cov is not None or self.stop_when_beaten is not None

    def spent(self, search: Spending, reference: Reference | None) -> str | None:
        """Why the budget is spent, in words; None while it is not.

        Args:
            search: what the search has spent.
            reference: None while no training of the reference arm is complete.
        """
        if self.trials is not None and search.num_trials >= self.trials:
            return f"{self.trials} trials"
        if self.device_hours is not None and search.device_seconds >= self.device_hours * 3600:
            return f"{self.device_hours:g} device-hours"
        if self.wall_hours is not None and search.wall_seconds >= self.wall_hours * 3600:
            return f"{self.wall_hours:g} hours of wall-clock"
        if reference is None:
            return None
        if self.times_cov is not None and search.device_seconds >= self.times_cov * reference.device_seconds:
            return f"{self.times_cov:g} times the cost of one {self.reference} training"
        beaten = self.stop_when_beaten
        if beaten is not None and search.best is not None and search.best - reference.value > beaten:
            return f"the incumbent beats {self.reference} by more than {beaten:g} on validation"
        return None
