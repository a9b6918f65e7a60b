"""Values as JSON can hold them."""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any


def finite(value: Any) -> Any:  # type: ignore[explicit-any]  # whatever a document is made of
    """The same with None for every NaN and infinity (the PSNR of equal images), and numpy's numbers as Python's."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, int) or not isinstance(value, Real):
        return value
    return float(value) if math.isfinite(value) else None
