"""A fitted scikit-learn classifier, or anything that answers like one, as a subject."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from auditor.blocks import blocks
from auditor.dataset import Array, Labels
from auditor.errors import ModelError
from auditor.subject import Access, Outputs
from auditor.subjects.preparation import AS_IT_IS, Preparation

FAR_BELOW = 50.0  # how far under the smallest logit a class stands that the estimator never saw


class SklearnSubject:
    """What a fitted classifier answers, pipelines included.

    `predict_proba` gives probabilities, else `decision_function` gives logits (a binary decision d as [-d/2, d/2], so
    that softmax is its logistic function), else `predict` gives one-hot labels. `classes_` are label integers or, with
    `names`, class names; a class the estimator never saw gets probability zero. What `preparation` says stands before
    and behind it. Raises ModelError for an estimator that is a regressor, not fitted, made for other features, or knows
    classes the data does not have.
    """

    def __init__(
        self,
        estimator: Any,
        *,
        classes: int,
        shape: tuple[int, ...],  # a duck-typed classifier
        names: tuple[str, ...] = (),
        extra_access: frozenset[Access] = frozenset(),
        preparation: Preparation = AS_IT_IS,
    ) -> None:
        _check_usable(estimator, shape)
        self.estimator = estimator
        self.classes = classes
        self.shape = tuple(shape)
        self.preparation = preparation
        self._names = names
        self._columns = _columns(estimator, classes, names)
        self.outputs, access = _answers(estimator)
        self.access = access | extra_access

    def predict(self, x: Array) -> Array:
        """Outputs (N, classes) of inputs (N, *shape), shown block by block as rows of features."""
        return np.concatenate([np.zeros((0, self.classes), np.float32), *map(self._outputs, blocks(x))])

    def _outputs(self, x: Array) -> Array:
        out = np.full((len(x), self.classes), 0.0, np.float32)
        with _nameless():
            raw = self._raw(self._rows(x))
        if raw.shape != (len(x), len(self._columns)):
            hint = "; set decision_function_shape='ovr'" if self.outputs == "logits" else ""
            raise ModelError(
                f"{_name(self.estimator)} answers with shape {raw.shape}; expected {(len(x), len(self._columns))}{hint}"
            )
        if self.outputs == "logits":
            out[:] = raw.min(axis=1, keepdims=True) - FAR_BELOW
        out[:, self._columns] = raw
        return self.preparation.ordered(out)

    def bare_labels(self, x: Array) -> Labels:
        """Classes (N,) of inputs (N, *shape), as the estimator's own `predict` names them; -1 for one of no class."""
        if len(x) == 0 or not hasattr(self.estimator, "predict"):
            return np.full(len(x), -1, np.int64)
        with _nameless():
            own = np.asarray(self.estimator.predict(self._rows(x))).reshape(len(x)).tolist()
        labels = np.array([_label(value, self._names) for value in own], np.int64)
        return self.preparation.relabelled(np.where(labels < self.classes, labels, -1))

    def _rows(self, x: Array) -> Array:
        return self.preparation.inputs(np.asarray(x, np.float32)).reshape(len(x), -1)

    def _raw(self, rows: Array) -> npt.NDArray[np.floating]:
        """A column for each of the estimator's own classes."""
        if self.outputs == "probabilities":
            probabilities: npt.NDArray[np.floating] = np.asarray(self.estimator.predict_proba(rows))
            return probabilities
        if self.outputs == "logits":
            decision: npt.NDArray[np.floating] = np.asarray(self.estimator.decision_function(rows))
            return np.stack([-decision / 2, decision / 2], axis=1) if decision.ndim == 1 else decision
        own = np.asarray(self.estimator.classes_)
        one_hot: Array = (np.asarray(self.estimator.predict(rows))[:, None] == own).astype(np.float32)
        return one_hot


@contextmanager
def _nameless() -> Iterator[None]:
    """Inside, an estimator that was fitted on named columns does not warn that these have no names."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        yield


def _name(estimator: object) -> str:
    return type(estimator).__name__


def _answers(estimator: object) -> tuple[Outputs, frozenset[Access]]:
    if hasattr(estimator, "predict_proba"):
        return "probabilities", frozenset({Access.LABELS, Access.PROBABILITIES})
    if hasattr(estimator, "decision_function"):
        return "logits", frozenset({Access.LABELS, Access.PROBABILITIES, Access.LOGITS})
    return "labels", frozenset({Access.LABELS})


def _check_usable(estimator: Any, shape: tuple[int, ...]) -> None:  # a duck-typed classifier
    from sklearn.base import BaseEstimator, is_classifier
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if isinstance(estimator, BaseEstimator):
        if not is_classifier(estimator):
            raise ModelError(f"{_name(estimator)} is no classifier; an audit needs one that predicts classes")
        try:
            check_is_fitted(estimator)
        except NotFittedError:
            raise ModelError(f"{_name(estimator)} is not fitted; call fit on the training rows first") from None
    features = getattr(estimator, "n_features_in_", None)
    width = int(np.prod(shape))
    if features is not None and features != width:
        raise ModelError(
            f"{_name(estimator)} was fitted on {features} features; the data has {width} (rows of shape {tuple(shape)})"
        )


def _columns(estimator: Any, classes: int, names: tuple[str, ...]) -> npt.NDArray[np.int64]:  # a duck-typed classifier
    """The label integer of each of the estimator's own classes."""
    own = getattr(estimator, "classes_", None)
    if own is None or isinstance(own, list):
        raise ModelError(f"{_name(estimator)} has no single classes_; an audit needs a fitted classifier of one output")
    labels = [_label(value, names) for value in np.asarray(own).tolist()]
    unknown = [value for value, label in zip(np.asarray(own).tolist(), labels, strict=True) if not 0 <= label < classes]
    if unknown:
        raise ModelError(
            f"{_name(estimator)} knows the class {unknown[0]!r}, which the data has not; train it on labels 0 to "
            f"{classes - 1}"
        )
    return np.array(labels, np.int64)


def _label(value: object, names: tuple[str, ...]) -> int:
    """A class as its integer: numbers are themselves, texts are looked up among the names; -1 for what is neither."""
    if isinstance(value, str):
        return names.index(value) if value in names else -1
    return int(value) if isinstance(value, int | float) and int(value) == value else -1
