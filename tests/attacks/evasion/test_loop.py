"""The loop of the gradient attacks: how often it waits for an accelerator, tiles, and subjects of half precision."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from auditor.attacks.evasion import survivors
from auditor.attacks.evasion.apgd import Task, apgd
from auditor.attacks.evasion.l1 import L1
from auditor.attacks.evasion.l2 import L2
from auditor.attacks.evasion.linf import Linf
from auditor.attacks.evasion.losses import lead_away
from auditor.attacks.evasion.norms import BY_NAME
from auditor.attacks.evasion.sparse import sparse_apgd

EPSILONS = {"linf": 0.15, "l2": 0.8, "l1": 2.0}
NORMS = pytest.mark.parametrize("norm", list(EPSILONS))
WAITS = {"item", "tolist", "cpu", "nonzero", "masked_select", "equal", "__bool__", "__int__", "__float__", "__index__"}


class Accelerator(TorchFunctionMode):
    """Tensors that say they lie on an accelerator; counts what would have to wait for it."""

    def __init__(self):
        super().__init__()
        self.waits = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Runs the function on the processor after all."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if func == torch.Tensor.device.__get__:
            return torch.device("cuda")
        if kwargs.get("device") is not None:
            kwargs["device"] = "cpu"
        places = args[1] if name in ("__getitem__", "__setitem__") else ()
        places = places if isinstance(places, tuple) else (places,)
        by_mask = any(isinstance(p, torch.Tensor) and p.dtype == torch.bool for p in places)
        self.waits += name in WAITS or by_mask
        return func(*args, **kwargs)


def task_and_model(norm, digits, net, rows=60):
    x, y = torch.tensor(digits.x_test[:rows]), torch.tensor(digits.y_test[:rows])
    calls = []

    def model(u):
        calls.append(len(u))
        return net(u)

    return Task(x, y, y, x, torch.ones(x.shape[1:]), EPSILONS[norm], norm=BY_NAME[norm]), model, calls


@NORMS
def test_an_accelerator_is_waited_for_at_most_every_fourth_step_and_finds_what_a_processor_finds(
    norm, digits, hardened
):
    attack = sparse_apgd if norm == "l1" else apgd
    task, model, calls = task_and_model(norm, digits, hardened)
    plain = attack(model, task, lead_away, steps=80, width=60)
    calls.clear()
    with Accelerator() as mode:
        found = attack(model, task, lead_away, steps=80, width=60)
    assert torch.equal(found.broken, plain.broken)
    assert 0.1 < found.broken.float().mean() < 0.9
    assert len(calls) >= 40
    balls = 3 if norm == "l1" else 1  # each has an end, and is asked which rows are left for the next
    assert 0 < mode.waits <= len(calls) / 4 + 2 * balls + 2


@NORMS
def test_rows_meet_the_same_fate_in_tiles_of_any_height(norm, digits, hardened, monkeypatch):
    attack = sparse_apgd if norm == "l1" else apgd
    task, model, _ = task_and_model(norm, digits, hardened)
    whole = attack(model, task, lead_away, steps=25, width=60)
    monkeypatch.setattr(survivors, "_CACHED", 7 * 64)
    tiled = attack(model, task, lead_away, steps=25, width=60)
    assert torch.equal(whole.broken, tiled.broken)
    torch.testing.assert_close(whole.point, tiled.point, atol=1e-5, rtol=0)


@NORMS
def test_the_point_that_is_handed_back_is_the_one_of_the_highest_loss_seen(norm, digits, hardened):
    attack = sparse_apgd if norm == "l1" else apgd
    task, _, _ = task_and_model(norm, digits, hardened)
    highest = torch.full((60,), -torch.inf)

    def model(u):
        scores = hardened(u)
        if len(u) == 60:  # all rows are in flight, in their order, as none may break
            highest.copy_(torch.maximum(highest, lead_away(scores, task.y, task.y).detach()))
        return torch.cat([scores[:, :-1], scores[:, -1:]], 1)

    def certain(u):
        return model(u) + 1e3 * nn.functional.one_hot(task.y, 10)

    found = attack(certain, task, lead_away, steps=25, width=60)
    assert not found.broken.any()
    reached = lead_away(hardened(found.point), task.y, task.y).detach()
    if norm != "l1":  # there the larger balls reach further than the last may
        torch.testing.assert_close(reached, highest, atol=1e-3, rtol=1e-4)
    assert (reached <= highest + 1e-3).all()
    assert (reached > lead_away(hardened(task.x), task.y, task.y)).all()


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("kind", [Linf, L2, L1])
def test_subjects_of_any_precision_are_attacked(precision, kind, hardened, digits, torch_subject, attack):
    epsilon = EPSILONS[kind.id.rsplit(".", 1)[1]]
    plain = attack(torch_subject(hardened, digits), digits, epsilon, kind=kind, samples=120)
    run = attack(torch_subject(copy.deepcopy(hardened).to(precision), digits), digits, epsilon, kind=kind, samples=120)
    assert np.isclose(run.clean, plain.clean, atol=0.02)
    assert abs(run.robust[epsilon] - plain.robust[epsilon]) <= 0.03
    assert not run.doubts
