"""Weightings from plain descriptions."""

import importlib
import pkgutil

import pytest

from trainables import weighting
from trainables.errors import UserError
from trainables.weighting import WEIGHTINGS, CoVWeighting, LossWeighting, make_weighting


def test_options_reach_the_weighting():
    weighting = make_weighting({"name": "cov", "mode": "ema", "decay": 0.8, "warmup_steps": 5}, 3, names="abc")
    assert isinstance(weighting, CoVWeighting)
    assert (weighting.mode, weighting.decay, weighting.warmup_steps) == ("ema", 0.8, 5)
    assert weighting.names == ("a", "b", "c")


def test_every_weighting_is_there_by_its_own_name():
    for module in pkgutil.iter_modules(weighting.__path__, "trainables.weighting."):
        importlib.import_module(module.name)
    found, known = set(), [LossWeighting]
    while known:
        known += (kind := known.pop()).__subclasses__()
        if kind.__module__.startswith("trainables.") and "name" in vars(kind):
            found.add((kind.name, kind))
    assert found == set(WEIGHTINGS.items())


def test_a_seed_in_the_description_wins():
    spec = {"name": "random", "seed": 7}
    assert make_weighting(spec, 2, seed=1).draws.seed == 7
    assert make_weighting({"name": "random"}, 2, seed=1).draws.seed == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "conv"}, "unknown weighting 'conv'; did you mean 'cov'?"),
        ({}, "unknown weighting None; there are equal, fixed, single"),
        ({"name": "cov", "modus": "full"}, "weighting 'cov' has no option 'modus'; did you mean 'mode'?"),
        ({"name": "cov", "num_terms": 3}, "weighting 'cov' has no option 'num_terms'"),
        ({"name": "fixed"}, "weighting 'fixed' needs the option 'weights'"),
        ({"name": "fixed", "weights": [1, 2]}, "fixed weights must be 3 numbers"),
        ({"name": "fixed", "weights": [1, -2, 1]}, "fixed weights must be 3 numbers"),
        ({"name": "fixed", "weights": [0, 0, 0]}, "not all 0"),
        ({"name": "fixed", "weights": ["a", "b", "c"]}, "weighting 'fixed': an option has the wrong type"),
        ({"name": "single", "term": 3}, "there is no term 3 of 3"),
        ({"name": "cov", "decay": "much"}, "weighting 'cov': an option has the wrong type"),
        ({"name": "stch", "mu": 0}, "mu above 0"),
        ({"name": "dwa", "epoch_steps": 0}, "epoch_steps of 1 or more"),
        ({"name": "relobralo", "temperature": 0}, "temperature above 0"),
        ({"name": "gradnorm", "learning_rate": -1}, "learning_rate must be above 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(spec, message):
    with pytest.raises(UserError) as error:
        make_weighting(spec, 3)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_names_must_be_as_many_as_the_terms():
    with pytest.raises(UserError, match="a name for each"):
        make_weighting({"name": "equal"}, 2, names=("a",))
