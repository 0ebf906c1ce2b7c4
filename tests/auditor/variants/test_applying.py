"""A variant as a subject: made from a copy, the same every time, with gradients, sizes and honest refusals."""

import numpy as np
import pytest
import torch
from torch import nn

from auditor.dataset import Dataset
from auditor.datasets import from_arrays
from auditor.errors import ModelError
from auditor.subject import Access, predicted_labels
from auditor.subjects.preparation import Preparation
from auditor.subjects.sklearn_subject import SklearnSubject
from auditor.subjects.torch_subject import TorchSubject
from auditor.variants.applying import NoVariantError, applied, calibration_rows, state_sha256, stored_bytes
from auditor.variants.names import variant_of
from auditor.variants.native import native_int8

NAMES = pytest.mark.parametrize("name", ["int8", "int4", "pruned-50", "bfloat16"])


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    x, y = rng.random((700, 1, 6, 6), np.float32), rng.integers(0, 3, 700)
    for label in range(3):
        x[y == label, :, label * 2 : label * 2 + 2] += 1.0
    x /= 2
    return from_arrays({"x_train": x[:600], "y_train": y[:600], "x_test": x[600:], "y_test": y[600:]})


def network(data: Dataset, module: nn.Module | None = None, **options: object) -> TorchSubject:
    torch.manual_seed(1)
    made = module or nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    return TorchSubject(made, classes=3, shape=data.shape, **options)  # type: ignore[arg-type]  # of one test each


def made(subject: TorchSubject, name: str, data: Dataset, root: int = 5) -> TorchSubject:
    return applied(subject, variant_of(name), data, root)


@NAMES
def test_the_original_is_not_changed(name: str, data: Dataset) -> None:
    subject = network(data)
    subject.module.train()
    before = {k: v.clone() for k, v in subject.module.state_dict().items()}
    variant = made(subject, name, data)
    assert subject.module.training
    assert all(p.requires_grad for p in subject.module.parameters())
    assert all(torch.equal(v, before[k]) for k, v in subject.module.state_dict().items())
    assert not np.array_equal(variant.predict(data.x_test), subject.predict(data.x_test))


@NAMES
def test_the_same_model_gives_the_same_variant_to_the_bit(name: str, data: Dataset) -> None:
    first, again = (made(network(data), name, data) for _ in range(2))
    assert state_sha256(first.module) == state_sha256(again.module)
    assert np.array_equal(first.predict(data.x_test), again.predict(data.x_test))


@NAMES
def test_gradients_reach_every_input_in_float32(name: str, data: Dataset) -> None:
    variant = made(network(data), name, data)
    x = torch.tensor(data.x_test[:20], requires_grad=True)
    out = variant.logits(x)
    (gradient,) = torch.autograd.grad(out.sum(0)[0], x)
    assert (variant.dtype, out.dtype, gradient.dtype) == (torch.float32,) * 3
    assert {Access.GRADIENTS, Access.FEATURES, Access.LOGITS} <= variant.access
    assert (gradient.flatten(1) != 0).any(1).all()
    assert variant.features(data.x_test[:7]).shape == (7, 64)


def test_what_gave_no_gradients_gives_none_as_a_variant(data: Dataset) -> None:
    subject = network(data, extra_access=frozenset({Access.RECIPE, Access.FILE}))
    subject.access -= {Access.GRADIENTS}
    access = made(subject, "int8", data).access
    assert Access.GRADIENTS not in access
    assert Access.RECIPE in access
    assert Access.FILE not in access  # the file is the original's


def test_bfloat16_is_the_module_in_bfloat16(data: Dataset) -> None:
    subject = network(data)
    plain = nn.Sequential(*subject.module.children()).bfloat16()
    wanted = plain(torch.tensor(data.x_test).bfloat16()).detach().float().numpy()
    fresh = network(data)
    assert np.array_equal(made(fresh, "bfloat16", data).predict(data.x_test), wanted)


def test_int8_answers_as_a_real_integer_network(data: Dataset) -> None:
    subject = network(data)
    found = native_int8(subject, data.x_test, data, 5)
    assert found.how.startswith("torch.ao static int8")
    assert found.labels is not None
    ours = predicted_labels(made(subject, "int8", data).predict(data.x_test))
    assert (ours == found.labels).mean() >= 0.95


def test_a_network_that_cannot_be_traced_is_compared_with_dynamic_int8(data: Dataset) -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(36, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.sum() > 1e9:  # which a trace cannot decide
                x = x * 2
            return self.head(x.flatten(1))

    found = native_int8(network(data, Branching()), data.x_test, data, 5)
    assert found.how.startswith("torch.ao dynamic int8")


def test_calibration_sees_inputs_as_the_model_does(data: Dataset) -> None:
    prepared = Preparation(scale=np.full((1, 1, 1), 100.0), shift=np.full((1, 1, 1), -3.0))
    variant = made(network(data, preparation=prepared), "int8", data)
    rows = calibration_rows(data, 5)
    quantiser = variant.module[0].get_submodule("input_quantiser")  # type: ignore[index]  # a Sequential
    assert float(quantiser.scale) == pytest.approx((rows.max() * 100 - 3 + 3) / 255, rel=0.01)
    assert len(rows) == 512


def test_stored_bytes_are_those_of_the_declared_bits(data: Dataset) -> None:
    subject = network(data)
    weights, biases, outputs, layers = 36 + 192, 7, 7, 2
    assert stored_bytes(subject.module) == 4 * (weights + biases)
    found = {n: stored_bytes(made(subject, n, data).module, variant_of(n)) for n in ("int8", "int4", "bfloat16")}
    assert found["int8"] == weights + 4 * biases + 4 * outputs + 8 * layers  # scale and zero of each layer's input
    assert found["int4"] == weights // 2 + 4 * biases + 4 * outputs
    assert found["bfloat16"] == 2 * (weights + biases)
    assert stored_bytes(made(subject, "pruned-50", data).module, variant_of("pruned-50")) == 4 * (weights + biases)


def test_other_models_have_no_variants(data: Dataset) -> None:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(data.x_train.reshape(600, -1), data.y_train)
    subject = SklearnSubject(model, classes=3, shape=data.shape, names=data.classes)
    with pytest.raises(NoVariantError, match="need a torch network"):
        applied(subject, variant_of("int8"), data, 0)


def test_weights_that_are_computed_anew_are_refused(data: Dataset) -> None:
    class Scaled(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                self.weight.copy_(torch.ones_like(self.weight) * 0.123)
            return super().forward(x.flatten(1))

    with pytest.raises(NoVariantError, match="computes its weights anew"):
        made(network(data, Scaled(36, 3)), "pruned-50", data)


def test_a_module_with_its_own_number_type_is_refused_in_words(data: Dataset) -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(36, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x.float().flatten(1))

    with pytest.raises(ModelError, match="as bfloat16 the network does not run"):
        made(network(data, Fixed()), "bfloat16", data)
