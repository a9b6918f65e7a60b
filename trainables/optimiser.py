"""The optimiser of every training."""

import inspect
from typing import Any

import torch

_load = inspect.unwrap(torch.optim.Adam.load_state_dict)


class Adam(torch.optim.Adam):
    """torch's Adam, which does not load torch's compiler before its first step: a second of every worker's start.

    Its methods as they are below the decorators by which torch keeps them out of compiled graphs; no training compiles
    its optimiser.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores a state, whatever device it comes from: the moments lie in memory as their parameters do.

        The fused step goes through the memory of all of them side by side, and a GPU's networks have another layout.
        """
        _load(self, state_dict)
        for parameter, state in self.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = torch.empty_like(parameter).copy_(state[name])

    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
