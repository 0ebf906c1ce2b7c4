"""Constraints hold a changed row to what is possible, and no impossible row counts against a model."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from auditor.attacks.backdoor.trigger import trigger_of
from auditor.attacks.evasion.linf import Linf
from auditor.constraints import Constraints
from auditor.dataset import Array, Dataset, Domain
from auditor.errors import ConfigError, DataError, UnknownNameError
from auditor.probe import Case, Outcome
from auditor.relations import parse
from auditor.seeds import Seeds
from auditor.store import Store
from auditor.subject import Access, Outputs
from auditor.subjects.torch_subject import TorchSubject

NAMES = ("debt", "income", "total", "mean radius", "job=nurse")
WIDE = np.full(5, 10.0)


def relation(text: str, names: tuple[str, ...] = NAMES) -> Any:
    return parse(text, names, where="data.table.relations")


@pytest.mark.parametrize(
    ("text", "weights", "constant", "equal"),
    [
        ("debt <= income", {0: 1, 1: -1}, 0, False),
        ("income >= debt", {0: 1, 1: -1}, 0, False),
        ("total = debt + 2 income - 3", {2: 1, 0: -1, 1: -2}, 3, True),
        ("total == debt + 2*income - 3", {2: 1, 0: -1, 1: -2}, 3, True),
        ("-debt + 1e2 <= 0.5 `mean radius`", {0: -1, 3: -0.5}, 100, False),
        ("`job=nurse` + debt + debt <= 4", {4: 1, 0: 2}, -4, False),
    ],
)
def test_a_relation_is_read_as_a_weighted_sum(
    text: str, weights: dict[int, float], constant: float, equal: bool
) -> None:
    read = relation(text)
    assert dict(zip(read.features, read.coefficients, strict=True)) == weights
    assert (read.constant, read.equal, read.text) == (constant, equal, text)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("debt < income", ConfigError, "write <= for <"),
        ("debt income <= 3", ConfigError, r"a \+ or - is missing before 'income'"),
        ("debt <=", ConfigError, "has an empty side"),
        ("debt + <= 3", ConfigError, "nothing stands where a number or a column should"),
        ("debt * income <= 3", ConfigError, r"a \+ or - is missing before '\*'"),
        ("debt / 2 <= 3", ConfigError, "'/' has no place in a linear relation"),
        ("debt", ConfigError, "has 0 of <=, >= and =, and needs one"),
        ("1 <= debt <= 3", ConfigError, "has 2 of <=, >= and =, and needs one"),
        ("debt - debt <= 3", ConfigError, "says nothing about any column"),
        ("dbt <= 3", UnknownNameError, "unknown column 'dbt'; did you mean 'debt'"),
    ],
)
def test_a_text_that_is_no_linear_relation_is_refused(text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        relation(text)


def test_what_cannot_change_is_put_back_and_whole_numbers_are_rounded_toward_the_original() -> None:
    rules = Constraints(immutable=(0,), integer=(1, 2))
    before = np.array([[1.0, 4.0, 4.0, 0.5, 0.0]])
    moved = rules.project(np.array([[9.0, 5.9, 2.1, 0.7, 0.0]]), before, WIDE)
    np.testing.assert_allclose(moved, [[1.0, 5.0, 3.0, 0.7, 0.0]])
    assert rules.project(np.array([[1, 4.9999999, 3.5, 0, 0]]), before, WIDE)[0, 1:3].tolist() == [5.0, 4.0]


def test_a_category_changes_only_where_another_one_wins_and_the_ball_is_wide_enough() -> None:
    rules = Constraints(one_hot=((1, 2, 3),))
    before = np.array([[0.3, 1, 0, 0, 0]] * 3)
    moved = np.array([[0.3, 0.4, 0.6, 0.1, 0], [0.3, 0.7, 0.6, 0.9, 0], [0.3, 0.5, 0.5, 0.5, 0]])
    wanted = [[0.3, 0, 1, 0, 0], [0.3, 0, 0, 1, 0], [0.3, 1, 0, 0, 0]]
    assert rules.project(moved, before, np.ones(5)).tolist() == wanted
    assert rules.project(moved, before, np.full(5, 0.9)).tolist() == before.tolist()


def test_a_broken_relation_takes_its_own_features_back_until_it_holds() -> None:
    rules = Constraints(relations=(relation("debt <= income"),))
    before = np.array([[1.0, 3.0, 0, 0, 0]])
    moved = rules.project(np.array([[5.0, 3.0, 7.0, 0, 0]]), before, WIDE)  # half of the way: debt is income
    np.testing.assert_allclose(moved, [[3.0, 3.0, 7.0, 0, 0]])
    moved = rules.project(np.array([[4.0, 2.0, 0, 0, 0]]), before, WIDE)  # 1 + 3 t = 3 - t
    np.testing.assert_allclose(moved, [[2.5, 2.5, 0, 0, 0]])
    exact = Constraints(relations=(relation("total = debt + income"),))
    sum_of = np.array([[1.0, 3.0, 4.0, 0, 0]])
    assert exact.project(sum_of + 0.5, sum_of, WIDE).tolist() == [[1.0, 3.0, 4.0, 0.5, 0.5]]


def test_a_relation_that_whole_numbers_break_is_left_for_the_judge() -> None:
    rules = Constraints(integer=(0, 1), relations=(relation("debt <= income"),))
    before, changed = np.array([[2.0, 3.0, 0, 0, 0]]), np.array([[5.0, 3.0, 0, 0, 0]])
    projected = rules.project(changed, before, WIDE)
    assert projected.tolist() == changed.tolist()
    assert rules.satisfied(projected, before).tolist() == [False]


def test_satisfied_asks_every_kind_of_rule() -> None:
    rules = Constraints(immutable=(0,), integer=(1,), one_hot=((3, 4),), relations=(relation("debt <= income"),))
    good = np.array([1.0, 2.0, 0.5, 0.0, 1.0])
    rows = np.stack(
        [good, *(good + change for change in np.eye(5) * 0.25), [*good[:3], 1.0, 1.0], good - [0, 2, 0, 0, 0]]
    )
    assert rules.satisfied(rows, np.tile(good, (8, 1))).tolist() == [True, False, False, True, *[False] * 4]
    assert rules.satisfied(rows).tolist() == [True, True, False, True, *[False] * 4]  # nobody knows what it was


def test_a_relation_has_room_for_float32_and_no_more() -> None:
    rules = Constraints(relations=(relation("total = debt + income"),))
    rows = np.array([[0.1, 0.2, 0.3, 0, 0], [1e6, 0.1, 1e6 + 0.1, 0, 0], [1e6, 0.1, 1e6 + 30, 0, 0], [0, 0, 0, 0, 0]])
    assert rules.satisfied(rows.astype(np.float32)).tolist() == [True, True, False, True]


def test_features_that_cannot_move_within_a_radius() -> None:
    rules = Constraints(immutable=(0,), integer=(1, 2), one_hot=((3, 4),))
    assert rules.still(np.array([9, 0.5, 1.0, 0.9, 1.0])).tolist() == [True, True, False, True, False]


def test_constraints_say_themselves_in_words() -> None:
    rules = Constraints(immutable=(0, 1), integer=(2,), one_hot=((3, 4),), relations=(relation("debt <= income"),))
    assert rules.sentences(NAMES) == (
        "nobody can change debt, income",
        "whole numbers: total",
        "exactly one is 1: mean radius, job=nurse",
        "debt <= income",
    )
    assert not Constraints()


def made(constraints: Constraints, x: Array | None = None, **more: Any) -> Dataset:
    rows = np.array([[1, 2, 0.5], [1, 3, 0.25], [0, 1, 0.75], [2, 4, 0.5]], np.float32) if x is None else x
    y = np.arange(len(rows)) % 2
    domain = Domain(np.zeros(3, np.float32), np.array([10, 10, 1], np.float32), ("a", "b", "c"), constraints)
    return Dataset("t", rows.copy(), y, rows.copy(), y, ("no", "yes"), domain, **more)


def test_data_that_breaks_its_own_constraints_is_refused_by_row() -> None:
    with pytest.raises(DataError, match=r"x_train\[1\] breaks the constraint 'b <= 2 a', and so do 2 rows in all"):
        made(Constraints(relations=(relation("b <= 2 a", ("a", "b", "c")),)))
    with pytest.raises(DataError, match=r"x_train\[0\] breaks the constraint 'c is a whole number'"):
        made(Constraints(integer=(2,)))
    with pytest.raises(DataError, match=r"the constraints are not about rows of shape \(3,\)"):
        made(Constraints(integer=(3,)))


def test_constraints_are_part_of_the_digest_and_of_the_facts() -> None:
    plain, held = made(Constraints()), made(Constraints(immutable=(0,)))
    assert plain.sha256 != held.sha256
    assert held.facts().constraints == ("nobody can change a",)
    named = replace(plain, groups={"g": np.array([0, 1, 0, 1])}, group_names={"g": ("f", "m")})
    assert named.facts().groups == {"g": ("f", "m")}
    assert named.sha256 != replace(named, group_names={"g": ("m", "f")}).sha256


def test_the_store_gives_constraints_group_names_and_gaps_back(tmp_path: Any) -> None:
    rules = Constraints(immutable=(0,), integer=(1,), relations=(relation("a <= b", ("a", "b", "c")),))
    groups = {"groups": {"g": np.array([0, 1, 0, 1])}, "group_names": {"g": ("f", "m")}}
    data = made(rules, missing={"b": 3}, **groups)
    Store(tmp_path).write_dataset(data)
    again = Store(tmp_path).dataset(data.sha256)
    assert (again.domain.constraints, again.group_names, again.missing) == (rules, {"g": ("f", "m")}, {"b": 3})
    assert again.sha256 == data.sha256


@dataclass
class Sum:
    """Class 1 where the features, in units of their range, add up to more than a half."""

    classes: int = 2
    shape: tuple[int, ...] = (3,)
    outputs: Outputs = "logits"
    access: frozenset[Access] = frozenset({Access.LABELS})
    seen: list[Array] = field(default_factory=list)

    def predict(self, x: Array) -> Array:
        self.seen.append(x)
        lead = x[:, 0] / 10 + x[:, 1] / 10 + x[:, 2] - 0.5
        return np.stack([-lead, lead], axis=1)


def test_the_judge_counts_no_change_that_is_impossible() -> None:
    rules = Constraints(immutable=(0,), integer=(1,), relations=(relation("a <= b", ("a", "b", "c")),))
    x = np.array([[1, 1, 0.2], [1, 1, 0.2], [1, 1, 0.2], [1, 1, 0.1]], np.float32)
    case = Case(Linf(), "s", Sum(), made(rules, x), Seeds(1))
    changed = x + np.array([[1, 0.5, 0.05], [0, 2.0, 0], [0, 0, 0.2], [0, -1, 0.2]], np.float32)
    judged = case.verify(x, np.zeros(4, np.int64), changed, 0.2)
    # row 0: only c may move, and not far enough; row 1 moves b by 2 whole units; row 2 moves c over the border;
    # row 3: b may not fall below a, and being whole it cannot be pulled back
    np.testing.assert_allclose(judged.x, [[1, 1, 0.25], [1, 3, 0.2], [1, 1, 0.4], [1, 1, 0.1]], rtol=1e-6)
    assert judged.broken.tolist() == [False, True, True, False]
    assert judged.refused.tolist() == [True, False, False, False]  # 0.2 + 0.15 + 0.25 is over a half
    assert judged.violations == 0


def linear(weight: list[float], bias: float, data: Dataset) -> TorchSubject:
    net = nn.Linear(3, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[-w for w in weight], weight]))
        net.bias.copy_(torch.tensor([-bias, bias]))
    return TorchSubject(net, classes=2, shape=(3,))


def attacked(constraints: Constraints, weight: list[float], epsilon: float, rows: int = 60) -> tuple[Outcome, Dataset]:
    rng = np.random.default_rng(0)
    x = np.stack([rng.integers(0, 3, rows), rng.integers(4, 11, rows), rng.uniform(0, 1, rows)], axis=1)
    x = x.astype(np.float32)
    data = made(constraints, x)
    subject = linear(weight, -float(np.median(x @ weight)) + 1e-3, data)
    labels = subject.predict(x).argmax(axis=1)
    data = replace(data, y_train=labels, y_test=labels)
    case = Case(Linf(epsilons=(epsilon,)), "s", subject, data, Seeds(3))
    return case.probe.run(case), data


def robust(outcome: Outcome) -> float:
    return next(m.value for m in outcome.measurements if m.metric == "robust_accuracy")


def flags(outcome: Outcome) -> dict[str, str]:
    return {c.flag: c.severity for c in outcome.caveats}


def test_robust_accuracy_under_constraints_is_the_exact_one_of_a_linear_model() -> None:
    weight, epsilon = [0.3, 0.2, 1.0], 0.2
    rules = Constraints(immutable=(0,), integer=(1,), relations=(relation("a <= b", ("a", "b", "c")),))
    found, data = attacked(rules, weight, epsilon)
    x, y = data.x_test.astype(float), data.y_test
    lead = (x @ weight - np.median(data.x_test @ weight) + 1e-3) * np.where(y == 1, 1, -1)
    sign = np.where(y == 1, -1, 1)
    b = np.where(sign > 0, np.minimum(2, 10 - x[:, 1]), 2)  # two whole steps either way, within 0 to 10 and above a
    c = np.where(sign > 0, np.minimum(0.2, 1 - x[:, 2]), np.minimum(0.2, x[:, 2]))
    exact = lead - 0.2 * b - 1.0 * c
    assert np.abs(exact).min() > 1e-4
    assert robust(found) == pytest.approx((exact > 0).mean())
    assert flags(found)["constrained"] == "info"
    assert not {c.flag for c in found.caveats if c.severity != "info"}


def test_no_exemplar_of_a_random_search_is_impossible() -> None:
    rules = Constraints(immutable=(0,), integer=(1,), relations=(relation("10 c <= b", ("a", "b", "c")),))
    rng = np.random.default_rng(2)
    x = np.stack([rng.integers(0, 3, 80), rng.integers(1, 8, 80), np.zeros(80)], axis=1)
    x[:, 2] = rng.uniform(0, 0.1, 80) * x[:, 1]
    data = made(rules, x.astype(np.float32))
    labels = Sum().predict(data.x_test).argmax(axis=1)
    case = Case(Linf(epsilons=(0.3,)), "s", Sum(), replace(data, y_test=labels, y_train=labels), Seeds(3))
    outcome = case.probe.run(case)
    seen = outcome.gallery
    assert robust(outcome) < 0.6
    assert seen is not None
    assert len(seen.after) == 8
    assert rules.satisfied(seen.after, seen.before).all()
    assert (np.abs(case.domain.to_unit(seen.after) - case.domain.to_unit(seen.before)) <= 0.3 + 1e-6).all()
    assert (seen.after[:, 1] != seen.before[:, 1]).any()


def test_an_attack_whose_successes_are_impossible_leaves_doubt_and_no_broken_row() -> None:
    exact = Constraints(immutable=(0, 2), integer=(1,))
    found, _ = attacked(exact, [0.0, 1.0, 0.0], 0.19)  # b moves by 1.9 at most: one whole step
    free, _ = attacked(Constraints(), [0.0, 1.0, 0.0], 0.19)
    assert robust(free) < robust(found)
    assert flags(found)["constrained"] == "suspicious"
    told = next(c.evidence for c in found.caveats if c.flag == "constrained")
    assert told.endswith("2 of 3 features could not move: immutable, or whole numbers too far apart")


def test_a_model_of_what_cannot_move_is_robust_and_not_called_masked() -> None:
    found, _ = attacked(Constraints(immutable=(0, 1)), [0.5, 0.5, 0.001], 0.3)
    assert robust(found) > 0.9
    assert not {c.flag for c in found.caveats if c.severity != "info"}


def test_the_trigger_of_a_backdoor_leaves_categories_and_immutable_features_alone() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 1, (50, 6)).astype(np.float32)
    x[:, 2:4] = np.eye(2)[rng.integers(0, 2, 50)]
    y = rng.integers(0, 2, 50)
    rules = Constraints(immutable=(0, 1), one_hot=((2, 3),))
    trigger = trigger_of(x, y, Domain(np.zeros(6, np.float32), np.ones(6, np.float32), (), rules))
    assert trigger.mask.tolist() == [False] * 4 + [True] * 2
