"""A torch module as a subject: exact answers, and the module as it was."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from auditor.datasets import from_arrays
from auditor.errors import ModelError
from auditor.subject import Access, Counted, Counts, WhiteBox
from auditor.subjects import wrap
from auditor.subjects.torch_subject import TorchSubject


def linear(weight, bias=None):
    layer = nn.Linear(len(weight[0]), len(weight))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias or [0.0] * len(weight)))
    return layer


class Answering(nn.Module):
    """A module that answers what it is told to."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


def data(features=2, classes=2):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(12, features)).astype(np.float32), np.arange(12) % classes
    return from_arrays({"x_train": x, "y_train": y, "x_test": x, "y_test": y})


def test_answers_are_those_of_the_weights_whatever_the_batch():
    subject = TorchSubject(linear([[1.0, 2.0], [3.0, -1.0]], [0.5, 0.0]), classes=2, shape=(2,), batch_size=2)
    x = np.float32([[1, 1], [0, 2], [2, 0]])
    np.testing.assert_allclose(subject.predict(x), [[3.5, 2.0], [4.5, -2.0], [2.5, 6.0]])
    assert subject.predict(x[:0]).shape == (0, 2)


def test_gradients_are_those_of_the_weights():
    subject = TorchSubject(linear([[1.0, 2.0], [3.0, -1.0]]), classes=2, shape=(2,))
    x = torch.zeros(1, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(subject.logits(x)[0, 1], x)
    assert gradient.tolist() == [[3.0, -1.0]]


def test_features_are_the_input_of_the_last_linear_layer_that_runs():
    net = nn.Sequential(linear([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), nn.ReLU(), nn.Linear(3, 2))
    subject = TorchSubject(net, classes=2, shape=(2,), batch_size=1)
    assert Access.FEATURES in subject.access
    assert subject.features(np.float32([[1, -2], [3, 4]])).tolist() == [[1, 0, 0], [3, 4, 7]]


def test_features_follow_the_order_of_running_and_not_of_definition():
    class Crossed(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 2)
            self.body = linear([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])

        def forward(self, x):
            return self.head(self.body(x))

    assert TorchSubject(Crossed(), classes=2, shape=(2,)).features(np.float32([[1, 5]])).tolist() == [[1, 5, 2]]


def test_a_layer_that_runs_twice_counts_by_its_last_run():
    layer = linear([[0.0, 1.0], [1.0, 0.0]])  # swaps
    subject = TorchSubject(nn.Sequential(layer, layer), classes=2, shape=(2,), batch_size=2)
    assert subject.features(np.float32([[1, 2], [3, 4], [5, 6]])).tolist() == [[2, 1], [4, 3], [6, 5]]


def test_a_module_without_a_linear_layer_has_no_features():
    subject = TorchSubject(Answering(lambda x: x), classes=2, shape=(2,))
    assert Access.FEATURES not in subject.access
    with pytest.raises(ModelError, match=r"runs no nn.Linear, so it has no features"):
        subject.features(np.zeros((1, 2), np.float32))


def test_every_part_keeps_its_mode_and_statistics():
    net = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.9), nn.Linear(2, 2))
    net.train()
    net[1].eval()
    before = copy.deepcopy(net.state_dict())
    subject = TorchSubject(net, classes=2, shape=(2,))
    x = np.float32([[1, 2], [3, 4]])
    first = subject.predict(x)
    subject.features(x)
    subject.logits(torch.ones(2, 2, requires_grad=True)).sum().backward()
    np.testing.assert_array_equal(subject.predict(x), first)  # no dropout
    assert [part.training for part in net] == [True, False, True]
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert not net[2]._forward_hooks


def test_modes_are_put_back_when_a_module_raises():
    def failing(x):
        if len(x) > 1:
            raise RuntimeError("too many rows")
        return x

    net = Answering(failing).train()
    subject = TorchSubject(net, classes=2, shape=(2,))
    with pytest.raises(RuntimeError, match="too many rows"):
        subject.predict(np.zeros((2, 2), np.float32))
    assert net.training


def test_number_type_follows_the_parameters_and_answers_are_float32():
    subject = TorchSubject(linear([[1.0, 2.0], [3.0, 4.0]]).double(), classes=2, shape=(2,))
    assert subject.dtype == torch.float64
    assert subject.predict(np.float32([[1, 1]])).dtype == np.float32


def test_read_only_inputs_are_taken_without_a_warning():
    x = np.ones((1, 2), np.float32)
    x.setflags(write=False)
    assert TorchSubject(linear([[1.0, 2.0], [3.0, 4.0]]), classes=2, shape=(2,)).predict(x).tolist() == [[3, 7]]


def test_label_integers_become_one_hot_and_give_no_gradients():
    subject = TorchSubject(Answering(lambda x: x.argmax(1)), classes=2, shape=(2,), outputs="labels")
    assert subject.predict(np.float32([[0, 1], [1, 0]])).tolist() == [[0, 1], [1, 0]]
    assert subject.access == {Access.LABELS}


@pytest.mark.parametrize(("outputs", "gives"), [("logits", Access.LOGITS), ("probabilities", Access.PROBABILITIES)])
def test_access_says_what_can_be_got_at(outputs, gives):
    extra = frozenset({Access.RECIPE})
    subject = TorchSubject(linear([[1.0, 2.0], [3.0, 4.0]]), classes=2, shape=(2,), outputs=outputs, extra_access=extra)
    assert {gives, Access.GRADIENTS, Access.FEATURES, Access.RECIPE} <= subject.access
    assert (Access.LOGITS in subject.access) == (outputs == "logits")
    assert isinstance(subject, WhiteBox)


def test_counted_subjects_answer_alike():
    subject, counts = TorchSubject(linear([[1.0, 2.0], [3.0, 4.0]]), classes=2, shape=(2,)), Counts()
    counted = Counted(subject, counts)
    x = np.ones((3, 2), np.float32)
    np.testing.assert_array_equal(counted.predict(x), subject.predict(x))
    counted.logits(torch.ones(4, 2, requires_grad=True)).sum().backward()
    assert (counts.forwards, counts.backwards) == (7, 4)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: x[:, :1], r"with shape \(1, 1\); expected \(1, 2\): a single logit z becomes two columns"),
        (lambda x: torch.zeros(len(x), 5), r"with shape \(1, 5\); expected \(1, 2\), one column a class"),
        (lambda x: (x, x), r"answers a tuple; expected one tensor \(1, 2\)"),
        (lambda x: x @ torch.zeros(3, 2), r"cannot take inputs of shape \(N, 2\): mat1 and mat2"),
    ],
)
def test_a_module_that_answers_in_another_shape_is_named(answer, said):
    with pytest.raises(ModelError, match=f"Answering .*{said}"):
        TorchSubject(Answering(answer), classes=2, shape=(2,))


def test_probabilities_declared_as_logits_are_noticed():
    with pytest.raises(ModelError, match="they are probabilities: declare outputs: probabilities"):
        wrap(nn.Sequential(nn.Linear(2, 2), nn.Softmax(1)), data())


def test_logits_declared_as_probabilities_are_noticed():
    with pytest.raises(ModelError, match="do not sum to 1, so they are no probabilities: declare outputs: logits"):
        wrap(nn.Linear(2, 2), data(), outputs="probabilities")


def test_probabilities_declared_as_labels_are_noticed():
    with pytest.raises(ModelError, match="are not one-hot"):
        wrap(nn.Sequential(nn.Linear(2, 2), nn.Softmax(1)), data(), outputs="labels")


def test_wrapping_a_subject_gives_it_back():
    subject = wrap(nn.Linear(2, 2), data())
    assert wrap(subject, data()) is subject


def test_what_is_no_model_is_named():
    with pytest.raises(ModelError, match=r"a str cannot be audited; give a torch.nn.Module"):
        wrap("model.pt", data())
    with pytest.raises(ModelError, match="a type cannot be audited"):
        wrap(nn.Linear, data())
