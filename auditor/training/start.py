"""How a training starts from weights that exist: which of them go where, and what must fit."""

from collections.abc import Mapping

import torch
from torch import nn

from auditor.errors import ModelError
from auditor.recipe import Start

NET = "net."  # before the names of a network behind its normalisation
OURS = ("mean", "deviation")
State = Mapping[str, torch.Tensor]


def begin(module: nn.Module, start: Start, state: State) -> None:
    """Put the weights of a file into a network behind its normalisation.

    They are named as in the network itself, or as Auditor saves them: then mean and deviation of the inputs come with
    them, and else they stay as they were measured. Numbers of another precision are converted. With `head: new` the
    last layer keeps its fresh weights where those of the file have another shape or are not there.

    Raises ModelError, naming the first parameter that does not fit: missing, not known, of another shape, not finite.
    """
    wanted = module.state_dict()
    given = {n: t for n, t in _named(state).items() if n in wanted or n not in OURS}
    fresh = _fresh_head(module, wanted, given) if start.head == "new" else frozenset[str]()
    for name, tensor in wanted.items():
        if name not in fresh and not (name in OURS and name not in given):
            _check(name, tensor, given.get(name), start)
    if extra := next((n for n in given if n not in wanted and n not in fresh), None):
        raise ModelError(f"train.start: {start.path} has also {_shown(extra)}, which the architecture does not have")
    with torch.no_grad():
        for name, tensor in wanted.items():
            if name in given and name not in fresh:
                tensor.copy_(given[name])


def _named(state: State) -> dict[str, torch.Tensor]:
    """The weights under the names that they have behind a normalisation."""
    if all(n in OURS or n.startswith(NET) for n in state) and set(OURS) <= set(state):
        return dict(state)
    return {NET + n: t for n, t in state.items()}


def _fresh_head(module: nn.Module, wanted: State, given: State) -> frozenset[str]:
    """Names of the last layer's weights where one of them does not fit; nothing where all do."""
    wide = [n for n, p in module.named_parameters() if p.ndim >= 2]
    if not wide:
        return frozenset()
    layer = wide[-1].rpartition(".")[0] + "."
    head = frozenset(n for n in wanted if n.startswith(layer))
    fits = all(n in given and given[n].shape == wanted[n].shape for n in head)
    return frozenset() if fits else head


def _check(name: str, wanted: torch.Tensor, given: torch.Tensor | None, start: Start) -> None:
    hint = "" if start.head == "new" else ", or say `head: new` where only the last layer differs"
    if given is None:
        raise ModelError(
            f"train.start: {start.path} lacks {_shown(name)}: name the architecture of the checkpoint{hint}"
        )
    if given.shape != wanted.shape:
        raise ModelError(
            f"train.start: {start.path}: {_shown(name)} is {tuple(given.shape)}, the architecture has "
            f"{tuple(wanted.shape)}: give the kwargs of the checkpoint{hint}"
        )
    if given.is_floating_point() and not bool(torch.isfinite(given).all()):
        raise ModelError(f"train.start: {start.path}: {_shown(name)} is not finite; save the checkpoint again")


def _shown(name: str) -> str:
    return name.removeprefix(NET)
