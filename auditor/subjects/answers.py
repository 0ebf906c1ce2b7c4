"""Whether a subject answers what it was declared to answer: the commonest mistake is probabilities called logits."""

import numpy as np

from auditor.dataset import Array
from auditor.errors import ModelError
from auditor.subject import Subject


def check(subject: Subject, x: Array) -> None:
    """Ask a subject for some inputs (N, *shape). Raises ModelError where its answers are not what `outputs` says."""
    out = subject.predict(x).astype(np.float64)
    finite = out[np.isfinite(out).all(axis=1)]
    if len(finite) == 0:
        return
    simplex = bool((finite >= -1e-6).all() and (np.abs(finite.sum(axis=1) - 1) < 1e-3).all())
    one_hot = bool((np.abs(finite.max(axis=1) - 1) < 1e-6).all())
    if subject.outputs == "logits" and simplex:
        raise ModelError(
            "the model's outputs are not negative and sum to 1, so they are probabilities: declare outputs: "
            "probabilities, "
            "or better, return the logits before the softmax"
        )
    if subject.outputs != "logits" and not simplex:
        raise ModelError(
            f"the model's outputs range from {finite.min():g} to {finite.max():g} and do not sum to 1, so they are no "
            f"{subject.outputs}: declare outputs: logits, or end the model in a softmax"
        )
    if subject.outputs == "labels" and not one_hot:
        raise ModelError("the model's outputs are not one-hot, so they are no labels: declare outputs: probabilities")
