"""Small networks trained at once, each to the bit as if it were alone: their layers stand in stacks."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from auditor.dataset import Dataset
from auditor.recipe import Fit
from auditor.seeds import Seeds
from auditor.training import conditions, optimizers
from auditor.training.cost import Stopwatch
from auditor.training.loop import Fitted, Run, check, parts
from auditor.training.objectives import Ball, Moved
from auditor.training.optimizers.driver import StepDriver
from auditor.training.stacked_passes import Layers, means
from auditor.training.steps import Shuffled

VECTORS = 64  # numbers: what the widest processors take at once, four times over


@dataclass(frozen=True, eq=False)
class Member:
    """One training of a stack, with what `loop.fit` is told beside it."""

    fit: Fit
    seeds: Seeds
    learning_rate: float
    start: Mapping[str, torch.Tensor] | None = None


def fit_stacked(members: Sequence[Member], data: Dataset) -> list[Fitted]:
    """What `loop.fit` gives for each of these trainings, to the bit, in less time: see `auditor.stacking` for which.

    Layers of all networks are multiplied by one batched product; every network keeps its own rows, order, rate and
    optimizer's state. Batched products need not add in the order of single ones: on this processor and for these
    shapes it is tried first, and where one bit differs the trainings are done one by one. Seconds are those of all,
    in equal parts; a training whose loss stops being finite goes on beside the others, and its result is as it was.
    Raises what `loop.fit` raises, for the first training that cannot be done.
    """
    runs = []
    for member in members:
        check(member.fit.recipe, member.learning_rate)
    rows = [parts(m.fit, data, m.seeds) for m in members]
    with conditions.repeatable():
        specs = {name: optimizers.resolve(name) for name in {m.fit.recipe.optimizer for m in members}}
        for member, part in zip(members, rows, strict=True):
            recipe, rate = member.fit.recipe, member.learning_rate
            runs.append(Run(recipe, data, part, member.seeds, rate, specs[recipe.optimizer], member.start))
        for same in _grouped(runs, lambda run: len(run.y)):  # a change may leave more rows or fewer
            _train([run for led in _grouped(same, _update) for run in led])
        cost = {len(run.y): run for run in runs}
        known = {count: run.cost() for count, run in cost.items()}
        return [run.fitted(known[len(run.y)]) for run in runs]


def _grouped(runs: Iterable[Run], key: Any) -> list[list[Run]]:
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return list(groups.values())


def _train(runs: Sequence[Run]) -> None:
    stack = Stack(runs) if len(runs) > 1 else None
    if stack is None or not stack.exact():
        if stack is not None:
            stack.release()
        for run in runs:
            run.train()
        return
    stack.train()
    stack.release()


class Stack:
    """Trainings of equal shapes under way together; their modules look into the stacked weights."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = runs
        self._mean = torch.stack([run.module.mean for run in runs]).unsqueeze(1)
        self._deviation = torch.stack([run.module.deviation for run in runs]).unsqueeze(1)
        own = [list(run.module.parameters()) for run in runs]
        self.weights = [torch.stack([p.detach() for p in same]) for same in zip(*own, strict=True)]
        self.slopes = [torch.zeros_like(w) for w in self.weights]
        for number, parameters in enumerate(own):
            for parameter, stacked in zip(parameters, self.weights, strict=True):
                parameter.data = stacked[number]
        self._layers = Layers(self.weights, self.slopes)
        self._ball: Ball | None = runs[0].loss.ball if isinstance(runs[0].loss, Moved) else None
        rows = ((run.x[:], run.module) for run in runs)
        self._x, self._x_at = _joined([x if self._ball else (x - m.mean) / m.deviation for x, m in rows])
        self._y, self._y_at = _joined([run.y for run in runs])

    def exact(self) -> bool:
        """Whether gradients and losses are those of single trainings to the bit, for both sizes a batch can have."""
        most = self.runs[0].first.stop
        sizes = {most, max(1, most - 1)}
        if all(self._as_alone(rows) for rows in sizes):
            return True
        self._layers.across = False
        return all(self._as_alone(rows) for rows in sizes)

    def _as_alone(self, count: int) -> bool:
        rows = torch.arange(count).repeat(len(self.runs), 1)
        streams = [(stream, stream.get_state()) for run in self.runs for stream in run.steps.streams]
        losses, same = means(self._descend(*self._batch(rows))), True
        _restore(streams)
        for number, run in enumerate(self.runs):
            run.module.train().zero_grad()
            loss = run.steps.backward(run.module, run.x[:count], run.y[:count])
            ours = (slopes[number] for slopes in self.slopes)
            pairs = zip(ours, (p.grad for p in run.module.parameters()), strict=True)
            same = same and torch.equal(loss, losses[number])
            same = same and all(b is not None and _equal(a, b) for a, b in pairs)
            run.module.zero_grad()
        _restore(streams)
        return same

    def train(self) -> None:
        """All epochs, or as far as a loss of any is finite."""
        groups, begin = list[_Group](), 0
        for same in _grouped(self.runs, _update):
            groups.append(_Group(self, begin, same))
            begin += len(same)
        for epoch in range(self.runs[0].recipe.epochs):
            going = [run for run in self.runs if run.diverged_at is None]
            if not going:
                break
            clock = Stopwatch()
            with clock:
                losses_of = self._one_epoch(epoch, groups)
            for run, losses in zip(self.runs, losses_of, strict=True):
                run.clock.add(clock.seconds, 1 / len(self.runs))
                if run.diverged_at is None:
                    run.seen, run.losses = run.seen + len(run.y), losses
                    run.look()
        for group in groups:
            group.hand_back()

    def _one_epoch(self, epoch: int, groups: "Sequence[_Group]") -> torch.Tensor:
        """The loss of each step (B, batches)."""
        for run in self.runs:
            run.module.train()
        order = torch.stack([torch.cat(tuple(run.steps.epoch())) for run in self.runs])
        losses = []
        for number, rows in enumerate(order.tensor_split(self.runs[0].batches, dim=1)):
            losses.append(self._descend(*self._batch(rows)))
            for group in groups:
                group.step(epoch, number)
        alike = [list(same) for _, same in groupby(losses, key=torch.Tensor.size)]
        return torch.cat([means(torch.stack(same, 1)) for same in alike], 1)

    def _batch(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs (B, n, *shape) and labels (B, n) of row numbers (B, n), each of its own training."""
        x = self._x.index_select(0, (rows + self._x_at).flatten())
        y = self._y.index_select(0, (rows + self._y_at).flatten())
        return x.view(*rows.shape, *x.shape[1:]), y.view(rows.shape)

    def _descend(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Leave the gradient of every training's mean loss; the losses of rows (B, n) come back."""
        if self._ball is not None:
            x = self._normalised(self._moved(self._ball, x, y))
        return self._layers.descend(x.flatten(2), y)

    def _moved(self, ball: Ball, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        start = torch.empty_like(x)
        for each, run in zip(start, self.runs, strict=True):
            assert isinstance(run.steps, Shuffled)
            each.uniform_(-1, 1, generator=run.steps.craft)
        flat = y.flatten()

        def value(point: torch.Tensor) -> torch.Tensor:
            logits = self._layers.logits(self._normalised(point).flatten(2))
            return cross_entropy(logits.flatten(0, 1), flat, reduction="sum")

        return ball.ascend(x, start.mul_(ball.radius).add_(x), value)

    def _normalised(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self._mean) / self._deviation

    def release(self) -> None:
        """Give every network weights of its own again."""
        for run in self.runs:
            for parameter in run.module.parameters():
                parameter.data, parameter.grad = parameter.data.clone(), None


class _Group:
    """The trainings of a stack, one behind the other, that one optimizer can lead: with equal settings and rates.

    A tensor of weights stands in the optimizer as the stack of all networks', where that gives the same bits: loops
    over numbers take whole vectors as far as they go, and end with another instruction.
    """

    def __init__(self, stack: Stack, begin: int, runs: Sequence[Run]) -> None:
        first, self._runs = runs[0], runs
        end = begin + len(runs)
        whole, single = [slice(begin, end)], [slice(i, i + 1) for i in range(begin, end)]
        self._at: list[list[nn.Parameter]] = []  # by tensor of the network; one for all trainings, or one for each
        for weights, slopes in zip(stack.weights, stack.slopes, strict=True):
            each = single if weights[0].numel() % VECTORS else whole
            self._at.append([_led(weights[part], slopes[part]) for part in each])
        settings = optimizers.check_settings(first.spec, first.recipe.settings)
        module = nn.ParameterList([p for parameters in self._at for p in parameters])
        self._driver = StepDriver(first.spec, module, first.learning_rate, settings)
        self._factors, self._batches = first.factors, first.batches

    def step(self, epoch: int, number: int) -> None:
        """One step along the gradients that are there."""
        self._driver.rate(self._factors[epoch * self._batches + number])
        self._driver.optimizer.step()

    def hand_back(self) -> None:
        """Leave every training with what the optimizer kept for it."""
        state = self._driver.optimizer.state
        for number, run in enumerate(self._runs):
            run.driver.passes = run.epoch * run.batches
            for own, led in zip(run.module.parameters(), self._at, strict=True):
                one, at = (led[0], number) if len(led) == 1 else (led[number], 0)
                kept = {k: v[at] if v.shape == one.shape else v for k, v in state[one].items()} if one in state else {}
                run.driver.optimizer.state[own] = kept


def _led(weights: torch.Tensor, slopes: torch.Tensor) -> nn.Parameter:
    parameter = nn.Parameter(weights)
    parameter.grad = slopes
    return parameter


def _update(run: Run) -> tuple[object, ...]:
    """What two trainings must share to be led by one optimizer."""
    recipe = run.recipe
    settings = json.dumps(recipe.settings, sort_keys=True)
    return run.spec.name, settings, run.learning_rate, recipe.schedule, recipe.warmup


def _joined(tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Different ones of these tensors of N rows, end to end, and the row (B, 1) where each of them begins."""
    parts = {tensor.numpy().tobytes(): tensor for tensor in tensors}
    at = {content: number * len(tensors[0]) for number, content in enumerate(parts)}
    begins = [at[tensor.numpy().tobytes()] for tensor in tensors]
    return torch.cat(list(parts.values())), torch.tensor(begins).unsqueeze(1)


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are the same to the bit, where NaN is NaN."""
    return torch.equal(a.nan_to_num(), b.nan_to_num()) and torch.equal(a.isnan(), b.isnan())


def _restore(streams: Iterable[tuple[torch.Generator, torch.Tensor]]) -> None:
    for stream, state in streams:
        stream.set_state(state)
