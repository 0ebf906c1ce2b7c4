"""The same net in every format: the same predictions to 1e-5, and robust accuracies that agree."""

import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from auditor.attacks.evasion.linf import Linf
from auditor.datasets import load as load_data
from auditor.datasets.spec import DataConfig
from auditor.probe import Case
from auditor.record import DatasetRecord
from auditor.seeds import Seeds
from auditor.subject import Access
from auditor.subjects.loading import load
from auditor.subjects.spec import Load

FACTS = DatasetRecord(
    id="d", sha256="", rows={"train": 1, "test": 1}, shape=(1, 8, 8), classes=("a", "b", "c"), range=(0, 1), licence=""
)
X = np.random.default_rng(0).uniform(size=(40, 1, 8, 8)).astype(np.float32)
NETS = """
from torch import nn
def make():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.3),
                         nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3))
"""
FORMATS = {
    "state-dict": {"path": "m.safetensors", "factory": "nets:make"},
    "exported": {"path": "m.pt2"},
    "torchscript": {"path": "m.pt"},
    "onnx": {"path": "m.onnx"},
}
TOLD = {"input_range": (0, 255), "normalisation": {"mean": [128], "std": [64]}, "classes": ["c", "a", "b"]}


def save_all(net, path, x):
    """The net in every format; `x` are two rows."""
    save_file(net.state_dict(), path / "m.safetensors")
    rows = torch.export.Dim("rows")
    torch.export.save(torch.export.export(net, (x,), dynamic_shapes=({0: rows},)), path / "m.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporters: what they would rather see used
        torch.jit.save(torch.jit.script(net), path / "m.pt")
        torch.onnx.export(net, (x,), path / "m.onnx", dynamic_shapes=({0: rows},), verbose=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    (path / "nets.py").write_text(NETS)
    space: dict[str, object] = {}
    exec(NETS, space)
    torch.manual_seed(0)
    net: nn.Module = space["make"]()
    net.train()(torch.tensor(X))  # running statistics of its own
    net.eval()
    torch.save(net.state_dict(), path / "m.bin")
    save_all(net, path, torch.tensor(X[:2]))
    np.save(path / "expected.npy", net(torch.tensor(X)).detach().numpy())
    np.save(path / "prepared.npy", net((torch.tensor(X) * 255 - 128) / 64).detach().numpy()[:, [1, 2, 0]])
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_net_answers_the_same_in_every_format(folder, form):
    subject = load(Load(format=form, **FORMATS[form]), FACTS, folder)
    np.testing.assert_allclose(subject.predict(X), np.load(folder / "expected.npy"), atol=1e-5)
    np.testing.assert_array_equal(subject.bare_labels(X), np.load(folder / "expected.npy").argmax(1))


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_preparation_in_every_format(folder, form):
    subject = load(Load(format=form, **FORMATS[form], **TOLD), FACTS, folder)
    np.testing.assert_allclose(subject.predict(X), np.load(folder / "prepared.npy"), atol=1e-5)
    np.testing.assert_array_equal(subject.bare_labels(X), np.load(folder / "prepared.npy").argmax(1))


@pytest.mark.parametrize("form", ["state-dict", "exported", "torchscript"])
def test_gradients_are_the_same_in_every_white_box(folder, form):
    subject = load(Load(format=form, **FORMATS[form]), FACTS, folder)
    other = load(Load(format="state-dict", path="m.bin", factory="nets:make"), FACTS, folder)
    assert Access.GRADIENTS in subject.access
    found, wanted = (_gradient(s) for s in (subject, other))
    torch.testing.assert_close(found, wanted)


def _gradient(subject):
    x = torch.tensor(X[:3]).requires_grad_()
    return torch.autograd.grad(subject.logits(x)[:, 0].sum(), x)[0]


@pytest.mark.parametrize(("told", "expected"), [({}, "expected.npy"), (TOLD, "prepared.npy")])
def test_the_same_net_answers_the_same_behind_an_address(folder, serve_nets, told, expected):
    server = serve_nets(folder / "m.onnx", {"net": ("scores", [-1, 1, 8, 8])})
    subject = load(Load(format="endpoint", url=server.url, **told), FACTS, folder)
    np.testing.assert_allclose(subject.predict(X), np.load(folder / expected), atol=1e-5)
    assert subject.access == {Access.LABELS, Access.PROBABILITIES, Access.LOGITS}


EPSILONS = (0.05, 0.1)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder with a net trained on digits in every format, and the data."""
    path = tmp_path_factory.mktemp("digits")
    data = load_data(DataConfig(source="digits"), path)
    (path / "nets.py").write_text(NETS.replace("64, 16", "64, 64").replace("16, 3", "64, 10"))
    space: dict[str, object] = {}
    exec((path / "nets.py").read_text(), space)
    torch.manual_seed(0)
    net: nn.Module = space["make"]()
    steps = torch.optim.AdamW(net.parameters(), lr=0.01)
    x, y = (torch.tensor(a) for a in (data.x_train, data.y_train))
    for rows in (rows for _ in range(4) for rows in torch.randperm(len(x)).split(64)):
        steps.zero_grad()
        nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
        steps.step()
    save_all(net.eval(), path, x[:2])
    return path, data


def robust_accuracies(subject, data):
    """By epsilon, of the rows that evasion.linf attacks."""
    probe = Linf(epsilons=EPSILONS, samples=128, self_test=False)
    case = Case(probe=probe, of="s", inner=subject, data=data, seeds=Seeds(0, 0), confidence=0.95)
    found = probe.run(case).measurements
    return {m.at["epsilon"]: m.value for m in found if m.metric == "robust_accuracy"}


def test_the_same_net_is_as_robust_in_every_format(digits, serve_nets):
    """White boxes agree to a row; a black box, whose attack is weaker, is not called less robust."""
    folder, data = digits
    boxes = {name: load(Load(format=name, **more), data.facts(), folder) for name, more in FORMATS.items()}
    server = serve_nets(folder / "m.onnx", {"net": ("scores", [-1, *data.shape])})
    served = load(Load(format="endpoint", url=server.url), data.facts(), folder)
    assert all(Access.GRADIENTS in box.access for box in boxes.values())
    wanted = robust_accuracies(boxes.pop("state-dict"), data)
    assert 0.1 < wanted[0.1] < wanted[0.05] < 0.95, "an attack that finds nothing compares nothing"
    for name, box in boxes.items():
        assert robust_accuracies(box, data) == pytest.approx(wanted, abs=1 / 128), name
    found = robust_accuracies(served, data)
    assert all(found[e] >= wanted[e] - 3 / 128 for e in EPSILONS)
