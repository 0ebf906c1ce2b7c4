"""Is the verdict ever wrong: masked and broken models are seen through or doubted, honest ones are never doubted."""

import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

from auditor.config import read_profile
from auditor.dataset import Dataset, Domain
from auditor.documents import Document
from auditor.errors import ModelError
from auditor.subjects.sklearn_subject import SklearnSubject

from .honest import ESTIMATORS, NETS, trained
from .insider import Insider
from .partial_traps import PARTIAL
from .traps import TRAPS, Around, rounded

MASKED = TRAPS | PARTIAL
EPSILON = 0.08
POINTS = 0.02 + 1e-9
SAMPLE = (
    "distilled, temperature 40", "five levels", "gradient of a decoy", "one-hot", "input noise",
    "gradient turned round at two classes", "gradient of nine tenths of the inputs",
)  # fmt: skip
LONG = {
    "noise and steps",
    "purified while it answers",
    "poly svm",
    "rbf svm with probabilities",
    "trades cnn",
    "pgd cnn",
}
HONEST_SAMPLE = ("overtrained softmax output", "batchnorm cnn", "pgd mlp", "pgd of two classes")
ROWS = 100


def told_apart(names, count):
    """Names for every run of the tests, the same each time, and the others, for the long one."""
    chosen = set(random.Random(20261122).sample(sorted(set(names) - LONG), count))
    return [pytest.param(name, marks=() if name in chosen else pytest.mark.slow) for name in names]


@pytest.fixture(scope="module")
def few(digits):
    return first(digits, ROWS)


@pytest.fixture(scope="module")
def data(digits, images):
    x, y = load_breast_cancer(return_X_y=True)
    x, y = ((x - x.min(0)) / (x.max(0) - x.min(0))).astype(np.float32), y.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[200:], order[:200]
    cancer = Dataset("cancer", x[train], y[train], x[test], y[test], ("malignant", "benign"), Domain.unit((30,)))
    return {"digits": digits, "images": images, "cancer": cancer}


@pytest.fixture(scope="module")
def net(mlp):
    return mlp.requires_grad_(False)


@pytest.fixture(autouse=True)
def drawn_alike():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        yield


def first(data, rows):
    x, y = data.x_test[:rows], data.y_test[:rows]
    return Dataset(data.id, data.x_train, data.y_train, x, y, data.classes, data.domain)


def best_known(trap, net, data):
    """Robust accuracy under an attack by one who knows what the mask hides."""
    insider = Insider(trap.build(net).eval(), trap.insider(net), EPSILON, trap.draws)
    return float(insider.robust(torch.tensor(data.x_test), torch.tensor(data.y_test)).float().mean())


@pytest.mark.parametrize("name", told_apart(TRAPS, 5) + told_apart(PARTIAL, 1))
def test_a_masked_model_is_seen_through_or_doubted(name, net, few, torch_subject, attack):
    seen_through_or_doubted(MASKED[name], net, few, torch_subject, attack, targets=9)


def seen_through_or_doubted(trap, net, few, torch_subject, attack, **parameters):
    truth = best_known(trap, net, few)
    run = attack(torch_subject(trap.build(net).eval(), few, trap.outputs), few, EPSILON, **parameters)
    if trap.verdicts:
        assert run.doubts & set(trap.verdicts), run.outcome.caveats
    else:
        assert run.doubts or run.robust[EPSILON] <= truth + POINTS, run.outcome.caveats
    if trap.near is not None:
        assert run.robust[EPSILON] <= truth + trap.near + 1e-9


@pytest.mark.parametrize("name", told_apart(NETS, 3))
def test_an_honest_net_is_not_doubted(name, data, torch_subject, attack):
    honest = NETS[name]
    its = first(data[honest.data], ROWS)
    subject = torch_subject(trained(honest, its), its, honest.outputs)
    run = attack(subject, its, 0.03, 0.1, 0.2, planted=32)
    assert not run.doubts, run.outcome.caveats
    assert run.clean > 0.8
    assert run.robust[0.2] < 0.5


@pytest.mark.slow
def test_a_fixed_sample_of_masked_and_honest_models_is_judged_rightly_by_the_standard_profile(
    data, net, few, torch_subject, attack
):
    standard = as_the_profile_sets("standard")
    for name in SAMPLE:
        seen_through_or_doubted(MASKED[name], net, few, torch_subject, attack, **standard)
    for name in HONEST_SAMPLE:
        its = first(data[NETS[name].data], ROWS)
        subject = torch_subject(trained(NETS[name], its), its, NETS[name].outputs)
        assert not attack(subject, its, 0.03, 0.1, 0.2, **standard).doubts, name


def as_the_profile_sets(name):
    """The parameters of evasion.linf in a shipped profile."""
    probes = read_profile(name, Path(), Document(name)).values["probes"]
    return {key: value for key, value in probes["evasion.linf"].items() if key != "epsilons"}


@pytest.mark.parametrize("name", told_apart(ESTIMATORS, 1))
def test_an_honest_estimator_is_not_doubted(name, few, attack):
    estimator = ESTIMATORS[name]().fit(few.x_train, few.y_train)
    run = attack(SklearnSubject(estimator, classes=10, shape=few.shape), few, 0.03, 0.1, 0.2)
    assert not run.doubts, run.outcome.caveats
    assert run.robust[0.2] < run.clean


@pytest.mark.parametrize(
    "name",
    told_apart(
        ["five levels", "zero gradient", "gradient turned round", "gradient of half the inputs", "gradient of a decoy"],
        1,
    ),
)
def test_an_attack_without_a_true_gradient_misses_planted_points(name, net, few, torch_subject, attack):
    run = attack(torch_subject(TRAPS[name].build(net), few), few, EPSILON, planted=64)
    assert "planted_missed" in run.doubts


def test_the_score_of_the_planted_points_is_reported(net, few, torch_subject, attack):
    run = attack(torch_subject(net, few), few, EPSILON, planted=64)
    (told,) = (c.evidence for c in run.outcome.caveats if c.flag == "planted")
    planted, found, _ = (int(word) for word in re.findall(r"\d+", told))
    assert 48 <= planted <= 64
    assert found == planted


def test_repairs_are_said(net, few, torch_subject, attack):
    steps = attack(torch_subject(Around(net, rounded(5)), few), few, EPSILON)
    assert {"estimated_gradients", "one_family"} <= steps.flags
    noise = attack(torch_subject(TRAPS["input noise"].build(net), few), few, EPSILON)
    assert "averaged" in noise.flags
    assert "25 answers" in next(c.evidence for c in noise.outcome.caveats if c.flag == "averaged")


def test_robustness_that_only_gradients_support_is_said_so(net, few, torch_subject, attack):
    run = attack(torch_subject(net, few), few, EPSILON, queries=0)
    assert "gradients alone" in next(c.evidence for c in run.outcome.caveats if c.flag == "one_family")
    assert not run.doubts


@pytest.mark.slow
def test_the_same_seed_repairs_alike_in_any_batch(net, few, torch_subject, attack):
    masked = TRAPS["a steep ripple"]
    runs = [
        attack(torch_subject(masked.build(net), few), few, EPSILON, batch_size=size, blind_queries=100)
        for size in (512, 512, 37)
    ]
    columns = [run.outcome.samples.columns["correct"] for run in runs]
    assert np.array_equal(columns[0], columns[1])
    assert (columns[0] != columns[2]).mean() <= 0.01


def test_a_model_that_cannot_answer_one_row_alone_is_refused(net, few, torch_subject):
    def normalised(x):
        return nn.functional.batch_norm(x, None, None, training=True)

    with pytest.raises(ModelError, match="cannot take inputs"):
        torch_subject(Around(net, normalised), few)


def test_there_are_enough_traps_and_honest_models():
    assert len(MASKED) >= 70
    assert len(NETS) + len(ESTIMATORS) >= 35
