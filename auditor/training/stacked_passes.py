"""The passes of small networks at once: their layers by batched products, each number to the bit as of one alone."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import pad, relu

LANES = 16  # numbers of the widest vectors: whole ones go through the same instructions wherever they stand
RUN = 16  # losses that torch adds one after the other before it starts a new sum


class _Layer(torch.autograd.Function):
    """Rows (B, n, d) through layers of weights (B, h, d) and biases (B, h); only the rows are differentiated."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Rows (B, n, h)."""
        ctx.save_for_backward(weight)
        return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Slopes of the rows."""
        return torch.bmm(slope, ctx.saved_tensors[0]), None, None


class Layers:
    """Fully connected layers with ReLU between them, of B networks: weights (B, h, d) and biases (B, h) in turn.

    `descend` works out gradients by hand, into `slopes`, which are like the weights: at these sizes the bookkeeping of
    automatic differentiation takes longer than the products. `across` says along which axis the softmax goes: over
    classes that lie apart it takes whole vectors of rows, some twenty times faster for few classes, and where it is not
    what torch does for rows one by one it is set to False (see `Stack.exact`).
    """

    def __init__(self, weights: Sequence[torch.Tensor], slopes: Sequence[torch.Tensor]) -> None:
        self._layers = list(zip(weights[::2], weights[1::2], strict=True))
        self._slopes = list(zip(slopes[::2], slopes[1::2], strict=True))
        self.across = True

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (B, n, classes) of inputs (B, n, features), which can be differentiated by the inputs."""
        for weight, bias in self._layers[:-1]:
            x = relu(_layer(x, weight, bias))
        return _layer(x, *self._layers[-1])

    @torch.no_grad()
    def descend(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Leave the gradient of each network's mean cross-entropy in the slopes; the losses of rows (B, n) come back.

        Inputs are (B, n, features), labels (B, n).
        """
        hidden = [x]
        for weight, bias in self._layers[:-1]:
            hidden.append(torch.bmm(hidden[-1], weight.mT).add_(bias.unsqueeze(1)).relu_())
        weight, bias = self._layers[-1]
        losses, slope = self._softmax(torch.baddbmm(bias.unsqueeze(1), hidden[-1], weight.mT), y)
        for number in reversed(range(len(hidden))):
            weights, biases = self._slopes[number]
            torch.bmm(slope.mT, hidden[number], out=weights)
            torch.sum(slope, 1, out=biases)
            if number:
                slope = torch.bmm(slope, self._layers[number][0])
                torch.ops.aten.threshold_backward.grad_input(slope, hidden[number], 0, grad_input=slope)
        return losses

    def _softmax(self, logits: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Losses of rows (B, n), and how the mean loss of each network changes with its logits (B, n, classes)."""
        n, axis = y.shape[1], 1 if self.across else 2
        if self.across:
            logits, y = pad(logits.mT, (0, -n % LANES)), pad(y, (0, -n % LANES))
        answers, at = torch.log_softmax(logits, axis), y.unsqueeze(axis)
        slope = torch.zeros_like(answers).scatter_(axis, at, -1 / n)
        slope = torch._log_softmax_backward_data(slope, answers, axis, answers.dtype)
        losses = answers.gather(axis, at).squeeze(axis).neg_()
        return (losses[:, :n], slope[..., :n].mT.contiguous()) if self.across else (losses, slope)


def _layer(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    rows: torch.Tensor = _Layer.apply(x, weight, bias)  # type: ignore[no-untyped-call]  # torch's own
    return rows


def means(losses: torch.Tensor) -> torch.Tensor:
    """Means (...) over the last axis (..., n), added up in the order of torch's cross-entropy.

    That is: runs of sixteen, the sums of those in runs of sixteen and so on; then what is left over of each kind, and
    last the first loss, which its rule puts into a run of its own.
    """
    total, rest = torch.zeros_like(losses[..., 0]), losses[..., 1:]
    while rest.shape[-1]:
        whole = rest.shape[-1] // RUN
        total += _in_turn(rest[..., whole * RUN :])
        rest = _in_turn(rest[..., : whole * RUN].reshape(*total.shape, whole, RUN))
    return (total + losses[..., 0]) / losses.shape[-1]


def _in_turn(numbers: torch.Tensor) -> torch.Tensor:
    """Sums (...) over the last axis, one after the other."""
    total = torch.zeros(numbers.shape[:-1], dtype=numbers.dtype)
    for each in numbers.unbind(-1):
        total += each
    return total
