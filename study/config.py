"""A study's configuration: one YAML file, validated once, resolved and written down in `study.yaml`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from search_spaces.arm import Arm, Budget, SearchPlan, strategy_by_name
from search_spaces.automatic import automatic, frozen
from search_spaces.fixed import equal, given, single
from search_spaces.halving import Halving, rungs
from search_spaces.learning_rate import LearningRates, tuned_as_well
from search_spaces.search import SAMPLERS
from search_spaces.tuned import tuned
from study.overrides import apply_override, keys_at, set_by
from trainables.cohort.config import CohortConfig
from trainables.cohort.virtual import VirtualCohortConfig
from trainables.config import TrainingConfig
from trainables.errors import UserError, did_you_mean
from trainables.extensions import Kind
from trainables.goals import GOALS

PRESETS = Path(__file__).parent / "presets"
STRATEGIES = ("single", "equal", "given", "tuned", "frozen")
"""What an arm may be, beside an automatic weighting by its name."""


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BudgetConfig(_Config):
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
    def _some_limit(self) -> "BudgetConfig":
        if not any((self.trials, self.device_hours, self.wall_hours, self.times_cov)):
            raise ValueError("give at least one of trials, device_hours, wall_hours, times_cov")
        return self


class PrunerConfig(_Config):
    """Stops trials of a search that fall behind: asynchronous successive halving."""

    name: Literal["asha"] = "asha"
    min_epochs: int = Field(default=1, ge=1)
    """Epochs before the first comparison; the next ones come after `reduction` times as many."""
    reduction: int = Field(default=3, ge=2)
    """Of the trials compared, the best 1 in `reduction` go on."""


class ArmConfig(_Config):
    """One arm. Its name is its key; `strategy` says what it is, by default what its name says."""

    strategy: str | None = None
    """`single`, `equal`, `given`, `tuned`, `frozen`, or an automatic weighting (`cov`, `uncertainty`, ...)."""
    seeds: int = Field(default=1, ge=1)
    """Under how many of the study's seeds the arm is trained (a tuned arm: its incumbent confirmed)."""
    options: dict[str, Any] = {}
    """Options of an automatic weighting."""
    weights: dict[str, float] | None = None
    """Strategy `given`: the weights by term."""
    source: str = "cov"
    """Strategy `frozen`: the arm whose mean weights are frozen."""
    budget: BudgetConfig | None = None
    """Strategy `tuned`: when each replicate of the search is over."""
    replicates: int = Field(default=1, ge=1)
    """Strategy `tuned`: independent searches, each with its own sampler seed and training seed."""
    parallel: int = Field(default=4, ge=1)
    """Strategy `tuned`: trials of one replicate in flight."""
    sampler: Literal[SAMPLERS] = "tpe"  # type: ignore[valid-type]
    """Strategy `tuned`: Optuna's, see the page on searches."""
    sampler_options: dict[str, Any] = {}
    """Arguments of that sampler."""
    pruner: PrunerConfig | None = None
    """Strategy `tuned`: stops trials that fall behind. An arm called `tuned-asha` has one without being told."""
    objectives: tuple[str, ...] = ()
    """Strategy `tuned`: metrics to search for; more than one gives a Pareto set. Default: the study's objective."""


class LearningRateConfig(_Config):
    """Tunes the learning rate in every arm of the study, between the same bounds and from the same first rate.

    An arm that is searched anyway gets one dimension more within its own budget. Every other arm becomes a search
    over the learning rate alone, and its seeds confirm the incumbent.
    """

    low: float = Field(gt=0)
    high: float = Field(gt=0)
    budget: BudgetConfig = BudgetConfig(trials=6)
    """Of each arm that is not searched otherwise."""
    sampler: Literal[SAMPLERS] = "tpe"  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _ordered(self) -> "LearningRateConfig":
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


class CohortSection(_Config):
    """Where the images come from and how they are prepared."""

    path: Path | None = None
    """A BIDS folder or a CSV manifest; without it the virtual cohort is simulated."""
    virtual: VirtualCohortConfig = VirtualCohortConfig()
    prepare: CohortConfig = CohortConfig()


class ResourcesConfig(_Config):
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


class ReportConfig(_Config):
    """What the report says and shows."""

    margin: dict[Literal["psnr", "ssim", "rmse"], float] = {}
    """Non-inferiority margin by metric; by default half the gain of tuned over equal on validation."""
    images: bool = True
    """Show test subjects' images (switch off for private data)."""


class StudyConfig(_Config):
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

    def parts(self) -> dict[Kind, tuple[str, ...]]:
        """Names of the terms, weightings, networks and metrics that it asks for beside those that are always there."""
        strategies = [arm.strategy or strategy_by_name(name) for name, arm in self.arms.items()]
        return {
            "terms": self.terms,
            "weightings": tuple(dict.fromkeys(s for s in strategies if s not in STRATEGIES)),
            "networks": (self.training.network.name,),
            "metrics": self.metrics,
        }

    def make_arms(self) -> list[Arm]:
        """The arms in order; `single` becomes one arm a term.

        Raises:
            UserError: an arm asks for what does not fit.
        """
        arms = [arm for name, config in self.arms.items() for arm in self._arms_of(name, config)]
        if self.tune_learning_rate is not None:
            arms = [self._with_learning_rate(arm, self.tune_learning_rate) for arm in arms]
        names = [arm.name for arm in arms]
        for arm in arms:
            if arm.waits_for and arm.waits_for not in names:
                raise UserError(f"arms.{arm.name}.source: waits for the arm {arm.waits_for!r}, which is not in `arms`.")
            needed = arm.search and arm.search.budget
            if needed and (needed.times_cov or needed.stop_when_beaten is not None) and needed.reference not in names:
                raise UserError(
                    f"arms.{arm.name}.budget.reference: refers to the arm {needed.reference!r}, which is not in `arms`."
                )
        return arms

    def _arms_of(self, name: str, config: ArmConfig) -> list[Arm]:
        strategy = config.strategy or strategy_by_name(name)
        if config.seeds > len(self.seeds):
            raise UserError(
                f"arms.{name}.seeds: asks for {config.seeds} seeds, but `seeds` lists {len(self.seeds)}: "
                f"{list(self.seeds)}; lower it, or list more."
            )
        seeds = self.seeds[: config.seeds]
        match strategy:
            case "single":
                return [single(term, seeds=seeds) for term in self.terms]
            case "equal":
                return [equal(self.terms, seeds=seeds, name=name)]
            case "given":
                return [given(name, config.weights or {}, self.terms, seeds=seeds)]
            case "tuned":
                return [tuned(name, self._search(name, config))]
            case "frozen":
                return [frozen(name, self.terms, seeds=seeds, source=config.source)]
            case _:
                return [automatic(name, self.terms, seeds=seeds, weighting=strategy, options=config.options)]

    def _with_learning_rate(self, arm: Arm, tuning: LearningRateConfig) -> Arm:
        first = self.training.learning_rate
        if not tuning.low <= first <= tuning.high:
            raise UserError(
                f"tune_learning_rate: every search begins with training.learning_rate = {first:g}, which is not "
                f"between low = {tuning.low:g} and high = {tuning.high:g}."
            )
        search = SearchPlan(
            terms=arm.terms,
            budget=Budget(**tuning.budget.model_dump()),
            sampler=tuning.sampler,
            objectives=(self.objective,),
        )
        return tuned_as_well(arm, LearningRates(low=tuning.low, high=tuning.high, first=first), search=search)

    def _search(self, name: str, config: ArmConfig) -> SearchPlan:
        if config.budget is None:
            raise UserError(f"arms.{name}.budget: a search needs one, for example `budget: {{trials: 12}}`.")
        if len(self.terms) < 2:
            raise UserError(f"arms.{name}: there is nothing to tune with one term; `terms` needs two or more.")
        if len(config.objectives) > 1 and config.sampler == "cma-es":
            raise UserError(f"arms.{name}.sampler: cma-es searches for one objective; give one, or another sampler.")
        return SearchPlan(
            terms=self.terms,
            budget=Budget(**config.budget.model_dump()),
            replicates=config.replicates,
            parallel=config.parallel,
            sampler=config.sampler,
            sampler_options=config.sampler_options,
            objectives=config.objectives or (self.objective,),
            halving=self._halving(name, config),
            confirm_seeds=self.seeds[: config.seeds],
        )

    def _halving(self, name: str, config: ArmConfig) -> Halving | None:
        pruner = config.pruner
        if pruner is None:
            return None
        if len(config.objectives) > 1:
            raise UserError(f"arms.{name}.objectives: a pruner compares by one objective; give one, or no pruner.")
        epochs = rungs(pruner.min_epochs, pruner.reduction, self.training.epochs)
        if not epochs:
            raise UserError(
                f"arms.{name}.pruner.min_epochs: {pruner.min_epochs} leaves nothing to save of "
                f"training.epochs = {self.training.epochs}; lower it."
            )
        return Halving(rungs=epochs, reduction=pruner.reduction)


# --- reading ----------------------------------------------------------------------------------------------------


def load_config(path: Path | None = None, *, preset: str | None = None, overrides: Sequence[str] = ()) -> StudyConfig:
    """Reads a YAML file or a preset and applies `key.path=value` overrides.

    Raises:
        UserError: one line naming the file and the key.
    """
    source = path if path is not None else _preset_path(preset or "demo")
    values = _read_yaml(source)
    for override in overrides:
        apply_override(values, override, StudyConfig)
    config = validate(values, str(path) if path is not None else f"preset {source.stem}", overrides)
    return config.model_copy(update={"module_path": _module_path(config, Path() if path is None else path.parent)})


def _module_path(config: StudyConfig, folder: Path) -> tuple[Path, ...]:
    """Absolute, so that whoever goes on with the study from elsewhere finds the same modules; none if none is asked."""
    if not any(":" in name for names in config.parts().values() for name in names):
        return ()
    return tuple(dict.fromkeys((folder / entry).resolve() for entry in config.module_path or (".", Path.cwd())))


def validate(values: Mapping[str, Any], source: str, overrides: Sequence[str] = ()) -> StudyConfig:
    """The configuration that `values` spell; errors name `source`, or the override that set it, and the key."""
    try:
        config = StudyConfig.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise UserError(f"{set_by(problem['loc'], overrides) or source}: {_one_line(problem)}") from None
    config.make_arms()
    return config


def _preset_path(name: str) -> Path:
    path = PRESETS / f"{name}.yaml"
    names = sorted(p.stem for p in PRESETS.glob("*.yaml"))
    if name not in names:
        raise UserError(f"--preset {name}: there is no such preset{did_you_mean(name, names)}")
    return path


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Start from a preset: `cov-study run --preset demo`.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise UserError(f"{path}{line}: not valid YAML ({getattr(error, 'problem', error)}).") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: a study's configuration is a mapping of keys, see `cov-study run --help`.")
    return values


def _one_line(problem: Mapping[str, Any]) -> str:
    """A problem that pydantic found, in one line that names the key and a near miss."""
    location = [part for part in problem["loc"] if part not in ("auto",) and not str(part).startswith("literal[")]
    key = ".".join(str(part) for part in location)
    if problem["type"] == "extra_forbidden":
        return f"unknown key `{key}`{did_you_mean(str(location[-1]), keys_at(StudyConfig, location[:-1]))}"
    if problem["type"] == "missing":
        return f"`{key}` is missing; give it a value."
    message = problem["msg"].removeprefix("Value error, ").rstrip(".")
    got = problem.get("input")
    shown = f" (got {got!r})" if isinstance(got, str | int | float | bool) or got is None else ""
    if key:
        return f"`{key}`: {message[:1].lower() + message[1:]}{shown}."
    return message if message.endswith("?") else f"{message}."
