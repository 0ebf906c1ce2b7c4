"""The training loop: one fit on rows in memory, repeatable to the bit, with its curve and its cost."""

import math
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from auditor.blocks import Chosen, copied, taken
from auditor.dataset import Array, Dataset, Labels
from auditor.errors import ConfigError, DataError, DivergedError, ModelError
from auditor.probe import stratified
from auditor.recipe import Fit, Recipe
from auditor.seeds import Seeds
from auditor.training import architectures, changes, conditions, optimizers, schedules, steps
from auditor.training.cost import Seconds, Stopwatch, state_bytes, step_flops
from auditor.training.objectives import Loss, loss_of
from auditor.training.rows import MappedRows, tensor_rows

EVALUATION_BATCH = 1024


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a training gave: weights, curve and cost.

    `curve` has an entry an epoch: samples seen, mean training loss during that epoch, and loss on the rows held back,
    both of what the objective minimises. `flops` is every forward and backward pass of all steps, those that move rows
    included. `seconds` is training alone, without evaluation. `privacy` says what a differentially private training
    guarantees: epsilon, delta, noise_multiplier, max_grad_norm, sampling_rate. Where `diverged_at` names the step at
    which the loss stopped being finite, there are no weights and no module.
    """

    state: dict[str, torch.Tensor]
    module: nn.Module | None
    learning_rate: float
    epochs: int
    steps: int
    flops: int
    curve: tuple[dict[str, float], ...]
    holdout_loss: float | None
    diverged_at: int | None
    seconds: Seconds
    optimizer_state_bytes: int
    privacy: dict[str, float] | None = None

    @property
    def trained(self) -> nn.Module:
        """The trained module. Raises DivergedError, naming the step, where there is none."""
        if self.module is None:
            raise DivergedError(
                f"the loss stopped being finite at step {self.diverged_at} with learning rate {self.learning_rate:g}; "
                "use a smaller one"
            )
        return self.module


@dataclass(frozen=True, eq=False)
class Parts:
    """The rows a fit trains on and those it holds back, which may be none."""

    x: Array | Chosen
    y: Labels
    x_holdout: Array | Chosen
    y_holdout: Labels


def fit(fit: Fit, data: Dataset, *, seeds: Seeds, learning_rate: float) -> Fitted:
    """Train one recipe on the training rows, with the fit's change and hold-out. Same arguments, same bits.

    Raises ConfigError, ModelError or DataError for a recipe that cannot be trained on this data. A loss that stops
    being finite raises nothing: it is told by `diverged_at`, so that tuning can go on.
    """
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ConfigError(f"the learning rate is {learning_rate}; it must be a number above 0")
    if fit.recipe.epochs < 1 or fit.recipe.batch_size < 1:
        raise ConfigError(
            f"{fit.recipe.epochs} epochs with batches of {fit.recipe.batch_size}: both must be at least 1"
        )
    rows = parts(fit, data, seeds)
    with conditions.repeatable():
        run = _Run(fit.recipe, data, rows, seeds, learning_rate)
        while run.diverged_at is None and run.epoch < fit.recipe.epochs:
            run.one_epoch()
        return run.fitted()


def parts(fit: Fit, data: Dataset, seeds: Seeds) -> Parts:
    """Hold back the share a fit asks for, stratified, from the validation stream; then change what is left."""
    held = np.zeros(len(data.y_train), bool)
    if fit.holdout is not None:
        held[_held_back(data.y_train, fit.holdout, seeds)] = True
    x, y = (taken(data.x_train, ~held), data.y_train[~held]) if held.any() else (data.x_train, data.y_train)
    if fit.change is not None:
        x = copied(x) if isinstance(x, Chosen) else x
        context = changes.ChangeContext(seeds.numpy("craft"), data.domain, len(data.classes), data.shape)
        x, y = changes.apply(fit.change, x, y, context)
    return Parts(x, y, taken(data.x_train, held), data.y_train[held])


def _held_back(y: Labels, share: float, seeds: Seeds) -> npt.NDArray[np.int64]:
    count = round(share * len(y))
    if not 0 < count < len(y):
        raise DataError(f"a hold-out of {share:g} of {len(y)} training rows leaves one side empty")
    return stratified(y, count, seeds.numpy("validation"))


class _Run:
    """A training under way."""

    def __init__(self, recipe: Recipe, data: Dataset, rows: Parts, seeds: Seeds, learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self.x, self.y = tensor_rows(rows.x), torch.tensor(rows.y)
        self.x_holdout, self.y_holdout = tensor_rows(rows.x_holdout), torch.tensor(rows.y_holdout)
        self.module = architectures.build(recipe, data.facts(), seed=seeds.integer("init"))
        self.steps = steps.chosen(recipe, data.domain, len(rows.y), seeds)
        self.steps.prepare(self.module, rows.x, data.domain)
        self.loss, self.seeds = loss_of(recipe.objective, data.domain), seeds
        _check_output(self.module, self.x, len(data.classes), recipe.architecture)
        self.optimizer = _optimizer(recipe, self.module, learning_rate)
        torch.default_generator.manual_seed(seeds.integer("order"))  # dropout and the like in a user's network
        self.batches = math.ceil(len(self.y) / recipe.batch_size)
        self.factors = schedules.factors(recipe.schedule, self.batches * recipe.epochs)
        self.losses = torch.zeros(self.batches)
        self.epoch, self.seen, self.diverged_at = 0, 0, None
        self.curve: list[dict[str, float]] = []
        self.clock = Stopwatch()

    diverged_at: int | None

    def one_epoch(self) -> None:
        """Train on every row once (on average), then look at the loss; no tensor is read back in between."""
        self.module.train()
        with self.clock:
            for number, rows in enumerate(self.steps.epoch()):
                self._step(number, rows)
        self.epoch += 1
        self._look()

    def _step(self, number: int, rows: torch.Tensor) -> None:
        rate = self.learning_rate * self.factors[self.epoch * self.batches + number]
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss = self.steps.backward(self.module, self.x.index_select(0, rows), self.y.index_select(0, rows))
        self.optimizer.step()
        self.losses[number] = loss
        self.seen += len(rows)

    def _look(self) -> None:
        """Add a point to the curve, or note the first step whose loss was not finite."""
        bad = (~torch.isfinite(self.losses)).nonzero()
        if len(bad):
            self.diverged_at = (self.epoch - 1) * self.batches + int(bad[0, 0])
            return
        point = {"samples": float(self.seen), "loss": float(self.losses.double().mean())}
        if len(self.y_holdout):
            stream = self.seeds.torch("craft", probe="objective", row="holdout")  # the same draws at every look
            point["holdout_loss"] = mean_loss(self.loss, self.module, self.x_holdout, self.y_holdout, stream)
        if math.isfinite(sum(point.values())) and all(bool(torch.isfinite(p).all()) for p in self.module.parameters()):
            self.curve.append(point)
        else:
            self.diverged_at = self.epoch * self.batches

    def fitted(self) -> Fitted:
        """What came out."""
        failed = self.diverged_at is not None
        first = slice(0, math.ceil(len(self.y) / self.batches))
        flops = step_flops(self.steps.counted, self.module.train(), self.x[first], self.y[first])
        self.module.eval()
        self.optimizer.zero_grad()
        return Fitted(
            state={} if failed else {name: t.detach().clone() for name, t in self.module.state_dict().items()},
            module=None if failed else self.module,
            learning_rate=self.learning_rate,
            epochs=self.epoch,
            steps=self.epoch * self.batches,
            flops=flops * self.seen // len(self.y[first]),
            curve=tuple(self.curve),
            holdout_loss=None if failed else self.curve[-1].get("holdout_loss"),
            diverged_at=self.diverged_at,
            seconds=self.clock.seconds,
            optimizer_state_bytes=state_bytes(self.optimizer),
            privacy=asdict(self.steps.promise) if self.steps.promise else None,
        )


def _optimizer(recipe: Recipe, module: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    spec = optimizers.resolve(recipe.optimizer)
    settings = optimizers.check_settings(spec, recipe.settings)
    learnable = [p for p in module.parameters() if p.requires_grad]
    if not learnable:
        raise ModelError(f"{recipe.architecture!r} has no parameters to train")
    try:
        return spec.build(learnable, learning_rate, settings)
    except ValueError as error:
        raise ConfigError(f"{spec.name} refuses its settings {settings}: {error}") from None


def _check_output(module: nn.Module, x: torch.Tensor | MappedRows, classes: int, architecture: str) -> None:
    rows = x[:2]
    with torch.no_grad():
        out = module.eval()(rows)
    if not isinstance(out, torch.Tensor) or out.shape != (len(rows), classes):
        got = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        raise ModelError(
            f"{architecture!r} answers {len(rows)} rows with {got}; expected {(len(rows), classes)}, one logit a class"
        )


def mean_loss(
    loss: Loss, module: nn.Module, x: torch.Tensor | MappedRows, y: torch.Tensor, generator: torch.Generator
) -> float:
    """Mean loss of a module, in evaluation mode, over rows (N, *shape) with labels (N,)."""
    module.eval()
    with torch.no_grad():
        batches = zip(x.split(EVALUATION_BATCH), torch.split(y, EVALUATION_BATCH), strict=True)
        total = sum(float(loss(module, a, b, generator)) * len(b) for a, b in batches)
    return total / len(y)
