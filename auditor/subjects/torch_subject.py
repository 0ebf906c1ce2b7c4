"""A torch module as a subject: every answer in evaluation mode, and the module afterwards as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from auditor.dataset import Array
from auditor.errors import ModelError
from auditor.subject import Access, Outputs

ACCESS: dict[Outputs, frozenset[Access]] = {
    "logits": frozenset({Access.LABELS, Access.PROBABILITIES, Access.LOGITS, Access.GRADIENTS}),
    "probabilities": frozenset({Access.LABELS, Access.PROBABILITIES, Access.GRADIENTS}),
    "labels": frozenset({Access.LABELS}),
}


class TorchSubject:
    """What a torch module answers, as a white-box subject.

    The module maps (N, *shape) to (N, classes); with `outputs="labels"` it may give integers (N,) instead. Device and
    number type are those of its parameters. Its features are the input of the last nn.Linear that runs; a module in
    which none runs has no access `features`. Raises ModelError where the module cannot take the shape or answers in
    another. Blind spot: a module that is random in evaluation mode draws from the global generator.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        classes: int,
        shape: tuple[int, ...],
        outputs: Outputs = "logits",
        batch_size: int = 512,
        extra_access: frozenset[Access] = frozenset(),
    ) -> None:
        self.module = module
        self.classes = classes
        self.shape = tuple(shape)
        self.outputs: Outputs = outputs
        self.batch_size = batch_size
        self._modules = tuple(module.modules())
        tensors = [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
        self.device = tensors[0].device if tensors else torch.device("cpu")
        self.dtype = tensors[0].dtype if tensors else torch.float32
        self._head = self._last_linear()
        features = frozenset({Access.FEATURES}) if self._head is not None else frozenset()
        self.access = ACCESS[outputs] | features | extra_access

    def predict(self, x: Array) -> Array:
        """Outputs (N, classes) of inputs (N, *shape), in batches."""
        answers = [np.zeros((0, self.classes), np.float32)]
        with torch.no_grad():
            answers += [_numpy(self.logits(batch)) for batch in self._batches(x)]
        return np.concatenate(answers)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (N, classes) as `outputs` says, differentiable with respect to x (N, *shape)."""
        with self._evaluating():
            answer = self.module(x.clone())  # a module may work in place: the caller's tensor is not its to change
        if self.outputs == "labels" and isinstance(answer, torch.Tensor) and answer.shape == (len(x),):
            return self._one_hot(answer)
        if not isinstance(answer, torch.Tensor) or answer.shape != (len(x), self.classes):
            raise ModelError(self._misshapen(answer, len(x)))
        return answer

    def features(self, x: Array) -> Array:
        """Penultimate features (N, D)."""
        if self._head is None:
            raise ModelError(
                f"{type(self.module).__name__} runs no nn.Linear, so it has no features: ask `access` first"
            )
        seen: list[torch.Tensor] = []
        kept: list[Array] = []
        hook = self._head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
        try:
            with torch.no_grad():
                for batch in self._batches(x):
                    self.logits(batch)
                    kept.append(_numpy(seen[-1].flatten(1)))  # a layer may run more than once: its last run counts
                    seen.clear()
        finally:
            hook.remove()
        return np.concatenate(kept) if kept else np.zeros((0, self._head.in_features), np.float32)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Evaluation mode for a moment; each part gets its own flag back, which `train()` would not do."""
        training = [module for module in self._modules if module.training]
        for module in training:
            module.training = False
        try:
            yield
        finally:
            for module in training:
                module.training = True

    def _batches(self, x: Array) -> Iterator[torch.Tensor]:
        for start in range(0, len(x), self.batch_size):
            yield torch.tensor(x[start : start + self.batch_size], dtype=self.dtype, device=self.device)

    def _one_hot(self, labels: torch.Tensor) -> torch.Tensor:
        if labels.is_floating_point() or ((labels < 0) | (labels >= self.classes)).any():
            raise ModelError(
                f"{type(self.module).__name__} answers labels that are not integers from 0 to {self.classes - 1}"
            )
        return nn.functional.one_hot(labels.long(), self.classes).to(self.dtype)

    def _last_linear(self) -> nn.Linear | None:
        """The nn.Linear that runs last, found by one forward pass of a row of zeros."""
        ran: list[nn.Linear] = []
        linears = [m for m in self._modules if isinstance(m, nn.Linear)]
        hooks = [m.register_forward_hook(lambda module, *_: ran.append(module)) for m in linears]
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                self.logits(torch.zeros((1, *self.shape), dtype=self.dtype, device=self.device))
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ModelError(
                f"{type(self.module).__name__} cannot take inputs of shape (N, {', '.join(map(str, self.shape))}): "
                f"{error}"
            ) from error
        finally:
            for hook in hooks:
                hook.remove()
        return ran[-1] if ran else None

    def _misshapen(self, answer: object, rows: int) -> str:
        name = type(self.module).__name__
        if not isinstance(answer, torch.Tensor):
            kind = type(answer).__name__
            return f"{name} answers a {kind}; expected one tensor ({rows}, {self.classes}): wrap it to return that"
        told = f"{name} answers {rows} inputs with shape {tuple(answer.shape)}; expected ({rows}, {self.classes})"
        if self.classes == 2 and answer.numel() == rows:
            return f"{told}: a single logit z becomes two columns by torch.stack([-z / 2, z / 2], 1)"
        return f"{told}, one column a class of the data"


def _numpy(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().to("cpu", torch.float32).numpy()
    return array
