"""Small real models and the exact answers that evasion is held against."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from auditor.attacks.evasion.ball import Ball
from auditor.attacks.evasion.linf import Linf
from auditor.dataset import Dataset, Domain
from auditor.probe import Case, Outcome
from auditor.seeds import Seeds
from auditor.subject import Counts, Subject
from auditor.subjects.torch_subject import TorchSubject


class Run:
    """What a probe said of a subject, in a form that tests can ask."""

    def __init__(self, outcome: Outcome, counts: Counts) -> None:
        self.outcome, self.counts = outcome, counts
        self.clean = next(m.value for m in outcome.measurements if m.metric == "clean_accuracy")
        self.robust = {float(m.at["epsilon"]): m.value for m in outcome.measurements if m.metric == "robust_accuracy"}
        targeted = [m for m in outcome.measurements if m.metric == "targeted_robust_accuracy"]
        self.resisted = {float(m.at["epsilon"]): m.value for m in targeted}
        self.flags = {c.flag for c in outcome.caveats}
        self.doubts = {c.flag for c in outcome.caveats if c.severity != "info"}


@pytest.fixture(scope="session")
def attack() -> Callable[..., Run]:
    def run(
        subject: Subject,
        data: Dataset,
        *epsilons: float | str,
        seed: int = 3,
        kind: type[Ball] = Linf,
        **parameters: int | str,
    ) -> Run:
        case = Case(kind(epsilons=epsilons, **parameters), "toy", subject, data, Seeds(seed))
        return Run(case.probe.run(case), case.counts)

    return run


@pytest.fixture(scope="session")
def digits() -> Dataset:
    x, y = load_digits(return_X_y=True)
    x, y = (x / 16).astype(np.float32), y.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(y))
    test, train = order[:360], order[360:]
    names = tuple(str(k) for k in range(10))
    return Dataset("digits", x[train], y[train], x[test], y[test], names, Domain.unit((64,)))


@pytest.fixture(scope="session")
def images(digits: Dataset) -> Dataset:
    train, test = digits.x_train.reshape(-1, 1, 8, 8), digits.x_test.reshape(-1, 1, 8, 8)
    domain = Domain.unit((1, 8, 8))
    return Dataset("images", train, digits.y_train, test, digits.y_test, digits.classes, domain)


def fit(net: nn.Module, data: Dataset, *, epochs: int, radius: float = 0.0) -> nn.Module:
    """The net trained on the data, on PGD examples where a radius is given."""
    x, y = torch.tensor(data.x_train), torch.tensor(data.y_train)
    optimizer = torch.optim.Adam(net.parameters(), 0.005)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(64):
            batch = moved(net, x[rows], y[rows], radius) if radius else x[rows]
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(batch), y[rows]).backward()
            optimizer.step()
    return net.eval()


def moved(net: nn.Module, x: torch.Tensor, y: torch.Tensor, radius: float) -> torch.Tensor:
    """The rows after five steps of projected gradient ascent."""
    z = x.clone()
    for _ in range(5):
        z.requires_grad_()
        (slope,) = torch.autograd.grad(nn.functional.cross_entropy(net(z), y), z)
        z = (z.detach() + radius / 2 * slope.sign()).clamp(x - radius, x + radius).clamp(0, 1)
    return z


@pytest.fixture(scope="session")
def mlp(digits: Dataset) -> nn.Module:
    torch.manual_seed(0)
    return fit(nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10)), digits, epochs=15)


@pytest.fixture(scope="session")
def hardened(digits: Dataset) -> nn.Module:
    torch.manual_seed(0)
    return fit(nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10)), digits, epochs=8, radius=0.15)


@pytest.fixture(scope="session")
def convolution(images: Dataset) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, stride=2, padding=1), nn.GroupNorm(4, 12), nn.ReLU(), nn.Flatten(), nn.Linear(192, 10)
    )
    return fit(net, images, epochs=8)


@pytest.fixture(scope="session")
def linear(digits: Dataset) -> nn.Module:
    torch.manual_seed(0)
    return fit(nn.Sequential(nn.Linear(64, 10)), digits, epochs=15)


@pytest.fixture(scope="session")
def torch_subject() -> Callable[..., TorchSubject]:
    def make(module: nn.Module, data: Dataset, outputs: str = "logits") -> TorchSubject:
        return TorchSubject(module, classes=len(data.classes), shape=data.shape, outputs=outputs)

    return make


def exact_linear_robustness(weight: np.ndarray, bias: np.ndarray, data: Dataset, epsilon: float) -> np.ndarray:
    """Per test row: does a linear classifier stay right wherever the row moves within ball and box?

    Each class difference is worst, feature by feature, at an end of the interval the feature may move in.
    """
    x, y = data.x_test.astype(np.float64), data.y_test
    low = np.maximum(-epsilon * data.domain.span, data.domain.low - x)
    high = np.minimum(epsilon * data.domain.span, data.domain.high - x)
    robust = np.ones(len(x), bool)
    for other in range(len(bias)):
        slope = weight[y] - weight[other]
        least = (slope * x).sum(1) + bias[y] - bias[other] + np.minimum(slope * low, slope * high).sum(1)
        robust &= (least > 0) | (y == other)
    return robust


@pytest.fixture(scope="session")
def exact_robustness() -> Callable[..., np.ndarray]:
    return exact_linear_robustness
