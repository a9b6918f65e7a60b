"""Which loss is which: the names of a weighting's terms and their order, kept in its state."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainables.errors import UserError


class TermNames(nn.Module):
    """Names of K terms: declared, or those of the first mapping. What was learned by place has none.

    Args:
        num_terms: K.
        declared: the names in the order of the terms, if they are known beforehand.

    Raises:
        UserError: the names are not K different ones.
    """

    def __init__(self, num_terms: int, declared: Sequence[str] | None) -> None:
        super().__init__()
        self.num_terms = num_terms
        self.declared = None if declared is None else tuple(declared)
        names = self.declared or ()
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"the name {name!r} is given twice: a weighting needs a name for each of its terms")
        self.known: tuple[str, ...] | None = self.declared
        self.by_place = False
        """Whether something was learned from losses that had no names."""

    def vector(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The losses (K,) in the order of the terms. Raises UserError if they are not those of before."""
        if self.known is None:
            self.known = self._learned(losses)
        if set(self.known) != set(losses):
            raise UserError(f"losses are {', '.join(losses)}, but were declared as {', '.join(self.known)}")
        return torch.stack([losses[name] for name in self.known])

    def _learned(self, losses: Mapping[str, Tensor]) -> tuple[str, ...]:
        if len(losses) != self.num_terms:
            raise UserError(f"losses must be {self.num_terms}, not {len(losses)}: {', '.join(losses)}")
        if self.by_place:
            raise UserError(
                f"losses {', '.join(losses)} come by name, but those before came without, so that nobody knows which "
                "is which: declare them, in the order of before: names=[...]"
            )
        return tuple(losses)

    def get_extra_state(self) -> Tensor:
        """The names as JSON in UTF-8 (bytes as uint8), null if there are none for what was learned."""
        return _encoded(None if self.by_place and self.known is None else list(self.known or ()))

    def set_extra_state(self, state: Tensor) -> None:
        """Takes the names of a state; those that were only learned give way to them."""
        names = _decoded(state)
        self.by_place = names is None
        self.known = self.declared or (tuple(names) if names else None)


def match_names(weighting: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Run before a weighting loads any of a state: the state must be of the terms that were declared.

    A state that was saved before names were kept counts as learned by place.

    Raises:
        UserError: the state is of other terms, or of another order.
    """
    key = f"{prefix}term_names._extra_state"
    if key not in state:
        trained = int(state.get(f"{prefix}num_steps", 0)) > 0
        state[key] = _encoded(None if trained else [])
    declared = weighting.term_names.declared
    names = _decoded(state[key])
    if names and declared is not None and tuple(names) != declared:
        raise UserError(
            f"the state is of the losses {', '.join(names)}, in this order, but the weighting was made for "
            f"{', '.join(declared)}: make it with the names of the state"
        )


def _encoded(names: list[str] | None) -> Tensor:
    return torch.tensor(list(json.dumps(names).encode()), dtype=torch.uint8)


def _decoded(state: Tensor) -> list[str] | None:
    names: list[str] | None = json.loads(bytes(state.tolist()))
    return names
