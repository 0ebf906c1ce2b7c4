"""What stands between data and model: the same arithmetic for every kind of model, and wrong settings named."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from auditor.errors import ModelError, UnknownNameError
from auditor.record import DatasetRecord
from auditor.subject import predicted_labels
from auditor.subjects.answering import Answering, BlackBoxSubject
from auditor.subjects.preparation import preparation
from auditor.subjects.sklearn_subject import SklearnSubject
from auditor.subjects.spec import Load
from auditor.subjects.torch_subject import TorchSubject

CLASSES = ("ape", "bee", "cat")
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(7, 2, 2, 2)).astype(np.float32)
DECLARED = {
    "input_range": (0, 255),
    "normalisation": {"mean": [120, 110], "std": [50, 60]},
    "classes": ["cat", "ape", "bee"],
}


def facts(shape=(2, 2, 2), bounds=(0, 1), classes=CLASSES):
    return DatasetRecord(
        id="d", sha256="", rows={"train": 1, "test": 1}, shape=shape, classes=classes, range=bounds, licence=""
    )


def declared(**more):
    return Load(format="exported", path="m.pt2", **more)


def test_inputs_are_stretched_then_normalised_by_channel():
    prepared = preparation(declared(**DECLARED), facts())
    mean, std = np.array([120, 110])[:, None, None], np.array([50, 60])[:, None, None]
    np.testing.assert_allclose(prepared.inputs(IMAGES), (IMAGES * 255 - mean) / std, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("mean", "std"), [([0.5], [0.25]), ([0.5, 0.1, 0.2], [0.25, 1, 2])])
def test_tables_are_normalised_by_feature_or_all_alike(mean, std):
    x = IMAGES.reshape(7, 8)[:, :3]
    prepared = preparation(declared(normalisation={"mean": mean, "std": std}), facts((3,), (-4, 9)))
    np.testing.assert_allclose(prepared.inputs(x), (x - mean) / std, rtol=1e-6, atol=1e-6)


def test_a_range_around_zero_is_reached():
    prepared = preparation(declared(input_range=(-1, 1)), facts())
    np.testing.assert_allclose(prepared.inputs(IMAGES), IMAGES * 2 - 1, atol=1e-6)


def test_without_settings_nothing_happens():
    prepared = preparation(declared(classes=CLASSES, input_range=(0, 1)), facts())
    assert (prepared.scale, prepared.order) == (None, None)
    np.testing.assert_array_equal(prepared.inputs(IMAGES), IMAGES)


def test_every_kind_of_model_is_prepared_alike():
    prepared = preparation(declared(**DECLARED), facts())
    net = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    weight, bias = (t.detach().numpy().astype(np.float64) for t in net[1].parameters())
    mean, std = np.array([120, 110])[:, None, None], np.array([50, 60])[:, None, None]
    own = ((IMAGES.astype(np.float64) * 255 - mean) / std).reshape(7, 8) @ weight.T + bias
    expected = own[:, [1, 2, 0]]  # ape, bee, cat
    common = {"classes": 3, "shape": (2, 2, 2), "preparation": prepared}
    white = TorchSubject(net, **common)
    black = BlackBoxSubject(Answering(lambda x: x.reshape(len(x), 8) @ weight.T + bias, "logits"), **common)
    for subject in (white, black):
        np.testing.assert_allclose(subject.predict(IMAGES), expected, rtol=1e-6, atol=1e-5)
        np.testing.assert_array_equal(subject.bare_labels(IMAGES), expected.argmax(1))
    np.testing.assert_allclose(white.predict(IMAGES), black.predict(IMAGES), rtol=1e-6, atol=2e-6)


def test_gradients_and_features_go_through_the_preparation():
    net = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    subject = TorchSubject(net, classes=3, shape=(2, 2, 2), preparation=preparation(declared(**DECLARED), facts()))
    x = torch.tensor(IMAGES[:1]).requires_grad_()
    (gradient,) = torch.autograd.grad(subject.logits(x)[0, 0], x)  # of ape, the model's second output
    expected = net[1].weight[1].reshape(2, 2, 2) * torch.tensor([255 / 50, 255 / 60])[:, None, None]
    torch.testing.assert_close(gradient[0], expected)
    np.testing.assert_allclose(subject.features(IMAGES), subject.preparation.inputs(IMAGES).reshape(7, 8), rtol=1e-5)


def test_a_half_precision_model_is_prepared_in_full():
    net = nn.Sequential(nn.Flatten(), nn.Linear(8, 3)).half()
    prepared = preparation(declared(**DECLARED), facts())
    subject = TorchSubject(net, classes=3, shape=(2, 2, 2), preparation=prepared)
    np.testing.assert_array_equal(predicted_labels(subject.predict(IMAGES)), subject.bare_labels(IMAGES))


@pytest.mark.parametrize("names", [True, False])
def test_scikit_learn_models_are_prepared_and_ordered(names):
    y = np.arange(60) % 3
    x = (np.eye(3)[y] + RNG.normal(0, 0.1, (60, 3))).clip(0, 1).astype(np.float32)
    order = ("cat", "ape", "bee")  # the model was trained on numbers of these, or on the names
    given = np.array(CLASSES)[y]
    model = LogisticRegression().fit(x * 255, given if names else [order.index(name) for name in given])
    spec = declared(input_range=(0, 255), classes=order)
    subject = SklearnSubject(
        model, classes=3, shape=(3,), names=spec.classes, preparation=preparation(spec, facts((3,)))
    )
    np.testing.assert_array_equal(predicted_labels(subject.predict(x)), y)
    np.testing.assert_array_equal(subject.bare_labels(x), y)


def test_a_probability_of_the_second_class_is_that_of_the_models_second():
    net = nn.Sequential(nn.Linear(2, 1), nn.Sigmoid())
    spec = declared(classes=["b", "a"])
    subject = TorchSubject(
        net,
        classes=2,
        shape=(2,),
        outputs="probabilities",
        preparation=preparation(spec, facts((2,), classes=("a", "b"))),
    )
    x = IMAGES.reshape(-1, 2)
    second = net(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(subject.predict(x), np.hstack([second, 1 - second]), rtol=1e-6)
    np.testing.assert_array_equal(subject.bare_labels(x), (second[:, 0] <= 0.5).astype(int))


@pytest.mark.parametrize(
    ("more", "shape", "bounds", "error", "said"),
    [
        (
            {"normalisation": {"mean": [1, 2, 3], "std": [1, 1, 1]}},
            (1, 8, 8),
            (0, 1),
            ModelError,
            r"load.normalisation: 3 means and deviations for data of 1 channels.*give 1, or one for all",
        ),
        ({"normalisation": {"mean": [1, 2], "std": [1, 1]}}, (3,), (0, 1), ModelError, "data of 3 features"),
        ({"input_range": (0, 255)}, (3,), (-2, 5), ModelError, "ranges from -2 to 5 and reaches the model as it is"),
        ({"classes": ["ape", "bee"]}, (3,), (0, 1), ModelError, "load.classes lacks cat"),
        ({"classes": ["ape", "bee", "cta"]}, (3,), (0, 1), UnknownNameError, "class 'cta'; did you mean 'cat'"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_named(more, shape, bounds, error, said):
    with pytest.raises(error, match=said):
        preparation(declared(**more), facts(shape, bounds))
