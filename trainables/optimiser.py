"""The optimiser of every training."""

import inspect

import torch


class Adam(torch.optim.Adam):
    """torch's Adam, which does not load torch's compiler before its first step: a second of every worker's start.

    Its methods as they are below the decorators by which torch keeps them out of compiled graphs; no training compiles
    its optimiser.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
