"""The probe variant.agreement on models whose answers are known."""

import numpy as np
import pytest
import torch
from torch import nn

from auditor.checks.agreement import Agreement
from auditor.dataset import Dataset
from auditor.datasets import from_arrays
from auditor.errors import ModelError
from auditor.probe import Case
from auditor.seeds import Seeds
from auditor.subjects.torch_subject import TorchSubject
from auditor.variants.applying import applied
from auditor.variants.names import variant_of

X = np.linspace(0, 1, 101, dtype=np.float32)[:, None]


@pytest.fixture(scope="module")
def data() -> Dataset:
    y = (X[:, 0] > 0.5).astype(np.int64)
    return from_arrays({"x_train": X, "y_train": y, "x_test": X, "y_test": y})


def line(slope: float, threshold: float) -> nn.Module:
    """Class 1 above the threshold."""
    net = nn.Linear(1, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.0], [slope]]))
        net.bias.copy_(torch.tensor([0.0, -slope * threshold]))
    return nn.Sequential(net)


def case(data: Dataset, before: nn.Module, after: nn.Module, variant: str = "pruned-50") -> Case:
    first, second = (TorchSubject(m, classes=2, shape=(1,)) for m in (before, after))
    return Case(Agreement(), "net@x", second, data, Seeds(0), variant=variant, unchanged=lambda: first)


def numbers(on: Case) -> dict[str, float]:
    return {m.metric: m.value for m in on.probe.run(on).measurements}


def test_flips_are_counted_exactly(data: Dataset) -> None:
    found = numbers(case(data, line(2.0, 0.505), line(2.0, 0.705)))  # 0.51 to 0.70 change from right to wrong
    assert found["agreement"] == pytest.approx(81 / 101)
    assert found["lost"] == pytest.approx(20 / 101)
    assert found["gained"] == 0
    assert found["output_difference"] == pytest.approx(2.0 * 0.2 / 2, rel=1e-5)  # one of two outputs moved by 0.4
    back = numbers(case(data, line(2.0, 0.705), line(2.0, 0.505)))
    assert (back["lost"], back["gained"]) == (0, pytest.approx(20 / 101))


def test_columns_average_to_the_values(data: Dataset) -> None:
    on = case(data, line(2.0, 0.505), line(2.0, 0.705))
    outcome = on.probe.run(on)
    assert outcome.samples is not None
    for m in (m for m in outcome.measurements if m.column):
        name, _, index = m.column.partition(":")  # type: ignore[union-attr]  # checked above
        assert outcome.samples.columns[name][:, int(index)].mean() == pytest.approx(m.value)


def test_a_model_agrees_with_itself(data: Dataset) -> None:
    found = numbers(case(data, line(2.0, 0.505), line(2.0, 0.505)))
    assert (found["agreement"], found["output_difference"], found["stored_share"]) == (1.0, 0.0, 1.0)
    assert found["stored_bytes"] == 16


def test_sizes_are_exact_and_have_no_interval(data: Dataset) -> None:
    on = case(data, line(2.0, 0.505), line(2.0, 0.505))
    sizes = [m for m in on.probe.run(on).measurements if m.metric.startswith("stored")]
    assert [(m.kind, m.low, m.high) for m in sizes] == [("exact", None, None)] * 2


def test_int8_is_held_against_a_real_integer_network(data: Dataset) -> None:
    original = TorchSubject(line(2.0, 0.505), classes=2, shape=(1,))
    made = applied(original, variant_of("int8"), data, 0)
    on = Case(Agreement(), "net@int8", made, data, Seeds(0), variant="int8", unchanged=lambda: original)
    outcome = on.probe.run(on)
    assert {m.metric: m.value for m in outcome.measurements}["int8_parity"] >= 0.97
    (caveat,) = outcome.caveats
    assert (caveat.flag, caveat.severity) == ("int8_parity", "info")


def test_a_fake_that_does_not_stand_for_the_real_one_is_doubted(data: Dataset) -> None:
    on = case(data, line(2.0, 0.505), line(2.0, 0.205), variant="int8")
    (caveat,) = on.probe.run(on).caveats
    assert (caveat.flag, caveat.severity) == ("int8_unlike_native", "suspicious")


def test_a_subject_without_original_cannot_be_asked(data: Dataset) -> None:
    on = Case(Agreement(), "net", TorchSubject(line(1, 0.5), classes=2, shape=(1,)), data, Seeds(0))
    with pytest.raises(ModelError, match="which is no variant"):
        on.probe.run(on)
