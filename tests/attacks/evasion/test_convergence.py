"""Had the attack come to its end: ever longer attacks, a single step, and what is left out where nothing stands."""

import numpy as np
import pytest

from auditor.attacks.evasion.bench import Bench, Standing
from auditor.attacks.evasion.convergence import Convergence, lengthen, one_step
from auditor.attacks.evasion.linf import Linf
from auditor.probe import Case
from auditor.seeds import Seeds

from .traps import NearlyTrue


def begun(subject, data, probe):
    case = Case(probe, "toy", subject, data, Seeds(3))
    outputs = subject.predict(data.x_test)
    bench = Bench.of(case, np.arange(len(data.y_test)), outputs, 512)
    labels = outputs.argmax(1)
    return bench, Standing.before(bench, labels != data.y_test, labels)


def test_an_attack_of_one_step_is_continued_and_ends_where_a_long_one_does(hardened, digits, torch_subject, attack):
    subject = torch_subject(hardened, digits)
    short = attack(subject, digits, 0.2, cull_steps=1, targets=1, target_steps=1, queries=0)
    long = attack(subject, digits, 0.2, cull_steps=50, targets=4, target_steps=50)
    assert "continued" in short.flags
    assert short.robust[0.2] <= long.robust[0.2] + 0.01
    assert not long.flags & {"continued", "not_converged"}


def test_lengthening_stops_at_the_first_length_that_breaks_no_more_than_a_few(linear, digits, torch_subject):
    probe = Linf(epsilons=(0.05,), cull_steps=20, target_steps=20)
    bench, standing = begun(torch_subject(linear, digits), digits, probe)
    for rank in range(9):
        standing.strike(bench, 0.05, bench.aim(0.05, 20, rank))
    ended, before = Convergence(), standing.broken.copy()
    lengthen(bench, standing, 0.05, probe, ended)
    assert (ended.steps, ended.broken, ended.unended) == (50, 0, 0)
    assert np.array_equal(standing.broken, before)


def test_many_steps_break_what_one_does_on_an_honest_net_and_not_where_only_the_first_slope_is_true(
    mlp, digits, torch_subject
):
    for net, left in ((mlp, False), (NearlyTrue(mlp), True)):
        bench, standing = begun(torch_subject(net, digits), digits, Linf(epsilons=(0.08,)))
        crossed = standing.strike(bench, 0.08, bench.cross(0.08))
        assert len(crossed) > 50
        assert (one_step(bench, 0.08, crossed) > 10) == left


def test_one_step_that_does_better_than_many_is_doubted(mlp, digits, torch_subject, attack):
    run = attack(torch_subject(NearlyTrue(mlp), digits), digits, 0.08, queries=0, samples=128, blind_queries=50)
    assert "one_step_beats_multi" in run.doubts


def test_where_nothing_stands_no_self_test_is_needed(mlp, digits, torch_subject, attack):
    run = attack(torch_subject(mlp, digits), digits, 0.3, planted=32)
    assert run.robust[0.3] <= 0.01
    assert "nothing_stands" in run.flags
    assert "planted" not in run.flags
    assert not run.doubts
    assert run.counts.forwards < 12 * 256


def test_self_tests_are_made_where_rows_stand_at_the_smallest_epsilon(mlp, digits, torch_subject, attack):
    run = attack(torch_subject(mlp, digits), digits, 0.01, 0.3, planted=32)
    assert "nothing_stands" not in run.flags
    assert "planted" in run.flags


@pytest.mark.parametrize("name", ["mlp", "hardened"])
def test_what_broke_at_a_small_epsilon_stays_broken_at_larger_ones(name, request, digits, torch_subject, attack):
    run = attack(torch_subject(request.getfixturevalue(name), digits), digits, 0.2, 0.02, 0.1)
    correct = run.outcome.samples.columns["correct"]
    assert (np.diff(correct.astype(int), axis=1) <= 0).all()
    assert run.robust[0.02] > run.robust[0.1] > run.robust[0.2]
