"""What a training cost is counted as by hand, and as torch's own counter has it."""

from importlib.metadata import entry_points

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from auditor.dataset import Dataset, Domain
from auditor.recipe import Fit, Pgd, Recipe
from auditor.record import DatasetRecord
from auditor.seeds import Seeds
from auditor.training.architectures import build
from auditor.training.cost import counted, step_cost
from auditor.training.loop import fit

ROWS = 40


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.head = nn.LSTM(16, 32, batch_first=True), nn.Linear(32, 3)

    def forward(self, x):
        return self.head(self.cells(x)[0][:, -1])


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.0, batch_first=True), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


def backward(module, x, y):
    cross_entropy(module(x), y).backward()


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    x, y = rng.random((ROWS, 1, 8, 8), np.float32), np.arange(ROWS) % 4
    return Dataset("images", x, y, x.copy(), y, ("a", "b", "c", "d"), Domain.unit((1, 8, 8)))


def trained(data, **changes):
    given = {"architecture": "mlp", "kwargs": {"hidden": [6]}, "optimizer": "sgd", "learning_rate": 0.01, "epochs": 2}
    recipe = Recipe.model_validate(given | {"batch_size": ROWS} | changes)
    return fit(Fit(recipe=recipe), data, seeds=Seeds(1), learning_rate=0.01)


def test_a_convolution_counts_its_window_for_every_output():
    net = nn.Sequential(nn.Conv2d(2, 5, 3, stride=2), nn.Flatten(), nn.Linear(5 * 9, 3))
    x, y = torch.rand(4, 2, 8, 8), torch.arange(4) % 3  # a window fits 3 times each way
    convolution, head = 2 * 4 * 9 * 5 * (2 * 9), 2 * 4 * 45 * 3
    assert counted(lambda: net(x), net).flops == convolution + head
    # backward: the weights of both, and what goes into the head; no gradient of the rows
    assert step_cost(backward, net, x, y).flops == 2 * convolution + 3 * head


def test_a_recurrent_layer_counts_as_its_matrix_products():
    found = counted(lambda: net(torch.rand(2, 5, 16)), net := Recurrent())
    assert found.flops == 2 * 2 * 5 * (4 * 32) * (16 + 32) + 2 * 2 * 32 * 3


def test_operations_are_those_of_torchs_own_counter():
    net = nn.Sequential(nn.Conv1d(5, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 14, 7), nn.ReLU(), nn.Linear(7, 3))
    x, y = torch.rand(2, 5, 16), torch.tensor([0, 1])
    found = step_cost(backward, net, x, y)
    with FlopCounterMode(display=False) as counter:
        backward(net, x, y)
    assert found.flops == counter.get_total_flops() > 0


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [("mlp", (7,)), ("mlp", (1, 8, 8)), ("strided-cnn", (1, 8, 8)), ("strided-cnn", (3, 32, 32))],
)
def test_operations_of_every_built_in_network_are_those_of_torchs_own_counter(architecture, shape):
    facts = DatasetRecord(
        id="d", sha256="", rows={"train": 1, "test": 1}, shape=shape, classes=list("abc"), range=(0, 1), licence=""
    )
    net = build(Recipe(architecture=architecture, optimizer="sgd", epochs=1), facts)
    x, y = torch.rand(4, *shape), torch.tensor([0, 1, 2, 0])
    found = step_cost(backward, net, x, y)
    with FlopCounterMode(display=False) as counter:
        backward(net, x, y)
    assert found.flops == counter.get_total_flops() > 0


def test_every_built_in_network_is_among_them():
    assert {entry.name for entry in entry_points(group="auditor.architectures")} == {"mlp", "strided-cnn"}


def test_attention_counts_its_products_which_torchs_own_counter_sees_only_one_by_one():
    net, x = Attentive(), torch.rand(2, 5, 16)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        net(x)
    assert counted(lambda: net(x), net).flops == counter.get_total_flops()


def test_a_step_leaves_the_module_as_it_was():
    net = nn.Linear(4, 3)
    net.weight.grad = torch.ones(3, 4)
    before = net.weight.detach().clone()
    step_cost(backward, net, torch.rand(2, 4), torch.tensor([0, 1]))
    assert torch.equal(net.weight, before)
    assert torch.equal(net.weight.grad, torch.ones(3, 4))


def test_tensors_count_while_they_live():
    x, net = torch.ones(1000), nn.Linear(1, 1)

    def work():
        a = x + 1  # 4000 bytes
        a = a * 2  # 4000 more while both live
        a.relu_()  # in place
        b = a.view(10, 100)[0]
        return b + 1  # 400 more, the first one gone

    assert counted(work, net).peak_bytes == 8000


def test_the_peak_of_a_linear_step_is_counted_by_hand():
    net = nn.Linear(100, 50, bias=False)
    found = counted(lambda: net(torch.ones(8, 100)).sum().backward(), net)
    rows, gradient, scalars = 8 * 100 * 4, 100 * 50 * 4, 4 + 4  # the sum and its own gradient; what was summed is gone
    assert found.peak_bytes == rows + gradient + scalars


def test_sharpness_aware_steps_take_two_passes(images):
    plain, sharp = trained(images), trained(images, optimizer="sam")
    assert plain.flops == 2 * 2 * ROWS * (2 * (64 * 6 + 6 * 4) + 6 * 4)
    assert sharp.flops == 2 * plain.flops


def test_moved_rows_cost_their_attack(images):
    steps = 3
    found = trained(images, objective=Pgd(epsilon=0.1, steps=steps))
    forward = 2 * ROWS * (64 * 6 + 6 * 4)
    # each step of the attack: forward, and back to the rows but not to the weights
    assert found.flops == 2 * (steps * 2 * forward + 2 * forward + 2 * ROWS * 6 * 4)


def test_a_line_search_counts_every_gradient_it_took(images, monkeypatch):
    taken = []
    real = torch.Tensor.backward
    monkeypatch.setattr(torch.Tensor, "backward", lambda self, *a, **k: (taken.append(1), real(self, *a, **k))[1])
    found = trained(images, optimizer="lbfgs", epochs=2)
    passes = len(taken) - 1  # the last is the one that was counted
    assert passes > 2
    assert found.flops == passes * 2 * ROWS * (2 * (64 * 6 + 6 * 4) + 6 * 4)


def test_a_training_holds_weights_state_and_one_gradient(images):
    sgd, adamw = trained(images, optimizer="sgd-plain"), trained(images, optimizer="adamw")
    weights = 4 * (64 * 6 + 6 + 6 * 4 + 4)
    assert adamw.optimizer_state_bytes - sgd.optimizer_state_bytes >= 2 * weights
    assert adamw.peak_bytes - sgd.peak_bytes == adamw.optimizer_state_bytes - sgd.optimizer_state_bytes
    assert sgd.peak_bytes > 2 * weights
