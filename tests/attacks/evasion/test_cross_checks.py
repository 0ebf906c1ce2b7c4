"""ART's decision-based attacks behind the adapter: what they find on linear models, and that they can do no harm."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from auditor.attacks.art_adapter import nearest_decision
from auditor.attacks.evasion.bench import Bench, Standing
from auditor.attacks.evasion.cross_checks import CrossChecks
from auditor.attacks.evasion.l1 import L1
from auditor.attacks.evasion.l2 import L2
from auditor.attacks.evasion.linf import Linf
from auditor.attacks.evasion.results import look
from auditor.errors import ConfigError, UnitError
from auditor.probe import Case
from auditor.seeds import Seeds

NONE = {"cull_steps": 1, "targets": 0, "queries": 0, "self_test": False}


def half(data):
    """Two classes, parted by a plane: the mean of the first four features against 0.5."""
    net = nn.Linear(data.shape[0], len(data.classes))
    with torch.no_grad():
        net.weight.zero_(), net.bias.fill_(-9)
        net.bias[:2] = torch.tensor([1.0, -1.0])
        net.weight[1, :4] = 1.0
    return net


@pytest.mark.parametrize(
    ("name", "norm", "slack"),
    [("hop-skip-jump", "linf", 1.6), ("hop-skip-jump", "l2", 1.6), ("boundary", "l2", 2.5), ("sign-opt", "l2", 2.5)],
)
def test_each_attack_comes_near_the_exact_distance_to_a_plane(name, norm, slack, digits, torch_subject):
    case = Case(Linf() if norm == "linf" else L2(), "toy", torch_subject(half(digits), digits), digits, Seeds(0))
    x = np.full((2, 64), 0.5, np.float32)
    x[:, :4] = [[0.3], [0.4]]
    start = np.full_like(x, 0.9)
    state = np.random.get_state()[1].copy()  # noqa: NPY002  # the generator that ART uses
    found = nearest_decision(case, name, x, norm=norm, start=start, seeds=np.arange(2), iterations=6)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    move = found - x
    length = np.abs(move).max(1) if norm == "linf" else np.sqrt((move**2).sum(1))
    exact = (0.5 - x[:, 0]) * (1 if norm == "linf" else 2)  # four features, each as far from its share of the plane
    assert (case.subject.predict(found.astype(np.float32)).argmax(1) == 1).all()
    assert (length >= exact * 0.999).all()
    assert (length <= exact * slack + 0.4).all()
    again = nearest_decision(case, name, x, norm=norm, start=start, seeds=np.arange(2), iterations=6)
    assert (again == found).all()


def test_what_another_attack_breaks_counts_and_is_held_against_ours(linear, digits, torch_subject, attack):
    few = {"samples": 40, "check_rows": 40, "check_iterations": 6}
    subject = torch_subject(linear, digits)
    alone = attack(subject, digits, 0.15, kind=Linf, samples=40, **NONE)
    checked = attack(subject, digits, 0.15, cross_check="hop-skip-jump", **few, **NONE)
    assert checked.robust[0.15] <= alone.robust[0.15]
    told = next(c.evidence for c in checked.outcome.caveats if c.flag == "cross_check")
    stood = round(40 * alone.robust[0.15])
    assert told.startswith(f"ART's hop-skip-jump attack was asked about {stood} rows that stood, and broke ")


def test_rows_are_asked_about_once_over_all_epsilons_and_only_so_many(linear, digits, torch_subject):
    case = Case(Linf(epsilons=(0.01, 0.3), samples=30), "toy", torch_subject(linear, digits), digits, Seeds(0))
    clean = look(case, case.probe, None)
    bench = Bench.of(case, clean.rows, clean.outputs, 512)
    standing = Standing.before(bench, clean.broken, clean.prediction)
    checks = CrossChecks(("hop-skip-jump",), 6, 3)
    checks.strike(bench, standing, 0.001)
    assert len(checks.asked) == 6
    spent = case.counts.forwards
    checks.strike(bench, standing, 0.002)
    assert (len(checks.asked), checks.broke["hop-skip-jump"]) == (6, [0, 0])
    assert case.counts.forwards - spent == 6  # only judged again
    checks.strike(bench, standing, 0.5)
    assert checks.broke["hop-skip-jump"][-1] == 6
    flags = {c.flag: c.severity for c in checks.caveats(30)}
    assert flags == {"cross_check": "info", "cross_check_beats_ours": "suspicious"}


def test_a_strong_attack_is_not_accused_by_any_of_them(linear, digits, torch_subject, attack):
    names = ("hop-skip-jump", "boundary", "sign-opt")
    few = {"samples": 40, "check_rows": 5, "check_iterations": 3}
    run = attack(torch_subject(linear, digits), digits, 0.3, kind=L2, cross_check=names, **few)
    assert "cross_check" in run.flags
    assert not run.doubts


def test_labels_alone_can_be_cross_checked_too(linear, digits, torch_subject, attack):
    subject = torch_subject(nn.Sequential(linear, Hard()), digits, "labels")
    few = {"label_rows": 30, "label_queries": 60, "check_rows": 8, "check_iterations": 4}
    alone, both = (attack(subject, digits, 0.1, **few, cross_check=c) for c in ("off", "hop-skip-jump"))
    assert "cross_check" in both.flags - alone.flags
    assert both.robust[0.1] <= alone.robust[0.1]
    assert both.counts.forwards > alone.counts.forwards


class Hard(nn.Module):
    """One-hot answers."""

    def forward(self, scores):
        return nn.functional.one_hot(scores.argmax(1), 10).float()


def test_without_its_modules_a_cross_check_is_left_out_and_that_is_said(
    linear, digits, torch_subject, attack, monkeypatch
):
    monkeypatch.setitem(sys.modules, "art.attacks", None)  # as where it is not installed
    few = {"samples": 20, "check_rows": 4}
    subject = torch_subject(linear, digits)
    run = attack(subject, digits, 0.01, cross_check="hop-skip-jump", **few)
    told = next(c for c in run.outcome.caveats if c.flag == "cross_check_failed")
    assert told.severity == "info"
    assert told.evidence.startswith("hop-skip-jump not run: ART's hop-skip-jump: ModuleNotFoundError")
    assert run.robust == attack(subject, digits, 0.01, **few).robust


def test_what_fails_inside_art_is_told_with_its_reason(digits, torch_subject):
    case = Case(Linf(), "toy", torch_subject(half(digits), digits), digits, Seeds(0))
    x, seeds = np.full((1, 64), 0.3, np.float32), np.arange(1)
    with pytest.raises(UnitError, match=r"ART's hop-skip-jump: ValueError: The number of iterations must be"):
        nearest_decision(case, "hop-skip-jump", x, norm="linf", start=x + 0.1, seeds=seeds, iterations=-1)


def test_a_row_that_has_no_wrong_answer_anywhere_comes_back_unchanged(digits, torch_subject):
    case = Case(L2(), "toy", torch_subject(half(digits), digits), digits, Seeds(0))
    x = np.full((1, 64), 0.3, np.float32)
    for name in ("hop-skip-jump", "boundary", "sign-opt"):
        found = nearest_decision(case, name, x, norm="l2", start=x, seeds=np.arange(1), iterations=2)
        assert (found == x).all()


def test_checks_that_there_are_not_or_not_of_this_norm_or_goal_are_refused():
    with pytest.raises(ConfigError, match="cross_check 'boundary' is none; write off, hop-skip-jump"):
        Linf(cross_check="boundary")
    with pytest.raises(ConfigError, match="cross_check 'geoda' is none; write off, hop-skip-jump, boundary, sign-opt"):
        L2(cross_check=["hop-skip-jump", "geoda"])
    with pytest.raises(ConfigError, match="cross_check 'hop-skip-jump' is none; write off"):
        L1(cross_check="hop-skip-jump")
    with pytest.raises(ConfigError, match="hop-skip-jump knows no goal"):
        Linf(cross_check="hop-skip-jump", goal="3")
    with pytest.raises(ConfigError, match="check_rows is 0; it must be at least 1"):
        Linf(check_rows=0)
    assert Linf(cross_check=False).cross_check == "off"
    assert Linf(cross_check=[]).checks == ()
    assert L2(cross_check=["boundary", "sign-opt"]).checks == ("boundary", "sign-opt")
