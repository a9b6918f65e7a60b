"""What is measured, where, and which way is better: the one list of metrics and regions. Imports nothing slow."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

_Value = TypeVar("_Value")


class Goal(StrEnum):
    """Which way a metric is better."""

    MAX = "max"
    MIN = "min"

    @property
    def sign(self) -> int:
        """1 where larger is better, -1 where smaller is."""
        return 1 if self is Goal.MAX else -1

    def better(self, value: float, than: float) -> bool:
        """Whether `value` is truly better than another."""
        return value > than if self is Goal.MAX else value < than

    def best(self, values: Iterable[_Value], key: Callable[[_Value], float]) -> _Value:
        """The item with the best `key`; of equals the first. Raises ValueError where there is none."""
        return (max if self is Goal.MAX else min)(values, key=key)


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A metric: its goal, and how a page names and prints it."""

    name: str
    label: str
    goal: Goal
    unit: str = ""
    decimals: int = 4

    @property
    def heading(self) -> str:
        """Label with unit: `PSNR (dB)`."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def title(self) -> str:
        """Label with unit and direction: `PSNR (dB, higher is better)`."""
        better = "higher is better" if self.goal is Goal.MAX else "lower is better"
        return f"{self.label} ({self.unit}, {better})" if self.unit else f"{self.label} ({better})"


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of a volume in which metrics are measured."""

    name: str
    where: str
    """As a caption says it."""


QUANTITIES: Mapping[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity(name="psnr", label="PSNR", goal=Goal.MAX, unit="dB", decimals=2),
        Quantity(name="ssim", label="SSIM", goal=Goal.MAX),
        Quantity(name="rmse", label="RMSE", goal=Goal.MIN),
    )
}
"""The metrics that every study measures."""
GOALS: Mapping[str, Goal] = {name: quantity.goal for name, quantity in QUANTITIES.items()}

DECISIVE = Region(name="mask", where="inside the brain mask")
"""The region that selects models and decides the verdict."""
VOLUME = Region(name="volume", where="over the whole volume")
LESION = Region(name="lesion", where="inside the lesions")
REGIONS: Mapping[str, Region] = {region.name: region for region in (DECISIVE, VOLUME, LESION)}
