"""What a study's configuration holds: its keys, their defaults, and what they mean."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from search_spaces.arm import strategy_by_name
from search_spaces.budget import Budget
from search_spaces.search import SAMPLERS
from trainables.cohort.config import CohortConfig
from trainables.cohort.virtual import VirtualCohortConfig
from trainables.config import TrainingConfig
from trainables.errors import did_you_mean
from trainables.extensions import Kind
from trainables.frozen import FrozenModel
from trainables.quantities import GOALS

STRATEGIES = ("single", "equal", "given", "tuned", "frozen")
"""What an arm may be, beside an automatic weighting by its name."""


class PrunerConfig(FrozenModel):
    """Stops trials of a search that fall behind: asynchronous successive halving."""

    name: Literal["asha"] = "asha"
    min_epochs: int = Field(default=1, ge=1)
    """Epochs before the first comparison; the next ones come after `reduction` times as many."""
    reduction: int = Field(default=3, ge=2)
    """Of the trials compared, the best 1 in `reduction` go on."""


class ArmConfig(FrozenModel):
    """One arm. Its name is its key; `strategy` says what it is, by default what its name says."""

    strategy: str | None = None
    """`single`, `equal`, `given`, `tuned`, `frozen`, or an automatic weighting (`cov`, `uncertainty`, ...)."""
    seeds: int = Field(default=1, ge=1)
    """Under how many of the study's seeds the arm is trained (a tuned arm: its incumbent confirmed)."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of an automatic weighting."""
    weights: dict[str, float] | None = None
    """Strategy `given`: the weights by term."""
    source: str = "cov"
    """Strategy `frozen`: the arm whose mean weights are frozen."""
    budget: Budget | None = None
    """Strategy `tuned`: when each replicate of the search is over."""
    replicates: int = Field(default=1, ge=1)
    """Strategy `tuned`: independent searches, each with its own sampler seed and training seed."""
    parallel: int = Field(default=4, ge=1)
    """Strategy `tuned`: trials of one replicate in flight."""
    sampler: Literal[SAMPLERS] = "tpe"  # type: ignore[valid-type]
    """Strategy `tuned`: Optuna's, see the page on searches."""
    sampler_options: dict[str, Any] = Field(default_factory=dict)
    """Arguments of that sampler."""
    pruner: PrunerConfig | None = None
    """Strategy `tuned`: stops trials that fall behind. An arm called `tuned-asha` has one without being told."""
    objectives: tuple[str, ...] = ()
    """Strategy `tuned`: metrics to search for; more than one gives a Pareto set. Default: the study's objective."""


class LearningRateConfig(FrozenModel):
    """Tunes the learning rate in every arm of the study, between the same bounds and from the same first rate.

    An arm that is searched anyway gets one dimension more within its own budget. Every other arm becomes a search
    over the learning rate alone, and its seeds confirm the incumbent.
    """

    low: float = Field(gt=0)
    high: float = Field(gt=0)
    budget: Budget = Budget(trials=6)
    """Of each arm that is not searched otherwise."""
    sampler: Literal[SAMPLERS] = "tpe"  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _ordered(self) -> "LearningRateConfig":
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


class CohortSection(FrozenModel):
    """Where the images come from and how they are prepared."""

    path: Path | None = None
    """A BIDS folder or a CSV manifest; without it the virtual cohort is simulated."""
    virtual: VirtualCohortConfig = VirtualCohortConfig()
    prepare: CohortConfig = CohortConfig()


class ResourcesConfig(FrozenModel):
    """What a trial holds and how many run at once."""

    workers: int | None = Field(default=None, ge=1)
    """Trials at a time; by default as many as the cluster holds."""
    cpus_per_trial: float = Field(default=1, gt=0)
    """More than one seldom helps."""
    gpus_per_trial: float | Literal["auto"] = "auto"
    """A whole number or a fraction of 1; `auto` is 1 where the cluster has GPUs, else 0."""
    max_retries: int = Field(default=2, ge=0)
    """How often a trial whose process died is tried again, from its checkpoint."""
    reuse_actors: bool = True
    """Keep a trial's process for the next trial, which saves seconds and changes no number."""

    @field_validator("gpus_per_trial")
    @classmethod
    def _share(cls, value: float | str) -> float | str:
        if not isinstance(value, str) and (value < 0 or (value > 1 and value != int(value))):
            raise ValueError("is a fraction of 1 or a whole number")
        return value


class ReportConfig(FrozenModel):
    """What the report says and shows."""

    margin: dict[Literal["psnr", "ssim", "rmse"], float] = Field(default_factory=dict)
    """Non-inferiority margin by metric; by default half the gain of tuned over equal on validation."""
    images: bool = True
    """Show test subjects' images (switch off for private data)."""


class StudyConfig(FrozenModel):
    """The whole comparison."""

    name: str = Field(default="study", min_length=1, pattern=r"^[\w .+-]+$")
    """Of the study; its folder is runs/<name> unless --out says otherwise."""
    seed: int = Field(default=0, ge=0)
    """Of the searches: training seed and sampler seed of replicate r are seed + r."""
    seeds: tuple[int, ...] = Field(default=(1, 2, 3), min_length=1)
    """Under these every arm is judged: initial weights and batch order."""
    objective: str = "psnr"
    """Validation metric that selects models, trials and incumbents in all arms: `psnr`, `ssim`, `rmse` or one of
    `metrics`."""
    metrics: tuple[str, ...] = ()
    """Metrics from elsewhere (an entry point's name or `module:name`), measured beside `psnr`, `ssim` and `rmse`."""
    terms: tuple[str, ...] = Field(default=("l1", "ssim", "gradient", "frequency"), min_length=1)
    """The losses, in the order of the weights."""
    cohort: CohortSection = CohortSection()
    training: TrainingConfig = TrainingConfig()
    arms: dict[str, ArmConfig] = Field(min_length=1)
    tune_learning_rate: LearningRateConfig | None = None
    """Tune the learning rate in every arm; by default `training.learning_rate` holds in all of them."""
    resources: ResourcesConfig = ResourcesConfig()
    report: ReportConfig = ReportConfig()
    module_path: tuple[Path, ...] = ()
    """Folders in which `module:name` is looked for after what is installed, relative to the configuration's own; by
    default that and the one the command is started in."""

    @field_validator("seeds", "terms", "metrics")
    @classmethod
    def _distinct(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) < len(values):
            raise ValueError("has an entry twice")
        return values

    @field_validator("arms")
    @classmethod
    def _pruned_by_name(cls, arms: dict[str, ArmConfig]) -> dict[str, ArmConfig]:
        """Writes down what the name `tuned-asha` means."""
        meant = {name: PrunerConfig() for name, arm in arms.items() if name == "tuned-asha" and arm.pruner is None}
        return arms | {name: arms[name].model_copy(update={"pruner": pruner}) for name, pruner in meant.items()}

    @model_validator(mode="after")
    def _measured(self) -> "StudyConfig":
        asked: dict[str, tuple[str, ...]] = {"objective": (self.objective,)}
        asked |= {f"arms.{name}.objectives": arm.objectives for name, arm in self.arms.items()}
        for key, names in asked.items():
            for name in names:
                if name not in (*GOALS, *self.metrics):
                    hint = did_you_mean(name, (*GOALS, *self.metrics))
                    raise ValueError(f"`{key}`: no metric {name!r} is measured (`metrics` may list it){hint}")
        return self

    def components(self) -> dict[Kind, tuple[str, ...]]:
        """Names of the terms, weightings, networks and metrics that it asks for beside those that are always there."""
        strategies = [arm.strategy or strategy_by_name(name) for name, arm in self.arms.items()]
        return {
            "terms": self.terms,
            "weightings": tuple(dict.fromkeys(s for s in strategies if s not in STRATEGIES)),
            "networks": (self.training.network.name,),
            "metrics": self.metrics,
        }
