"""A surrogate against closed forms, masked gradients and black boxes, and that it accuses no honest net."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from auditor.attacks.evasion.apgd import Task
from auditor.attacks.evasion.bench import Bench, Standing
from auditor.attacks.evasion.l1 import L1
from auditor.attacks.evasion.l2 import L2
from auditor.attacks.evasion.linf import Linf
from auditor.attacks.evasion.norms import BY_NAME
from auditor.attacks.evasion.results import look
from auditor.attacks.evasion.transfer import Transfer, ascend
from auditor.errors import ConfigError
from auditor.probe import Case
from auditor.seeds import Seeds
from auditor.subject import Access
from auditor.subjects.sklearn_subject import SklearnSubject

from .traps import Around, lying

KINDS = {"linf": Linf, "l2": L2, "l1": L1}
DUAL = {"linf": 1, "l2": 2, "l1": torch.inf}
WEAK = {"cull_steps": 1, "targets": 0, "queries": 0, "self_test": False}


class Told:
    """A subject that gives away scores, or labels, and no more."""

    def __init__(self, inner, outputs="logits"):
        self.inner, self.outputs = inner, outputs
        self.classes, self.shape = inner.classes, inner.shape
        self.access = frozenset({Access.LABELS} if outputs == "labels" else {Access.LABELS, Access.LOGITS})

    def predict(self, x):
        out = self.inner.predict(x)
        return np.eye(self.classes, dtype=np.float32)[out.argmax(1)] if self.outputs == "labels" else out


def case_of(subject, data, epsilon=0.1, norm="linf", seed=3, **parameters):
    return Case(KINDS[norm](epsilons=(epsilon,), **parameters), "toy", subject, data, Seeds(seed))


def transferred(case, epsilon=0.1, width=512):
    """What a surrogate alone leaves: rows broken that were not at first, and the surrogate."""
    clean = look(case, case.probe, None)
    bench = Bench.of(case, clean.rows, clean.outputs, width, case.probe.norm)
    standing = Standing.before(bench, clean.broken, clean.prediction)
    found = Transfer.learned(bench, epsilon)
    standing.strike(bench, epsilon, found.attack(bench, epsilon))
    return standing, clean, found.surrogate


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_on_a_linear_model_momentum_ends_at_the_worst_point_of_the_ball(norm):
    generator = torch.Generator().manual_seed(1)
    x, weight = torch.rand(30, 8, generator=generator) * 0.1 + 0.45, torch.randn(8, generator=generator)
    y = torch.zeros(30, dtype=torch.int64)
    task = Task(x, y, y, x, torch.ones(8), 0.2, norm=BY_NAME[norm])
    *_, last = ascend(lambda u: torch.stack([u @ weight, torch.zeros(len(u))], 1), task, None, 20)
    fallen = (x - last) @ weight
    assert fallen.numpy() == pytest.approx(0.2 * float(torch.linalg.vector_norm(weight, ord=DUAL[norm])), rel=2e-3)


def test_with_a_goal_momentum_raises_that_class_and_leaves_what_cannot_move():
    x, y = torch.full((4, 3), 0.5), torch.zeros(4, dtype=torch.int64)
    still = torch.tensor([False, True, False])
    task = Task(x, y, y, x, torch.ones(3), 0.2, still)
    *_, last = ascend(lambda u: torch.stack([u[:, 0], 9 * u[:, 1], u[:, 2] - 5], 1), task, 2, 20)
    assert last.numpy() == pytest.approx(np.tile([0.5, 0.5, 0.7], (4, 1)))


def test_a_surrogate_learns_a_net_from_its_answers_and_breaks_half_of_what_stands(mlp, digits, torch_subject):
    case = case_of(Told(torch_subject(mlp, digits)), digits, 0.15, samples=200)
    standing, clean, surrogate = transferred(case, 0.15)
    assert surrogate.agreement > 0.95
    assert (~standing.broken).sum() < 0.5 * (~clean.broken).sum()
    assert standing.violations == 0
    assert standing.changed.min() >= 0


def test_it_learns_from_labels_alone_and_from_images(convolution, images, torch_subject):
    case = case_of(Told(torch_subject(convolution, images), "labels"), images, 0.12, label_rows=150)
    standing, clean, surrogate = transferred(case, 0.12)
    assert surrogate.agreement > 0.9
    assert (~standing.broken).sum() < 0.75 * (~clean.broken).sum()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_and_no_batch_changes_a_verdict(mlp, digits, torch_subject):
    subject = torch_subject(mlp, digits)
    runs = [transferred(case_of(subject, digits, samples=100), width=width)[0] for width in (512, 512, 7)]
    assert torch.equal(runs[0].point, runs[1].point)
    assert (runs[0].broken == runs[1].broken).all()
    assert (runs[0].broken != runs[2].broken).sum() <= 1  # batched arithmetic rounds otherwise


def test_queries_are_counted_row_by_row(mlp, digits, torch_subject):
    case = case_of(Told(torch_subject(mlp, digits)), digits, samples=50)
    clean = look(case, case.probe, None)
    bench = Bench.of(case, clean.rows, clean.outputs, 512)
    before = case.counts.forwards
    found = Transfer.learned(bench, 0.1)
    assert case.counts.forwards - before == 2 * len(digits.x_train) + len(digits.x_test)
    before = case.counts.forwards
    found.attack(bench, 0.1)(torch.arange(20))
    assert case.counts.forwards - before == 6 * 20


def test_a_masked_gradient_is_given_away_by_a_transfer_that_beats_it(mlp, digits, torch_subject, attack):
    masked = torch_subject(Around(mlp, lying(lambda g: g * (torch.arange(64) < 6))), digits)
    alone, run = (attack(masked, digits, 0.15, samples=150, transfer=how, **WEAK) for how in ("off", "always"))
    assert run.robust[0.15] <= alone.robust[0.15]
    assert "transfer_beats_whitebox" in run.doubts - alone.doubts


def test_an_honest_net_is_not_accused(hardened, digits, torch_subject, attack):
    run = attack(torch_subject(hardened, digits), digits, 0.15, samples=200, transfer="always")
    assert "transfer" in run.flags
    assert not run.doubts


def test_neighbours_fall_to_a_search_that_starts_from_what_a_surrogate_found(digits, attack):
    subject = SklearnSubject(KNeighborsClassifier().fit(digits.x_train, digits.y_train), classes=10, shape=(64,))
    few = {"samples": 150, "blind_queries": 300, "self_test": False}
    alone, helped = (attack(subject, digits, 0.15, **few, transfer=how) for how in ("off", "blind"))
    assert helped.robust[0.15] < alone.robust[0.15]
    assert "transfer" in helped.flags - alone.flags


def test_blind_does_nothing_where_gradients_can_be_followed(hardened, digits, torch_subject, attack):
    runs = [attack(torch_subject(hardened, digits), digits, 0.1, samples=60, transfer=how) for how in ("off", "blind")]
    assert runs[0].counts == runs[1].counts


def test_answers_that_are_not_numbers_are_not_learned(linear, digits, torch_subject, attack):
    subject = torch_subject(Around(linear, after=lambda z: z * torch.nan), digits)
    run = attack(Told(subject), digits, 0.1, samples=30, transfer="blind", self_test=False)
    assert run.robust[0.1] == 0

    class Shy(nn.Module):
        def forward(self, x):
            return torch.where(x[:, :1] * 0 + x.mean(1, keepdim=True) > 0.3, torch.nan, 1.0) * linear(x)

    case = case_of(Told(torch_subject(Shy(), digits)), digits, samples=100)
    assert transferred(case)[2].agreement > 0.8


def test_a_subject_that_answers_no_training_row_leaves_nothing_to_learn_and_that_is_said(
    mlp, digits, torch_subject, attack
):
    known = {row.tobytes() for row in digits.x_train}

    class Mute(Told):
        def predict(self, x):
            mute = np.array([row.tobytes() in known for row in x])
            return np.where(mute[:, None], np.float32(np.nan), super().predict(x))

    subject = Mute(torch_subject(mlp, digits))
    run = attack(subject, digits, 0.02, samples=40, blind_queries=20, transfer="blind")
    told = next(c.evidence for c in run.outcome.caveats if c.flag == "transfer")
    assert told.startswith("no surrogate")


def test_a_transfer_that_there_is_not_is_refused_and_off_may_be_written_bare():
    with pytest.raises(ConfigError, match="transfer 'sometimes' is none; write one of off, blind, always"):
        Linf(transfer="sometimes")
    assert Linf(transfer=False).transfer == "off"
