"""Trainings that are the user's own: how their function is called, what it may answer, what is said where it fails."""

import numpy as np
import pytest
import torch

from auditor.dataset import Dataset, Domain
from auditor.errors import ModelError
from auditor.recipe import Change, Fit, Recipe
from auditor.seeds import Seeds
from auditor.subject import Access, predicted_labels
from auditor.subjects.kept import MODEL, WEIGHTS, keep, kept
from auditor.training.own import fit_own

OWN = """
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

seen = []

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
    def forward(self, x):
        return self.layer(x)

def fit(x, y, optimizer, seed, epochs):
    seen.append((x.copy(), y.copy(), optimizer, seed, epochs))
    x[:] = 0  # what it is given is its own
    return Net()

def in_order(a, b, c, d, e):
    return fit(a, b, c, d, e)

def forest(x, y, *, epochs, seed, optimizer):
    return LogisticRegression(solver=optimizer, max_iter=epochs).fit(x, y)

def of_chance(x, y, optimizer, seed, epochs):
    return Net()

def nothing(x, y, optimizer, seed, epochs):
    pass

def three(x, y, optimizer):
    return Net()

def unkeepable(x, y, optimizer, seed, epochs):
    class Inner(Net):
        pass
    return Inner()

def wide(x, y, optimizer, seed, epochs):
    return nn.Linear(2, 5)

number = 3
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    return tmp_path


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = np.clip(rng.normal(0.25 + 0.5 * y[:, None], 0.1, (80, 2)), 0, 1).astype(np.float32)
    return Dataset("blobs", x[:60], y[:60], x[60:], y[60:], ("a", "b"), Domain.unit((2,)))


def trained(name, data, folder, *, optimizer="sgd", seed=0, change=None, epochs=7):
    recipe = Recipe(function=f"mine:{name}", optimizer=optimizer, epochs=epochs, seed=seed)
    return fit_own(Fit(recipe=recipe, change=change), data, seeds=Seeds(5, seed), directory=folder)


def seen_by(fitted):
    import sys

    return sys.modules[type(fitted.model).__module__].seen[-1]


@pytest.mark.parametrize("name", ["fit", "in_order"])
def test_a_function_is_given_rows_labels_optimizer_seed_and_epochs_by_name_or_in_order(name, data, folder):
    fitted = trained(name, data, folder, optimizer="whatever")
    x, y, optimizer, seed, epochs = seen_by(fitted)
    np.testing.assert_array_equal(x, data.x_train)
    np.testing.assert_array_equal(y, data.y_train)
    assert (optimizer, seed, epochs) == ("whatever", Seeds(5, 0).integer("init") % 2**31, 7)
    assert data.x_train.max() > 0  # the function wiped its own copy
    assert {Access.GRADIENTS, Access.LOGITS} <= fitted.subject.access


def test_the_declared_change_of_the_data_reaches_the_function(data, folder):
    change = Change(function="auditor.attacks.poisoning.flips:flip_labels", parameters={"rate": 0.5})
    _, y, *_ = seen_by(trained("fit", data, folder, change=change))
    assert (y != data.y_train).sum() == 30


def test_a_scikit_learn_solver_is_an_optimizer_and_its_model_a_subject(data, folder):
    fitted = trained("forest", data, folder, optimizer="lbfgs", epochs=100)
    assert fitted.subject.outputs == "probabilities"
    assert (predicted_labels(fitted.subject.predict(data.x_test)) == data.y_test).mean() > 0.9


def test_a_function_that_seeds_nothing_gives_the_same_model_for_a_seed_and_another_for_another(data, folder):
    before = torch.random.get_rng_state()
    models = [trained("of_chance", data, folder, seed=seed).model.layer.weight for seed in (0, 0, 1)]
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", r"mine:nothing returned nothing; it must return the trained model"),
        ("three", r"mine:three\(x, y, optimizer\) cannot be called as fit\(x, y, optimizer, seed, epochs\)"),
        ("number", r"mine:number is not a function but of type int"),
        ("wide", r"shape \(1, 5\); expected \(1, 2\), one column a class of the data"),
    ],
)
def test_what_is_no_training_or_no_model_for_the_data_is_said(name, said, data, folder):
    with pytest.raises(ModelError, match=said):
        trained(name, data, folder)


def test_a_model_is_kept_and_comes_back_the_same_with_its_weights_beside(data, folder, tmp_path):
    fitted = trained("fit", data, folder)
    store = tmp_path / "unit"
    store.mkdir()
    first = keep(fitted.model, store, "mine:fit", {"optimizer": "sgd"})
    again = kept(store / MODEL)
    assert torch.equal(again.layer.weight, fitted.model.layer.weight)
    assert (store / WEIGHTS).is_file()
    with torch.no_grad():
        fitted.model.layer.weight += 1
    assert keep(fitted.model, store, "mine:fit", {"optimizer": "sgd"}) != first


def test_a_model_of_a_class_inside_a_function_cannot_be_kept_and_that_is_said(data, folder, tmp_path):
    fitted = trained("unkeepable", data, folder)
    with pytest.raises(ModelError, match=r"what mine:unkeepable returned cannot be kept .* at the top of a module"):
        keep(fitted.model, tmp_path, "mine:unkeepable", {})
