"""The search by labels alone against closed forms, against its scored twin, and its own promises."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from auditor.attacks.evasion.norms import BY_NAME
from auditor.attacks.evasion.places import orders
from auditor.attacks.evasion.rays import Surroundings, rays
from auditor.subject import Access
from auditor.subjects.sklearn_subject import SklearnSubject

DUAL = {"linf": 1, "l2": 2, "l1": torch.inf}


def half_spaces(shape, count=30, enough=0.0, known=True, norm="linf", **rest):
    """Rows in the middle of the box, labels by a plane, and each row's exact distance to it."""
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(count, *shape, generator=generator) * 0.2 + 0.4
    weight = torch.randn(*shape, generator=generator).double()
    offset = float((x * weight).flatten(1).sum(1).min()) - 0.05

    def value(u):
        return (u.double() * weight).flatten(1).sum(1) - offset

    away = torch.where(weight > 0, 0.0, 1.0).expand_as(x) if known else x
    distance = value(x) / torch.linalg.vector_norm(weight.flatten(), ord=DUAL[norm])
    around = Surroundings(
        x, torch.zeros(count, dtype=torch.int64), away[None], torch.full((1, count), known), torch.ones(shape), enough,
        norm=BY_NAME[norm], **rest,
    )  # fmt: skip
    return around, lambda u: (value(u) < 0).long(), distance


@pytest.mark.parametrize("shape", [(1,), (9,), (1, 4, 4), (3, 3, 5)])
@pytest.mark.parametrize("known", [True, False])
def test_the_distance_to_a_plane_is_found_within_a_hundredth(shape, known):
    around, answers, exact = half_spaces(shape, known=known)
    found = rays(answers, around, torch.arange(30), queries=1500, width=30)
    assert (found.radius >= exact - 1e-6).all()
    assert (found.radius <= exact * 1.01 + 1e-6).float().mean() > 0.9
    assert (answers(found.point) == 1).all()
    assert torch.allclose(found.radius, (found.point - around.x).flatten(1).abs().amax(1))


@pytest.mark.parametrize(("norm", "most"), [("l2", 1.5), ("l1", 2.0)])
def test_in_other_norms_the_distance_is_an_upper_bound_of_the_right_size(norm, most):
    around, answers, exact = half_spaces((9,), norm=norm)
    found = rays(answers, around, torch.arange(30), queries=800, width=30)
    assert (found.radius >= exact - 1e-6).all()
    assert float((found.radius / exact).median()) < most
    assert torch.allclose(found.radius, BY_NAME[norm].distance(found.point - around.x))


def test_a_row_is_left_when_it_is_near_enough_and_its_queries_are_counted():
    around, answers, exact = half_spaces((9,), enough=0.1)
    seen = []

    def counting(u):
        seen.append(len(u))
        return answers(u)

    found = rays(counting, around, torch.arange(30), queries=1000, width=30)
    assert ((found.radius <= 0.1) == (exact <= 0.1)).float().mean() > 0.9
    assert int(found.queries.sum()) == sum(seen)
    assert (found.queries[found.radius > 0.1] == 1000).all()
    assert found.queries[found.radius <= 0.1].max() < 1000


def test_points_stay_in_the_box_and_what_cannot_move_stays():
    still = torch.zeros(9, dtype=torch.bool)
    still[[0, 4]] = True
    around, answers, _ = half_spaces((9,), still=still)
    found = rays(answers, around, torch.arange(30), queries=300, width=30)
    assert torch.equal(found.point[:, still], around.x[:, still])
    assert found.point.min() >= 0
    assert found.point.max() <= 1
    assert (answers(found.point) == 1).float().mean() > 0.5


def test_where_there_is_no_other_answer_rows_stay_and_are_infinitely_far():
    around, _, _ = half_spaces((9,), known=False)
    found = rays(lambda u: torch.zeros(len(u), dtype=torch.int64), around, torch.arange(30), queries=50, width=30)
    assert torch.equal(found.point, around.x)
    assert found.radius.isinf().all()
    assert (found.queries == 50).all()


def test_rows_that_are_wrong_from_the_start_are_at_no_distance():
    around, _, _ = half_spaces((9,))
    found = rays(lambda u: torch.ones(len(u), dtype=torch.int64), around, torch.arange(30), queries=400, width=30)
    assert found.radius.max() < 1e-3


@pytest.mark.parametrize("shape", [(9,), (1, 4, 4)])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_row_fares_the_same_in_any_batch_and_twice(shape, norm):
    around, answers, _ = half_spaces(shape, enough=0.1, norm=norm)
    runs = [rays(answers, around, torch.arange(30), queries=200, width=w) for w in (30, 30, 7, 1)]
    for run in runs[1:]:
        assert torch.equal(run.point, runs[0].point)
        assert torch.equal(run.radius, runs[0].radius)
        assert torch.equal(run.queries, runs[0].queries)


def test_orders_are_permutations_and_keep_pixels_together():
    for shape in ((7,), (3, 4, 6), (2, 3)):
        size = int(np.prod(shape))
        for order in orders(shape):
            assert order.sort().values.tolist() == list(range(size))
    curve = orders((2, 4, 4))[0].view(2, 4, 4)
    assert set(curve[:, :2, :2].flatten().tolist()) == set(range(8))  # the first quarter of the places
    assert len(orders((7,))) > 1


def labels_of(net):
    return torch.nn.Sequential(net, OneHot())


class Rounded(LogisticRegression):
    """Probabilities with one digit after the point."""

    def predict_proba(self, x):
        return super().predict_proba(x).round(1)


class OneHot(torch.nn.Module):
    def forward(self, scores):
        return torch.nn.functional.one_hot(scores.argmax(1), scores.shape[1]).float()


@pytest.mark.parametrize("name", ["mlp", "convolution"])
def test_a_net_that_gives_labels_only_is_broken_nearly_like_its_scored_twin(
    name, request, digits, images, torch_subject, attack
):
    net, data = request.getfixturevalue(name), images if name == "convolution" else digits
    scored = attack(torch_subject(net, data), data, 0.1, 0.15, samples=100)
    hidden = attack(
        torch_subject(labels_of(net), data, "labels"), data, 0.1, 0.15, samples=100, label_rows=100, label_queries=1000
    )
    for epsilon in (0.1, 0.15):
        assert scored.robust[epsilon] <= hidden.robust[epsilon] <= scored.robust[epsilon] + 0.1
    assert hidden.doubts == {"labels_only"}
    assert hidden.counts.backwards == 0


def test_scores_that_are_one_and_zero_are_searched_by_their_labels(mlp, digits, torch_subject, attack):
    few = {"samples": 60, "label_rows": 60, "label_queries": 500}
    said = attack(torch_subject(labels_of(mlp), digits, "labels"), digits, 0.1, **few)
    hot = attack(torch_subject(labels_of(mlp), digits), digits, 0.1, **few)
    assert hot.robust == said.robust
    assert hot.doubts == {"hard_label", "labels_only"}
    assert hot.counts.backwards <= 1


def test_a_few_rows_tell_that_scores_are_labels(mlp, digits, torch_subject, attack):
    hot = attack(torch_subject(labels_of(mlp), digits), digits, 0.1, samples=8, label_rows=8, label_queries=100)
    assert hot.doubts == {"hard_label", "labels_only"}


def test_a_tree_grown_to_the_end_is_searched_by_its_labels(digits, attack):
    tree = DecisionTreeClassifier(random_state=0).fit(digits.x_train, digits.y_train)
    run = attack(SklearnSubject(tree, classes=10, shape=digits.shape), digits, 0.05, 0.1, samples=100)
    assert run.doubts == {"hard_label", "labels_only"}
    assert run.robust[0.05] <= 0.60
    assert run.robust[0.1] <= 0.20


def test_rounded_probabilities_are_broken_nearly_like_the_others(digits, attack):
    plain, rounded = (
        attack(
            SklearnSubject(kind(max_iter=500).fit(digits.x_train, digits.y_train), classes=10, shape=digits.shape),
            digits, 0.1, samples=60,
        )
        for kind in (LogisticRegression, Rounded)
    )  # fmt: skip
    assert plain.robust[0.1] - 1e-9 <= rounded.robust[0.1] <= plain.robust[0.1] + 0.05


class Coarse:
    """Scores of a net as probabilities in steps of a tenth, without gradients: what a careful service tells."""

    outputs, classes, shape = "probabilities", 10, (64,)
    access = frozenset({Access.LABELS, Access.PROBABILITIES})

    def __init__(self, net):
        self.net = net

    def predict(self, x):
        """Rounded probabilities (n, 10)."""
        with torch.no_grad():
            return (10 * self.net(torch.tensor(x)).softmax(1)).round().numpy() / 10


def test_a_net_that_rounds_its_answers_to_tenths_is_searched_until_few_rows_fall(mlp, digits, torch_subject, attack):
    """It stood ten points too high where the search ended at its first budget, without a word."""
    seen = attack(torch_subject(mlp, digits), digits, 0.1, samples=150)
    told = attack(Coarse(mlp), digits, 0.1, samples=150)
    assert told.robust[0.1] <= seen.robust[0.1] + 0.05 or told.doubts == {"not_converged"}


def test_neighbours_whose_scores_are_plateaus_are_broken_by_their_answers(digits, attack):
    estimator = KNeighborsClassifier(5).fit(digits.x_train, digits.y_train)
    run = attack(SklearnSubject(estimator, classes=10, shape=digits.shape), digits, 0.2, samples=60, blind_queries=1000)
    assert run.robust[0.2] < 0.5  # by random search alone 0.6
    assert not run.doubts
