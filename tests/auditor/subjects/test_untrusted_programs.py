"""Exported programs and TorchScript archives by someone who means harm: nothing of theirs runs, no file is reached."""

import json
import warnings
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from auditor.errors import ModelError
from auditor.record import DatasetRecord
from auditor.subjects.loading import load
from auditor.subjects.spec import Load

FACTS = DatasetRecord(
    id="d", sha256="", rows={"train": 1, "test": 1}, shape=(4,), classes=("a", "b", "c"), range=(0, 1), licence=""
)
X = torch.rand(2, 4, generator=torch.Generator().manual_seed(0))
PROGRAM = "models/model.json"


class Net(nn.Module):
    """A linear classifier."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        return self.last(x)


def content_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def write(path, *parts):
    """An archive of (folder, entries), as many as there are."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore", UserWarning)  # zipfile says that a name is there twice
        for folder, content in parts:
            for name, entry in content.items():
                archive.writestr(f"{folder}/{name}", entry)


@pytest.fixture
def program(tmp_path):
    """The entries of an exported program, and a folder in which nobody has been."""
    torch.export.save(torch.export.export(Net().eval(), (X,)), tmp_path / "whole.pt2")
    return content_of(tmp_path / "whole.pt2")


def changed(program, change):
    value = json.loads(program[PROGRAM])
    change(value["graph_module"])
    return program | {PROGRAM: json.dumps(value).encode()}


def touching(trace):
    return f"__import__('pathlib').Path({str(trace)!r}).touch()"


def argument_name(trace):
    def change(module):
        module["module_call_graph"][0]["signature"]["forward_arg_names"] = ["x", f"y={touching(trace)}"]

    return change


def input_name(trace):
    def change(module):
        module["signature"]["input_specs"][-1]["user_input"]["arg"]["as_tensor"]["name"] = f"x[{touching(trace)}]"

    return change


def keyword(trace):
    def change(module):
        module["graph"]["nodes"][0]["inputs"].append({"name": f"y={touching(trace)}", "arg": {"as_int": 1}, "kind": 2})

    return change


def imported_type(trace):
    """A key of what the program takes that is of a type in a module beside the audit file."""
    trace.with_name("beside.py").write_text(f"import enum\n{touching(trace)}\nclass E(enum.Enum):\n    A = 1\n")

    def change(module):
        signature = module["module_call_graph"][0]["signature"]
        protocol, spec = json.loads(signature["in_spec"])
        key = {"__enum__": True, "fqn": "beside:E", "name": "A"}
        spec["children_spec"][1]["context"] = json.dumps([key])
        signature["in_spec"] = json.dumps([protocol, spec])

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (argument_name, "names something y=__import__"),
        (input_name, r"names something x\[__import__"),
        (keyword, "names something y=__import__"),
        (imported_type, r"takes or answers \[1, "),
    ],
)
def test_names_that_torch_would_run_are_refused(tmp_path, monkeypatch, program, change, said):
    monkeypatch.syspath_prepend(tmp_path)
    trace = tmp_path / "trace"
    write(tmp_path / "m.pt2", ("m", changed(program, change(trace))))
    with pytest.raises(ModelError, match=said):
        load(Load(format="exported", path="m.pt2"), FACTS, tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize("folders", [("m", "m"), ("m", "n"), ("n", "m")])
def test_an_archive_with_two_programs_is_refused(tmp_path, program, folders):
    harmful = changed(program, argument_name(tmp_path / "trace"))
    for contents in ((harmful, program), (program, harmful)):
        write(tmp_path / "m.pt2", *zip(folders, contents, strict=True))
        with pytest.raises(ModelError, match="twice, so that it is not clear which counts"):
            load(Load(format="exported", path="m.pt2"), FACTS, tmp_path)
    assert not (tmp_path / "trace").exists()


def test_an_archive_with_two_lists_of_entries_is_what_was_checked(tmp_path, program):
    """Python finds the list of entries from the end of the file, torch by its place: here they are two."""
    trace = tmp_path / "trace"
    write(tmp_path / "harmful.pt2", ("m", changed(program, argument_name(trace))))
    write(tmp_path / "m.pt2", ("m", program))
    whole = (tmp_path / "m.pt2").read_bytes()
    (tmp_path / "m.pt2").write_bytes((tmp_path / "harmful.pt2").read_bytes() + whole)
    load(Load(format="exported", path="m.pt2"), FACTS, tmp_path).predict(X.numpy())
    assert not trace.exists()


def script(path, line):
    """A TorchScript archive whose forward runs one more line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Net().eval()), path)
    content = content_of(path)
    before = b"    last = self.last\n"
    (name,) = [name for name, entry in content.items() if before in entry and name.endswith(".py")]
    write(path, ("m", content | {name: content[name].replace(before, before + f"    {line}\n".encode())}))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('torch.save(x, "{trace}")', "uses save in"),
        ('ops.aten.save(x, "{trace}")', "uses save in"),
        ('getattr(torch, "sa" "ve")(x, "{trace}")', "uses getattr in"),
        ('y = torch.from_file("{trace}", True, 4)', "uses from_file in"),
        ('getattr(ops, "debugprims")', "uses ops in"),
        ("y = ops.debugprims", "uses ops.debugprims in"),
        ("y : __torch__.torch.classes.dist_rpc.RRef = x", "uses torch.classes.dist_rpc in"),
    ],
)
def test_torchscript_that_could_reach_files_is_refused(tmp_path, line, said):
    trace = tmp_path / "trace"
    script(tmp_path / "m.pt", line.format(trace=trace))
    with pytest.raises(ModelError, match=f"m.pt {said} code/.*py, which could reach files"):
        load(Load(format="torchscript", path="m.pt"), FACTS, tmp_path)
    assert not trace.exists()


def test_torchscript_that_computes_is_opened(tmp_path):
    script(tmp_path / "m.pt", "y = ops.prims.add(torch.relu(x), x)")
    subject = load(Load(format="torchscript", path="m.pt"), FACTS, tmp_path)
    assert np.isfinite(subject.predict(X.numpy())).all()
