"""The model under audit behind one small protocol, and how its outputs are read."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from auditor.dataset import Array, Labels

if TYPE_CHECKING:
    import torch

Outputs = Literal["logits", "probabilities", "labels"]


class Access(StrEnum):
    """What an auditor can get at. A subject states it; a probe says which it cannot do without."""

    LABELS = "labels"
    PROBABILITIES = "probabilities"
    LOGITS = "logits"
    GRADIENTS = "gradients"
    FEATURES = "features"
    RECIPE = "recipe"
    FILE = "file"


@runtime_checkable
class Subject(Protocol):
    """A classifier that nothing ever changes."""

    @property
    def classes(self) -> int:
        """Number of classes."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        ...

    @property
    def outputs(self) -> Outputs:
        """What `predict` returns."""
        ...

    @property
    def access(self) -> frozenset[Access]:
        """What can be got at."""
        ...

    def predict(self, x: Array) -> Array:
        """Outputs (N, classes) for inputs (N, *shape): logits, probabilities or one-hot labels, as `outputs` says."""
        ...


@runtime_checkable
class WhiteBox(Subject, Protocol):
    """A subject whose logits can be differentiated and whose penultimate features can be read."""

    @property
    def device(self) -> "torch.device":
        """Where the model lives."""
        ...

    @property
    def dtype(self) -> "torch.dtype":
        """The number type of the model's inputs."""
        ...

    def logits(self, x: "torch.Tensor") -> "torch.Tensor":
        """Outputs (N, classes) as `outputs` says, differentiable with respect to x (N, *shape) on `device`."""
        ...

    def features(self, x: Array) -> Array:
        """Penultimate features (N, D): the input of the last linear layer that runs."""
        ...


@runtime_checkable
class Bare(Protocol):
    """A subject that can be asked as its owner would ask it, around the adapter: the two must agree."""

    def bare_labels(self, x: Array) -> Labels:
        """Classes (N,) of inputs (N, *shape), as the model itself names them; -1 for one that the data has not."""
        ...


@dataclass
class Counts:
    """How many samples went forward and backward through a subject."""

    forwards: int = 0
    backwards: int = 0


@dataclass(frozen=True)
class Counted:
    """A subject whose passes are counted. It answers exactly as the subject it wraps."""

    inner: Subject
    counts: Counts

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.inner.classes

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.inner.shape

    @property
    def outputs(self) -> Outputs:
        """What `predict` returns."""
        return self.inner.outputs

    @property
    def access(self) -> frozenset[Access]:
        """What can be got at."""
        return self.inner.access

    @property
    def device(self) -> "torch.device":
        """Where the model lives."""
        return self._white_box.device

    @property
    def dtype(self) -> "torch.dtype":
        """The number type of the model's inputs."""
        return self._white_box.dtype

    @cached_property
    def _white_box(self) -> WhiteBox:
        if not isinstance(self.inner, WhiteBox):
            raise TypeError(f"{type(self.inner).__name__} has no gradients: ask `access` first")
        return self.inner

    def predict(self, x: Array) -> Array:
        """Outputs of the subject, counted. It cannot change the inputs it is shown."""
        self.counts.forwards += len(x)
        shown = x.view()
        shown.setflags(write=False)
        return self.inner.predict(shown)

    def features(self, x: Array) -> Array:
        """Features of the subject, counted."""
        self.counts.forwards += len(x)
        return self._white_box.features(x)

    def logits(self, x: "torch.Tensor") -> "torch.Tensor":
        """Differentiable outputs of the subject, counted forward and, if they are differentiated, backward."""
        self.counts.forwards += len(x)
        out = self._white_box.logits(x)
        if out.requires_grad:
            size = len(x)
            out.register_hook(lambda _: self._count_backward(size))  # type: ignore[no-untyped-call]  # torch's own
        return out

    def _count_backward(self, size: int) -> None:
        self.counts.backwards += size


def predicted_labels(outputs: npt.NDArray[np.floating]) -> Labels:
    """Predicted class of each row (N,) of outputs (N, K); -1, which is never right, where an output is not a number."""
    unreadable = np.isnan(outputs).any(axis=1)
    labels = np.where(np.isnan(outputs), -np.inf, outputs).argmax(axis=1).astype(np.int64)
    return np.where(unreadable, -1, labels)


def margins(outputs: npt.NDArray[np.floating], y: Labels) -> npt.NDArray[np.float64]:
    """Output of the true class minus the best other (N,), -inf where not a number: at or below zero is broken."""
    scores = np.asarray(outputs, np.float64)
    rows = np.arange(len(y))
    others = scores.copy()
    others[rows, y] = -np.inf
    with np.errstate(invalid="ignore"):
        margin = scores[rows, y] - others.max(axis=1)
    return np.where(np.isnan(margin) | np.isnan(scores).any(axis=1), -np.inf, margin)


def leads(outputs: npt.NDArray[np.floating], y: Labels, goal: int | None = None) -> npt.NDArray[np.float64]:
    """What an adversary must bring to zero or below (N,): the margin, or the distance of the goal from winning.

    A goal must win alone: where it ties, or the outputs (N, K) are not numbers, it has not won.
    """
    if goal is None:
        return margins(outputs, y)
    behind = -margins(outputs, np.full(len(outputs), goal, np.int64))
    return np.where(behind == 0, np.inf, behind)


def log_probabilities(outputs: npt.NDArray[np.floating], kind: Outputs) -> npt.NDArray[np.float64]:
    """Log-probabilities (N, K): log-softmax of logits, or the log of probabilities and labels (floored at 1e-12)."""
    scores = np.asarray(outputs, np.float64)
    if kind == "logits":
        with np.errstate(invalid="ignore"):  # rows that are infinite somewhere have none, and get NaN
            shifted = scores - scores.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
    return np.log(np.clip(scores, 1e-12, 1.0))


def probabilities(outputs: npt.NDArray[np.floating], kind: Outputs) -> npt.NDArray[np.float64]:
    """Probabilities (N, K) of outputs."""
    return np.exp(log_probabilities(outputs, kind)) if kind == "logits" else np.asarray(outputs, np.float64)
