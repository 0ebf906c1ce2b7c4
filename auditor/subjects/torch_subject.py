"""A torch module as a subject: every answer in evaluation mode, and the module afterwards as it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from auditor.blocks import blocks
from auditor.dataset import Array, Labels
from auditor.errors import ModelError
from auditor.subject import Access, Outputs
from auditor.subjects.answering import ONE_COLUMN, Answers, named
from auditor.subjects.preparation import AS_IT_IS, Preparation
from auditor.subjects.prepared import Prepared

ACCESS: dict[Outputs, frozenset[Access]] = {
    "logits": frozenset({Access.LABELS, Access.PROBABILITIES, Access.LOGITS, Access.GRADIENTS}),
    "probabilities": frozenset({Access.LABELS, Access.PROBABILITIES, Access.GRADIENTS}),
    "labels": frozenset({Access.LABELS}),
}


class TorchSubject:
    """What a torch module answers, as a white-box subject.

    The module maps (N, *shape) to (N, classes); with `outputs="labels"` it may give integers (N,) instead, and of two
    classes the probability of the second alone. Device and number type are those of its parameters, unless
    `dtype` says what it takes. Its features are the input of the last nn.Linear that runs; a module in which none runs
    has no access `features`. What `preparation` says stands before and behind it. `bare` asks the model that this one
    was converted from, where there is such.
    Raises ModelError where the module cannot take the shape or answers in another. Blind spot: a module that is random
    in evaluation mode draws from the global generator.
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
        preparation: Preparation = AS_IT_IS,
        bare: Callable[[Array], Labels] | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.module = module
        self._bare = bare
        self.preparation = preparation
        self.classes = classes
        self.shape = tuple(shape)
        self.outputs: Outputs = outputs
        self.batch_size = batch_size
        self._modules = tuple(module.modules())
        tensors = [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
        self.device = tensors[0].device if tensors else torch.device("cpu")
        self.dtype = dtype or (tensors[0].dtype if tensors else torch.float32)
        self._row = torch.zeros((1, *self.shape), dtype=self.dtype, device=self.device)
        self._net = self._prepared()
        self._head = self._last_linear()
        features = frozenset({Access.FEATURES}) if self._head is not None else frozenset()
        self.access = ACCESS[outputs] | features | extra_access

    def predict(self, x: Array) -> Array:
        """Outputs (N, classes) of inputs (N, *shape), in batches."""
        answers, start = np.empty((len(x), self.classes), np.float32), 0
        with torch.no_grad():
            for batch in self._batches(x):  # no tensor is kept: a small one would hold on to the memory of its batch
                answers[start : start + len(batch)] = _numpy(self.logits(batch))
                start += len(batch)
        return answers

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (N, classes) as `outputs` says, differentiable with respect to x (N, *shape)."""
        with self._evaluating():
            answer = self._net(x.clone())  # a module may work in place: the caller's tensor is not its to change
        scores = self._scores(answer, len(x))
        return scores if self.preparation.order is None else scores[:, list(self.preparation.order)]

    def differentiable(self) -> bool:
        """Whether a gradient, be it zero, arrives at an input of zeros."""
        x = self._row.clone().requires_grad_()
        try:
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                out = self.logits(x).sum()
                return out.requires_grad and torch.autograd.grad(out, x, allow_unused=True)[0] is not None
        except (RuntimeError, torch.jit.Error):  # such as an operator without a derivative
            return False

    def bare_labels(self, x: Array) -> Labels:
        """Classes (N,) of inputs (N, *shape), as the model itself names them; -1 for one that the data has not."""
        if self._bare is not None:
            return self._bare(x)
        labels = [np.zeros(0, np.int64)]
        with torch.no_grad(), self._evaluating():
            for start in range(0, len(x), self.batch_size):
                rows = self.preparation.inputs(x[start : start + self.batch_size])
                answer = self.module(torch.tensor(rows, dtype=self.dtype, device=self.device))
                labels.append(named(_array(answer), self.outputs, self.classes))
        return self.preparation.relabelled(np.concatenate(labels))

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
        training = [m for m in self._modules if getattr(m, "training", False)]  # a frozen TorchScript has no mode
        for module in training:
            module.training = False
        try:
            yield
        finally:
            for module in training:
                module.training = True

    def _batches(self, x: Array) -> Iterator[torch.Tensor]:
        for batch in blocks(x, self.batch_size):
            yield torch.tensor(batch, dtype=self.dtype, device=self.device)

    def _prepared(self) -> nn.Module:
        scale, shift = self.preparation.scale, self.preparation.shift
        return self.module if scale is None or shift is None else Prepared(self.module, scale, shift, self._row)

    def _scores(self, answer: object, rows: int) -> torch.Tensor:
        """What the module answers, as (rows, classes) in its own order."""
        if isinstance(answer, torch.Tensor):
            if self.outputs == "labels" and answer.shape == (rows,):
                return self._one_hot(answer)
            if self.outputs == "probabilities" and self.classes == 2 and answer.numel() == rows:
                second = answer.reshape(rows)
                return torch.stack([1 - second, second], dim=1)
            if answer.shape == (rows, self.classes):
                return answer
        raise ModelError(self._misshapen(answer, rows))

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
                self.logits(self._row)
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError, torch.jit.Error) as error:
            raise ModelError(
                f"{type(self.module).__name__} cannot take inputs of shape (N, {', '.join(map(str, self.shape))}): "
                f"{_last(error)}"
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
            return f"{told}: {ONE_COLUMN}"
        return f"{told}, one column a class of the data"


def _last(error: BaseException) -> str:
    """What an error says; of TorchScript's trace, only the last line."""
    told = str(error).strip()
    return told.splitlines()[-1] if isinstance(error, torch.jit.Error) and told else told


def _numpy(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().to("cpu", torch.float32).numpy()
    return array


def _array(answer: torch.Tensor) -> Answers:
    """An answer in numpy: scores as float32, labels as the integers they are."""
    array: Answers = answer.detach().cpu().numpy() if not answer.is_floating_point() else _numpy(answer)
    return array
