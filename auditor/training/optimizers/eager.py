"""torch's optimizers without its compiler, which their methods would import: three seconds of every process."""

import inspect
from functools import cache
from typing import Any

import torch
from torch.optim import Optimizer

WRAPPED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


@cache
def eager(kind: type[Optimizer]) -> type[Any]:  # called as `kind` is
    """The same optimizer, its own methods called as they stand below what `torch.compile` put around them.

    Nor does a step announce itself to torch's profiler and to hooks, of which there are none here. Same weights to the
    bit. Blind spot: a step that calls the step of a parent class of torch's own imports it still.
    """
    step = inspect.unwrap(kind.step)

    def plain(self: Optimizer, closure: Any = None) -> Any:  # torch's own signature
        with torch.no_grad():
            return step(self, closure)

    plain.hooked = True  # type: ignore[attr-defined]  # torch's own mark: it wraps no such step
    methods: dict[str, Any] = {name: inspect.unwrap(getattr(kind, name)) for name in WRAPPED}
    return type(kind.__name__, (kind,), {**methods, "step": plain})
