"""Values on their way into JSON."""

import json
import math

import numpy as np

from study.record.finite import finite


def test_what_json_cannot_hold_becomes_none_and_all_else_stays() -> None:
    given = {"a": [math.nan, -math.inf, 1.5, 2, True, None, "inf"], "b": {"c": (math.inf,)}}
    assert finite(given) == {"a": [None, None, 1.5, 2, True, None, "inf"], "b": {"c": [None]}}


def test_numbers_of_numpy_are_written_too() -> None:
    given = {"mean": np.float32(0.5), "n": np.int64(3), "best": np.float64("nan")}
    assert json.dumps(finite(given), allow_nan=False) == '{"mean": 0.5, "n": 3.0, "best": null}'
