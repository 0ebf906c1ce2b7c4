"""Linear classifiers have an exact robustness: what the attack says of them is held against it, row by row."""

from pathlib import Path

import numpy as np
import pytest
import torch

from auditor.attacks.evasion.linf import Linf
from auditor.dataset import Dataset
from auditor.datasets import load
from auditor.datasets.spec import DataConfig
from auditor.inputs import torch_subject
from auditor.probe import Case
from auditor.recipe import Fit, Recipe
from auditor.seeds import Seeds
from auditor.training.estimating import fit_estimator

EPSILONS = (0.02, 0.06)


def digits(classes: list[int]) -> Dataset:
    whole = load(DataConfig(source="digits", limit={"train": 600, "test": 200}), Path())
    train, test = np.isin(whole.y_train, classes), np.isin(whole.y_test, classes)
    place = {c: i for i, c in enumerate(classes)}
    y_train, y_test = (np.array([place[int(c)] for c in y]) for y in (whole.y_train[train], whole.y_test[test]))
    names = tuple(whole.classes[c] for c in classes)
    return Dataset("few", whole.x_train[train], y_train, whole.x_test[test], y_test, names, whole.domain)


def margins(net: torch.nn.Module, x: np.ndarray, y: np.ndarray, epsilon: float) -> np.ndarray:
    """The least margin of the true class over any other that a move inside ball and [0, 1] can reach, in float64.

    Of logits w x + b the difference of two is linear too, so its least value over a box lies where every feature is at
    the end that its weight points away from.
    """
    with torch.no_grad():
        zero = torch.zeros(1, *x.shape[1:])
        eye = torch.eye(x[0].size).reshape(-1, *x.shape[1:])
        bias = net(zero).double()
        weights = (net(eye).double() - bias).T.numpy()
    flat = x.reshape(len(x), -1).astype(np.float64)
    low, high = np.clip(flat - epsilon, 0, 1), np.clip(flat + epsilon, 0, 1)
    least = []
    for row, label in enumerate(y):
        apart = weights[label] - np.delete(weights, label, axis=0)
        offset = bias[0, label].item() - np.delete(bias[0].numpy(), label)
        ends = np.where(apart > 0, low[row], high[row])
        least.append(float(((apart * ends).sum(1) + offset).min()))
    return np.array(least)


@pytest.mark.parametrize("classes", [[3, 8], list(range(10))])
@pytest.mark.parametrize(("name", "solver"), [("logistic-regression", "lbfgs"), ("sgd-classifier", "optimal")])
def test_the_attack_finds_the_exact_robustness_of_a_linear_classifier(
    name: str, solver: str, classes: list[int]
) -> None:
    data = digits(classes)
    recipe = Recipe(estimator=name, optimizer=solver, epochs=60)
    fitted = fit_estimator(Fit(recipe=recipe), data, seeds=Seeds(5, 0), learning_rate=None)
    assert fitted.module is not None
    probe = Linf(epsilons=EPSILONS, samples=60, queries=0)
    case = Case(probe, "m", torch_subject(fitted.module, data), data, Seeds(5, 0))
    found = probe.run(case)
    assert found.samples is not None
    rows = case.rows(min(60, len(data.y_test)))
    measured = {m.at["epsilon"]: m for m in found.measurements if m.metric == "robust_accuracy"}
    for epsilon in EPSILONS:
        column, _, index = (measured[epsilon].column or "").partition(":")
        robust = found.samples.columns[column][:, int(index)].astype(bool)
        exact = margins(fitted.module, data.x_test[rows], data.y_test[rows], epsilon)
        sure = np.abs(exact) > 1e-3  # nearer, float32 decides
        assert sure.mean() > 0.9
        np.testing.assert_array_equal(robust[sure], exact[sure] > 0)
    assert measured[0.02].value > 0
    assert measured[0.06].value < 1
