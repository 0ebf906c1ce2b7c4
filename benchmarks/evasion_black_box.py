"""Search without gradients against its peers: queries a second of Square, and what labels alone find.

Run: OMP_NUM_THREADS=1 python benchmarks/evasion_black_box.py [--quick]

Peers: ART's SquareAttack and HopSkipJump, at the best of several batch sizes, in the same run, one thread, CPU time.
A query of Square is one proposal judged for one row that stands: we need one forward pass for it, ART three.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from art.attacks.evasion import HopSkipJump, SquareAttack
from art.estimators.classification import PyTorchClassifier
from sklearn.ensemble import RandomForestClassifier
from torch import nn

from auditor.attacks.evasion.apgd import Task
from auditor.attacks.evasion.norms import BY_NAME
from auditor.attacks.evasion.rays import Surroundings, rays, starts
from auditor.attacks.evasion.square import square
from auditor.datasets import load
from auditor.datasets.spec import DataConfig

FASHION = "/usr/share/datasets/fashion-mnist"  # Debian's dataset-fashion-mnist
WIDTHS = (64, 128, 256)
FEW = 270  # queries by labels alone


def keys(count: int) -> torch.Tensor:
    return torch.arange(count) * 7919


@dataclass(frozen=True)
class Rows:
    """Images and labels to train on, and those to attack."""

    x_train: torch.Tensor
    y_train: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor


def digits() -> Rows:
    data = load(DataConfig(source="digits"), Path())
    images = [torch.tensor(x).reshape(-1, 1, 8, 8) for x in (data.x_train, data.x_test)]
    return Rows(images[0], torch.tensor(data.y_train), images[1][:256], torch.tensor(data.y_test)[:256])


def fashion() -> Rows:
    data = load(DataConfig(source="idx", path=FASHION, limit={"train": 6000, "test": 256}), Path())
    images = [torch.tensor(x).reshape(-1, 1, 28, 28) for x in (data.x_train, data.x_test)]
    return Rows(images[0], torch.tensor(data.y_train), images[1], torch.tensor(data.y_test))


def tiny(side: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * (side // 2) ** 2, 10)
    )


def million() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3136, 300),
        nn.ReLU(),
        nn.Linear(300, 10),
    )


def fit(net: nn.Module, rows: Rows, epochs: int, radius: float = 0.0) -> nn.Module:
    """The net trained, on one-step attacks where a radius is given."""
    optimizer = torch.optim.Adam(net.parameters(), 0.003)
    for _ in range(epochs):
        for batch in torch.randperm(len(rows.x_train), generator=torch.Generator().manual_seed(0)).split(64):
            x, y = rows.x_train[batch], rows.y_train[batch]
            if radius:
                x = x.clone().requires_grad_()
                (slope,) = torch.autograd.grad(nn.functional.cross_entropy(net(x), y), x)
                x = (x.detach() + radius * slope.sign()).clamp(0, 1)
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
    return net.eval()


def art_view(net: nn.Module, rows: Rows) -> PyTorchClassifier:
    shape = tuple(rows.x.shape[1:])
    return PyTorchClassifier(net, nn.CrossEntropyLoss(), shape, 10, clip_values=(0, 1), device_type="cpu")


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def answers(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return net(x).argmax(1)


def standing_queries(net: nn.Module, rows: Rows, right: torch.Tensor, radius: float, queries: int, norm: str) -> int:
    """Proposals for rows that still stood, as our search counts them: forward passes of single rows."""
    count = [0]

    def counted(u: torch.Tensor) -> torch.Tensor:
        count[0] += len(u)
        return net(u)

    square(counted, task(rows, right, radius, norm), keys(len(right)), queries=queries, width=256)
    return count[0]


def task(rows: Rows, right: torch.Tensor, radius: float, norm: str) -> Task:
    x, y = rows.x[right], rows.y[right]
    return Task(x, y, y, x, torch.ones(x.shape[1:]), radius, norm=BY_NAME[norm])  # type: ignore[index]  # a literal


def square_speed(title: str, net: nn.Module, rows: Rows, radius: float, queries: int, norm: str = "linf") -> None:
    """Time and strength of both for the same rows, radius and number of proposals a row."""
    right = (answers(net, rows.x) == rows.y).nonzero()[:, 0]
    t, own = task(rows, right, radius, norm), keys(len(right))
    left: dict[str, float] = {}

    def ours(width: int) -> None:
        left["ours"] = float((~square(net, t, own, queries=queries, width=width).broken).float().mean())

    def art(batch: int) -> None:
        order = np.inf if norm == "linf" else 2
        attack = SquareAttack(
            art_view(net, rows), norm=order, max_iter=queries, eps=radius, batch_size=batch, verbose=False
        )
        moved = torch.tensor(attack.generate(t.x.numpy().copy(), t.y.numpy()))
        left["art"] = float((answers(net, moved) == t.y).float().mean())

    asked = standing_queries(net, rows, right, radius, queries, norm)
    ours(WIDTHS[-1])  # the first call pays for what is loaded once
    fast, slow = min(seconds(lambda w=w: ours(w)) for w in WIDTHS), min(seconds(lambda w=w: art(w)) for w in WIDTHS)
    with torch.no_grad():
        raw = min(seconds(lambda w=w: [net(t.x[:w]) for _ in range(20)]) / (20 * min(w, len(right))) for w in WIDTHS)
    # ART's steps that all its rows would have needed, at least as many proposals as it made: a lower bound of the ratio
    print(
        f"{title:34} ours {asked / fast:9.0f} queries/s (bare passes {1 / raw:9.0f}), ART {asked / slow:8.0f}, "
        f"ratio {slow / fast:5.1f}; stand {100 * left['ours']:5.1f} % and {100 * left['art']:5.1f} %"
    )


def start_points(rows: torch.Tensor, labels: torch.Tensor, pool: torch.Tensor, said: torch.Tensor, count: int):
    distance = torch.cdist(rows.flatten(1), pool.flatten(1), p=torch.inf)
    distance = distance.masked_fill(said == labels.unsqueeze(1), torch.inf).sort(dim=1, stable=True)
    return pool[distance.indices[:, :count].T], distance.values[:, :count].T.isfinite()


def labels_only(title: str, model: Callable[[torch.Tensor], torch.Tensor], rows: Rows, count: int, steps: int) -> None:
    """ART's HopSkipJump on some rows, and our search with as many queries a row as that took, and with few."""
    said = model(rows.x)
    right = (said == rows.y).nonzero()[:count, 0]
    x, y = rows.x[right], rows.y[right]
    asked = [0]

    def decide(u: np.ndarray) -> np.ndarray:
        asked[0] += len(u)
        return np.eye(10, dtype=np.float32)[model(torch.as_tensor(u, dtype=torch.float32)).numpy()]

    from art.estimators.classification import BlackBoxClassifier

    peer = HopSkipJump(
        BlackBoxClassifier(decide, tuple(x.shape[1:]), 10, clip_values=(0.0, 1.0)),
        batch_size=256, norm=np.inf, max_iter=steps, max_eval=1000, init_eval=100, verbose=False,
    )  # fmt: skip
    away, known = start_points(x, y, rows.x, said, 1)
    np.random.seed(0)  # noqa: NPY002  # ART knows no other
    moved: list[np.ndarray] = []
    slow = seconds(lambda: moved.append(peer.generate(x.numpy(), x_adv_init=away[0].numpy())))
    theirs = torch.tensor(moved[0]).sub(x).flatten(1).abs().amax(1)
    for queries in (asked[0] // len(x), FEW):
        away, known = start_points(x, y, rows.x, said, starts(queries, x[0].numel()))
        around = Surroundings(x, y, away, known, torch.ones(x.shape[1:]), 0.0)
        start = time.process_time()
        ours = rays(model, around, keys(len(x)), queries=queries, width=256).radius
        fast = time.process_time() - start
        print(
            f"{title:26} queries a row: ours {queries:4}, ART {asked[0] // len(x):4}; median distance "
            f"{ours.median():.4f} and {theirs.median():.4f}, ours nearer on {int((ours < theirs).sum())} of {len(x)}; "
            f"{fast:.2f} s and {slow:.2f} s, {slow / fast:.1f} times"
        )


def forest(rows: Rows) -> Callable[[torch.Tensor], torch.Tensor]:
    model = RandomForestClassifier(50, random_state=0).fit(rows.x_train.flatten(1).numpy(), rows.y_train.numpy())
    return lambda u: torch.as_tensor(model.predict(u.flatten(1).numpy()), dtype=torch.int64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer queries and rows")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    small, large = digits(), fashion()
    plain, robust = fit(tiny(8), small, 15), fit(tiny(8), small, 15, 0.1)
    tiny28, big = fit(tiny(28), large, 3, 0.05), fit(million(), large, 1 if quick else 3, 0.05)
    queries = 100 if quick else 500
    square_speed("digits, tiny CNN, nothing breaks", robust, small, 1e-6, queries)
    square_speed("digits, tiny CNN, 0.1", robust, small, 0.1, queries)
    square_speed("fashion, tiny CNN, nothing breaks", tiny28, large, 1e-6, queries)
    square_speed("fashion, tiny CNN, 0.05", tiny28, large, 0.05, queries)
    square_speed("fashion, 1M CNN, nothing breaks", big, large, 1e-6, queries // 2)
    square_speed("fashion, 1M CNN, 0.05", big, large, 0.05, queries // 2)
    square_speed("digits, tiny CNN, L2 0.5", robust, small, 0.5, queries, "l2")
    count = 10 if quick else 30
    for steps in (2,) if quick else (2, 10, 20):
        labels_only("digits, tiny CNN", lambda u: answers(plain, u), small, count, steps)
        labels_only("digits, hardened tiny CNN", lambda u: answers(robust, u), small, count, steps)
        labels_only("fashion, tiny CNN", lambda u: answers(tiny28, u), large, count, steps)
    count = 5 if quick else 15
    labels_only("digits, forest of 50", forest(small), small, count, 2)


if __name__ == "__main__":
    main()
