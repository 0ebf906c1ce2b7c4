"""Prints how much faster a network is with its images held channels last, step by step beside the default.

Two networks: the built-in strided-cnn and a small residual network, as CPU time on one core, in interleaved rounds.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from auditor.training.architectures import Normalised, strided_cnn

Step = Callable[[], object]
SHAPES = ((1, 8, 8), (1, 28, 28), (3, 32, 32))
CLASSES, ROWS = 10, 64


class Block(nn.Module):
    """Two convolutions with batch normalisation around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        convolutions = [(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)) for _ in range(2)]
        self.inner = nn.Sequential(*convolutions[0], nn.ReLU(), *convolutions[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images of the same shape."""
        return functional.relu(x + self.inner(x))


def residual(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Four blocks of 32 and 64 channels."""
    wider = nn.Conv2d(32, 64, 3, stride=2, padding=1)
    blocks = (Block(32), Block(32), wider, Block(64), Block(64))
    first, last = nn.Conv2d(shape[0], 32, 3, padding=1), nn.Linear(64, classes)
    return nn.Sequential(first, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)


def steps(make: Callable[..., nn.Module], shape: tuple[int, int, int], *, last: bool) -> dict[str, Step]:
    """What is timed: one step of training, one gradient of an attack, one forward pass, 64 rows each."""
    torch.manual_seed(0)
    net = Normalised(make(shape, CLASSES), shape, channels_last=last)
    x, y = torch.rand(ROWS, *shape), torch.randint(0, CLASSES, (ROWS,))
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)

    def train() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(net(x), y).backward()
        optimizer.step()

    def attack() -> None:
        moved = x.clone().requires_grad_(True)
        torch.autograd.grad(functional.cross_entropy(net(moved), y), moved)

    @torch.no_grad()
    def forward() -> None:
        net(x)

    return {"step of training": train, "gradient of an attack": attack, "forward pass": forward}


def cpu(step: Step) -> float:
    """CPU seconds of one step."""
    start = time.process_time()
    step()
    return time.process_time() - start


def compare(title: str, make: Callable[..., nn.Module], shape: tuple[int, int, int], rounds: int) -> None:
    """One line: how many times as fast channels last is, by the medians of interleaved rounds."""
    first, last = steps(make, shape, last=False), steps(make, shape, last=True)
    said = []
    for name in first:
        cpu(first[name]), cpu(last[name])
        pairs = [(cpu(first[name]), cpu(last[name])) for _ in range(rounds)]
        said.append(f"{name} {statistics.median(a for a, _ in pairs) / statistics.median(b for _, b in pairs):.2f}")
    print(f"{title}, {' x '.join(map(str, shape))}: {', '.join(said)} times as fast", flush=True)


def main() -> None:
    """Print every line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=41)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    for shape in SHAPES:
        compare("strided-cnn", strided_cnn, shape, rounds)
    compare("residual network", residual, (3, 32, 32), max(rounds // 5, 3))


if __name__ == "__main__":
    main()
