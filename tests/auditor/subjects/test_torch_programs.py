"""Exported programs and TorchScript: white boxes without anybody's code, and nothing in a file is run."""

import io
import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from auditor.errors import ModelError
from auditor.record import DatasetRecord
from auditor.subject import Access
from auditor.subjects.loading import load
from auditor.subjects.spec import Load
from auditor.subjects.torch_files import read_state

FACTS = DatasetRecord(
    id="d", sha256="", rows={"train": 1, "test": 1}, shape=(1, 4, 4), classes=("a", "b", "c"), range=(0, 1), licence=""
)
X = np.random.default_rng(0).uniform(size=(7, 1, 4, 4)).astype(np.float32)
ROWS = torch.export.Dim("rows")


class Quiet(nn.Module):
    """A network through which no gradient flows."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        return self.net(x.detach())


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8, 3)
    ).eval()


def save_exported(net, path, rows=None, x=X[:5]):
    shapes = None if rows is None else ({0: rows},)
    torch.export.save(torch.export.export(net, (torch.tensor(x),), dynamic_shapes=shapes), path)


def save_script(net, path, how="script"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.trace(net, torch.tensor(X)) if how == "trace" else torch.jit.script(net)
        torch.jit.save(torch.jit.freeze(module) if how == "frozen" else module, path)


def opened(path, **more):
    form = "exported" if path.suffix == ".pt2" else "torchscript"
    return load(Load(format=form, path=path.name, **more), FACTS, path.parent)


def expected(net):
    with torch.no_grad():
        return net(torch.tensor(X)).numpy()


def check_white_box(subject, net):
    np.testing.assert_allclose(subject.predict(X), expected(net), atol=1e-6)
    assert {Access.GRADIENTS, Access.LOGITS, Access.FILE} <= subject.access
    for rows in (1, 5, 7):
        x = torch.tensor(X[:rows]).requires_grad_()
        (found,) = torch.autograd.grad(subject.logits(x)[:, 1].sum(), x)
        (wanted,) = torch.autograd.grad(net(x)[:, 1].sum(), x)
        torch.testing.assert_close(found, wanted)
    np.testing.assert_array_equal(subject.bare_labels(X), expected(net).argmax(1))


@pytest.mark.parametrize(
    "rows", [None, ROWS, torch.export.Dim("rows", max=6), torch.export.Dim("rows", min=4), torch.export.Dim.DYNAMIC]
)
def test_an_exported_program_is_a_white_box_for_any_number_of_rows(tmp_path, rows):
    net = network()
    save_exported(net, tmp_path / "m.pt2", rows)
    check_white_box(opened(tmp_path / "m.pt2"), net)


@pytest.mark.parametrize("how", ["script", "trace", "frozen"])
def test_torchscript_is_a_white_box(tmp_path, how):
    net = network()
    save_script(net, tmp_path / "m.pt", how)
    check_white_box(opened(tmp_path / "m.pt"), net)


def test_a_program_keeps_its_modes_and_numbers(tmp_path):
    save_exported(network(), tmp_path / "m.pt2", ROWS)
    subject = opened(tmp_path / "m.pt2")
    before = [(m, m.training) for m in subject.module.modules()]
    first = subject.predict(X)
    subject.logits(torch.tensor(X).requires_grad_()).sum().backward()
    np.testing.assert_array_equal(subject.predict(X), first)
    assert all(module.training == was for module, was in before)


def test_a_model_without_gradients_does_not_claim_them(tmp_path):
    save_script(Quiet().eval(), tmp_path / "m.pt", "trace")
    assert Access.GRADIENTS not in opened(tmp_path / "m.pt").access


def test_double_precision_stays(tmp_path):
    net = network().double()
    save_exported(net, tmp_path / "m.pt2", ROWS, X[:5].astype(np.float64))
    subject = opened(tmp_path / "m.pt2")
    assert subject.dtype == torch.float64
    with torch.no_grad():
        np.testing.assert_array_equal(subject.predict(X), net(torch.tensor(X).double()).float().numpy())


def test_a_training_export_is_named(tmp_path):
    save_exported(network().train(), tmp_path / "m.pt2")
    with pytest.raises(ModelError, match="exported in training mode, so its answers are random: call eval"):
        opened(tmp_path / "m.pt2")


@pytest.mark.parametrize(
    ("net", "x", "said"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.Linear(4, 3)),
            X[:, :, :2, :2],
            r"rows of shape \(1, 2, 2\); the data has rows",
        ),
        (nn.Linear(16, 3), X.reshape(7, 16), r"takes rows of shape \(16\); the data has rows of shape \(1, 4, 4\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(16, 5)), X, r"answers 1 inputs with shape \(1, 5\); expected \(1, 3\)"),
        (nn.Embedding(2, 3), np.zeros((7, 1, 4, 4), np.int64), r"takes torch.int64 inputs; export a module that takes"),
    ],
)
def test_a_program_for_other_data_is_named(tmp_path, net, x, said):
    save_exported(net, tmp_path / "m.pt2", ROWS, x)
    with pytest.raises(ModelError, match=said):
        opened(tmp_path / "m.pt2")


@pytest.mark.parametrize("name", ["m.pt2", "m.pt"])
def test_a_file_cut_short_is_named(tmp_path, name, capfd):
    path = tmp_path / name
    (save_exported if name == "m.pt2" else save_script)(network(), path)
    whole = path.read_bytes()
    for end in (len(whole) - 7, len(whole) // 2, 5):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError, match=f"{name} is no whole"):
            opened(path)
    assert capfd.readouterr().err == ""


def rewritten(path, change):
    """The archive with each of its entries as `change(name, content)` gives it, and with those of its None."""
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    root = entries[0][0].partition("/")[0]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries:
            archive.writestr(name, change(name.partition("/")[2], content))
        for name, content in (change(None, None) or {}).items():
            archive.writestr(f"{root}/{name}", content)


class Bomb:
    """An object whose unpickling leaves a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def edited(name, change):
    """A rewriting that edits one JSON entry."""

    def apply(entry, content):
        if entry != name:
            return content
        value = json.loads(content)
        change(value)
        return json.dumps(value).encode()

    return apply


def pickled_weight(config):
    config["config"]["5.bias"] |= {"use_pickle": True}


def opaque_constant(config):
    config["config"]["c"] = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}


def other_function(program):
    program["graph_module"]["graph"]["nodes"][-1]["target"] = "torch.serialization.os.system"


def evaluated_size(program):
    size = program["graph_module"]["graph"]["tensor_values"]["linear"]["sizes"][0]
    size["as_expr"]["expr_str"] = "__import__('os').system('true')"


PROGRAM = "models/model.json"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edited("data/weights/model_weights_config.json", pickled_weight), "holds 5.bias as a pickle"),
        (edited("data/constants/model_constants_config.json", opaque_constant), "holds c as a pickle"),
        (edited(PROGRAM, other_function), "calls torch.serialization.os.system, which is not known to be safe"),
        (edited(PROGRAM, evaluated_size), "computes a size by __import__"),
        (lambda name, content: {"data/aotinductor/model/a.so": b""} if name is None else content, "holds data/aotind"),
    ],
)
def test_a_program_that_could_run_code_is_refused(tmp_path, change, said):
    save_exported(network(), tmp_path / "m.pt2", ROWS)
    rewritten(tmp_path / "m.pt2", change)
    with pytest.raises(ModelError, match=said):
        opened(tmp_path / "m.pt2")


def test_sample_inputs_that_are_no_tensors_are_not_unpickled(tmp_path):
    save_exported(network(), tmp_path / "m.pt2", ROWS)
    bomb = saved(Bomb(tmp_path / "trace"))
    rewritten(tmp_path / "m.pt2", lambda name, content: bomb if name == "data/sample_inputs/model.pt" else content)
    with pytest.raises(ModelError, match="holds sample inputs that are no tensors"):
        opened(tmp_path / "m.pt2")
    assert not (tmp_path / "trace").exists()


def test_guards_in_a_program_are_not_run(tmp_path):
    save_exported(network(), tmp_path / "m.pt2", ROWS)
    bomb = f"__import__('pathlib').Path({str(tmp_path / 'trace')!r}).touch() is None"
    change = edited(PROGRAM, lambda program: program.update(guards_code=[bomb]))
    rewritten(tmp_path / "m.pt2", change)
    opened(tmp_path / "m.pt2").predict(X)
    assert not (tmp_path / "trace").exists()


def made_on_cuda(name, content):
    """What a file would hold that was saved on the first graphics card."""
    if name in ("data.pkl", "constants.pkl"):
        return content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    if name is not None and name.endswith(".json"):
        return content.replace(b'{"type": "cpu", "index": null}', b'{"type": "cuda", "index": 0}')
    return content


@pytest.mark.parametrize("name", ["m.pt2", "m.pt", "w.bin"])
def test_a_model_saved_on_a_graphics_card_comes_to_the_cpu(tmp_path, name):
    net, path = network(), tmp_path / name
    if name == "w.bin":
        torch.save(net.state_dict(), path)
    else:
        (save_exported if name == "m.pt2" else save_script)(net, path)
    rewritten(path, made_on_cuda)
    if name == "w.bin":
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load(path, weights_only=True)
        assert {t.device.type for t in read_state(path).values()} == {"cpu"}
    else:
        np.testing.assert_allclose(opened(path).predict(X), expected(net), atol=1e-6)
