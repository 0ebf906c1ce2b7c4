"""The same seed gives the same answers to the bit, whatever the norm and the access; the batch size decides nothing."""

import numpy as np
import pytest
import torch
from torch import nn

from auditor.attacks.evasion.l1 import L1
from auditor.attacks.evasion.l2 import L2
from auditor.attacks.evasion.linf import Linf

KINDS = {"linf": Linf, "l2": L2, "l1": L1}
FAR = {"linf": (0.05, 0.1), "l2": (0.3, 0.6), "l1": (0.5, 1.0)}
NORMS = pytest.mark.parametrize("norm", list(KINDS))
SHORT = {"samples": 12, "label_rows": 8, "queries": 20, "blind_queries": 40, "label_queries": 40}


class Turned(nn.Module):
    """A net that leaves torch on the way, or answers its class alone."""

    def __init__(self, net, access):
        super().__init__()
        self.net, self.access = net, access

    def forward(self, x):
        z = self.net(x)
        return {"gradients": z, "scores": z.detach(), "labels": z.argmax(1)}[self.access]


@NORMS
@pytest.mark.parametrize("access", ["gradients", "scores", "labels"])
def test_the_same_seed_is_equal_to_the_bit(norm, access, mlp, digits, torch_subject, attack):
    subject = torch_subject(Turned(mlp, access), digits, "labels" if access == "labels" else "logits")
    runs = []
    for noise in (1, 2):
        torch.manual_seed(noise)  # what the process drew before does not matter
        runs.append(attack(subject, digits, *FAR[norm], kind=KINDS[norm], save=True, **SHORT))
    first, second = (run.outcome for run in runs)
    assert first.measurements == second.measurements
    assert first.caveats == second.caveats
    assert runs[0].counts == runs[1].counts
    for name, column in first.samples.columns.items():
        assert column.tobytes() == second.samples.columns[name].tobytes(), name


@NORMS
def test_the_batch_size_does_not_decide_a_rows_fate(norm, mlp, digits, torch_subject, attack):
    subject = torch_subject(mlp, digits)
    fates = [
        attack(
            subject, digits, *FAR[norm], kind=KINDS[norm], batch_size=size, self_test=False, **SHORT
        ).outcome.samples.columns["correct"]
        for size in (1, 7, 512)
    ]
    assert np.array_equal(fates[0], fates[1])
    assert np.array_equal(fates[0], fates[2])


@pytest.mark.slow
@NORMS
def test_batches_of_1_to_512_move_robust_accuracy_by_at_most_a_tenth_of_a_point(
    norm, convolution, images, torch_subject, attack
):
    subject = torch_subject(convolution, images)
    robust = [
        attack(subject, images, *FAR[norm], kind=KINDS[norm], samples=360, batch_size=size).robust
        for size in (512, 64, 7, 1)
    ]
    for epsilon in FAR[norm]:
        values = [one[epsilon] for one in robust]
        assert max(values) - min(values) <= 0.001
    assert all(0.02 < one[FAR[norm][0]] < 0.98 for one in robust)
