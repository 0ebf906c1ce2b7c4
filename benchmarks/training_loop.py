"""How near the training loop is to a bare torch loop of the same passes, and what a second process adds.

Run: OMP_NUM_THREADS=1 python benchmarks/training_loop.py [--quick]
"""

import argparse
import multiprocessing
import statistics
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from auditor.dataset import Dataset
from auditor.datasets import load
from auditor.datasets.spec import DataConfig
from auditor.recipe import Fit, Objective, Pgd, Recipe, Standard
from auditor.seeds import Seeds
from auditor.training import architectures, loop, optimizers

RATES = {"sgd": 0.1, "adamw": 0.01, "rmsprop": 0.003}
PLAIN = Standard()
FASHION = "/usr/share/datasets/fashion-mnist"  # Debian's dataset-fashion-mnist


def recipe(optimizer: str, architecture: str, epochs: int, batch_size: int, objective: Objective = PLAIN) -> Recipe:
    return Recipe(
        architecture=architecture,
        optimizer=optimizer,
        learning_rate=RATES[optimizer],
        epochs=epochs,
        batch_size=batch_size,
        schedule="constant",
        objective=objective,
    )


def bare(r: Recipe, data: Dataset) -> float:
    """Seconds of the shortest loop one would write: same network, optimizer, batch size, rows and number of steps."""
    x, y = torch.tensor(data.x_train), torch.tensor(data.y_train)
    net = architectures.build(r, data.facts())
    net.measure(data.x_train)
    spec = optimizers.resolve(r.optimizer)
    optimizer = spec.build(net.parameters(), RATES[r.optimizer], spec.settings)
    start = time.perf_counter()
    for _ in range(r.epochs):
        for rows in torch.randperm(len(y)).split(r.batch_size):
            optimizer.zero_grad()
            cross_entropy(net(moved(net, x[rows], y[rows], r.objective)), y[rows]).backward()
            optimizer.step()
    return time.perf_counter() - start


def moved(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, objective: Objective) -> torch.Tensor:
    """Rows in [0, 1] moved as the papers' code does it, for the objective pgd; others as they are."""
    if not isinstance(objective, Pgd):
        return x
    epsilon, point = objective.epsilon, x + objective.epsilon * (2 * torch.rand_like(x) - 1)
    for _ in range(objective.steps):
        point = point.detach().requires_grad_()
        (slope,) = torch.autograd.grad(cross_entropy(net(point), y), point)
        point = point.detach() + 2.5 * epsilon / objective.steps * slope.sign()
        point = torch.min(torch.max(point, x - epsilon), x + epsilon).clamp(0, 1)
    return point.detach()


def ours(r: Recipe, data: Dataset) -> float:
    """Seconds of training as the loop itself takes them; what its call needs beyond that is printed apart."""
    return loop.fit(Fit(recipe=r), data, seeds=Seeds(0, 0), learning_rate=RATES[r.optimizer]).seconds.wall


def whole_call(r: Recipe, data: Dataset) -> float:
    start = time.perf_counter()
    ours(r, data)
    return time.perf_counter() - start


def compare(title: str, r: Recipe, data: Dataset, repeats: int) -> None:
    """Interleaved repeats, so that whatever else the machine does hits both; the ratio is the median of pairs."""
    ours(r, data)
    bare(r, data)
    pairs = [(ours(r, data), bare(r, data), whole_call(r, data)) for _ in range(repeats)]
    ratio = statistics.median(a / b for a, b, _ in pairs)
    loop_s, bare_s, call_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{title:34} loop {loop_s:7.3f} s  bare {bare_s:7.3f} s  ratio {ratio:5.3f}  whole call {call_s:7.3f} s")


def fits(count: int, ready: "multiprocessing.Barrier", done: "multiprocessing.Queue[float]") -> None:
    """Train so many digits networks after everybody is ready, and say how long it took."""
    torch.set_num_threads(1)
    data = load(DataConfig(source="digits"), Path())
    r = recipe("adamw", "mlp", 30, 64)
    ours(r, data)
    ready.wait()
    start = time.perf_counter()
    for _ in range(count):
        ours(r, data)
    done.put(time.perf_counter() - start)


def throughput(processes: int, count: int) -> float:
    """Fits a second of so many processes at once."""
    context = multiprocessing.get_context("spawn")
    ready, done = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=fits, args=(count, ready, done)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    slowest = max(done.get() for _ in workers)
    for worker in workers:
        worker.join()
    return processes * count / slowest


def scaling(repeats: int, count: int) -> None:
    pairs = [(throughput(1, count), throughput(2, count)) for _ in range(repeats)]
    one, two = (statistics.median(column) for column in zip(*pairs, strict=True))
    gain = statistics.median(b / a for a, b in pairs)
    print(f"fits a second: one process {one:.2f}, two {two:.2f}, gain {gain:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, digits only")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    digits = load(DataConfig(source="digits"), Path())
    for name in RATES:
        compare(f"digits, mlp, {name}", recipe(name, "mlp", 30, 64), digits, 5 if quick else 15)
    compare("digits, mlp, sgd, pgd", recipe("sgd", "mlp", 10, 64, Pgd(epsilon=0.1)), digits, 5 if quick else 15)
    if not quick:
        fashion = load(DataConfig(source="idx", path=FASHION, limit={"train": 10_000, "test": 1000}), Path())
        compare("fashion 10k, strided-cnn, adamw", recipe("adamw", "strided-cnn", 1, 128), fashion, 5)
        pgd = recipe("adamw", "strided-cnn", 1, 128, Pgd(epsilon=0.1))
        compare("fashion 10k, strided-cnn, adamw, pgd", pgd, fashion, 3)
    scaling(1 if quick else 3, 10 if quick else 30)


if __name__ == "__main__":
    main()
