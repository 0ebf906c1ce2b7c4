"""The probe efficiency: counts as by hand, times beside the record, and what can be said of each kind of subject."""

import numpy as np
import pytest
import torch
from torch import nn

from auditor.checks.efficiency import Efficiency
from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError
from auditor.probe import Case
from auditor.seeds import Seeds
from auditor.subject import Access
from auditor.subjects.answering import Answering, BlackBoxSubject
from auditor.subjects.sklearn_subject import SklearnSubject
from auditor.subjects.torch_subject import TorchSubject
from auditor.variants.applying import applied
from auditor.variants.names import variant_of

SMALL = Efficiency(repetitions=5, rows=20, batches=(4, 16))
TIMES = {"latency_seconds", "latency_p95_seconds", "rows_per_second", "best_batch", "repetitions"}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 6), np.float32), np.arange(40) % 3
    return Dataset("rows", x, y, x.copy(), y, ("a", "b", "c"), Domain.unit((6,)))


def network():
    return nn.Sequential(nn.Linear(6, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Linear(10, 3))


def torch_subject(module):
    return TorchSubject(module, classes=3, shape=(6,))


def asked(data, subject, probe=SMALL, **more):
    case = Case(probe, "it", subject, data, Seeds(1), **more)
    return case, {m.metric: m for m in probe.run(case).measurements}


def test_a_network_is_counted_as_by_hand(data):
    case, found = asked(data, torch_subject(network()))
    weights = 6 * 10 + 10 + 10 + 10 + 10 * 3 + 3
    assert {name: m.value for name, m in found.items()} == {
        "parameters": weights,
        "weight_bytes": 4 * (weights + 10 + 10) + 8,  # BatchNorm's statistics, and how many batches it saw
        "flops_per_row": 2 * (6 * 10 + 10 * 3),
    }
    assert all(m.low == m.value == m.high and m.kind == "exact" for m in found.values())
    assert set(case.times) == TIMES | {"latency_cpu_seconds", "inference_peak_bytes"}


def test_how_often_it_asks_depends_on_no_clock(data):
    first, _ = asked(data, torch_subject(network()))
    again, _ = asked(data, torch_subject(network()))
    # 3 to warm up, 5 single rows, 20 rows at each of two sizes; one for its operations and 16 for their memory are seen
    assert first.counts.forwards == again.counts.forwards == 3 + 5 + 2 * 20


def test_times_are_of_a_possible_size(data):
    case, _ = asked(data, torch_subject(network()))
    times = case.times
    assert 0 < times["latency_seconds"] <= times["latency_p95_seconds"] < 1
    assert times["rows_per_second"] > 1
    assert times["best_batch"] in (4, 16)
    assert times["repetitions"] == 5


def test_a_larger_batch_takes_more_memory_and_weights_are_in_it(data):
    module = nn.Linear(6, 3, bias=False)
    small = Efficiency(repetitions=1, rows=20, batches=(4,))
    large = Efficiency(repetitions=1, rows=20, batches=(16,))
    peaks = [asked(data, torch_subject(module), probe)[0].times["inference_peak_bytes"] for probe in (small, large)]
    assert peaks == [4 * 6 * 3 + 4 * rows * (6 + 3) for rows in (4, 16)]  # its copy of the rows, and answers


def test_attention_is_counted_though_a_finished_model_runs_it_in_one_piece(data):
    class Attentive(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.TransformerEncoderLayer(2, 1, 4, batch_first=True), nn.Linear(2, 3)

        def forward(self, x):
            return self.head(self.layer(x.view(-1, 3, 2)).mean(1))

    _, found = asked(data, torch_subject(Attentive().eval()))
    projections, products, block, head = 2 * 3 * 2 * 8, 2 * 2 * 3 * 3 * 2, 2 * 2 * 3 * 2 * 4, 2 * 2 * 3
    assert found["flops_per_row"].value == projections + products + block + head


def test_a_variant_takes_the_bytes_of_its_declared_bits(data):
    original = torch_subject(nn.Sequential(nn.Linear(6, 10, bias=False), nn.ReLU(), nn.Linear(10, 3, bias=False)))
    _, whole = asked(data, original)
    made = applied(original, variant_of("int8"), data, root=1)
    _, found = asked(data, made, variant="int8")
    assert whole["weight_bytes"].value == 4 * 90
    assert 90 + 4 * 13 <= found["weight_bytes"].value <= 90 + 4 * 13 + 2 * 8  # scales of outputs and of inputs
    assert found["parameters"].value == 90


def test_of_a_tree_the_files_size_is_known_and_its_time(data):
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier().fit(data.x_train, data.y_train)
    case, found = asked(data, SklearnSubject(tree, classes=3, shape=(6,)), file_bytes=4321)
    assert {name: m.value for name, m in found.items()} == {"file_bytes": 4321}
    assert set(case.times) == TIMES | {"latency_cpu_seconds"}


def test_of_a_model_behind_an_address_the_wall_clock_alone_is_read(data):
    subject = BlackBoxSubject(Answering(lambda x: x[:, :3], "logits"), classes=3, shape=(6,))
    case = Case(SMALL, "it", subject, data, Seeds(1))
    outcome = SMALL.run(case)
    assert outcome.measurements == ()
    assert [c.flag for c in outcome.caveats] == ["nothing_counted"]
    assert set(case.times) == TIMES
    held = BlackBoxSubject(
        Answering(lambda x: x[:, :3], "logits", access=frozenset({Access.FILE})), classes=3, shape=(6,)
    )
    assert "latency_cpu_seconds" in asked(data, held)[0].times


@pytest.mark.parametrize(
    "wrong", [{"repetitions": 0}, {"rows": 0}, {"batches": ()}, {"batches": (0,)}, {"watts_per_core": -1.0}]
)
def test_what_cannot_be_done_is_refused(wrong):
    with pytest.raises(ConfigError):
        Efficiency(**wrong)


def test_half_precision_is_counted_in_its_own_bytes(data):
    subject = torch_subject(nn.Linear(6, 3, bias=False).to(torch.bfloat16))
    _, found = asked(data, subject)
    assert found["weight_bytes"].value == 2 * 18
