"""A random subject made steady: what it answers is the vote of many answers, and its gradient their average."""

from dataclasses import dataclass

import numpy as np
import torch

from auditor.dataset import Array
from auditor.subject import Access, Counts, Outputs, Subject, WhiteBox, predicted_labels, probabilities

VOTES = 25
DRAWS = 8
_TIE = 0.5  # weight of the mean probability against one vote: it parts equal votes and outvotes none


@dataclass(frozen=True)
class Voting:
    """A subject that is asked many times: probabilities by the votes of its answers.

    What a smoothed classifier says, and what an attack on a random one must turn over (Athalye, Carlini and Wagner
    2018): one lucky draw is no success. `counts` takes the passes beyond the first, which whoever asks counts.
    Its gradient is that of the mean probability, over fewer draws. Blind spot: a vote of 25 still wavers where two
    classes are all but equal.
    """

    inner: Subject
    counts: Counts
    votes: int = VOTES
    draws: int = DRAWS

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
        """Labels of a subject that has no more, else probabilities."""
        return "labels" if self.inner.outputs == "labels" else "probabilities"

    @property
    def access(self) -> frozenset[Access]:
        """That of the subject, without its logits."""
        return self.inner.access - {Access.LOGITS}

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self._white.device

    @property
    def dtype(self) -> torch.dtype:
        """The number type of the model's inputs."""
        return self._white.dtype

    @property
    def _white(self) -> WhiteBox:
        assert isinstance(self.inner, WhiteBox)
        return self.inner

    def predict(self, x: Array) -> Array:
        """The share of votes (N, classes) of each class; the mean probability parts equal ones."""
        self.counts.forwards += (self.votes - 1) * len(x)
        cast, mean = np.zeros((len(x), self.classes)), np.zeros((len(x), self.classes))
        for _ in range(self.votes):
            outputs = self.inner.predict(x)
            labels = predicted_labels(outputs)
            read = np.flatnonzero(labels >= 0)
            cast[read, labels[read]] += 1
            mean += np.nan_to_num(probabilities(outputs, self.inner.outputs)) / self.votes
        if self.outputs == "labels":
            return np.asarray(np.eye(self.classes)[cast.argmax(1)], np.float32)
        return np.asarray((cast + _TIE * mean) / (self.votes + _TIE), np.float32)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """The mean probability (N, classes) of several draws, differentiable."""
        self.counts.forwards += (self.draws - 1) * len(x)
        kind = self.inner.outputs
        answers = (self._white.logits(x) for _ in range(self.draws))
        mean = torch.stack([z.softmax(1) if kind == "logits" else z for z in answers]).mean(0)
        if mean.requires_grad:
            further = (self.draws - 1) * len(x)
            mean.register_hook(lambda _: self._count_backward(further))  # type: ignore[no-untyped-call]  # torch's own
        return mean

    def _count_backward(self, passes: int) -> None:
        self.counts.backwards += passes

    def features(self, x: Array) -> Array:
        """Features of one draw."""
        return self._white.features(x)
