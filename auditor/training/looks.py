"""A training that is looked at several times an epoch, outside its clock: when does it reach a target?"""

import math
from collections.abc import Mapping

import torch

from auditor.dataset import Dataset
from auditor.errors import ConfigError
from auditor.recipe import Fit
from auditor.seeds import Seeds
from auditor.training import conditions, optimizers
from auditor.training.loop import EVALUATION_BATCH, Fitted, Run, mean_loss, parts

Look = dict[str, float]


def watched(
    fit: Fit, data: Dataset, *, seeds: Seeds, learning_rate: float, start: Mapping[str, torch.Tensor] | None = None
) -> tuple[Fitted, tuple[Look, ...]]:
    """Train as `loop.fit` does, and say how the rows held back fared at `fit.looks` even points of each epoch.

    A look has steps, samples, loss (of what the objective minimises, mean over the rows held back) and accuracy. A
    look at which the loss is not finite is left out. The weights are, to the bit, those of the training that is not
    looked at.
    Raises ConfigError for a fit without looks or without rows held back.
    """
    if fit.looks < 1 or fit.holdout is None:
        raise ConfigError("a training that is looked at needs looks, and rows held back to look at")
    spec = optimizers.resolve(fit.recipe.optimizer)
    with conditions.repeatable():
        run = _Watched(fit.recipe, data, parts(fit, data, seeds), seeds, learning_rate, spec, start)
        run.stops = {math.ceil(run.batches * k / fit.looks) for k in range(1, fit.looks + 1)}
        run.train()
        return run.fitted(), tuple(run.looks)


class _Watched(Run):
    """A training under way that stops its clock to look."""

    stops: set[int]

    @property
    def looks(self) -> list[Look]:
        """What was seen so far."""
        return self.__dict__.setdefault("_looks", [])  # type: ignore[no-any-return]  # a list by the default

    def _step(self, number: int, rows: torch.Tensor) -> None:
        super()._step(number, rows)
        if number + 1 in self.stops:
            with self.clock.paused():
                self._glance(self.epoch * self.batches + number + 1)

    def _glance(self, steps: int) -> None:
        self.driver.eval(self._some, self.module)
        stream = self.seeds.torch("craft", probe="objective", row="holdout")
        loss = mean_loss(self.loss, self.module, self.x_holdout, self.y_holdout, stream)
        right = self._right() / len(self.y_holdout)
        if math.isfinite(loss):
            self.looks.append({"steps": float(steps), "samples": float(self.seen), "loss": loss, "accuracy": right})
        self.driver.train()
        self.module.train()

    def _right(self) -> int:
        """How many of the rows held back the network, in evaluation mode, classifies rightly."""
        labels = torch.split(self.y_holdout, EVALUATION_BATCH)
        batches = zip(self.x_holdout.split(EVALUATION_BATCH), labels, strict=True)
        with torch.no_grad():
            return sum(int((self.module(x).argmax(1) == y).sum()) for x, y in batches)
