"""The peers of benchmarks/evasion.py behind one call each: which rows they break, and in how many seconds."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Mask = npt.NDArray[np.bool_]
TOLERANCE = 1e-5  # of the range, for float32 that lies on the edge of the ball


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows x (n, C, H, W) in [0, 1] with labels y (n,), the net that is attacked and the ball."""

    net: nn.Module
    x: torch.Tensor
    y: torch.Tensor
    norm: str
    epsilon: float
    classes: int
    batch: int

    def first(self, rows: int) -> "Problem":
        """The same with its first rows only."""
        return Problem(self.net, self.x[:rows], self.y[:rows], self.norm, self.epsilon, self.classes, self.batch)

    def batches(self, rows: npt.NDArray[np.int64]) -> list[torch.Tensor]:
        """These rows in batches of the chosen size."""
        return list(torch.as_tensor(rows).split(self.batch))

    def broken(self, rows: torch.Tensor, moved: torch.Tensor) -> Mask:
        """Which of these rows are wrong once moved, in the ball and in the range."""
        change = (moved - self.x[rows]).flatten(1)
        size = change.abs().amax(1) if self.norm == "Linf" else change.norm(dim=1)
        inside = (size <= self.epsilon + TOLERANCE) & ((moved >= 0) & (moved <= 1)).flatten(1).all(1)
        with torch.no_grad():
            return (inside & (self.net(moved).argmax(1) != self.y[rows])).numpy()


@dataclass(frozen=True, eq=False)
class Attacked:
    """What an attack did: rows broken (n,), how long it took, and how many rows each of its parts broke."""

    broken: Mask
    wall: float
    cpu: float
    parts: dict[str, int] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    @property
    def robust(self) -> float:
        """Robust accuracy in percent."""
        return 100 * float(1 - self.broken.mean())


@contextmanager
def clock(into: list[float]) -> Iterator[None]:
    """Puts wall and CPU seconds of what runs inside into the list."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    into += [time.perf_counter() - wall, time.process_time() - cpu]


def fastest_batch(net: nn.Module, x: torch.Tensor) -> int:
    """The number of rows at which a forward and backward pass costs least a row; for all attacks alike."""

    def seconds(size: int) -> float:
        best = np.inf
        for _ in range(5):
            point = x[:size].clone().requires_grad_()
            start = time.process_time()
            torch.autograd.grad(net(point).sum(), point)
            best = min(best, time.process_time() - start)
        return best / size

    return min((s for s in (64, 128, 256, 512) if s <= max(64, len(x))), key=seconds)


def auto_attack(problem: Problem) -> Attacked:
    """AutoAttack standard (Croce and Hein 2020) as torchattacks has it, its four attacks on what is left.

    torchattacks 3.5.1 gives its gradient attacks 10 steps inside its AutoAttack; the paper's, and here, 100.
    """
    return _one_after_another(problem, auto_attacks(problem))


def auto_attacks(problem: Problem, steps: int = 100) -> dict[str, Callable[..., torch.Tensor]]:
    """The four attacks of AutoAttack standard, in order."""
    import torchattacks

    whole = torchattacks.AutoAttack(
        problem.net, norm=problem.norm, eps=problem.epsilon, n_classes=problem.classes, seed=0
    )
    attacks: dict[str, Any] = {type(attack).__name__: attack for attack in whole._autoattack.attacks}
    for name in ("APGD", "APGDT", "FAB"):
        attacks[name].steps = steps
    return attacks


def _one_after_another(problem: Problem, attacks: dict[str, Callable[..., torch.Tensor]]) -> Attacked:
    broken, spent, parts = _wrong(problem), list[float](), dict[str, int]()
    with clock(spent):
        for name, attack in attacks.items():
            before = broken.sum()
            for rows in problem.batches(np.flatnonzero(~broken)):
                moved = attack(problem.x[rows], problem.y[rows]).detach()
                broken[rows.numpy()] = problem.broken(rows, moved)
            parts[name] = int(broken.sum() - before)
    return Attacked(broken, spent[0], spent[1], parts)


def _wrong(problem: Problem) -> Mask:
    with torch.no_grad():
        return (problem.net(problem.x).argmax(1) != problem.y).numpy()


def foolbox_pgd(problem: Problem, steps: int = 100) -> Attacked:
    """PGD as foolbox has it, on cross-entropy."""
    import foolbox

    fmodel = foolbox.PyTorchModel(problem.net, bounds=(0, 1), device="cpu")
    kind = foolbox.attacks.LinfPGD if problem.norm == "Linf" else foolbox.attacks.L2PGD
    attack = kind(steps=steps)

    def run(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        moved: torch.Tensor = attack(fmodel, x, y, epsilons=problem.epsilon)[1]
        return moved

    torch.manual_seed(0)
    return _one_after_another(problem, {"PGD": run})


def art_pgd(problem: Problem, steps: int = 100) -> Attacked:
    """ART's PGD on cross-entropy, in its numpy version, which is the faster one at large batches."""
    from art.attacks.evasion import ProjectedGradientDescentNumpy

    attack = ProjectedGradientDescentNumpy(
        art_classifier(problem),
        norm=_art_norm(problem),
        eps=problem.epsilon,
        eps_step=problem.epsilon / 8,
        max_iter=steps,
        num_random_init=1,
        batch_size=problem.batch,
        verbose=False,
    )
    return _art(problem, attack)


def art_auto_attack(problem: Problem) -> Attacked:
    """ART's AutoAttack with its own defaults but for the batch size and the first step, which is the paper's."""
    from art.attacks.evasion import AutoAttack

    attack = AutoAttack(
        art_classifier(problem),
        norm=_art_norm(problem),
        eps=problem.epsilon,
        eps_step=2 * problem.epsilon,
        batch_size=problem.batch,
    )
    for part in attack.attacks:
        part.batch_size, part.verbose = problem.batch, False
    return _art(problem, attack)


def art_square(problem: Problem, queries: int) -> Attacked:
    """ART's Square attack."""
    from art.attacks.evasion import SquareAttack

    attack = SquareAttack(
        art_classifier(problem),
        norm=_art_norm(problem),
        eps=problem.epsilon,
        max_iter=queries,
        batch_size=problem.batch,
        verbose=False,
    )
    return _art(problem, attack)


def art_classifier(problem: Problem) -> Any:  # ART's classes carry no types
    """The net as ART wants it."""
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        problem.net,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(problem.x.shape[1:]),
        nb_classes=problem.classes,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )


def _art_norm(problem: Problem) -> float | int:
    return np.inf if problem.norm == "Linf" else 2


def _art(problem: Problem, attack: Any) -> Attacked:
    np.random.seed(0)  # noqa: NPY002  # ART draws from no other generator
    spent = list[float]()
    with warnings.catch_warnings(), clock(spent):
        warnings.simplefilter("ignore")
        moved = torch.as_tensor(attack.generate(problem.x.numpy(), problem.y.numpy()))
    broken = problem.broken(torch.arange(len(problem.y)), moved) | _wrong(problem)
    return Attacked(broken, spent[0], spent[1])
