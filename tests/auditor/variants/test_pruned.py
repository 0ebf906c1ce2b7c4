"""Global magnitude pruning: exactly the smallest weights of the whole network, and nothing else."""

import torch
from torch import nn

from auditor.variants.pruned import prune


def net(*rows: list[float]) -> nn.Sequential:
    layers = [nn.Linear(len(row), 1) for row in rows]
    with torch.no_grad():
        for layer, row in zip(layers, rows, strict=True):
            layer.weight.copy_(torch.tensor([row]))
            layer.bias.fill_(1e-6)
    return nn.Sequential(*layers)


def test_the_smallest_of_all_layers_go() -> None:
    found = net([0.1, -5.0, 4.0], [0.2, -0.3, 9.0])
    prune(found, 0.5)
    assert found[0].weight.tolist() == [[0.0, -5.0, 4.0]]
    assert found[1].weight.tolist() == [[0.0, 0.0, 9.0]]


def test_biases_stay_however_small() -> None:
    found = net([1.0, 2.0])
    prune(found, 0.5)
    assert torch.equal(found[0].bias, torch.tensor([1e-6]))


def test_of_equal_weights_the_earlier_goes() -> None:
    found = net([1.0, -1.0, 1.0, 1.0])
    prune(found, 0.5)
    assert found[0].weight.tolist() == [[0.0, 0.0, 1.0, 1.0]]


def test_the_share_is_exact() -> None:
    found = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(37, 11))
    prune(found, 0.8)
    total = 3 * 8 * 9 + 37 * 11
    assert sum(int((m.weight == 0).sum()) for m in found) == round(0.8 * total)
