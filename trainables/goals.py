"""The metrics that every study measures, and which way is better. Apart, so that nothing slow is imported with it."""

from collections.abc import Mapping
from typing import Literal

Goal = Literal["max", "min"]

GOALS: Mapping[str, Goal] = {"psnr": "max", "ssim": "max", "rmse": "min"}
