"""Training: against a bare loop and ART's, stacked against one by one, how fast it learns, whether it repeats itself.

Run: OMP_NUM_THREADS=1 python benchmarks/training.py [--quick]
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from auditor.auditing import Options, planned
from auditor.config import load_audit
from auditor.dataset import Dataset
from auditor.datasets import load
from auditor.datasets.spec import DataConfig
from auditor.engine import Engine
from auditor.executors.local import LocalPool
from auditor.recipe import Fit, Objective, Pgd, Recipe, Standard
from auditor.seeds import Seeds
from auditor.store import Store
from auditor.training import architectures, loop, stacked

RATES = {"sgd": 0.1, "adamw": 0.01, "rmsprop": 0.003}
PEERS: dict[str, Callable[..., torch.optim.Optimizer]] = {  # torch's own, by the kernels that ours run
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True, fused=True),
    "adamw": partial(torch.optim.AdamW, fused=True),
    "rmsprop": partial(torch.optim.RMSprop, foreach=True),
}
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
    optimizer = PEERS[r.optimizer](net.parameters(), lr=RATES[r.optimizer])
    start = time.perf_counter()
    for _ in range(r.epochs):
        for rows in torch.split(torch.randperm(len(y)), r.batch_size):
            optimizer.zero_grad()
            loss = cross_entropy(net(moved(net, x[rows], y[rows], r.objective)), y[rows])
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
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


def fits(count: int, ready: Barrier, done: "multiprocessing.Queue[float]") -> None:
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
    slowest: float = max(done.get() for _ in workers)
    for worker in workers:
        worker.join()
    return processes * count / slowest


def scaling(repeats: int, count: int) -> None:
    pairs = [(throughput(1, count), throughput(2, count)) for _ in range(repeats)]
    one, two = (statistics.median(column) for column in zip(*pairs, strict=True))
    gain = statistics.median(b / a for a, b in pairs)
    print(f"fits a second: one process {one:.2f}, two {two:.2f}, gain {gain:.2f}")


def stacks(title: str, r: Recipe, data: Dataset, count: int, repeats: int) -> None:
    """CPU time of so many seeds one by one, and in one stack, set-up and evaluation included; the same to the bit?"""
    members = [stacked.Member(Fit(recipe=r), Seeds(0, seed), RATES[r.optimizer]) for seed in range(count)]
    stacked.fit_stacked(members[:2], data)
    pairs, single, together = [], list[loop.Fitted](), list[loop.Fitted]()
    for _ in range(repeats):
        start = time.process_time()
        single = [loop.fit(m.fit, data, seeds=m.seeds, learning_rate=m.learning_rate) for m in members]
        middle = time.process_time()
        together = stacked.fit_stacked(members, data)
        pairs.append((middle - start, time.process_time() - middle))
    same = all(torch.equal(a.state[k], b.state[k]) for a, b in zip(single, together, strict=True) for k in a.state)
    ratio, least = statistics.median(a / b for a, b in pairs), statistics.median(b for _, b in pairs)
    speed = count * r.epochs * len(data.y_train) / least
    print(f"{title:34} {count} stacked: {ratio:.2f} times, {speed:,.0f} model-samples a CPU second, same bits: {same}")


def against_art(r: Recipe, data: Dataset, repeats: int) -> None:
    """The same network, optimizer, batches and epochs by ART's PyTorchClassifier.fit."""
    from art.estimators.classification import PyTorchClassifier

    def art() -> float:
        net = architectures.build(r, data.facts())
        net.measure(data.x_train)
        optimizer = PEERS[r.optimizer](net.parameters(), lr=RATES[r.optimizer])
        classifier = PyTorchClassifier(
            net, torch.nn.CrossEntropyLoss(), data.shape, len(data.classes), optimizer, device_type="cpu"
        )
        start = time.process_time()
        classifier.fit(data.x_train, data.y_train, batch_size=r.batch_size, nb_epochs=r.epochs)
        return time.process_time() - start

    art()
    pairs = [(art(), cpu(r, data)) for _ in range(repeats)]
    ratio = statistics.median(a / b for a, b in pairs)
    theirs, own = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"digits, mlp, {r.optimizer}: ART {theirs:.3f} CPU s, ours {own:.3f}, {ratio:.2f} times")


def cpu(r: Recipe, data: Dataset) -> float:
    start = time.process_time()
    ours(r, data)
    return time.process_time() - start


def learns(title: str, r: Recipe, data: Dataset) -> None:
    """Accuracy on the test rows, and the CPU seconds of the training, by the recipe's own rate."""
    assert isinstance(r.learning_rate, float)
    fitted = loop.fit(Fit(recipe=r), data, seeds=Seeds(0, 0), learning_rate=r.learning_rate)
    with torch.no_grad():
        right = fitted.trained(torch.tensor(data.x_test)).argmax(1) == torch.tensor(data.y_test)
    print(f"{title:34} accuracy {float(right.double().mean()):.4f} after {fitted.seconds.cpu:.2f} CPU s of training")


def weights(workers: int, folder: Path) -> Mapping[str, str | None]:
    """sha256 of the weights of every training of the built-in audit, done anew."""
    store = folder / f"{workers}-{time.time_ns()}"
    plan = planned(load_audit(None), Options(store=store))
    trainings = {i: u for i, u in plan.units.items() if u.kind in ("tune", "fit")}
    engine = Engine(replace(plan, units=trainings), Store(store), folder)
    engine.run(lambda: LocalPool(workers, 600))
    assert not engine.failures
    return {i: Store(store).read(i).get("sha256") for i, u in trainings.items() if u.kind == "fit"}


def repeated() -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, again, two = (weights(workers, Path(folder)) for workers in (1, 1, 2))
    print(f"built-in audit: {len(one)} trainings, again the same: {one == again}, by two workers: {one == two}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, digits only")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    digits = load(DataConfig(source="digits"), Path())
    for name in RATES:
        compare(f"digits, mlp, {name}", recipe(name, "mlp", 30, 64), digits, 5 if quick else 15)
    compare("digits, mlp, sgd, pgd", recipe("sgd", "mlp", 10, 64, Pgd(epsilon=0.1)), digits, 5 if quick else 15)
    for name in ("sgd", "adamw"):
        stacks(f"digits, mlp, {name}", recipe(name, "mlp", 10, 64), digits, 32, 2 if quick else 5)
    small = recipe("adamw", "mlp", 10, 32).model_copy(update={"kwargs": {"hidden": [32]}})
    stacks("breast-cancer, mlp of 32", small, load(DataConfig(source="breast-cancer"), Path()), 32, 2 if quick else 5)
    against_art(recipe("adamw", "mlp", 10, 64), digits, 3 if quick else 9)
    best = {"schedule": "cosine", "learning_rate": 0.016}
    learns("digits, mlp, adamw, 30 epochs", recipe("adamw", "mlp", 30, 64).model_copy(update=best), digits)
    repeated()
    if not quick:
        whole = load(DataConfig(source="idx", path=FASHION), Path())
        cycle = {"schedule": "one-cycle", "learning_rate": 0.01}
        learns("Fashion-MNIST, strided-cnn", recipe("adamw", "strided-cnn", 2, 128).model_copy(update=cycle), whole)
        fashion = load(DataConfig(source="idx", path=FASHION, limit={"train": 10_000, "test": 1000}), Path())
        compare("fashion 10k, strided-cnn, adamw", recipe("adamw", "strided-cnn", 1, 128), fashion, 5)
        pgd = recipe("adamw", "strided-cnn", 1, 128, Pgd(epsilon=0.1))
        compare("fashion 10k, strided-cnn, adamw, pgd", pgd, fashion, 3)
    scaling(1 if quick else 3, 10 if quick else 30)


if __name__ == "__main__":
    main()
