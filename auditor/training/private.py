"""Differentially private training: rows drawn by chance, the gradient of each clipped, noise added to their sum."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from auditor.blocks import Chosen
from auditor.dataset import Array, Domain
from auditor.errors import ModelError
from auditor.recipe import Dp
from auditor.training.accountant import epsilon_spent, noise_for
from auditor.training.architectures import Normalised

CHUNK_BYTES = 1 << 28  # of per-row gradients held at once


@dataclass(frozen=True)
class Guarantee:
    """What is promised: (epsilon, delta), by so much noise on rows drawn at this rate with this much weight each.

    Neighbours differ by one training row that is there or not; what is released is the trained weights.
    """

    epsilon: float
    delta: float
    noise_multiplier: float
    max_grad_norm: float
    sampling_rate: float


def guarantee(dp: Dp, rows: int, batches: int, epochs: int) -> Guarantee:
    """The guarantee of a training of so many epochs, each of so many steps.

    Every step takes each row with probability 1 / batches, so an epoch sees every row once on average. Raises
    ConfigError for an epsilon that cannot be met.
    """
    rate, steps, delta = 1 / batches, batches * epochs, 1 / (10 * rows) if dp.delta is None else dp.delta
    if dp.noise_multiplier is not None:
        noise = dp.noise_multiplier
    else:
        assert dp.epsilon is not None  # one of the two is there: the recipe checks it
        noise = noise_for(dp.epsilon, rate, steps, delta)
    return Guarantee(epsilon_spent(noise, rate, steps, delta), delta, noise, dp.max_grad_norm, rate)


@dataclass(frozen=True, eq=False)
class Private:
    """Steps of DP-SGD (Abadi et al., Deep learning with differential privacy, CCS 2016) for any optimizer.

    The gradient of a step is (sum of the rows' gradients, each scaled to at most `max_grad_norm` over all parameters,
    + Gaussian noise of noise multiplier times that) / expected number of rows. An optimizer sees nothing else, so the
    guarantee is the same for all.
    """

    promise: Guarantee
    rows: int
    batches: int
    order: torch.Generator
    noise: torch.Generator

    @property
    def streams(self) -> tuple[torch.Generator, ...]:
        """What hides rows."""
        return (self.noise,)

    def prepare(self, module: Normalised, x: Array | Chosen, domain: Domain) -> None:
        """Normalise by the domain, since the rows' own mean would leak; each feature's range becomes [-1, 1].

        Raises ModelError for a network through which no gradient of a single row exists.
        """
        for name, part in module.named_modules():
            if isinstance(part, _BatchNorm) or (isinstance(part, _NormBase) and part.track_running_stats):
                raise ModelError(
                    f"dp: {name} is a {type(part).__name__}, whose statistics mix the rows: no row's gradient is its "
                    "own; use GroupNorm or LayerNorm"
                )
        module.assume(domain)
        try:
            clipped_sum(module.train(), torch.tensor(x[:1]), torch.zeros(1, dtype=torch.int64), 1.0)
        except RuntimeError as error:
            raise ModelError(f"dp: no gradient of a row alone can be taken through this network: {error}") from None

    def epoch(self) -> Iterator[torch.Tensor]:
        """The rows (M,) of each step: every row is drawn or not by itself, so M varies and may be 0."""
        for _ in range(self.batches):
            drawn = torch.rand(self.rows, generator=self.order, dtype=torch.float64) < self.promise.sampling_rate
            yield drawn.nonzero().squeeze(1)

    def backward(self, module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Put the noisy gradient in place; the rows' summed cross-entropy by the expected number of rows comes back."""
        expected = self.rows * self.promise.sampling_rate
        clip, parameters = self.promise.max_grad_norm, learnable(module)
        total = clipped_sum(module, x, y, clip)
        for name, parameter in parameters.items():
            noise = torch.randn(parameter.shape, generator=self.noise, dtype=parameter.dtype)
            parameter.grad = (
                total.gradients[name].add_(noise, alpha=self.promise.noise_multiplier * clip).div_(expected)
            )
        return total.loss / expected

    def counted(self, module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        """One pass of the batch: gradients by row take as many products, but torch miscounts them."""
        cross_entropy(module(x), y).backward()  # type: ignore[no-untyped-call]  # torch's own


@dataclass(frozen=True, eq=False)
class Total:
    """Sums over rows: of their cross-entropy, and of their clipped gradients by parameter."""

    loss: torch.Tensor
    gradients: dict[str, torch.Tensor]


def learnable(module: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that are trained, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def clipped_sum(module: nn.Module, x: torch.Tensor, y: torch.Tensor, clip: float) -> Total:
    """How do rows x (N, *shape) with labels y (N,) pull, none by more than `clip` in the L2 norm over all parameters?

    Gradients are taken row by row with the row alone in its batch, some rows at once to bound memory.
    """
    parameters = {name: p.detach() for name, p in learnable(module).items()}
    total = Total(torch.zeros(()), {name: torch.zeros_like(p) for name, p in parameters.items()})
    at_once = max(1, CHUNK_BYTES // (4 * sum(p.numel() for p in parameters.values())))
    each = _by_row(module)
    for rows, labels in zip(torch.split(x, at_once), torch.split(y, at_once), strict=True):
        if len(rows):
            gradients, losses = each(parameters, rows, labels)
            norms = torch.stack([g.flatten(1).square().sum(1) for g in gradients.values()]).sum(0).sqrt()
            share = (clip / norms).clamp(max=1)
            for name, gradient in gradients.items():
                total.gradients[name] += torch.tensordot(share, gradient, dims=1)
            total.loss.add_(losses.sum())
    return total


ByRow = Callable[[dict[str, torch.Tensor], torch.Tensor, torch.Tensor], tuple[dict[str, torch.Tensor], torch.Tensor]]


def _by_row(module: nn.Module) -> ByRow:
    """Gradients by parameter (N, *parameter) and losses (N,) of rows, each computed as if it were alone."""

    def loss(parameters: dict[str, torch.Tensor], row: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        logits = functional_call(module, parameters, (row.unsqueeze(0),))
        return cross_entropy(logits, label.unsqueeze(0))

    each: ByRow = vmap(grad_and_value(loss), in_dims=(None, 0, 0), randomness="different")
    return each
