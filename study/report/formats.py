"""How measured quantities and names from outside are printed. Goals are those of `trainables.metrics.METRICS`."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A test metric on the page."""

    name: str
    label: str
    goal: str
    unit: str
    decimals: int

    @property
    def title(self) -> str:
        """Label with unit and direction, e.g. `PSNR (dB, higher is better)`."""
        better = "higher is better" if self.goal == "max" else "lower is better"
        return f"{self.label} ({self.unit}, {better})" if self.unit else f"{self.label} ({better})"

    @property
    def axis(self) -> str:
        """Label of an axis of oriented differences: whatever the metric, more is better."""
        return f"worse ← difference{f' ({self.unit})' if self.unit else ''} → better"

    def format(self, value: float | None, *, signed: bool = False, unit: bool = False) -> str:
        """The value with the metric's decimals, a true minus sign, and a dash for None."""
        text = number(value, self.decimals, signed=signed)
        return f"{text} {self.unit}" if unit and self.unit and value is not None else text

    def against(self, difference: float) -> str:
        """An oriented difference (+ is better) in words: `0.45 dB worse (lower)`; lower is better for some metrics."""
        text = self.format(abs(difference), unit=True)
        if not any(digit in text for digit in "123456789"):
            return f"{text} apart"
        higher = (difference > 0) == (self.goal == "max")
        return f"{text} {_direction(difference)} ({'higher' if higher else 'lower'})"

    def between(self, low: float, high: float) -> str:
        """An oriented interval in words: `0.70 to 0.27 worse`, `0.10 worse to 0.23 better`."""
        ends = [self.format(abs(end)) for end in (low, high)]
        one_way = _direction(low) == _direction(high)
        first = ends[0] if one_way else f"{ends[0]} {_direction(low)}"
        return f"{first} to {ends[1]} {_direction(high)}"


def _direction(difference: float) -> str:
    return "worse" if difference < 0 else "better"


QUANTITIES = {
    "psnr": Quantity(name="psnr", label="PSNR", goal="max", unit="dB", decimals=2),
    "ssim": Quantity(name="ssim", label="SSIM", goal="max", unit="", decimals=4),
    "rmse": Quantity(name="rmse", label="RMSE", goal="min", unit="", decimals=4),
}
REGIONS = {"mask": "inside the brain mask", "volume": "over the whole volume", "lesion": "inside the lesions"}
OUTCOMES = {
    "superior": "superior",
    "non-inferior": "non-inferior",
    "non-inferior, worse": "non-inferior, though worse",
    "worse, margin open": "worse, and it is open whether by more than the margin",
    "inferior": "inferior",
    "undecided": "undecided",
    "not testable": "not testable",
}
"""Outcome -> how it is said outside of tables."""
BASELINES = {"identity": "Identity (the source image itself)", "intensity_map": "Intensity map (no network)"}


def number(value: float | None, decimals: int, *, signed: bool = False) -> str:
    """A number for reading: fixed decimals, a true minus sign, no negative zero, a dash for None."""
    if value is None or value != value:
        return "–"
    text = f"{value:{'+' if signed else ''},.{decimals}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    if not any(digit in text for digit in "123456789"):
        text = text.lstrip("+-")
    return text.replace("-", "\N{MINUS SIGN}")


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 trial`, `2 trials`, `no trials`."""
    return f"{number or 'no'} {noun if number == 1 else plural or f'{noun}s'}"


def seconds(value: float | None) -> str:
    """Device-seconds with three significant digits, and in hours where those are easier to grasp."""
    if value is None:
        return "–"
    text = f"{number(value, 0 if value >= 100 else 1)} s"
    return f"{text} ({number(value / 3600, 1)} h)" if value >= 7200 else text


def times(value: float | None) -> str:
    """A ratio: `12.3 ×`."""
    return "–" if value is None else f"{number(value, 1 if value < 100 else 0)} ×"


def percent(share: float) -> str:
    """`81 %`, with a space that does not break."""
    return f"{number(100 * share, 0)}\N{NARROW NO-BREAK SPACE}%"


def p_value(p: float | None) -> str:
    """A p-value as journals print it."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else number(p, 3)


def interval_text(low: float | None, high: float | None, decimals: int) -> str:
    """`−0.10 to +0.23`, or a dash."""
    if low is None or high is None:
        return "–"
    return f"{number(low, decimals, signed=True)} to {number(high, decimals, signed=True)}"


def seeds_text(seeds: Iterable[int]) -> str:
    """`seed 0`, `seeds 1, 2 and 3`."""
    words = [str(seed) for seed in sorted(seeds)]
    return f"seed{'s' if len(words) > 1 else ''} {enumerated(words)}"


def enumerated(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def clean(text: str) -> str:
    """The text without control and direction-changing characters, which could garble a file or mislead a reader."""
    shown = (
        c if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn") else "\N{REPLACEMENT CHARACTER}"
        for c in text
    )
    return "".join(shown)


def short(text: str, length: int = 28) -> str:
    """The cleaned text, cut to what fits beside a mark."""
    text = clean(text)
    return text if len(text) <= length else text[: length - 1] + "…"
