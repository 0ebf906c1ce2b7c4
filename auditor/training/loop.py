"""The training loop: one fit on rows in memory, repeatable to the bit, with its curve and its cost."""

import math
from collections.abc import Iterable, Iterator, Mapping
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
from auditor.training.augment import augmenter
from auditor.training.cost import Passes, Seconds, Stopwatch, module_bytes, step_cost
from auditor.training.objectives import Loss, loss_of
from auditor.training.optimizers.driver import StepDriver
from auditor.training.rows import MappedRows, tensor_rows
from auditor.training.start import begin

EVALUATION_BATCH = 1024
RECALIBRATION_BATCHES = 20  # for BatchNorm under optimizers that evaluate other weights than they train


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a training gave: weights, curve and cost.

    `curve` has an entry an epoch: samples seen, mean training loss during that epoch, and loss on the rows held back,
    both of what the objective minimises. `flops` is every forward and backward pass of all steps, those that move rows
    included. `seconds` is training alone, without evaluation. `peak_bytes` is what weights, the optimizer's state and
    the tensors of one gradient take at once, without the data and what the optimizer holds within its own step; None
    where gradients are taken row by row. `privacy` says what a differentially private training
    guarantees: epsilon, delta, noise_multiplier, max_grad_norm, sampling_rate. `clipped` is
    the share of gradients that were shortened, where the recipe says `clip`. Where `diverged_at` names the step at
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
    peak_bytes: int | None
    privacy: dict[str, float] | None = None
    clipped: float | None = None

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


def fit(
    fit: Fit,
    data: Dataset,
    *,
    seeds: Seeds,
    learning_rate: float,
    spec: optimizers.OptimizerSpec | None = None,
    start: Mapping[str, torch.Tensor] | None = None,
) -> Fitted:
    """Train one recipe on the training rows, with the fit's change and hold-out. Same arguments, same bits.

    The optimizer is that of the recipe's name, or `spec` where it is not registered. `start` holds the weights of the
    recipe's start, where it has one.
    Raises ConfigError, ModelError or DataError for a recipe that cannot be trained on this data. A loss that stops
    being finite raises nothing: it is told by `diverged_at`, so that tuning can go on.
    """
    check(fit.recipe, learning_rate)
    rows = parts(fit, data, seeds)
    with conditions.repeatable():
        found = spec or optimizers.resolve(fit.recipe.optimizer)
        run = Run(fit.recipe, data, rows, seeds, learning_rate, found, start)
        run.train()
        return run.fitted()


def check(recipe: Recipe, learning_rate: float) -> None:
    """Raise ConfigError for numbers that no training can have."""
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ConfigError(f"the learning rate is {learning_rate}; it must be a number above 0")
    if recipe.epochs < 1 or recipe.batch_size < 1:
        raise ConfigError(f"{recipe.epochs} epochs with batches of {recipe.batch_size}: both must be at least 1")


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


class Run:
    """A training under way, from its making to its end under `conditions.repeatable`."""

    def __init__(
        self,
        recipe: Recipe,
        data: Dataset,
        rows: Parts,
        seeds: Seeds,
        learning_rate: float,
        spec: optimizers.OptimizerSpec,
        start: Mapping[str, torch.Tensor] | None,
    ) -> None:
        self.recipe, self.spec, self.learning_rate = recipe, spec, learning_rate
        self.x, self.y = tensor_rows(rows.x), torch.tensor(rows.y)
        self.x_holdout, self.y_holdout = tensor_rows(rows.x_holdout), torch.tensor(rows.y_holdout)
        self.module = architectures.build(recipe, data.facts(), seed=seeds.integer("init"))
        self.steps = steps.chosen(recipe, data.domain, len(rows.y), seeds, full_batch=spec.full_batch)
        self.batches = self.steps.batches
        self.steps.prepare(self.module, rows.x, data.domain)
        if recipe.start is not None:
            begin(self.module, recipe.start, _given(start))
        stream = seeds.torch("craft", probe="augment")
        self.augment = augmenter(recipe.augment, data.domain, self.module.mean, len(data.classes), stream)
        self.loss, self.seeds = loss_of(recipe.objective, data.domain), seeds
        _check_output(self.module, self.x, len(data.classes), recipe.architecture)
        streams = (*self.steps.streams, torch.default_generator)
        self.driver = _driver(spec, recipe, self.module, learning_rate, streams)
        torch.default_generator.manual_seed(seeds.integer("order"))  # dropout and the like in a user's network
        self.factors = schedules.factors(recipe.schedule, self.batches * recipe.epochs, recipe.warmup)
        self.losses, self.clips = torch.zeros(self.batches), recipe.clip is not None
        self.epoch, self.seen, self.diverged_at = 0, 0, None
        self.curve: list[dict[str, float]] = []
        self.clock = Stopwatch()

    diverged_at: int | None

    def train(self) -> None:
        """All epochs, or as far as the loss is finite."""
        while self.diverged_at is None and self.epoch < self.recipe.epochs:
            self.one_epoch()

    def one_epoch(self) -> None:
        """Train on every row once (on average), then look at the loss; no tensor is read back in between."""
        self.driver.train()
        self.module.train()
        with self.clock:
            for number, rows in enumerate(self.steps.epoch()):
                self._step(number, rows)
        self.driver.eval(self._some, self.module)
        self.look()

    def _step(self, number: int, rows: torch.Tensor) -> None:
        batch = self.augment(self.x.index_select(0, rows), self.y.index_select(0, rows))
        self.driver.rate(self.factors[self.epoch * self.batches + number])
        self.losses[number] = self.driver.step(lambda: self.steps.backward(self.module, batch.x, batch.y))
        self.seen += len(rows)

    def _some(self) -> Iterator[torch.Tensor]:
        """Inputs of a few batches spread over the training rows, always the same."""
        count = min(RECALIBRATION_BATCHES, self.batches)
        size = math.ceil(len(self.y) / self.batches)
        for start in range(count):
            yield self.x.index_select(0, torch.arange(start, len(self.y), count)[:size])

    def look(self) -> None:
        """After an epoch: add a point to the curve, or note the first step whose loss was not finite."""
        self.epoch += 1
        bad = (~torch.isfinite(self.losses)).nonzero()
        if len(bad):
            self.diverged_at = (self.epoch - 1) * self.batches + int(bad[0, 0])
            return
        point = {"samples": float(self.seen), "loss": float(self.losses.double().mean())}
        if len(self.y_holdout):
            stream = self.seeds.torch("craft", probe="objective", row="holdout")  # the same draws at every look
            point["holdout_loss"] = mean_loss(self.loss, self.module, self.x_holdout, self.y_holdout, stream)
        if math.isfinite(sum(point.values())) and _finite(self.module.parameters()):
            self.curve.append(point)
        else:
            self.diverged_at = self.epoch * self.batches

    @property
    def first(self) -> slice:
        """A batch of the usual size."""
        return slice(0, math.ceil(len(self.y) / self.batches))

    def cost(self) -> Passes:
        """What one gradient takes."""
        return step_cost(self.steps.counted, self.module.train(), self.x[self.first], self.y[self.first])

    def fitted(self, cost: Passes | None = None) -> Fitted:
        """What came out; `cost` is that of one gradient, where it is known from a training of the same shapes."""
        failed, one = self.diverged_at is not None, cost or self.cost()
        steps, kept = self.epoch * self.batches, module_bytes(self.module) + self.driver.state_bytes
        self.module.eval().zero_grad()
        return Fitted(
            state={} if failed else {name: t.detach().clone() for name, t in self.module.state_dict().items()},
            module=None if failed else self.module,
            learning_rate=self.learning_rate,
            epochs=self.epoch,
            steps=steps,
            flops=one.flops * self.seen * self.driver.passes // (len(self.y[self.first]) * steps),
            curve=tuple(self.curve),
            holdout_loss=None if failed else self.curve[-1].get("holdout_loss"),
            diverged_at=self.diverged_at,
            seconds=self.clock.seconds,
            optimizer_state_bytes=self.driver.state_bytes,
            peak_bytes=None if self.steps.promise else kept + one.peak_bytes,
            privacy=asdict(self.steps.promise) if self.steps.promise else None,
            clipped=int(self.driver.clipped) / max(1, self.driver.passes) if self.clips else None,
        )


def _driver(
    spec: optimizers.OptimizerSpec,
    recipe: Recipe,
    module: nn.Module,
    learning_rate: float,
    streams: tuple[torch.Generator, ...],
) -> StepDriver:
    """The optimizer of a recipe on a module. Raises ConfigError or ModelError where there can be none."""
    optimizers.check_objective(spec, recipe.objective.name)
    settings = optimizers.check_settings(spec, recipe.settings)
    if not any(p.requires_grad for p in module.parameters()):
        raise ModelError(f"{recipe.architecture!r} has no parameters to train")
    return StepDriver(spec, module, learning_rate, settings, clip=recipe.clip, streams=streams)


def _finite(weights: Iterable[nn.Parameter]) -> bool:
    """Whether every number is, read back once."""
    largest = torch._foreach_norm([w.detach() for w in weights if w.numel()], math.inf)
    return bool(torch.stack(largest).isfinite().all())


def _given(start: Mapping[str, torch.Tensor] | None) -> Mapping[str, torch.Tensor]:
    if start is None:
        raise ConfigError("the recipe starts from weights that exist: hand them over as `start`")
    return start


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
