"""Foreign inputs: formulas against other implementations, models that tell them or not, exact cases."""

import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from torch import nn

from auditor.attacks.ood.comparison import Layout, average, compare
from auditor.attacks.ood.formulas import acceptance_threshold, energy, maximum_softmax, neighbour_distance, unit_length
from auditor.attacks.ood.scores import Scores
from auditor.attacks.ood.sets import foreign_sets
from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError, DataError
from auditor.probe import Case
from auditor.seeds import Seeds
from auditor.subjects import wrap


def ring(rows: int = 400, seed: int = 0, **ood) -> Dataset:
    """Points (4,) in [-1, 1]: the sign of the first value tells the class, the others are near 0."""
    rng = np.random.default_rng(seed)
    y = np.arange(2 * rows) % 2
    x = rng.normal(0, 0.05, (2 * rows, 4)).clip(-1, 1)
    x[:, 0] = (2 * y - 1) * rng.uniform(0.6, 1, 2 * rows)
    x = x.astype(np.float32)
    return Dataset(
        id="ring",
        x_train=x[:rows],
        y_train=y[:rows],
        x_test=x[rows:],
        y_test=y[rows:],
        classes=("a", "b"),
        domain=Domain(np.full(4, -1, np.float32), np.full(4, 1, np.float32)),
        ood={k: np.asarray(v, np.float32) for k, v in ood.items()},
    )


class Slope(nn.Module):
    """Logits (-s x0, s x0): confidence grows with |x0|, and nothing else counts."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.slope * torch.stack([-x[:, 0], x[:, 0]], dim=1)


class Headed(Slope):
    """The same through a linear layer, so that there are features: (x0, 1)."""

    def __init__(self, slope: float) -> None:
        super().__init__(slope)
        self.head = nn.Linear(2, 2, bias=False)
        self.head.weight = nn.Parameter(torch.tensor([[-slope, 0.0], [slope, 0.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.stack([x[:, 0], torch.ones(len(x))], dim=1))


class Tiring(Slope):
    """Grows less sure with every row it has ever seen."""

    seen = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = super().forward(x) / (self.seen + torch.arange(len(x))[:, None])
        self.seen += len(x)
        return logits


class Flat(nn.Module):
    """Knows nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full((len(x), 2), 3.0)


class Broken(Slope):
    """Not a number where the second value is large."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + torch.where(x[:, 1:2] > 0.5, torch.nan, 0.0)


class Namer(Slope):
    """Gives labels alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x[:, 0] > 0).long()


def audited(data, model, outputs="logits", probe=None, seeds=None):
    probe = probe or Scores()
    return probe.run(Case(probe, "s", wrap(model, data, outputs), data, seeds or Seeds(5)))


def value(outcome, metric, score, against=None):
    at = {"score": score} if against is None else {"score": score, "set": against}
    (found,) = [m for m in outcome.measurements if m.metric == metric and m.at == at]
    return found.value


def flags(outcome):
    return sorted({(c.flag, c.severity) for c in outcome.caveats})


def test_maximum_softmax_is_one_minus_the_largest_probability():
    p = np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]])
    assert maximum_softmax(np.log(p)).tolist() == pytest.approx([0.3, 0.5], abs=1e-12)


def test_maximum_softmax_tells_confident_rows_apart_where_one_minus_p_cannot():
    scores = maximum_softmax(np.array([[0.0, -50.0], [0.0, -60.0]]))
    assert scores.tolist() == pytest.approx([np.exp(-50), np.exp(-60)], rel=1e-12)


def test_energy_is_minus_the_log_of_the_summed_exponentials():
    logits = np.array([np.log([1.0, 2.0, 5.0]), [1000.0, 1000.0, 1000.0]])
    assert energy(logits).tolist() == pytest.approx([-np.log(8), -1000 - np.log(3)], rel=1e-12)
    random = np.random.default_rng(0).normal(0, 9, (50, 7))
    assert energy(random) == pytest.approx(-torch.logsumexp(torch.tensor(random), 1).numpy(), abs=1e-12)


def test_neighbour_distance_agrees_with_scikit_learn():
    rng = np.random.default_rng(1)
    bank, queries = unit_length(rng.normal(size=(300, 12))), unit_length(rng.normal(size=(80, 12)))
    for k in (1, 10, 300):
        reference = NearestNeighbors(n_neighbors=k).fit(bank).kneighbors(queries)[0][:, -1]
        assert neighbour_distance(bank, queries, k) == pytest.approx(reference, abs=1e-9)


def test_neighbours_among_many_rows_are_found_in_little_memory():
    rng = np.random.default_rng(1)
    bank, queries = rng.normal(size=(4000, 3)), rng.normal(size=(3001, 3))
    tracemalloc.start()
    found = neighbour_distance(bank, queries, 50)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == pytest.approx(NearestNeighbors(n_neighbors=50).fit(bank).kneighbors(queries)[0][:, -1], abs=1e-6)
    assert peak < 8 * len(bank) * len(queries)  # never all distances at once


def test_unit_length_leaves_zeros():
    assert unit_length(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [[0.6, 0.8], [0.0, 0.0]]


def test_the_threshold_keeps_at_least_the_share_asked_for():
    assert acceptance_threshold(np.arange(1, 101, dtype=float), 0.95) == 95
    assert acceptance_threshold(np.arange(1, 100, dtype=float), 0.95) == 95
    assert acceptance_threshold(np.array([1.0, 1.0, 1.0, 2.0]), 0.75) == 1


def test_auroc_and_the_mean_over_sets_agree_with_scikit_learn_and_their_contributions():
    rng = np.random.default_rng(2)
    familiar, near, far = rng.normal(0, 1, 150), rng.normal(0.5, 1, 90).round(1), rng.normal(2, 1, 40)
    values = np.concatenate([familiar.round(1), near, far])
    layout = Layout.of(150, {"near": np.zeros((90, 1)), "far": np.zeros((40, 1))})
    compared = compare("s", values, layout, 0.95)
    reference = [
        roc_auc_score(np.repeat([0, 1], [150, len(x)]), np.concatenate([values[:150], x])) for x in (near, far)
    ]
    assert [c.auc.value for c in compared] == pytest.approx(reference, abs=1e-12)
    assert [np.nanmean(c.contribution) for c in compared] == pytest.approx(reference, abs=1e-12)
    mean = average(compared, layout)
    assert mean.value == pytest.approx(np.mean(reference), abs=1e-12)
    assert mean.contribution.mean() == pytest.approx(mean.value, abs=1e-12)
    assert mean.low == pytest.approx(np.mean([c.auc.low for c in compared]), abs=1e-12)


def test_the_spread_of_the_mean_contributions_is_its_variance():
    """Against the spread of the mean AUROC over 2000 fresh draws, with the shared rows counted once."""
    rng = np.random.default_rng(3)
    layout = Layout.of(60, {"near": np.zeros((40, 1)), "far": np.zeros((50, 1))})
    values, estimates = [], []
    for _ in range(2000):
        scores = np.concatenate([rng.normal(0, 1, 60), rng.normal(0.7, 1, 40), rng.normal(1, 1, 50)])
        mean = average(compare("s", scores, layout, 0.95), layout)
        values.append(mean.value)
        estimates.append(mean.contribution.var(ddof=1) / layout.total)
    assert np.mean(estimates) / np.var(values) == pytest.approx(1, abs=0.12)


def test_the_built_in_sets_are_noise_over_the_domain_and_exchanged_ends():
    data = ring(shifted=np.zeros((30, 4)))
    sets = foreign_sets(data, data.x_test[:50], 20, Seeds(1), "ood.scores")
    assert list(sets) == ["noise", "inverted", "shifted"]
    assert (sets["inverted"] == -data.x_test[:50]).all()
    assert sets["noise"].shape == (50, 4)
    assert sets["noise"].min() < -0.95
    assert sets["noise"].max() > 0.95
    assert abs(sets["noise"].mean()) < 0.1
    assert sets["shifted"].shape == (20, 4)


def test_a_far_set_at_the_decision_border_is_told_exactly():
    """Every test row has |x0| >= 0.6 and every far row x0 = 0: each score separates them completely."""
    data = ring(border=np.zeros((50, 4)))
    outcome = audited(data, Headed(4.0))
    for score in ("msp", "energy", "knn"):
        assert value(outcome, "auroc", score, "border") == 1.0
        assert value(outcome, "fpr95", score, "border") == 0.0
    assert not [c for c in outcome.caveats if c.severity != "info"]


def test_inverted_rows_look_like_test_rows_to_a_model_of_the_first_value():
    """|x0| is the same after inversion, row by row, so the AUROC of msp is one half exactly."""
    outcome = audited(ring(), Slope(4.0))
    assert value(outcome, "auroc", "msp", "inverted") == pytest.approx(0.5, abs=1e-12)
    assert value(outcome, "fpr95", "msp", "inverted") == 0.95


def test_other_rows_of_the_same_kind_are_not_called_foreign():
    outcome = audited(ring(same=ring(seed=9).x_test), Headed(4.0))
    for score in ("msp", "energy", "knn"):
        (found,) = [m for m in outcome.measurements if m.metric == "auroc" and m.at == {"score": score, "set": "same"}]
        assert found.low <= 0.5 <= found.high
        assert found.high - found.low < 0.1
    assert not [c for c in outcome.caveats if c.severity != "info"]


def test_a_model_that_is_surest_far_away_is_below_chance_and_it_is_said():
    data = ring(beyond=np.concatenate([np.full((40, 1), 1.0), np.zeros((40, 3))], axis=1))
    outcome = audited(data, Slope(4.0))
    assert value(outcome, "auroc", "msp", "beyond") < 0.05
    assert ("below_chance", "info") in flags(outcome)


def test_the_mean_of_each_column_is_its_value_and_foreign_rows_carry_their_set():
    outcome = audited(ring(border=np.zeros((50, 4))), Headed(4.0), probe=Scores(samples=100))
    for m in outcome.measurements:
        array, index = m.column.split(":")
        column = outcome.samples.columns[array][:, int(index)].astype(np.float64)
        assert np.nanmean(column) == pytest.approx(m.value, abs=1e-9)
        assert m.n == (~np.isnan(column)).sum()
    names = outcome.samples.row
    assert len(set(names.tolist())) == len(names) == 100 + 100 + 100 + 50
    assert names[100].startswith("noise:")
    assert names[-1].startswith("border:")
    assert (outcome.samples.label[100:] == -1).all()
    assert {m.metric for m in outcome.measurements} == {"mean_auroc", "auroc", "fpr95"}


def test_every_seed_sees_the_same_rows():
    data = ring(border=np.zeros((50, 4)))
    first, second = (audited(data, Headed(4.0), seeds=Seeds(5, index)).samples for index in (0, 3))
    assert (first.row == second.row).all()
    assert (first.columns["score"] == second.columns["score"]).all()


def test_a_constant_score_is_left_out_as_invalid():
    outcome = audited(ring(), Flat())
    assert ("degenerate_score", "invalid") in flags(outcome)
    assert {m.at["score"] for m in outcome.measurements} == {"knn"}


def test_a_score_that_is_not_a_number_is_left_out_as_invalid():
    outcome = audited(ring(), Broken(4.0))
    assert next(c.evidence for c in outcome.caveats if c.flag == "degenerate_score").startswith(
        "msp is not a number on"
    )
    assert {m.at["score"] for m in outcome.measurements} == {"knn"}


def test_answers_that_depend_on_the_order_are_suspicious():
    assert ("familiar_against_itself", "suspicious") in flags(audited(ring(), Tiring(4.0)))


def test_labels_alone_leave_msp_and_energy_out_and_say_so():
    outcome = audited(ring(), Namer(4.0), "labels")
    assert flags(outcome) == [("energy_left_out", "info"), ("knn_on_inputs", "info"), ("msp_left_out", "info")]
    assert {m.at["score"] for m in outcome.measurements} == {"knn"}
    assert value(outcome, "auroc", "knn", "noise") > 0.95


@pytest.mark.parametrize("estimator", [LogisticRegression(), RandomForestClassifier(20, random_state=0)])
def test_scikit_learn_classifiers_are_completed_on_probabilities_and_inputs(estimator):
    data = ring()
    outcome = audited(data, estimator.fit(data.x_train, data.y_train))
    assert {m.at["score"] for m in outcome.measurements} == {"msp", "knn"}
    assert flags(outcome)[:1] != [("degenerate_score", "invalid")]
    assert value(outcome, "auroc", "knn", "noise") > 0.95


def test_an_empty_foreign_set_is_an_error():
    with pytest.raises(DataError, match="x_ood_none is empty"):
        audited(ring(none=np.zeros((0, 4))), Slope(4.0))


def test_a_count_below_one_is_refused():
    with pytest.raises(ConfigError, match=r"ood\.scores: neighbours is 0; give at least 1"):
        Scores(neighbours=0)
