"""Models that hide nothing: no doubt may fall on what is measured of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from auditor.dataset import Dataset
from auditor.recipe import Objective, Pgd, Standard, Trades
from auditor.training.objectives import loss_of


@dataclass(frozen=True)
class Honest:
    """A net, the data it is for (`digits`, `images` or `cancer`), how it is trained, and what it answers."""

    make: Callable[[int, int], nn.Module]  # inputs, classes
    data: str = "digits"
    objective: Objective = field(default_factory=Standard)
    outputs: str = "logits"
    epochs: int = 12
    decay: float = 0.0


class Quantised(nn.Module):
    """A net whose weights are whole numbers times a scale, as after int8."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.net = mlp()(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (n, K) of the rounded weights once training is over."""
        for layer in () if self.training else [m for m in self.net if isinstance(m, nn.Linear)]:
            scale = layer.weight.data.abs().max() / 127
            layer.weight.data = (layer.weight.data / scale).round() * scale
        return self.net(x)


def mlp(width: int = 64, act: Callable[[], nn.Module] = nn.ReLU, *more: nn.Module) -> Callable[[int, int], nn.Module]:
    """A net of one hidden layer."""
    return lambda d, k: nn.Sequential(nn.Linear(d, width), act(), nn.Linear(width, k), *more)


def deep(act: Callable[[], nn.Module]) -> Callable[[int, int], nn.Module]:
    """A net of three hidden layers."""
    return lambda d, k: nn.Sequential(
        nn.Linear(d, 64), act(), nn.Linear(64, 64), act(), nn.Linear(64, 64), act(), nn.Linear(64, k)
    )


def cnn(norm: Callable[[int], nn.Module] = nn.Identity, act: Callable[[], nn.Module] = nn.ReLU):
    """A small convolutional net on 8 by 8 images."""
    return lambda _, k: nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), norm(12), act(), nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, stride=2, padding=1), norm(24), act(), nn.Flatten(), nn.Linear(96, k),
    )  # fmt: skip


NETS: dict[str, Honest] = {
    "linear": Honest(lambda d, k: nn.Linear(d, k)),
    "logistic regression in torch, two classes": Honest(lambda d, k: nn.Linear(d, k), "cancer"),
    "mlp": Honest(mlp()),
    "tiny mlp": Honest(mlp(6), epochs=30),
    "wide mlp": Honest(mlp(1024)),
    "overtrained mlp": Honest(mlp(256), epochs=80),
    "tanh mlp": Honest(mlp(64, nn.Tanh)),
    "gelu mlp": Honest(deep(nn.GELU)),
    "deep relu": Honest(deep(nn.ReLU)),
    "sigmoid mlp": Honest(mlp(64, nn.Sigmoid), epochs=25),
    "dropout": Honest(lambda d, k: nn.Sequential(nn.Linear(d, 96), nn.ReLU(), nn.Dropout(0.5), nn.Linear(96, k))),
    "softmax output": Honest(mlp(64, nn.ReLU, nn.Softmax(1)), outputs="probabilities", epochs=40),
    "overtrained softmax output": Honest(mlp(256, nn.ReLU, nn.Softmax(1)), outputs="probabilities", epochs=120),
    "softmax called logits": Honest(mlp(64, nn.ReLU, nn.Softmax(1)), epochs=40),
    "cnn": Honest(cnn(), "images"),
    "batchnorm cnn": Honest(cnn(nn.BatchNorm2d), "images"),
    "elu cnn": Honest(cnn(act=nn.ELU), "images"),
    "pgd mlp": Honest(mlp(96), objective=Pgd(epsilon=0.15, steps=5)),
    "pgd cnn": Honest(cnn(), "images", Pgd(epsilon=0.15, steps=5), epochs=20),
    "trades mlp": Honest(mlp(96), objective=Trades(epsilon=0.15, steps=5, beta=6)),
    "trades cnn": Honest(cnn(), "images", Trades(epsilon=0.15, steps=5, beta=6), epochs=20),
    "small weights": Honest(mlp(), decay=0.02, epochs=30),
    "mlp of two classes": Honest(mlp(), "cancer", epochs=20),
    "pgd of two classes": Honest(mlp(), "cancer", Pgd(epsilon=0.1, steps=5), epochs=20),
    "whole-number weights": Honest(Quantised),
}

ESTIMATORS = {
    "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "poly svm": lambda: make_pipeline(StandardScaler(), SVC(kernel="poly")),
    "rbf svm with probabilities": lambda: CalibratedClassifierCV(SVC(), ensemble=False, cv=3),
    "random forest": lambda: RandomForestClassifier(30, random_state=0),
    "extra trees": lambda: ExtraTreesClassifier(30, random_state=0),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=15, max_depth=2, random_state=0),
    "histogram boosting": lambda: HistGradientBoostingClassifier(max_iter=15, random_state=0),
    "adaboost": lambda: AdaBoostClassifier(n_estimators=30, random_state=0),
    "nearest neighbours": lambda: KNeighborsClassifier(),
    "nearest neighbours by distance": lambda: KNeighborsClassifier(9, weights="distance"),
    "naive bayes": lambda: GaussianNB(var_smoothing=1e-2),
    "tree": lambda: DecisionTreeClassifier(max_depth=8, random_state=0),
    "mlp": lambda: MLPClassifier((32,), tol=1.0, n_iter_no_change=60, random_state=0),
}


def trained(model: Honest, data: Dataset) -> nn.Module:
    """The net, trained on the data by its objective."""
    torch.manual_seed(0)
    net = model.make(data.x_train[0].size, len(data.classes)).train()
    x, y = torch.tensor(data.x_train), torch.tensor(data.y_train)
    loss, generator = loss_of(model.objective, data.domain), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(net.parameters(), 0.005, weight_decay=model.decay)
    told = (lambda a: net(a).clamp_min(1e-12).log()) if isinstance([*net.modules()][-1], nn.Softmax) else net
    for _ in range(model.epochs):
        for rows in torch.randperm(len(x), generator=generator).split(64):
            optimizer.zero_grad()
            loss(told, x[rows], y[rows], generator).backward()
            optimizer.step()
    return net.eval()
