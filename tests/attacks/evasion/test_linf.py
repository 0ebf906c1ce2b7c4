"""The evasion probe against closed forms, weak and sound subjects, masked gradients and broken ones."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from torch import nn

from auditor.attacks.evasion.linf import Linf, radius
from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError
from auditor.probe import Case
from auditor.seeds import Seeds
from auditor.statistics import clopper_pearson
from auditor.subjects.sklearn_subject import SklearnSubject


class Around(nn.Module):
    """A model with something done to its inputs or outputs."""

    def __init__(self, net, before=lambda x: x, after=lambda z: z):
        super().__init__()
        self.net, self.before, self.after = net, before, after

    def forward(self, x):
        return self.after(self.net(self.before(x)))


class _Cut(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, gradient):
        return torch.zeros_like(gradient)


class _Nowhere(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, gradient):
        return gradient * torch.nan


def hard(scores):
    return nn.functional.one_hot(scores.argmax(1), 10).float()


def two_class_data(rows=300, features=6):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, rows)
    span, low = np.array([1, 2, 5, 0.5, 10, 1], np.float32), np.array([0, -1, 3, 0, -5, 7], np.float32)
    unit = np.clip(rng.normal(0.4 + 0.2 * y[:, None], 0.12, (rows, features)), 0, 1)
    x = (low + unit * span).astype(np.float32)
    domain = Domain(low, low + span)
    return Dataset("toy", domain.clip(x), y, domain.clip(x), y, ("no", "yes"), domain)


def test_a_linear_classifier_of_ten_classes_gets_its_exact_robust_accuracy(
    linear, digits, torch_subject, attack, exact_robustness
):
    run = attack(torch_subject(linear, digits), digits, 0.02, 0.05, 0.1, 0.2, samples=360, targets=9)
    weight, bias = (p.detach().double().numpy() for p in linear[0].parameters())
    for column, epsilon in enumerate(run.robust):
        exact = exact_robustness(weight, bias, digits, epsilon)
        assert np.array_equal(run.outcome.samples.columns["correct"][:, column], exact)
        assert run.robust[epsilon] == pytest.approx(exact.mean(), abs=1e-12)
    assert 0.05 < run.robust[0.1] < run.robust[0.05] < 0.95
    assert not run.doubts


def test_a_binary_linear_classifier_with_its_own_feature_ranges_gets_its_exact_robust_accuracy(
    torch_subject, attack, exact_robustness
):
    data = two_class_data()
    slope = np.array([2, -1, 0.7, 4, 0.3, 1.5])
    bias = -float(slope @ data.x_test.mean(0))
    net = nn.Sequential(nn.Linear(6, 2))
    weight, offset = np.stack([-slope / 2, slope / 2]), np.array([-bias / 2, bias / 2])
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor(weight))
        net[0].bias.copy_(torch.tensor(offset))
    run = attack(torch_subject(net, data), data, 0.05, 0.1, 0.2, samples=300)
    for column, epsilon in enumerate(run.robust):
        exact = exact_robustness(weight, offset, data, epsilon)
        assert np.array_equal(run.outcome.samples.columns["correct"][:, column], exact)
    assert 0 < run.robust[0.2] < run.robust[0.05] < 1
    assert not run.doubts


def test_a_plain_network_is_found_to_be_weak(mlp, digits, torch_subject, attack):
    run = attack(torch_subject(mlp, digits), digits, 0.05, 0.15)
    assert run.clean > 0.93
    assert run.robust[0.15] < 0.15
    assert run.robust[0.15] < run.robust[0.05] < run.clean


def test_training_on_attacks_is_seen_to_help(mlp, hardened, digits, torch_subject, attack):
    plain = attack(torch_subject(mlp, digits), digits, 0.15)
    robust = attack(torch_subject(hardened, digits), digits, 0.15)
    assert robust.robust[0.15] > plain.robust[0.15] + 0.2


@pytest.mark.parametrize("name", ["mlp", "hardened", "linear", "convolution"])
def test_ordinary_models_are_not_doubted(name, request, digits, images, torch_subject, attack):
    data = images if name == "convolution" else digits
    run = attack(torch_subject(request.getfixturevalue(name), data), data, 0.05, 0.15)
    assert run.flags == set()


def test_a_classifier_with_a_wide_margin_keeps_every_row_below_it_and_none_above(torch_subject, attack):
    y = np.arange(300) % 2
    x = np.random.default_rng(0).random((300, 5)).astype(np.float32)
    x[:, 0] = np.where(y == 1, 0.9, 0.1)
    data = Dataset("wide", x, y, x, y, ("low", "high"), Domain.unit((5,)))
    net = nn.Sequential(nn.Linear(5, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[-9.0, 0, 0, 0, 0], [9.0, 0, 0, 0, 0]]))
        net[0].bias.copy_(torch.tensor([4.5, -4.5]))
    run = attack(torch_subject(net, data), data, 0.1, 0.39, 0.41)
    assert run.robust == {0.1: 1.0, 0.39: 1.0, 0.41: 0.0}
    assert not run.doubts


@pytest.mark.parametrize("scale", [1e-3, 1e3, 1e6])
def test_the_scale_of_the_logits_does_not_change_the_answer(scale, mlp, digits, torch_subject, attack):
    plain = attack(torch_subject(mlp, digits), digits, 0.1)
    scaled = attack(torch_subject(Around(mlp, after=lambda z: z * scale), digits), digits, 0.1)
    assert abs(scaled.robust[0.1] - plain.robust[0.1]) <= 0.01
    assert not scaled.doubts
    assert ("saturated_logits" in scaled.flags) == (scale > 1)


@pytest.mark.parametrize(
    ("before", "after", "flag"),
    [
        (_Cut.apply, lambda z: z, "zero_gradient"),
        (_Nowhere.apply, lambda z: z, "non_finite"),
        (lambda x: (x * 4).round() / 4, lambda z: z, "zero_gradient"),
        (lambda x: x.detach(), lambda z: z, "no_gradient_path"),
        (lambda x: torch.tensor(x.numpy()), lambda z: z, "no_gradient_path"),
        (lambda x: x, lambda z: z.detach(), "no_gradient_path"),
        (lambda x: x, hard, "hard_label"),
    ],
)
def test_masked_gradients_never_give_a_robust_and_reliable_answer(
    before, after, flag, mlp, digits, torch_subject, attack
):
    run = attack(torch_subject(Around(mlp, before, after), digits), digits, 0.15)
    assert flag in run.doubts


def test_masked_gradients_are_contradicted_by_random_search_and_by_the_whole_range(mlp, digits, torch_subject, attack):
    run = attack(torch_subject(Around(mlp, _Cut.apply), digits), digits, 0.15)
    assert {"zero_gradient", "blackbox_beats_whitebox", "unbounded_fail"} <= run.doubts
    assert run.robust[0.15] < 0.6


def test_a_lost_gradient_path_costs_little_when_scores_remain(mlp, digits, torch_subject, attack):
    white = attack(torch_subject(mlp, digits), digits, 0.1)
    blind = attack(torch_subject(Around(mlp, lambda x: x.detach()), digits), digits, 0.1)
    assert white.robust[0.1] <= blind.robust[0.1] <= white.robust[0.1] + 0.15
    assert blind.counts.backwards == 0


def test_probabilities_are_attacked_as_well_as_logits(mlp, digits, torch_subject, attack):
    plain = attack(torch_subject(mlp, digits), digits, 0.1)
    run = attack(torch_subject(Around(mlp, after=lambda z: z.softmax(1)), digits, "probabilities"), digits, 0.1)
    assert abs(run.robust[0.1] - plain.robust[0.1]) <= 0.01
    assert not run.doubts


def test_a_random_subject_is_called_stochastic(mlp, digits, torch_subject, attack):
    noisy = Around(mlp, lambda x: x + 0.1 * torch.randn_like(x))
    assert "stochastic" in attack(torch_subject(noisy, digits), digits, 0.1).doubts


def test_a_subject_that_looks_at_its_batch_mates_is_invalid(mlp, digits, torch_subject, attack):
    mates = Around(mlp, lambda x: x - x.mean(0, keepdim=True))
    caveats = attack(torch_subject(mates, digits), digits, 0.1).outcome.caveats
    assert [c.severity for c in caveats if c.flag == "batch_dependent"] == ["invalid"]


def test_ties_and_outputs_that_are_not_numbers_count_as_broken(mlp, digits, torch_subject, attack):
    tied = attack(torch_subject(Around(mlp, after=lambda z: z * 0), digits), digits, 0.1)
    unreadable = attack(torch_subject(Around(mlp, after=lambda z: z * torch.nan), digits), digits, 0.1)
    assert tied.robust == unreadable.robust == {0.1: 0.0}
    assert "low_clean_accuracy" in tied.flags
    assert unreadable.clean == 0.0
    assert "non_finite" in unreadable.doubts


def test_outputs_that_break_only_off_the_data_count_as_broken(mlp, digits, torch_subject, attack):
    def fragile(x):
        return torch.where(
            (x.sum(1, keepdim=True) - (x * 16).round().div(16).sum(1, keepdim=True)).abs() > 1e-3, torch.nan, x
        )

    assert attack(torch_subject(Around(mlp, fragile), digits), digits, 0.05).robust[0.05] == 0.0


def test_interval_kind_and_coordinates_are_those_of_a_verified_upper_bound(mlp, digits, torch_subject, attack):
    run = attack(torch_subject(mlp, digits), digits, "8/255")
    found = run.outcome.measurements[1]
    robust = round(found.value * found.n)
    assert found.at == {"epsilon": 8 / 255}
    assert (found.kind, found.n, found.column) == ("upper-bound", 256, "correct:0")
    assert (found.low, found.high) == clopper_pearson(robust, 256, 0.95)
    assert run.outcome.samples.columns["correct"][:, 0].sum() == robust


def test_exemplars_lie_in_the_ball_and_are_answered_wrongly(mlp, digits, torch_subject, attack):
    subject = torch_subject(mlp, digits)
    seen = attack(subject, digits, 0.1, 0.3).outcome.gallery
    assert len(seen.before) == 8
    assert np.abs(seen.after.astype(np.float64) - seen.before).max() <= 0.1 + 1e-6
    assert 0 <= seen.after.min() <= seen.after.max() <= 1
    assert np.array_equal(subject.predict(seen.after).argmax(1), seen.prediction)
    assert (seen.prediction != seen.label).all()


def test_what_breaks_in_a_small_ball_stays_broken_in_a_larger_one(mlp, digits, torch_subject, attack):
    run = attack(torch_subject(mlp, digits), digits, 0.3, 0.02, 0.1)
    correct = run.outcome.samples.columns["correct"]
    assert list(run.robust) == [0.02, 0.1, 0.3]
    assert (correct[:, 1:] <= correct[:, :-1]).all()


def test_the_same_seed_gives_the_same_answer_and_the_batch_size_does_not_matter(mlp, digits, torch_subject, attack):
    runs = [attack(torch_subject(mlp, digits), digits, 0.1, 0.2, batch_size=size) for size in (512, 512, 37)]
    columns = [run.outcome.samples.columns["correct"] for run in runs]
    assert np.array_equal(columns[0], columns[1])
    assert runs[0].counts == runs[1].counts
    assert (columns[0] != columns[2]).mean() <= 0.005


def test_every_pass_through_the_model_is_counted(mlp, digits, torch_subject, attack):
    passed = []
    subject = torch_subject(Around(mlp, lambda x: passed.append(len(x)) or x), digits)
    passed.clear()
    run = attack(subject, digits, 0.1)
    assert run.counts.forwards == sum(passed)
    assert 0 < run.counts.backwards < run.counts.forwards


def test_the_model_and_the_data_are_left_as_they_were(mlp, digits, torch_subject, attack):
    before = [p.clone() for p in mlp.parameters()]
    state = torch.get_rng_state()
    attack(torch_subject(mlp, digits), digits, 0.1)
    assert all(torch.equal(a, b) for a, b in zip(before, mlp.parameters(), strict=True))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(StandardScaler(), SVC()),
        RandomForestClassifier(10, random_state=0),
        make_pipeline(StandardScaler(), KNeighborsClassifier()),
    ],
)
def test_fitted_estimators_are_broken_by_their_scores_alone(estimator, digits, attack):
    estimator.fit(digits.x_train, digits.y_train)
    subject = SklearnSubject(estimator, classes=10, shape=digits.shape)
    run = attack(subject, digits, 0.05, 0.25, blind_queries=150)
    assert "black_box_only" in run.flags
    assert not run.doubts
    assert run.robust[0.25] < 0.1 < 0.8 < run.clean
    assert run.counts.backwards == 0


def test_labels_alone_are_attacked_by_decisions_and_the_result_is_doubted(digits, attack):
    estimator = LinearSVC(random_state=0).fit(digits.x_train, digits.y_train)
    estimator_labels = type("LabelsOnly", (), {"predict": estimator.predict, "classes_": estimator.classes_})()
    subject = SklearnSubject(estimator_labels, classes=10, shape=digits.shape)
    state = np.random.get_state()[1].copy()  # noqa: NPY002  # the generator that ART uses
    runs = [attack(subject, digits, 0.02, 0.2, label_rows=12, label_queries=200) for _ in range(2)]
    assert runs[0].doubts == {"labels_only"}
    assert runs[0].robust[0.2] < 0.3 < runs[0].clean
    assert np.array_equal(*(r.outcome.samples.columns["correct"] for r in runs))
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    assert runs[0].counts.forwards > 1000


def test_labels_alone_are_never_found_weaker_than_the_closed_form(
    linear, digits, torch_subject, attack, exact_robustness
):
    subject = torch_subject(Around(linear, after=hard), digits, "labels")
    run = attack(subject, digits, 0.05, 0.1, label_rows=24)
    weight, bias = (p.detach().double().numpy() for p in linear[0].parameters())
    rows = np.isin(digits.test_rows, run.outcome.samples.row)
    for column, epsilon in enumerate(run.robust):
        exact = exact_robustness(weight, bias, digits, epsilon)[rows]
        found = run.outcome.samples.columns["correct"][:, column]
        assert (found >= exact).all()
        assert found.mean() <= exact.mean() + 0.25


def test_a_feature_without_range_cannot_move(torch_subject, attack):
    y = np.arange(260) % 2
    x = np.full((260, 3), 0.5, np.float32)
    x[:, 1] = np.where(y == 1, 0.8, 0.2)
    domain = Domain(np.array([0.5, 0, 0], np.float32), np.array([0.5, 1, 1], np.float32))
    data = Dataset("fixed", x, y, x, y, ("a", "b"), domain)
    net = nn.Sequential(nn.Linear(3, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[-50.0, -1, 0], [50.0, 1, 0]]))
        net[0].bias.copy_(torch.tensor([25.5, -25.5]))
    run = attack(torch_subject(net, data), data, 0.25, 0.35)
    assert run.robust == {0.25: 1.0, 0.35: 0.0}
    assert "budget_violation" not in run.flags


def test_few_rows_are_all_attacked_and_said_to_be_few(mlp, digits, torch_subject, attack):
    small = Dataset(
        "few", digits.x_train, digits.y_train, digits.x_test[:40], digits.y_test[:40], digits.classes, digits.domain
    )
    run = attack(torch_subject(mlp, small), small, 0.1)
    assert run.outcome.measurements[1].n == 40
    assert "few_rows" in run.flags


def test_a_failing_model_gives_an_error_and_no_number(mlp, digits, torch_subject):
    calls = []

    def failing(x):
        calls.append(1)
        if len(calls) > 5:
            raise RuntimeError("out of order")
        return x

    subject = torch_subject(Around(mlp, failing), digits)
    case = Case(Linf(epsilons=(0.1,)), "toy", subject, digits, Seeds(0))
    with pytest.raises(RuntimeError, match="out of order"):
        case.probe.run(case)


@pytest.mark.parametrize(("text", "value"), [("8/255", 8 / 255), (0.1, 0.1), ("0.25", 0.25), (1, 1.0)])
def test_epsilons_are_numbers_or_fractions(text, value):
    assert radius(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("text", ["8", 8, 0, -0.1, "eight", "1/0", "nan", float("nan")])
def test_an_epsilon_that_is_no_share_of_the_range_is_refused(text):
    with pytest.raises(ConfigError, match=r"evasion\.linf: epsilon"):
        Linf(epsilons=(text,))


def test_parameters_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="epsilons is empty"):
        Linf(epsilons=())
    with pytest.raises(ConfigError, match="samples is 0"):
        Linf(samples=0)
    with pytest.raises(ConfigError, match="queries is -1"):
        Linf(queries=-1)
