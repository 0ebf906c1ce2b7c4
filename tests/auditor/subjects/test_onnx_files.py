"""Which files beside an ONNX model decide what it answers: all that it names, wherever in the graph, and no other."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from auditor.errors import ModelError
from auditor.record import DatasetRecord
from auditor.subjects.loading import load
from auditor.subjects.onnx.files import files_beside
from auditor.subjects.spec import Load

W = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
FACTS = DatasetRecord(
    id="d", sha256="", rows={"train": 1, "test": 1}, shape=(3,), classes=("a", "b"), range=(0, 1), licence=""
)


def outside(name, location):
    """A tensor whose numbers are in another file."""
    tensor = numpy_helper.from_array(W, name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def constant(name, location):
    return helper.make_node("Constant", [], [name], value=outside(name, location))


def branches(location):
    """Both branches of an If, each with a constant of its own."""
    out = helper.make_tensor_value_info("b", 1, [3, 2])
    graphs = [helper.make_graph([constant("b", f"{location}{i}")], f"g{i}", [], [out]) for i in range(2)]
    return helper.make_node("If", ["yes"], ["w"], then_branch=graphs[0], else_branch=graphs[1])


def write(path, nodes, *tensors):
    ends = [helper.make_tensor_value_info(name, 1, ["n", size]) for name, size in (("x", 3), ("y", 2))]
    nodes = [*nodes, helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], list(tensors))
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    )
    return path


@pytest.fixture
def weights(tmp_path):
    """A folder with the weights in two places of one name, and outside of it."""
    folder = tmp_path / "model"
    for place in (folder, folder / "one", folder / "two", tmp_path):
        place.mkdir(exist_ok=True)
        W.tofile(place / "w.bin")
    return folder


def test_weights_of_constants_and_of_branches_are_found(weights):
    path = write(weights / "m.onnx", [constant("w", "w.bin")])
    np.testing.assert_array_equal(load(Load(format="onnx", path="m.onnx"), FACTS, weights).predict(np.eye(3)), W)
    assert list(files_beside(path)) == ["w.bin"]
    yes = numpy_helper.from_array(np.array(True), "yes")
    assert list(files_beside(write(weights / "m.onnx", [branches("w.bin")], yes))) == ["w.bin0", "w.bin1"]


def test_files_of_one_name_in_two_folders_are_two(weights):
    nodes = [constant("v", "two/w.bin"), helper.make_node("Add", ["u", "v"], ["w"])]
    path = write(weights / "m.onnx", nodes, outside("u", "one/w.bin"))
    assert files_beside(path) == {f"{f}/w.bin": (weights / f / "w.bin").resolve() for f in ("one", "two")}


@pytest.mark.parametrize("location", ["../w.bin", "{parent}/w.bin", "link.bin", "/etc/passwd"])
def test_files_outside_the_models_folder_are_neither_hashed_nor_read(weights, location):
    (weights / "link.bin").symlink_to(weights.parent / "w.bin")
    path = write(weights / "m.onnx", [], outside("w", location.format(parent=weights.parent)))
    assert files_beside(path) == {}
    with pytest.raises(ModelError, match="cannot be run by onnxruntime"):
        load(Load(format="onnx", path="m.onnx"), FACTS, weights)
