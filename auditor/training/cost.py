"""What a training cost: seconds by two clocks, floating-point operations, and memory of the optimizer's state."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

Step = Callable[[nn.Module, torch.Tensor, torch.Tensor], object]  # what a step does with module, x and y


@dataclass(frozen=True)
class Seconds:
    """Time by the clock on the wall and by the processor."""

    wall: float
    cpu: float


class Stopwatch:
    """Adds up the time spent inside its `with` blocks."""

    def __init__(self) -> None:
        self._wall = self._cpu = 0.0

    def __enter__(self) -> None:
        self._wall -= time.perf_counter()
        self._cpu -= time.process_time()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wall += time.perf_counter()
        self._cpu += time.process_time()

    @property
    def seconds(self) -> Seconds:
        """The sum so far."""
        return Seconds(self._wall, self._cpu)


def step_flops(step: Step, module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> int:
    """Floating-point operations of a step on one batch, all its passes: matrix products and convolutions only.

    A multiplication and an addition count as two. A copy of the module runs, so that nothing in it changes.
    """
    with FlopCounterMode(display=False) as counter:
        step(copy.deepcopy(module), x, y)
    return int(counter.get_total_flops())


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of all tensors in an optimizer's state."""
    tensors = (v for state in optimizer.state.values() for v in state.values() if isinstance(v, torch.Tensor))
    return sum(t.numel() * t.element_size() for t in tensors)
