"""One step of any optimizer, seen alike: one gradient or many, its rate, its modes, what is clipped, what it keeps."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from auditor.errors import ConfigError, ModelError
from auditor.training.cost import state_bytes
from auditor.training.optimizers.spec import OptimizerSpec, Settings

Closure = Callable[[], torch.Tensor]
Batches = Callable[[], Iterable[torch.Tensor]]


class StepDriver:
    """An optimizer on a module, led so that a loop need not know which it is.

    `streams` are the generators that a loss may draw from. All gradients of one step see the same draws, so that
    pairs stay pairs under optimizers that take several; running statistics of BatchNorm are those of the first.
    `clip` is the largest L2 norm over all parameters that a gradient may have. `passes` counts gradients, `clipped`
    (a tensor) those that were shortened.
    """

    def __init__(
        self,
        spec: OptimizerSpec,
        module: nn.Module,
        learning_rate: float,
        settings: Settings,
        *,
        clip: float | None = None,
        streams: Sequence[torch.Generator] = (),
    ) -> None:
        if clip is not None and spec.needs_closure and spec.full_batch:
            raise ConfigError(f"{spec.name} searches along a line, which a clipped gradient misleads: remove clip")
        self.spec, self._clip, self._streams = spec, clip, streams
        self._weights = [p for p in module.parameters() if p.requires_grad]
        self._norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
        self.optimizer = _built(spec, routed(module) if spec.matrices else self._weights, learning_rate, settings)
        self._rates = [group.get("lr") for group in self.optimizer.param_groups]
        self._trained: list[torch.Tensor] | None = None  # what is trained, while other weights are evaluated
        self._kept: list[torch.Tensor] = []
        self.passes, self.clipped = 0, torch.zeros((), dtype=torch.int64)
        self.train()

    def rate(self, factor: float) -> None:
        """From now on the learning rate times this; nothing where the optimizer has a schedule of its own."""
        if self.spec.schedule == "own":
            return
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            if rate is not None:
                group["lr"] = rate * factor

    def step(self, closure: Closure) -> torch.Tensor:
        """Make one step. The closure leaves a gradient in the parameters and answers the loss, detached.

        It is called as often as the optimizer wants; the loss of its first call comes back, where the weights were.
        """
        if self.spec.needs_closure:
            return self._several(closure)
        loss = self._gradient(closure)
        self.optimizer.step()
        return loss

    def _several(self, closure: Closure) -> torch.Tensor:
        drawn = [stream.get_state() for stream in self._streams]
        losses: list[torch.Tensor] = []

        def again() -> torch.Tensor:
            if not losses:
                losses.append(self._gradient(closure))
                self._keep_statistics()
                return losses[0]
            for stream, state in zip(self._streams, drawn, strict=True):
                stream.set_state(state)
            loss = self._gradient(closure)
            self._restore_statistics()
            return loss

        self.optimizer.step(again)  # type: ignore[arg-type]  # torch's stubs want a float
        if not losses:
            raise ModelError(f"the optimizer {self.spec.name} took a step without asking for a gradient")
        return losses[0]

    def _gradient(self, closure: Closure) -> torch.Tensor:
        for weight in self._weights:  # what `zero_grad` does, but for telling a profiler
            weight.grad = None
        loss = closure()
        self.passes += 1
        if self._clip is not None:
            norm = nn.utils.clip_grad_norm_(self._weights, self._clip)
            self.clipped += norm > self._clip
        return loss

    def train(self) -> None:
        """Put the weights that are trained in place, to the bit those of the last step."""
        if not self.spec.train_eval:
            return
        self._mode("train")
        if self._trained is not None:
            with torch.no_grad():
                torch._foreach_copy_(list[torch.Tensor](self._weights), self._trained)
            self._restore_statistics()
            self._trained = None

    def eval(self, batches: Batches | None = None, module: nn.Module | None = None) -> None:
        """Put the weights to be evaluated in place; `train` undoes it.

        Where these are others than those trained and a `module` has BatchNorm, its running statistics are taken anew
        over the inputs that `batches` gives, since those at hand belong to the trained weights (Defazio et al., The
        road less scheduled, 2024, section 4).
        """
        if not self.spec.train_eval or self._trained is not None:
            return
        self._trained = [p.detach().clone() for p in self._weights]
        self._keep_statistics()
        self._mode("eval")
        if module is not None and batches is not None and self._norms:
            _recalibrate(module, self._norms, batches())

    def _mode(self, name: str) -> None:
        switch: Callable[[], object] = getattr(self.optimizer, name)
        switch()

    def _keep_statistics(self) -> None:
        self._kept = [b.clone() for part in self._norms for b in part.buffers(recurse=False)]

    def _restore_statistics(self) -> None:
        now = (b for part in self._norms for b in part.buffers(recurse=False))
        for buffer, kept in zip(now, self._kept, strict=True):
            buffer.copy_(kept)

    @property
    def state_bytes(self) -> int:
        """Bytes of all tensors in the optimizer's state."""
        return state_bytes(self.optimizer)

    def state_dict(self) -> dict[str, Any]:  # torch's own form
        """All that a continued training needs beside weights and random streams; to be asked while training."""
        return {"optimizer": self.optimizer.state_dict(), "passes": self.passes, "clipped": self.clipped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # torch's own form
        """Go on from there."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.passes, self.clipped = state["passes"], state["clipped"].clone()


def _built(spec: OptimizerSpec, params: Any, learning_rate: float, settings: Settings) -> torch.optim.Optimizer:
    """The optimizer of a specification. Raises ConfigError where it refuses its settings or is none."""
    try:
        optimizer: object = spec.build(params, learning_rate, settings)
    except ValueError as error:
        raise ConfigError(f"{spec.name} refuses its settings {dict(settings)}: {error}") from None
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ConfigError(
            f"the optimizer {spec.name} builds a {type(optimizer).__name__}, and no torch.optim.Optimizer"
        )
    return optimizer


def routed(module: nn.Module) -> list[dict[str, Any]]:  # torch's own form of groups
    """Which parameters are hidden matrices? Two groups, {"params", "matrix": True} first; none is left out.

    Matrices are learnable parameters of two or more axes, but for embeddings and the last such one, which is the head:
    as Muon's authors have it. Blind spot: a network that registers its head before other layers.
    """
    tables = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    weights = [p for p in module.parameters() if p.requires_grad]
    wide = [p for p in weights if p.ndim >= 2 and id(p) not in tables]
    hidden = {id(p) for p in wide[:-1]}
    groups = [
        {"params": [p for p in weights if id(p) in hidden], "matrix": True},
        {"params": [p for p in weights if id(p) not in hidden], "matrix": False},
    ]
    return [group for group in groups if group["params"]]


def _recalibrate(module: nn.Module, norms: Sequence[_BatchNorm], batches: Iterable[torch.Tensor]) -> None:
    """Running statistics as the mean over these batches, by the weights in place."""
    momenta, training = [part.momentum for part in norms], module.training
    for part in norms:
        part.reset_running_stats()
        part.momentum = None  # a plain mean
    with torch.no_grad():
        module.train()
        for batch in batches:
            module(batch)
        module.train(training)
    for part, momentum in zip(norms, momenta, strict=True):
        part.momentum = momentum
