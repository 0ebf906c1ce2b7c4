"""A classifier of scikit-learn as the torch network that answers the same, so that attacks have its gradients."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from auditor.errors import ModelError
from auditor.training.estimators import check_kwargs, estimator

FAR_BELOW = 50.0  # how far under the smallest logit a class stands that the estimator never saw
LAYERS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
    "identity": nn.Identity,
}
Floats = npt.NDArray[np.float64]


class Rebuilt(nn.Module):
    """The layers of an estimator, from rows (N, *shape) to logits (N, classes) whose softmax is its `predict_proba`.

    Of two classes known the logits are -d/2 and d/2 for a decision d. Where each class is told from the rest, as
    SGDClassifier does, they are the decisions themselves: the same classes, and other probabilities than its
    normalised sigmoids, whose logarithms hide the way to another class from gradients where two sigmoids are 1. A class
    the estimator never saw stands far below all others. `known` is saved with the weights.
    """

    known: torch.Tensor

    def __init__(self, shape: Sequence[int], classes: int, hidden: Sequence[int], activation: str) -> None:
        super().__init__()
        sizes = [int(torch.Size(shape).numel()), *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for fan_in, fan_out in pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), LAYERS[activation]()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))
        self.register_buffer("known", torch.ones(classes, dtype=torch.bool))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of rows as the estimator took them."""
        scores: torch.Tensor = self.layers(x)
        least = scores.masked_fill(~self.known, torch.inf).amin(1, keepdim=True)
        return torch.where(self.known, scores, least - FAR_BELOW)

    def take(self, fitted: Any) -> None:  # a fitted estimator of scikit-learn
        """Copy the weights of an estimator fitted on whole labels."""
        linear = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        classes = torch.from_numpy(np.asarray(fitted.classes_, np.int64))
        *hidden, (weight, bias) = weights_of(fitted)
        if len(classes) == 2:  # one decision d, for the second
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        with torch.no_grad():
            for layer, (w, b) in zip(linear, hidden, strict=False):
                layer.weight.copy_(torch.from_numpy(w))
                layer.bias.copy_(torch.from_numpy(b))
            for tensor, values in ((linear[-1].weight, weight), (linear[-1].bias, bias)):
                tensor.zero_()
                tensor[classes] = torch.from_numpy(values).to(tensor.dtype)
            self.known.zero_()
            self.known[classes] = True


def weights_of(fitted: Any) -> list[tuple[Floats, Floats]]:  # a fitted estimator of scikit-learn
    """Weights (out, in) and biases (out,) of its layers, in float64."""
    if hasattr(fitted, "coefs_"):
        return [
            (np.asarray(w, np.float64).T.copy(), np.asarray(b, np.float64))
            for w, b in zip(fitted.coefs_, fitted.intercepts_, strict=True)
        ]
    return [(np.asarray(fitted.coef_, np.float64), np.asarray(fitted.intercept_, np.float64))]


def network(name: str, kwargs: Mapping[str, Any], shape: Sequence[int], classes: int) -> Rebuilt:
    """The network of an estimator of this shape, its weights not yet taken."""
    form = check_kwargs(estimator(name), kwargs)
    return Rebuilt(shape, classes, form.get("hidden_layer_sizes", ()), form.get("activation", "relu"))


def check_same(logits: torch.Tensor, fitted: Any, rows: Floats, *, against_rest: bool) -> None:  # a fitted estimator
    """Raise ModelError where logits (N, classes) are not what an estimator answers to rows (N, features).

    Of one that tells each of several classes from the rest the softmax of its decisions is compared, else its
    probabilities. The network computes in float32: they may differ by 1e-4 and what rounding does to large logits.
    """
    classes, own = np.asarray(fitted.classes_, np.int64), np.zeros(logits.shape)
    if against_rest and len(classes) > 2:
        own[:, classes] = torch.softmax(torch.from_numpy(fitted.decision_function(rows)), 1).numpy()
    else:
        own[:, classes] = fitted.predict_proba(rows)
    apart = float(np.abs(torch.softmax(logits.double(), 1).numpy() - own).max())
    allowed = 1e-4 + 1e-6 * float(logits.abs().max())
    if apart > allowed:
        raise ModelError(
            f"the network rebuilt from {type(fitted).__name__} answers otherwise (probabilities {apart:.2g} apart): "
            "this version of scikit-learn is not known; train it by a `function` of your own"
        )
