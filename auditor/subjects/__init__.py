"""Adapters that make a model a subject, and the one door for model files."""

from typing import TYPE_CHECKING

from auditor.errors import ModelError
from auditor.subject import Outputs, Subject

if TYPE_CHECKING:
    from auditor.dataset import Dataset

CHECKED_ROWS = 64


def wrap(model: object, data: "Dataset", outputs: Outputs = "logits") -> Subject:
    """A torch module, a fitted scikit-learn classifier or a Subject as the subject of an audit of this data.

    `outputs` says what a torch module answers. Raises ModelError, with what to do, for a model that is neither, that
    cannot take the data's rows, or that answers something else.
    """
    import torch

    from auditor.subjects import answers
    from auditor.subjects.sklearn_subject import SklearnSubject
    from auditor.subjects.torch_subject import TorchSubject

    subject: Subject
    if isinstance(model, torch.nn.Module):
        subject = TorchSubject(model, classes=len(data.classes), shape=data.shape, outputs=outputs)
    elif isinstance(model, Subject):
        subject = model
    elif callable(getattr(model, "predict", None)) and not isinstance(model, type):
        subject = SklearnSubject(model, classes=len(data.classes), shape=data.shape, names=data.classes)
    else:
        raise ModelError(
            f"a {type(model).__name__} cannot be audited; give a torch.nn.Module or a fitted scikit-learn classifier"
        )
    answers.check(subject, data.x_test[:CHECKED_ROWS])
    return subject
