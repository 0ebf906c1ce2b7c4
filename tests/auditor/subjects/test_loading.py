"""The one door for model files: what is sound is loaded, what is not is named, and nothing runs unasked."""

import pickle
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import nn

from auditor.errors import ConfigError, ModelError, UnknownNameError
from auditor.record import DatasetRecord
from auditor.sources import Codes
from auditor.subject import Access
from auditor.subjects import beside
from auditor.subjects.loading import load
from auditor.subjects.spec import Load
from auditor.subjects.weights import load_state, save_state

FACTS = DatasetRecord(
    id="d", sha256="", rows={"train": 1, "test": 1}, shape=(3,), classes=("a", "b"), range=(0, 1), licence=""
)
NETS = """
import blocks
from torch import nn
def make(width=4): return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, blocks.CLASSES))
def broken(): raise ValueError("no")
def wide(width, depth, *, bias=True): return make(width)
def text(): return "net"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "blocks.py").write_text("CLASSES = 2\n")
    yield tmp_path
    sys.modules.pop("blocks", None)


def network(width=4):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 2))


def spec(path, **more):
    return Load(**{"format": "state-dict", "path": path, "factory": "nets:make", **more})


def write(net, path):
    save = save_file if path.suffix == ".safetensors" else torch.save
    save(net.state_dict(), path)


def reference(net, x):
    with torch.no_grad():
        return net(torch.tensor(x)).numpy()


X = np.random.default_rng(0).uniform(size=(5, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth"])
def test_weights_come_back_as_they_were(folder, name):
    net = network()
    write(net, folder / name)
    before = list(sys.path)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    subject = load(spec(name), FACTS, folder)
    np.testing.assert_array_equal(subject.predict(X), reference(net, X))
    assert Access.FILE in subject.access
    assert sys.path == before
    assert "nets" not in sys.modules
    assert torch.equal(torch.get_rng_state(), state)


def test_an_edited_factory_is_read_again(folder):
    save_file(network().state_dict(), folder / "w.safetensors")
    load(spec("w.safetensors"), FACTS, folder)
    (folder / "nets.py").write_text(NETS.replace("nn.ReLU()", "nn.Tanh()"))
    subject = load(spec("w.safetensors"), FACTS, folder)
    assert isinstance(subject.module[1], nn.Tanh)


def test_keywords_reach_the_factory(folder):
    net = network(7)
    save_file(net.state_dict(), folder / "w.safetensors")
    subject = load(spec("w.safetensors", kwargs={"width": 7}), FACTS, folder)
    np.testing.assert_array_equal(subject.predict(X), reference(net, X))


def test_weights_of_another_width_are_named(folder):
    save_file(network(7).state_dict(), folder / "w.safetensors")
    with pytest.raises(ModelError, match=r"0.weight \(7, 3\), expected \(4, 3\).*are load.kwargs those"):
        load(spec("w.safetensors"), FACTS, folder)


def test_missing_and_extra_weights_are_named(folder):
    state = network().state_dict()
    state["head.bias"] = state.pop("2.bias")
    save_file(state, folder / "w.safetensors")
    with pytest.raises(ModelError, match=r"it lacks 2.bias and has also head.bias"):
        load(spec("w.safetensors"), FACTS, folder)


def test_a_wrappers_state_is_recognised(folder):
    save_file({f"module.{name}": t for name, t in network().state_dict().items()}, folder / "w.safetensors")
    with pytest.raises(ModelError, match=r"all fit without 'module.': save the wrapped module's state"):
        load(spec("w.safetensors"), FACTS, folder)


class Bomb:
    """An object whose unpickling leaves a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def test_a_pickle_in_a_torch_file_is_not_run(folder):
    torch.save({"w": Bomb(folder / "trace")}, folder / "w.pt")
    with pytest.raises(ModelError, match=r"holds more than weights.* would run code: save module.state_dict"):
        load(spec("w.pt"), FACTS, folder)
    assert not (folder / "trace").exists()


def test_a_whole_module_is_refused(folder):
    torch.save(network(), folder / "w.pt")
    with pytest.raises(
        ModelError, match=r"holds more than weights \(torch.nn.modules.container.Sequential\), and reading"
    ):
        load(spec("w.pt"), FACTS, folder)


@pytest.mark.parametrize("key", ["model", "state_dict", "ema"])
def test_the_weights_of_a_checkpoint_are_found(folder, key):
    net = network()
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.tensor(X)).sum().backward()
    optimizer.step()
    torch.save({"epoch": 3, key: net.state_dict(), "optimizer": optimizer.state_dict()}, folder / "w.pt")
    np.testing.assert_array_equal(load(spec("w.pt"), FACTS, folder).predict(X), reference(net, X))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"ema": {"w": torch.ones(1)}, "model": {"w": torch.ones(1)}},
            "has the keys ema, model, weights are in ema, model",
        ),
        ({"epoch": 3}, "has the keys epoch, and none of them holds weights by name: save module.state_dict"),
        ({"model": {"w": torch.ones(1)}, "scale": torch.ones(1)}, "has the keys model, scale, weights are in model"),
        ({}, "is empty, and none"),
        ([torch.ones(1)], "holds a list; save module.state_dict"),
    ],
)
def test_a_checkpoint_in_which_the_weights_are_not_clear_is_named(folder, content, said):
    torch.save(content, folder / "w.pt")
    with pytest.raises(ModelError, match=said):
        load(spec("w.pt"), FACTS, folder)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_a_truncated_file_is_named(folder, name):
    net = network(64)
    write(net, folder / name)
    whole = (folder / name).read_bytes()
    for end in (len(whole) - 7, len(whole) // 2, 12, 1):
        (folder / name).write_bytes(whole[:end])
        with pytest.raises(ModelError, match=f"{name} (is no whole|holds more than weights)"):
            load(spec(name), FACTS, folder)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "is a git-LFS pointer.*run `git lfs pull`"),
        ("w.pt", b"", "is empty"),
        ("w.h5", b"x", "w.h5 is no whole safetensors or torch file: it starts with 78; save or fetch it again"),
        ("w.pt", b"<!DOCTYPE html><html>", "is a web page, not the model.*fetch it again"),
    ],
)
def test_a_file_that_is_no_model_is_named(folder, name, content, said):
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=said):
        load(spec(name), FACTS, folder)


def test_a_missing_file_is_named(folder):
    with pytest.raises(ModelError, match=r"load.path: .*absent.pt does not exist"):
        load(spec("absent.pt"), FACTS, folder)


@pytest.mark.parametrize(
    ("factory", "error", "said"),
    [
        ("nets:mak", UnknownNameError, "unknown name in nets.py 'mak'; did you mean 'make'"),
        ("nothing_here:make", ConfigError, "no module 'nothing_here'"),
        ("nets", ConfigError, "is not of the form module:callable"),
        ("nets:blocks", ModelError, "is of type module, not something that can be called"),
        ("nets:broken", ModelError, "load.factory: nets:broken raised ValueError: no"),
        ("nets:wide", ModelError, "nets:wide needs width and depth: put them under load.kwargs"),
        ("nets:text", ModelError, "returned a str; it must return a torch.nn.Module"),
    ],
)
def test_a_factory_that_is_not_there_is_named(folder, factory, error, said):
    save_file(network().state_dict(), folder / "w.safetensors")
    with pytest.raises(error, match=said):
        load(spec("w.safetensors", factory=factory), FACTS, folder)


def test_a_factory_file_that_raises_is_named(folder):
    (folder / "nets.py").write_text("1 / 0\n")
    save_file(network().state_dict(), folder / "w.safetensors")
    before = list(sys.path)
    with pytest.raises(ConfigError, match=r"load.factory: nets.py cannot be imported: ZeroDivisionError"):
        load(spec("w.safetensors"), FACTS, folder)
    assert sys.path == before


def test_a_keyword_the_factory_does_not_take_is_named(folder):
    save_file(network().state_dict(), folder / "w.safetensors")
    with pytest.raises(ModelError, match=r"'nets:make' cannot be called as \(depth=2\).*unexpected keyword"):
        load(spec("w.safetensors", kwargs={"depth": 2}), FACTS, folder)


def test_probabilities_must_be_declared(folder):
    (folder / "nets.py").write_text(NETS.replace("blocks.CLASSES))", "2), nn.Softmax(1))"))
    save_file(network().state_dict(), folder / "w.safetensors")
    with pytest.raises(ModelError, match="declare outputs: probabilities"):
        load(spec("w.safetensors"), FACTS, folder)
    subject = load(spec("w.safetensors", outputs="probabilities"), FACTS, folder)
    np.testing.assert_allclose(subject.predict(X).sum(1), 1, rtol=1e-6)


def fitted():
    rows = np.random.default_rng(0).uniform(size=(40, 3))
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, (rows[:, 0] > 0.5).astype(int))


def test_a_skops_file_is_loaded(folder):
    model = fitted()
    skops.io.dump(model, folder / "m.skops")
    subject = load(Load(format="sklearn", path="m.skops"), FACTS, folder)
    np.testing.assert_allclose(subject.predict(X), model.predict_proba(X), rtol=1e-5)


def test_a_skops_file_with_unknown_types_is_refused(folder):
    model = make_pipeline(FunctionTransformer(own_function), LogisticRegression()).fit(X, [0, 1, 0, 1, 0])
    skops.io.dump(model, folder / "m.skops")
    with pytest.raises(ModelError, match=r"holds types that are not known to be safe: .*own_function"):
        load(Load(format="sklearn", path="m.skops"), FACTS, folder)


def own_function(x):
    return x


@pytest.mark.parametrize("name", ["m.pkl", "m.joblib"])
def test_a_pickle_is_run_only_when_trusted(folder, name):
    model = fitted()
    if name.endswith("pkl"):
        (folder / name).write_bytes(pickle.dumps(model))
    else:
        joblib.dump(model, folder / name)
    with pytest.raises(ModelError, match=r"is a pickle, which runs code on loading: save the model with skops.io.dump"):
        load(Load(format="sklearn", path=name), FACTS, folder)
    subject = load(Load(format="sklearn", path=name, trust="pickle"), FACTS, folder)
    np.testing.assert_allclose(subject.predict(X), model.predict_proba(X), rtol=1e-5)


def test_an_untrusted_bomb_leaves_no_trace(folder):
    (folder / "m.pkl").write_bytes(pickle.dumps(Bomb(folder / "trace")))
    with pytest.raises(ModelError, match="is a pickle"):
        load(Load(format="sklearn", path="m.pkl"), FACTS, folder)
    assert not (folder / "trace").exists()


def test_broken_scikit_learn_files_are_named(folder):
    (folder / "m.skops").write_bytes(b"PK\3\4")
    (folder / "m.pkl").write_bytes(pickle.dumps(fitted())[:50])
    (folder / "m.json").write_text("{}")
    with pytest.raises(ModelError, match=r"m.skops is no whole skops file"):
        load(Load(format="sklearn", path="m.skops"), FACTS, folder)
    with pytest.raises(ModelError, match=r"m.pkl cannot be unpickled"):
        load(Load(format="sklearn", path="m.pkl", trust="pickle"), FACTS, folder)
    with pytest.raises(ModelError, match=r"m.json is no whole skops file and no pickle"):
        load(Load(format="sklearn", path="m.json"), FACTS, folder)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"format": "state-dict", "path": "w.pt"}, "needs `factory: module:callable`"),
        ({"format": "sklearn", "path": "m.skops", "factory": "a:b"}, "factory belongs to the format state-dict"),
        (
            {"format": "state-dict", "path": "w.pt", "factory": "a:b", "trust": "pickle"},
            "trust belongs to the format sklearn",
        ),
        ({"format": "onxx", "path": "m"}, "state-dict"),
    ],
)
def test_a_load_section_that_contradicts_itself_is_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        Load(**given)


def test_saved_weights_have_the_same_bytes_and_come_back_with_their_facts(tmp_path):
    net, facts = network(), {"recipe": {"optimizer": "sgd"}, "steps": 3}
    backwards = dict(reversed(net.state_dict().items()))
    save_state(net.state_dict(), tmp_path / "a.safetensors", facts)
    save_state(backwards, tmp_path / "b.safetensors", dict(reversed(facts.items())))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    stored = load_state(tmp_path / "a.safetensors")
    assert stored.metadata == facts
    assert all(torch.equal(stored.state[name], tensor) for name, tensor in net.state_dict().items())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_tied_and_transposed_weights_can_be_saved(tmp_path):
    weight = torch.arange(6.0).reshape(2, 3)
    save_state({"a": weight, "b": weight, "c": weight.T}, tmp_path / "w.safetensors", {})
    assert torch.equal(load_state(tmp_path / "w.safetensors").state["c"], weight.T)


def test_a_name_does_not_decide_what_a_file_is(folder):
    net = network()
    save_file(net.state_dict(), folder / "weights.h5")
    np.testing.assert_array_equal(load(spec("weights.h5"), FACTS, folder).predict(X), reference(net, X))


@pytest.mark.parametrize("wanted", ["exported", "torchscript", "sklearn", "onnx", "xgboost"])
def test_a_file_of_another_format_is_named(folder, wanted):
    torch.save(network().state_dict(), folder / "m.bin")
    said = f"m.bin holds a torch file, not a model of format {wanted}: declare load.format: state-dict"
    with pytest.raises(ModelError, match=said):
        load(Load(format=wanted, path="m.bin"), FACTS, folder)


def test_what_is_no_model_at_all_is_named(folder):
    np.savez(folder / "m.npz", x=X)
    with pytest.raises(ModelError, match="holds an npz archive of arrays, which is no model of format state-dict"):
        load(spec("m.npz"), FACTS, folder)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_are_asked_in_the_type_they_are_stored_in(folder, kind):
    net = network().to(kind)
    torch.save(net.state_dict(), folder / "w.pt")
    subject = load(spec("w.pt"), FACTS, folder)
    assert subject.dtype == kind
    with torch.no_grad():
        np.testing.assert_array_equal(subject.predict(X), net(torch.tensor(X).to(kind)).float().numpy())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(folder, value):
    net = network()
    with torch.no_grad():
        net[2].bias[1] = value
    torch.save(net.state_dict(), folder / "w.pt")
    with pytest.raises(ModelError, match=r"w.pt: 2.bias is not finite; the training diverged"):
        load(spec("w.pt"), FACTS, folder)


def test_code_beside_a_model_runs_only_when_it_is_named(folder, monkeypatch):
    net = network()
    save_file(net.state_dict(), folder / "w.safetensors")
    skops.io.dump(fitted(), folder / "m.skops")
    torch.export.save(torch.export.export(net, (torch.tensor(X),)), folder / "m.pt2")
    trace = f"import pathlib; pathlib.Path({str(folder / 'trace')!r}).touch()\n"
    for name in ("sitecustomize", "nets", "sklearn", "skops", "torch", "joblib"):
        (folder / f"{name}.py").write_text(trace + NETS)
    monkeypatch.chdir(folder)
    load(Load(format="sklearn", path="m.skops"), FACTS, folder)
    load(Load(format="exported", path="m.pt2"), FACTS, folder)
    assert not (folder / "trace").exists()
    load(spec("w.safetensors"), FACTS, folder)  # the factory is named
    assert (folder / "trace").exists()


PACKAGE = {
    "__init__.py": "from nets.models import make as other\nfrom .models import make\n",
    "models.py": "from torch import nn\nfrom . import parts\n"
    "def make(): return nn.Sequential(parts.first(), nn.ReLU(), nn.Linear(4, 2))\n",
    "parts.py": "from torch import nn\ndef first(): return nn.Linear(3, 4)\n",
}


@pytest.fixture
def package(tmp_path):
    (tmp_path / "nets").mkdir()
    for name, text in PACKAGE.items():
        (tmp_path / "nets" / name).write_text(text)
    yield tmp_path
    for name in [n for n in sys.modules if n.partition(".")[0] == "nets"]:
        del sys.modules[name]


@pytest.mark.parametrize("factory", ["nets:make", "nets.models:make", "nets:other"])
def test_a_factory_may_stand_in_a_package(package, factory):
    net = network()
    save_file(net.state_dict(), package / "w.safetensors")
    subject = load(spec("w.safetensors", factory=factory), FACTS, package)
    np.testing.assert_array_equal(subject.predict(X), reference(net, X))


@pytest.mark.parametrize("factory", ["nets:make", "nets.models:make", "nets:other"])
def test_an_edited_part_of_a_package_is_read_again(package, factory):
    save_file(network().state_dict(), package / "w.safetensors")
    load(spec("w.safetensors", factory=factory), FACTS, package)
    edited = PACKAGE["parts.py"].replace("nn.Linear(3, 4)", "nn.Linear(3, 5)")
    (package / "nets" / "parts.py").write_text(edited)
    with pytest.raises(ModelError, match=r"0.weight \(4, 3\), expected \(5, 3\)"):
        load(spec("w.safetensors", factory=factory), FACTS, package)


def test_an_edited_module_that_a_factory_imports_is_read_again(folder):
    save_file(network().state_dict(), folder / "w.safetensors")
    load(spec("w.safetensors"), FACTS, folder)
    (folder / "blocks.py").write_text("CLASSES = 3  # of another length\n")
    with pytest.raises(ModelError, match=r"2.weight \(2, 4\), expected \(3, 4\)"):
        load(spec("w.safetensors"), FACTS, folder)


def test_a_name_that_a_package_lacks_is_named(package):
    save_file(network().state_dict(), package / "w.safetensors")
    with pytest.raises(UnknownNameError, match=r"unknown name in nets/models.py 'mak'; did you mean 'make'"):
        load(spec("w.safetensors", factory="nets.models:mak"), FACTS, package)
    with pytest.raises(ConfigError, match=r"no module 'nets.absent'; is it beside the audit file or installed"):
        load(spec("w.safetensors", factory="nets.absent:make"), FACTS, package)


def test_a_package_decides_the_identity_of_what_it_makes(package):
    before = Codes(package).named("nets.models:make")
    assert before is not None
    (package / "nets" / "parts.py").write_text("# edited\n" + PACKAGE["parts.py"])
    assert Codes(package).named("nets.models:make") != before
    assert [p.name for p in beside.files_beside("nets:make", package)] == ["__init__.py", "models.py", "parts.py"]


def test_the_same_code_has_the_same_name_wherever_it_lies(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for name in ("nets.py", "blocks.py"):
        (other / name).write_text((folder / name).read_text())
    here, there = (beside.find("nets:make", place, what="load.factory") for place in (folder, other))
    assert here.__module__ == there.__module__
    assert (here.__code__.co_filename, there.__code__.co_filename) == (str(folder / "nets.py"), str(other / "nets.py"))
