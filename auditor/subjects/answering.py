"""A black box as a subject: a function from inputs to answers, asked in batches and held to what it declared."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from auditor.blocks import blocks
from auditor.dataset import Array, Labels
from auditor.errors import ModelError
from auditor.subject import Access, Outputs, predicted_labels
from auditor.subjects.preparation import AS_IT_IS, Preparation

if TYPE_CHECKING:
    from torch import nn

Answers = npt.NDArray[np.generic]  # numbers of any type: they are checked here
BATCH = 512
ACCESS: dict[Outputs, frozenset[Access]] = {
    "logits": frozenset({Access.LABELS, Access.PROBABILITIES, Access.LOGITS}),
    "probabilities": frozenset({Access.LABELS, Access.PROBABILITIES}),
    "labels": frozenset({Access.LABELS}),
}
ONE_COLUMN = (
    "a single logit z becomes two columns by torch.stack([-z / 2, z / 2], 1); the probability of the second class is "
    "understood as such with outputs: probabilities"
)


@dataclass(frozen=True, eq=False)
class Answering:
    """A model that answers and shows nothing else.

    `answer` maps inputs (n, *shape) float32, its own to keep, 0 < n <= `batch_size`, to scores (n, classes) of any
    number type or, with `outputs="labels"`, to whole numbers (n,). A model of two classes may declare probabilities and
    give those of the second alone, (n,) or (n, 1). With `fixed` it is asked for exactly `batch_size` rows, the last
    batch being filled up. `name` is what messages call it. `bare` asks the model as its owner would, around everything
    of ours: it maps the same inputs to labels (n,) or scores (n, classes); without it, `answer` is asked. `access` is
    what can be got at besides what `outputs` gives. `module` is the same model as a torch module, from prepared inputs
    to `outputs`, where it was found to answer the same: then it is a white box.
    """

    answer: Callable[[Array], Answers]
    outputs: Outputs
    name: str = "the model"
    access: frozenset[Access] = frozenset()
    batch_size: int = BATCH
    fixed: bool = False
    bare: Callable[[Array], Answers] | None = None
    module: "nn.Module | None" = None


class BlackBoxSubject:
    """What a black box answers, as a subject: inputs prepared, answers in the data's classes.

    Raises ModelError where an answer has not one column a class, where labels are no integers of the classes, and
    where a model of two classes gives one number whose meaning is open. Answers that are not a number stay so.
    """

    def __init__(
        self, answering: Answering, *, classes: int, shape: tuple[int, ...], preparation: Preparation = AS_IT_IS
    ) -> None:
        self.answering = answering
        self.classes = classes
        self.shape = tuple(shape)
        self.preparation = preparation
        self.outputs: Outputs = answering.outputs
        self.access = ACCESS[answering.outputs] | answering.access

    def predict(self, x: Array) -> Array:
        """Outputs (N, classes) of inputs (N, *shape), in batches."""
        answers = [np.zeros((0, self.classes), np.float32)]
        answers += [self._scores(a, len(a)) for a in self._asked(x, self.answering.answer)]
        return self.preparation.ordered(np.concatenate(answers))

    def bare_labels(self, x: Array) -> Labels:
        """Classes (N,) of inputs (N, *shape), as the model itself names them; -1 for one that the data has not."""
        asked = self.answering.bare or self.answering.answer
        labels = [np.zeros(0, np.int64), *(named(a, self.outputs, self.classes) for a in self._asked(x, asked))]
        return self.preparation.relabelled(np.concatenate(labels))

    def _asked(self, x: Array, answer: Callable[[Array], Answers]) -> Iterator[Answers]:
        """The answers to each batch, one row an input."""
        size = self.answering.batch_size
        for batch in blocks(x, size):
            rows = self.preparation.inputs(np.asarray(batch, np.float32))
            filled = rows
            if self.answering.fixed and len(rows) < size:
                filled = np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])
            answers = np.asarray(answer(filled))
            if answers.ndim == 0 or len(answers) != len(filled):
                raise ModelError(self._misshapen(answers, len(filled)))
            yield answers[: len(rows)]

    def _scores(self, answers: Answers, rows: int) -> Array:
        """Answers as outputs (rows, classes)."""
        single = answers.size == rows
        if single and self.outputs == "labels":
            return np.eye(self.classes, dtype=np.float32)[self._labels(answers.reshape(rows))]
        if single and self.outputs == "probabilities" and self.classes == 2:
            second = answers.reshape(rows).astype(np.float32)
            return np.stack([1 - second, second], axis=1)
        if answers.shape != (rows, self.classes) or answers.dtype.kind not in "fiub":
            raise ModelError(self._misshapen(answers, rows))
        return answers.astype(np.float32)

    def _labels(self, answers: Answers) -> Labels:
        numbers = answers.astype(np.float64) if answers.dtype.kind in "fiub" else np.full(len(answers), np.nan)
        if not ((numbers == np.round(numbers)) & (numbers >= 0) & (numbers < self.classes)).all():
            raise ModelError(
                f"{self.answering.name} answers labels that are not integers from 0 to {self.classes - 1}, such as "
                f"{answers[0]}"
            )
        return numbers.astype(np.int64)

    def _misshapen(self, answers: Answers, rows: int) -> str:
        name = self.answering.name
        if answers.dtype.kind not in "fiub":
            return f"{name} answers {answers.dtype}; expected numbers of shape ({rows}, {self.classes})"
        told = f"{name} answers {rows} inputs with shape {answers.shape}; expected ({rows}, {self.classes})"
        if self.classes == 2 and answers.size == rows:
            return f"{told}: {ONE_COLUMN}"
        if answers.shape == (rows,) and answers.dtype.kind in "iu":
            return f"{told}: declare outputs: labels if these are labels"
        return f"{told}, one column a class of the data"


def named(answers: Answers, outputs: Outputs, classes: int) -> Labels:
    """Which class does each row of answers name by itself? (N,), -1 for none of the classes.

    Of scores (N, K) the largest, of whole numbers (N,) themselves, of a single probability the second from 1/2 on.
    """
    if answers.ndim == 2 and answers.shape[1] > 1:
        labels = predicted_labels(answers.astype(np.float32))
    elif outputs == "labels" or answers.dtype.kind in "iub":
        labels = answers.reshape(len(answers)).astype(np.int64)
    else:
        labels = (answers.reshape(len(answers)).astype(np.float32) > 0.5).astype(np.int64)
    return np.where((labels >= 0) & (labels < classes), labels, -1)
