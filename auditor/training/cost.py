"""What a training cost: seconds by two clocks, floating-point operations, and the memory of its tensors."""

import copy
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

Step = Callable[[nn.Module, torch.Tensor, torch.Tensor], object]  # what a step does with module, x and y
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
aten = torch.ops.aten
FORMULAS: Mapping[Any, Callable[..., int]] = {  # by operation; torch has none for its attention on a processor
    **flop_registry,
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[aten._scaled_dot_product_flash_attention],
    aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        aten._scaled_dot_product_flash_attention_backward
    ],
}


@dataclass(frozen=True)
class Seconds:
    """Time by the clock on the wall and by the processor."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Passes:
    """What passes through a network took: floating-point operations, and the most that new tensors held at once."""

    flops: int
    peak_bytes: int


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

    def add(self, seconds: Seconds, share: float) -> None:
        """Count in a share of what was measured elsewhere."""
        self._wall += seconds.wall * share
        self._cpu += seconds.cpu * share

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that is not added, within one of its `with` blocks."""
        self.__exit__(None, None, None)
        try:
            yield
        finally:
            self.__enter__()

    @property
    def seconds(self) -> Seconds:
        """The sum so far."""
        return Seconds(self._wall, self._cpu)


class Counting(TorchDispatchMode):
    """What does the work inside its `with` block take? `flops` by torch's formulas, `peak` bytes held at once.

    torch's own counter is not used, whose import takes seconds of a process that may only look at a finished model.
    A result counts by its storage, from when it is made until nothing refers to it: views and work in place add
    nothing. `before` are tensors that were there. Blind spots: what a library takes within one operation, tensors that
    are not strided.
    """

    def __init__(self, before: Iterable[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self._before = {_reference(t.untyped_storage()) for t in before}
        self._held: dict[StorageWeakRef, int] = {}
        self.flops = self.peak = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and to say so would import the compiler

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:  # torch's own signature, for any operation
        """Run an operation, or the smaller ones that it is made of, and look at what it made."""
        kwargs = kwargs or {}
        formula = FORMULAS.get(func.overloadpacket)
        if formula is None:
            with self:
                composed = func.decompose(*args, **kwargs)
            if composed is not NotImplemented:
                return composed
        result = func(*args, **kwargs)
        self.flops += 0 if formula is None else int(formula(*args, **kwargs, out_val=result))
        self._hold(result)
        return result

    def _hold(self, result: object) -> None:
        made = [t.untyped_storage() for t in tensors_in(result) if t.layout == torch.strided]
        new = {_reference(storage): storage.nbytes() for storage in made}
        if new.keys() - self._before - self._held.keys():
            self._held = {ref: size for ref, size in self._held.items() if not _gone(ref)}
            self._held |= {ref: size for ref, size in new.items() if ref not in self._before}
            self.peak = max(self.peak, sum(self._held.values()))


def _reference(storage: torch.UntypedStorage) -> StorageWeakRef:
    return StorageWeakRef(storage)  # type: ignore[no-untyped-call]  # torch's own


def _gone(reference: StorageWeakRef) -> bool:
    return bool(reference.expired())  # type: ignore[no-untyped-call]  # torch's own


def counted(work: Callable[[], object], module: nn.Module) -> Passes:
    """What `work` takes, which passes something through this module.

    Operations are those of matrix products and convolutions, a multiplication and an addition counting as two. The
    bytes are those of tensors made on the way, gradients included.
    """
    with _seen_through(module), Counting([*module.parameters(), *module.buffers()]) as counting:
        work()
    return Passes(counting.flops, counting.peak)


def step_cost(step: Step, module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Passes:
    """What one gradient on one batch takes, all its passes. A copy runs: nothing in the module changes."""
    copied = copy.deepcopy(module)
    copied.zero_grad()
    return counted(lambda: step(copied, x, y), copied)


@contextmanager
def _seen_through(module: nn.Module) -> Iterator[None]:
    """Recurrent layers as the matrix products they are: oneDNN runs them as one operation that torch counts as none."""
    names = {str(getattr(m, "original_name", type(m).__name__)) for m in module.modules()}
    if not names & RECURRENT and not any(isinstance(m, nn.RNNBase) for m in module.modules()):
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a number type on graphics cards, which is not touched
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of all tensors in an optimizer's state."""
    return sum(t.numel() * t.element_size() for t in tensors_in(list(optimizer.state.values())))


def module_bytes(module: nn.Module) -> int:
    """Bytes of a network's weights and buffers, what is shared once."""
    tensors = {id(t): t for t in (*module.parameters(), *module.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def tensors_in(value: object) -> Iterator[torch.Tensor]:
    """The tensors among nested lists and dictionaries, such as the history that L-BFGS keeps."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors_in(each)
