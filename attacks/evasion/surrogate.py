"""Small nets that answer as the subject does, trained on its own answers: their gradients stand in for its own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from auditor.blocks import gather
from auditor.probe import Case, stratified
from auditor.recipe import Recipe
from auditor.subject import probabilities
from auditor.training import conditions
from auditor.training.architectures import SMALLEST_SIDE, build

from .apgd import Model
from .view import View

_ROWS = 5000
_ROOM = 2**24  # numbers in the rows together: fewer rows of large images
_TESTED = 500
_NETS = 2  # what fools both is likelier to fool a third
_ROUNDS = 2
_EPOCHS = 8
_WIDER = {"hidden": (256, 128)}
_BATCH = 64
_RATE = 3e-3
_STREAM = "surrogate"

Mover = Callable[[Model, torch.Tensor, torch.Tensor], torch.Tensor]  # nets, unit points, their classes -> moved points


@dataclass(frozen=True, eq=False)
class Taught:
    """Unit points (n, *shape) and what the subject answers to them, as probabilities (n, K); float32 on the CPU."""

    unit: torch.Tensor
    answers: torch.Tensor

    def with_more(self, other: "Taught") -> "Taught":
        """Both together."""
        return Taught(torch.cat([self.unit, other.unit]), torch.cat([self.answers, other.answers]))


@dataclass(frozen=True, eq=False)
class Surrogate:
    """Nets on unit coordinates, and on which share of test rows they name the class that the subject names."""

    nets: tuple[nn.Module, ...]
    agreement: float

    def __call__(self, u: torch.Tensor) -> torch.Tensor:
        """Scores (n, K) of unit points (n, *shape): the mean of the nets' log-probabilities."""
        return torch.stack([net(u) for net in self.nets]).log_softmax(-1).mean(0)


def trained(case: Case, view: View, move: Mover) -> Surrogate | None:
    """What do nets learn from the subject's answers to training rows; None where it gives none.

    At most 5000 rows, drawn by the case's own stream, and fewer where they are large. A second round adds the rows as
    the nets of the first would move them, answered by the subject: that is where an attack goes (such points are added
    by Papernot et al. 2017 too). Convolutions for images, else fully connected layers; cross-entropy with the subject's
    probabilities, or labels where there are no more. Costs the subject two queries a row, and 500 on test rows. Same
    seed, same bits: nets are trained on the CPU. Blind to what the training rows do not show.
    """
    count = min(_ROWS, _ROOM // max(1, int(np.prod(case.data.shape))))
    rows = stratified(case.data.y_train, count, case.rng(row=_STREAM))
    first = taught = _ask(case, view, view.unit(case.domain.clip(gather(case.data.x_train, rows))))
    if not len(first.unit):
        return None
    nets = _nets(first.unit, case)
    for turn in range(_ROUNDS):
        if turn:
            moved = move(Surrogate(nets, 0.0), first.unit, first.answers.argmax(1))
            taught = taught.with_more(_ask(case, view, moved))
        with conditions.repeatable():
            for i, net in enumerate(nets):
                _train(net, taught, _seed(case, f"order:{turn}:{i}"))
    test = _ask(case, view, view.unit(case.domain.clip(case.data.x_test[case.rows(_TESTED)])))
    with torch.no_grad():
        same = Surrogate(nets, 0.0)(test.unit).argmax(1) == test.answers.argmax(1)
    nets = tuple(net.requires_grad_(False).to(view.low.device, view.low.dtype) for net in nets)
    return Surrogate(nets, float(same.double().mean()))


def _ask(case: Case, view: View, unit: torch.Tensor) -> Taught:
    """What the subject answers to unit points; those it gives no numbers for are left out."""
    outputs = case.subject.predict(case.domain.clip(view.inputs(unit).astype(np.float32)))
    told = torch.as_tensor(probabilities(outputs, case.subject.outputs), dtype=torch.float32)
    readable = told.isfinite().all(1)
    return Taught(unit.cpu().float()[readable], told[readable])


def _nets(unit: torch.Tensor, case: Case) -> tuple[nn.Module, ...]:
    """Untrained nets for points (n, *shape), normalised by them."""
    image = len(case.data.shape) == 3 and min(case.data.shape[1:]) > SMALLEST_SIDE
    named: dict[str, Any] = {"architecture": "strided-cnn"} if image else {"architecture": "mlp", "kwargs": _WIDER}
    recipe, facts = Recipe(optimizer="adamw", epochs=_EPOCHS, **named), case.data.facts()
    nets = tuple(build(recipe, facts, seed=_seed(case, f"init:{i}")) for i in range(_NETS))
    for net in nets:
        net.measure(unit.numpy())
    return nets


def _train(net: nn.Module, taught: Taught, seed: int) -> None:
    """Cross-entropy with the subject's probabilities, by AdamW on a one-cycle schedule."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), _RATE)
    steps = _EPOCHS * -(-len(taught.unit) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    net.train()
    for _ in range(_EPOCHS):
        order = torch.randperm(len(taught.unit), generator=generator)
        for rows in order.split(_BATCH):  # type: ignore[no-untyped-call]  # torch's own
            optimizer.zero_grad()
            loss = cross_entropy(net(taught.unit[rows]), taught.answers[rows])
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            optimizer.step()
            schedule.step()
    net.eval()


def _seed(case: Case, what: str) -> int:
    return case.seeds.integer("attack", probe=case.probe.id, row=f"{_STREAM}:{what}")
