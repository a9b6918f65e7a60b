"""Which loss is which: losses by name, in whatever order, before and after a resume."""

import copy
import io

import pytest
import torch

from tests.weighting.streams import SPECS, losses_of, make, name_of, stream
from trainables.errors import UserError
from trainables.weighting import CoVWeighting, FixedWeighting

every_weighting = pytest.mark.parametrize("spec", SPECS, ids=name_of)

FIRST = ("c", "a", "d", "b")
"""Order of the first mapping, and so of the terms."""
LATER = ("b", "d", "c", "a")


def by_name(losses, order):
    """The losses (K,) of terms in the order FIRST, as a mapping of another order."""
    return {name: losses[FIRST.index(name)] for name in order}


def step(weighting, shared, values, order):
    return weighting(by_name(losses_of(values, shared), order)).detach()


def kept(weighting):
    """What a checkpoint gives back: no pickle but of tensors and plain values is read."""
    file = io.BytesIO()
    torch.save(weighting.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def without_names(state):
    """A state of before names were kept."""
    return {key: value for key, value in state.items() if "term_names" not in key}


@every_weighting
@pytest.mark.parametrize("num_before", [1, 5])
def test_names_learned_from_the_first_mapping_survive_a_resume(spec, num_before):
    weighting, shared = make(spec, seed=3)
    values = list(stream(4, num_before + 6))
    for value in values[:num_before]:
        step(weighting, shared, value, FIRST)
    restored, restored_shared = make(spec, seed=3)
    restored.load_state_dict(kept(weighting))
    assert restored.names == FIRST
    for value in values[num_before:]:
        expected = step(weighting, shared, value, FIRST)
        assert torch.equal(step(restored, restored_shared, value, LATER), expected)
        assert torch.equal(restored.weights, weighting.weights)
    with pytest.raises(UserError, match=r"^losses are c, a, d, e, but were declared as c, a, d, b$"):
        restored(dict.fromkeys("cade", torch.tensor(1.0)))


@every_weighting
def test_a_state_of_other_terms_is_refused_and_changes_nothing(spec):
    weighting, shared = make(spec, seed=3)
    for value in stream(4, 5):
        step(weighting, shared, value, FIRST)
    for names in (LATER, ("c", "a", "d", "e")):
        other, _ = make(spec, seed=3, names=names)
        before = {key: str(value) for key, value in other.state_dict().items()}
        with pytest.raises(UserError, match=rf"of the losses c, a, d, b, in this order, .* {', '.join(names)}[;:]"):
            other.load_state_dict(kept(weighting))
        assert {key: str(value) for key, value in other.state_dict().items()} == before
    same, _ = make(spec, seed=3, names=FIRST)
    same.load_state_dict(kept(weighting))
    assert torch.equal(same.weights, weighting.weights)


@every_weighting
def test_a_state_of_before_names_were_kept_still_loads(spec):
    weighting, shared = make(spec, seed=3)
    values = list(stream(4, 8))
    for value in values[:5]:
        step(weighting, shared, value, FIRST)
    old = without_names(kept(weighting))
    declared, declared_shared = make(spec, seed=3, names=FIRST)
    by_place, by_place_shared = make(spec, seed=3)
    for each in (declared, by_place):
        each.load_state_dict(old, strict=True)
    for value in values[5:]:
        expected = step(weighting, shared, value, FIRST)
        assert torch.equal(step(declared, declared_shared, value, LATER), expected)
        assert torch.equal(by_place(losses_of(value, by_place_shared)).detach(), expected)


def test_an_old_state_does_not_say_which_loss_is_which():
    weighting, old = CoVWeighting(2), CoVWeighting(2)
    old(torch.tensor([1.0, 2.0]))
    weighting.load_state_dict(without_names(old.state_dict()))
    with pytest.raises(UserError, match=r"declare them, in the order of before: names="):
        weighting({"l1": torch.tensor(1.0), "ssim": torch.tensor(2.0)})
    untrained = CoVWeighting(2)
    untrained.load_state_dict(without_names(CoVWeighting(2).state_dict()))
    untrained({"l1": torch.tensor(1.0), "ssim": torch.tensor(2.0)})
    assert untrained.names == ("l1", "ssim")


def test_names_that_were_learned_give_way_to_those_of_the_state():
    weighting, other, untrained = CoVWeighting(2), CoVWeighting(2), CoVWeighting(2)
    weighting({"l1": torch.tensor(1.0), "ssim": torch.tensor(2.0)})
    other({"ssim": torch.tensor(2.0), "l1": torch.tensor(1.0)})
    other.load_state_dict(weighting.state_dict())
    assert other.names == ("l1", "ssim")
    other.load_state_dict(untrained.state_dict())
    assert other.names is None


def test_names_are_kept_in_a_larger_module_and_in_a_copy():
    weighting = CoVWeighting(2)
    weighting({"l1": torch.tensor(1.0), "ssim": torch.tensor(2.0)})
    whole = torch.nn.ModuleDict({"weigh": weighting})
    restored = torch.nn.ModuleDict({"weigh": CoVWeighting(2)})
    restored.load_state_dict(whole.state_dict())
    assert restored["weigh"].names == copy.deepcopy(weighting).names == ("l1", "ssim")
    again = copy.deepcopy(CoVWeighting(2))
    again.load_state_dict(weighting.state_dict())
    assert again.names == ("l1", "ssim")


@pytest.mark.parametrize("wrong", [("l1",), ("l1", "ssim", "gradient")])
def test_a_mapping_of_too_few_or_too_many_is_refused_and_not_learned(wrong):
    weighting = CoVWeighting(2)
    with pytest.raises(UserError, match=rf"^losses must be 2, not {len(wrong)}: {', '.join(wrong)}$"):
        weighting(dict.fromkeys(wrong, torch.tensor(1.0)))
    weighting({"ssim": torch.tensor(1.0), "l1": torch.tensor(2.0)})
    assert weighting.names == ("ssim", "l1")
    with pytest.raises(UserError, match=rf"^losses are {', '.join(wrong)}, but were declared as ssim, l1$"):
        weighting(dict.fromkeys(wrong, torch.tensor(1.0)))


def test_a_name_given_twice_is_refused():
    with pytest.raises(UserError, match="'l1' is given twice"):
        CoVWeighting(3, names=("l1", "ssim", "l1"))


def test_a_vector_of_the_wrong_length_teaches_nothing():
    weighting = CoVWeighting(2)
    with pytest.raises(UserError, match="a vector of 2"):
        weighting(torch.ones(3))
    weighting({"ssim": torch.tensor(1.0), "l1": torch.tensor(2.0)})
    assert weighting.names == ("ssim", "l1")


def test_a_vector_after_a_mapping_is_in_the_order_of_the_names():
    weighting, reference = CoVWeighting(4), CoVWeighting(4)
    for number, values in enumerate(stream(4, 8)):
        reference(values)
        weighting(values if number % 2 else by_name(values, FIRST if number == 0 else LATER))
    assert torch.equal(weighting.weights, reference.weights)


def test_a_mapping_after_a_vector_is_refused_unless_names_were_declared():
    losses = torch.tensor([3.0, 1.0])
    mapping = {"ssim": losses[1], "l1": losses[0]}
    weighting = CoVWeighting(2)
    weighting(losses)
    with pytest.raises(UserError, match=r"declare them, in the order of before: names="):
        weighting(mapping)
    restored = CoVWeighting(2)
    restored.load_state_dict(weighting.state_dict())
    with pytest.raises(UserError, match=r"declare them, in the order of before: names="):
        restored(mapping)
    declared = FixedWeighting(2, [3, 1], names=("l1", "ssim"))
    assert declared(losses).item() == declared(mapping).item() == pytest.approx(2.5)


def test_ranks_of_a_training_must_declare_the_names():
    weighting = CoVWeighting(2, all_reduce=True)
    with pytest.raises(UserError, match=r"all_reduce needs names="):
        weighting({"l1": torch.tensor(1.0), "ssim": torch.tensor(2.0)})


def test_a_compiled_step_learns_the_names_and_compiles_once():
    torch._dynamo.reset()
    weighting, eager = CoVWeighting(4), CoVWeighting(4)
    compiled = torch.compile(weighting, fullgraph=True, backend="aot_eager_decomp_partition")
    for values in stream(4, 6):
        compiled(by_name(values, FIRST))
        eager(by_name(values, FIRST))
    assert weighting.names == FIRST
    assert torch.allclose(weighting.weights, eager.weights, atol=1e-6)
    by_place = torch.compile(CoVWeighting(4), fullgraph=True, backend="aot_eager_decomp_partition")
    first, *rest = stream(4, 6)
    by_place(first)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for values in rest:
            by_place(values)
