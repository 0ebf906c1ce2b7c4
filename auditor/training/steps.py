"""How a training goes over its rows: which rows each step sees, and which gradient it leaves for the optimizer."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from auditor.blocks import Chosen
from auditor.dataset import Array, Domain
from auditor.recipe import Dp, Recipe
from auditor.seeds import Seeds
from auditor.training.architectures import Normalised
from auditor.training.objectives import Loss, loss_of
from auditor.training.private import Guarantee, Private, guarantee


class Steps(Protocol):
    """What the loop asks of an objective. The loop itself never knows which one it serves."""

    @property
    def batches(self) -> int:
        """Steps of one epoch."""
        ...

    @property
    def streams(self) -> tuple[torch.Generator, ...]:
        """What `backward` draws from."""
        ...

    @property
    def promise(self) -> Guarantee | None:
        """What is guaranteed about each row, if anything."""
        ...

    def prepare(self, module: Normalised, x: Array | Chosen, domain: Domain) -> None:
        """Set the module's normalisation, and raise ModelError for a module that cannot be trained this way."""
        ...

    def epoch(self) -> Iterator[torch.Tensor]:
        """Indices of the rows (M,) of each step of one epoch."""
        ...

    def backward(self, module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Leave the gradient of a step in the parameters; its loss comes back, detached."""
        ...

    def counted(self, module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        """The passes of one step, in a form whose floating-point operations can be counted."""
        ...


@dataclass(frozen=True, eq=False)
class Shuffled:
    """Every row once an epoch in random order, in near-equal batches, down the slope of a loss.

    No batch is a sliver, so that their mean is the mean over rows and BatchNorm works.
    """

    loss: Loss
    rows: int
    batches: int
    order: torch.Generator
    craft: torch.Generator
    promise: None = None

    @property
    def streams(self) -> tuple[torch.Generator, ...]:
        """What moves rows."""
        return (self.craft,)

    def prepare(self, module: Normalised, x: Array | Chosen, domain: Domain) -> None:  # noqa: ARG002  # of the protocol
        """Normalise by mean and deviation of the training rows."""
        module.measure(x)

    def epoch(self) -> Iterator[torch.Tensor]:
        """Indices of the rows of each batch."""
        return iter(torch.randperm(self.rows, generator=self.order).tensor_split(self.batches))

    def backward(self, module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Leave the gradient of the mean loss in the parameters."""
        loss = self.loss(module, x, y, self.craft)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        return loss.detach()

    def counted(self, module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        """The step itself."""
        self.backward(module, x, y)


def chosen(recipe: Recipe, domain: Domain, rows: int, seeds: Seeds, *, full_batch: bool = False) -> Steps:
    """The steps of a recipe on so many rows. Raises ConfigError for a privacy that cannot be had.

    The order of rows and what is drawn to move or hide them come from streams that paired trainings share, whatever
    their optimizer. With `full_batch` every step sees all rows.
    """
    batches = 1 if full_batch else math.ceil(rows / recipe.batch_size)
    order, craft = seeds.torch("order"), seeds.torch("craft", probe="objective")
    if isinstance(recipe.objective, Dp):
        return Private(guarantee(recipe.objective, rows, batches, recipe.epochs), rows, batches, order, craft)
    return Shuffled(loss_of(recipe.objective, domain), rows, batches, order, craft)
