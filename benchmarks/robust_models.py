"""The models that benchmarks/evasion.py attacks: trained here, kept in a folder, none of them shipped."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal, assert_never

import torch
from torch import nn
from torch.nn.functional import conv2d, cross_entropy, linear

from auditor.dataset import Dataset
from auditor.datasets import load
from auditor.datasets.spec import DataConfig
from auditor.recipe import Fit, Objective, Pgd, Recipe, Standard, Trades
from auditor.seeds import Seeds
from auditor.training import architectures, loop

FASHION = "/usr/share/datasets/fashion-mnist"  # Debian's dataset-fashion-mnist
TRAIN_ROWS, ROWS = 12_000, 500
AS_THEY_ARE = Standard()

Norm = Literal["Linf", "L2"]
Way = Literal["recipe", "moved", "bounds"]


@dataclass(frozen=True)
class Trained:
    """One model of the zoo: how it is made, and the ball it is attacked in.

    `way` is `recipe` (auditor.training does it), `moved` (adversarial training in `norm` with smoothed labels, here)
    or `bounds` (interval bounds, Gowal et al. 2018, here). `radius` is what it is trained against, `epsilon` what it
    is attacked with.
    """

    name: str
    data: Literal["digits", "fashion"]
    architecture: str
    epsilon: float
    radius: float
    way: Way = "recipe"
    objective: Objective = AS_THEY_ARE
    norm: Norm = "Linf"
    epochs: int = 6
    rate: float = 0.003
    smoothing: float = 0.0
    width: int = 8
    robust: bool = True
    seed: int = field(default=0, repr=False)  # 0 leaves the names of weights kept by earlier runs as they are

    @property
    def recipe(self) -> Recipe:
        """Its architecture, optimizer and objective as auditor.training reads them."""
        sized = {} if self.architecture == "mlp" else {"width": self.width}
        return Recipe(
            architecture=self.architecture,
            optimizer="adamw",
            learning_rate=self.rate,
            epochs=self.epochs,
            batch_size=64,
            objective=self.objective,
            kwargs=sized,
        )


def _pgd(name: str, data: str, architecture: str, epsilon: float, radius: float = 0.0, **more: object) -> Trained:
    radius = radius or epsilon
    return Trained(name, data, architecture, epsilon, radius, objective=Pgd(epsilon=radius), **more)


def _trades(name: str, data: str, architecture: str, epsilon: float, radius: float = 0.0, **more: object) -> Trained:
    radius = radius or epsilon
    return Trained(name, data, architecture, epsilon, radius, objective=Trades(epsilon=radius), **more)


STRIDED, TANH, BARE, SMOOTH = (
    "strided-cnn",
    "robust_models:tanh_mlp",
    "robust_models:bare_cnn",
    "robust_models:gelu_cnn",
)

ROBUST = (
    _pgd("digits-cnn-pgd", "digits", STRIDED, 0.15, epochs=25),
    _trades("digits-mlp-trades", "digits", "mlp", 0.15, epochs=25),
    _pgd("digits-tanh-pgd", "digits", TANH, 0.15, epochs=25, width=96),
    Trained("digits-cnn-bounds", "digits", BARE, 0.1, 0.1, "bounds", epochs=60),
    _pgd("fashion-mlp-pgd", "fashion", "mlp", 0.1, 0.1),
    _pgd("fashion-cnn-pgd", "fashion", STRIDED, 0.1, 0.1),
    _trades("fashion-cnn-trades", "fashion", STRIDED, 0.1, 0.1),
    _pgd("fashion-wide-pgd", "fashion", STRIDED, 0.1, 0.1, width=20, epochs=4),
    _trades("fashion-gelu-trades", "fashion", SMOOTH, 0.1, 0.1, epochs=3),
    Trained("fashion-smoothed", "fashion", BARE, 0.1, 0.1, "moved", smoothing=0.3, epochs=4),
    Trained("fashion-cnn-bounds", "fashion", BARE, 0.05, 0.05, "bounds", epochs=6, rate=0.001),
    Trained("fashion-cnn-l2", "fashion", STRIDED, 1.0, 1.0, "moved", norm="L2", epochs=3),
    Trained("fashion-mlp-l2", "fashion", "mlp", 1.0, 1.0, "moved", norm="L2", epochs=5),
    Trained("digits-cnn-l2", "digits", STRIDED, 0.8, 0.8, "moved", norm="L2", epochs=20),
)
# chose nothing: neither budgets nor anything else was looked at on these before they were reported
HELD_OUT = (
    _trades("held-out-digits-gelu", "digits", SMOOTH, 0.12, epochs=30, width=12, seed=7),
    _pgd("held-out-fashion-tanh", "fashion", TANH, 0.08, epochs=5, width=128, seed=8),
    Trained("held-out-digits-mlp-l2", "digits", "mlp", 0.7, 0.7, "moved", norm="L2", epochs=25, seed=9),
)
PLAIN = (
    Trained("plain-digits-mlp", "digits", "mlp", 0.3, 0.0, epochs=20, robust=False),
    Trained("plain-digits-cnn", "digits", STRIDED, 0.3, 0.0, epochs=20, robust=False),
    Trained("plain-fashion-mlp", "fashion", "mlp", 0.2, 0.0, epochs=4, robust=False),
    Trained("plain-fashion-cnn", "fashion", STRIDED, 0.2, 0.0, epochs=2, robust=False),
    Trained("plain-fashion-large", "fashion", "robust_models:large_cnn", 0.2, 0.0, epochs=1, width=32, robust=False),
)


@cache
def dataset(name: str) -> Dataset:
    """The data of this name with ROWS test rows: those that every attack is given."""
    if name == "digits":
        whole = load(DataConfig(source="digits"), Path())
        return replace(whole, x_test=whole.x_test[:ROWS], y_test=whole.y_test[:ROWS])
    return load(DataConfig(source="idx", path=FASHION, limit={"train": TRAIN_ROWS, "test": ROWS}), Path())


def trained(model: Trained, cache_folder: Path) -> nn.Module:
    """The model in evaluation mode, from the folder if it was trained before."""
    data = dataset(model.data)
    made = replace(model, epsilon=0.0)  # the ball it is attacked in does not change how it is trained
    key = hashlib.sha256(f"{made}{data.sha256}{torch.__version__}{model.seed or ''}".encode()).hexdigest()[:16]
    path = cache_folder / f"{model.name}-{key}.pt"
    net = architectures.build(model.recipe, data.facts(), seed=1 + model.seed)
    if not path.exists():
        cache_folder.mkdir(parents=True, exist_ok=True)
        torch.save(_train(model, net, data).state_dict(), path)
    net.load_state_dict(torch.load(path, weights_only=True))
    return net.eval().requires_grad_(False)


def fit_briefly(net: architectures.Normalised, data: Dataset, steps: int = 60) -> None:
    """A few steps of Adam on the rows as they are: enough for a network whose cost and not whose answers matter."""
    net.measure(data.x_train)
    x, y = torch.tensor(data.x_train), torch.tensor(data.y_train)
    optimizer = torch.optim.Adam(net.parameters(), 0.001)
    for rows in torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).split(64)[:steps]:
        optimizer.zero_grad()
        cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()


def _train(model: Trained, net: architectures.Normalised, data: Dataset) -> nn.Module:
    match model.way:
        case "recipe":
            return loop.fit(
                Fit(recipe=model.recipe), data, seeds=Seeds(0, model.seed), learning_rate=model.rate
            ).trained
        case "moved":
            return _descend(model, net, data, _moved_loss)
        case "bounds":
            return _descend(model, net, data, _bounds_loss)
        case _:
            assert_never(model.way)


Loss = Callable[[Trained, architectures.Normalised, torch.Tensor, torch.Tensor, float], torch.Tensor]


def _descend(model: Trained, net: architectures.Normalised, data: Dataset, loss: Loss) -> nn.Module:
    """Adam on a loss of (model, net, x, y, share of the training done), whose radius may grow with the share."""
    net.measure(data.x_train)
    x, y = torch.tensor(data.x_train), torch.tensor(data.y_train)
    optimizer, generator = torch.optim.Adam(net.parameters(), model.rate), torch.Generator().manual_seed(model.seed)
    for epoch in range(model.epochs):
        for rows in torch.randperm(len(x), generator=generator).split(64):
            optimizer.zero_grad()
            loss(model, net, x[rows], y[rows], epoch / model.epochs).backward()
            optimizer.step()
    return net


def _moved_loss(
    model: Trained, net: architectures.Normalised, x: torch.Tensor, y: torch.Tensor, _: float
) -> torch.Tensor:
    point = x.clone()
    for _step in range(7):
        point.requires_grad_()
        (slope,) = torch.autograd.grad(cross_entropy(net(point), y, reduction="sum"), point)
        point = x + _inside(point.detach() - x + _ahead(slope, model), model)
        point = point.clamp(0, 1)
    return cross_entropy(net(point), y, label_smoothing=model.smoothing)


def _ahead(slope: torch.Tensor, model: Trained) -> torch.Tensor:
    length = model.radius / 3
    return length * (slope.sign() if model.norm == "Linf" else slope / _size(slope))


def _inside(change: torch.Tensor, model: Trained) -> torch.Tensor:
    if model.norm == "Linf":
        return change.clamp(-model.radius, model.radius)
    return change * (model.radius / _size(change)).clamp_max(1)


def _size(change: torch.Tensor) -> torch.Tensor:
    return change.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, *[1] * (change.dim() - 1))


def _bounds_loss(
    model: Trained, net: architectures.Normalised, x: torch.Tensor, y: torch.Tensor, share: float
) -> torch.Tensor:
    """Half cross-entropy on the rows, half on the worst logits that interval arithmetic allows in the ball."""
    radius = model.radius * min(1.0, 2 * share)
    low, high = (x - radius).clamp(0, 1), (x + radius).clamp(0, 1)
    middle, around = _through(net, (low + high) / 2, (high - low) / 2)
    worst = middle + around * (1 - 2 * nn.functional.one_hot(y, middle.shape[1]))
    return 0.5 * cross_entropy(net(x), y) + 0.5 * cross_entropy(worst, y)


def _through(
    net: architectures.Normalised, middle: torch.Tensor, around: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """A box (middle and half width) carried through the layers: the box that holds every answer."""
    middle, around = (middle - net.mean) / net.deviation, around / net.deviation
    assert isinstance(net.net, nn.Sequential)
    for layer in net.net:
        if isinstance(layer, nn.Conv2d):
            around = conv2d(around, layer.weight.abs(), None, layer.stride, layer.padding)
            middle = layer(middle)
        elif isinstance(layer, nn.Linear):
            middle, around = layer(middle), linear(around, layer.weight.abs())
        elif isinstance(layer, nn.ReLU):
            low, high = (middle - around).relu(), (middle + around).relu()
            middle, around = (low + high) / 2, (high - low) / 2
        else:
            middle, around = layer(middle), layer(around)
    return middle, around


def bare_cnn(shape: Sequence[int], classes: int, *, width: int = 8) -> nn.Module:
    """Two strided convolutions and two linear layers, ReLU between them, no normalisation."""
    return _cnn(shape, classes, width, nn.ReLU)


def gelu_cnn(shape: Sequence[int], classes: int, *, width: int = 8) -> nn.Module:
    """The same with a smooth activation."""
    return _cnn(shape, classes, width, nn.GELU)


def tanh_mlp(shape: Sequence[int], classes: int, *, width: int = 96) -> nn.Module:
    """Two hidden layers that saturate."""
    size = int(torch.Size(shape).numel())
    layers = [nn.Linear(size, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, classes)]
    return nn.Sequential(nn.Flatten(), *layers)


def large_cnn(shape: Sequence[int], classes: int, *, width: int = 32) -> nn.Module:
    """About a million parameters on 28 x 28 images at width 32."""
    return _cnn(shape, classes, width, nn.ReLU, hidden=320)


def _cnn(shape: Sequence[int], classes: int, width: int, between: type[nn.Module], hidden: int = 64) -> nn.Module:
    channels, height, side = shape
    flat = 2 * width * -(-height // 4) * -(-side // 4)
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride=2, padding=1),
        between(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        between(),
        nn.Flatten(),
        nn.Linear(flat, hidden),
        between(),
        nn.Linear(hidden, classes),
    )
