"""What the attack loop costs above its raw forward and backward passes, on networks of a million parameters.

OMP_NUM_THREADS=1 python benchmarks/evasion_overhead.py [--rows 512] [--steps 75] [--rounds 7]

Beside each attack runs the shortest loop that makes the same passes on the same rows: forward, cross-entropy, gradient.
No row may break, so both make equally many; times are process time, and the two take turns. Printed are the median over
rounds of the ratio, and the ratio of the two best times. Last comes the whole attack of `evasion.linf` with settings
of the standard profile, self-tests and search aside, against as many raw passes as the subject's counters say.
"""

import argparse
import statistics
import time

import torch
from torch import nn

from auditor.attacks.evasion.apgd import Task, apgd
from auditor.attacks.evasion.linf import Linf
from auditor.attacks.evasion.losses import cross_entropy
from auditor.attacks.evasion.norms import BY_NAME
from auditor.attacks.evasion.sparse import sparse_apgd
from auditor.dataset import Dataset, Domain
from auditor.probe import Case
from auditor.seeds import Seeds
from auditor.subjects.torch_subject import TorchSubject

SHAPE = (1, 28, 28)
RADII = {"linf": 0.1, "l2": 2.0, "l1": 10.0}


def mlp():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 700), nn.ReLU(), nn.Linear(700, 600), nn.ReLU(), nn.Linear(600, 10)
    )


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(3136, 310), nn.ReLU(), nn.Linear(310, 10),
    )  # fmt: skip


class Certain(nn.Module):
    """A network that never errs, so that every row runs to its end; the sum it adds costs next to nothing."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        """Logits, those of class 0 far ahead."""
        return self.net(x) + 1e3 * torch.eye(10)[0]


def raw(net, x, y, passes):
    for _ in range(passes):
        point = x.detach().requires_grad_()
        torch.autograd.grad(nn.functional.cross_entropy(net(point) / 100, y, reduction="sum"), point)


def timed(work):
    began = time.process_time()
    work()
    return time.process_time() - began


def compare(name, net, norm, rows, steps, rounds):
    net = Certain(net).eval()
    subject = TorchSubject(net, classes=10, shape=SHAPE)
    x = torch.rand(rows, *SHAPE, generator=torch.Generator().manual_seed(0))
    y = torch.zeros(rows, dtype=torch.int64)
    task = Task(x, y, y + 1, x, torch.ones(SHAPE), RADII[norm], norm=BY_NAME[norm])
    passes = []

    def model(u):
        passes.append(len(u))
        return subject.logits(u)

    def attack():
        passes.clear()
        ascend = sparse_apgd if norm == "l1" else apgd
        found = ascend(model, task, lambda s, y, _: cross_entropy(s, y, 100), steps=steps, width=rows)
        assert not found.broken.any()

    attack()
    times = [(timed(lambda: raw(net, x, y, len(passes))), timed(attack)) for _ in range(rounds)]
    ratio = statistics.median(ours / bare for bare, ours in times)
    least = min(ours for _, ours in times) / min(bare for bare, _ in times)
    step = 1000 * min(bare for bare, _ in times) / len(passes)
    print(f"{name:4} {norm:5} {ratio:6.3f} median {least:6.3f} of the best; raw: {step:.1f} ms for {rows} rows")


def whole(name, net, rows):
    """The attack of a probe, on rows of which none breaks."""
    net, generator = Certain(net).eval(), torch.Generator().manual_seed(0)
    x, y = torch.rand(rows, *SHAPE, generator=generator).numpy(), torch.zeros(rows, dtype=torch.int64).numpy()
    data = Dataset("random", x, y, x, y, tuple("abcdefghij"), Domain.unit(SHAPE))
    probe = Linf(
        epsilons=(RADII["linf"],), samples=rows, cull_steps=25, targets=4, target_steps=75, queries=0, self_test=False
    )
    case = Case(probe, "random", TorchSubject(net, classes=10, shape=SHAPE), data, Seeds(0))
    took = timed(lambda: probe.run(case))
    forwards, backwards = case.subject.counts.forwards, case.subject.counts.backwards
    points, labels = torch.from_numpy(x), torch.from_numpy(y)
    pair = timed(lambda: raw(net, points, labels, 20)) / 20
    with torch.no_grad():
        forward = timed(lambda: [net(points) for _ in range(20)]) / 20
    bare = (backwards * pair + (forwards - backwards) * forward) / rows
    print(f"{name:4} whole {took / bare:6.3f}: {forwards} forward and {backwards} backward passes in {took:.1f} s")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    for name, default in (("--rows", 512), ("--steps", 75), ("--rounds", 7)):
        arguments.add_argument(name, type=int, default=default)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name, make in (("cnn", cnn), ("mlp", mlp)):
        for norm in RADII:
            compare(name, make(), norm, given.rows, given.steps, given.rounds)
        whole(name, make(), given.rows)


if __name__ == "__main__":
    main()
