"""ONNX models as subjects: onnxruntime answers, torch differentiates what it answers alike, what is wrong is named."""

import io
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from auditor.errors import ModelError, UnknownNameError
from auditor.record import DatasetRecord
from auditor.subject import Access, predicted_labels
from auditor.subjects.answering import BlackBoxSubject
from auditor.subjects.loading import load
from auditor.subjects.onnx.files import files_beside
from auditor.subjects.onnx.opening import open_onnx
from auditor.subjects.onnx.white_box import white_box
from auditor.subjects.spec import Load
from auditor.subjects.torch_subject import TorchSubject

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(7, 3)).astype(np.float32)
W = RNG.normal(size=(3, 4)).astype(np.float32)
IMAGES = RNG.uniform(size=(7, 2, 8, 8)).astype(np.float32)
FLOAT, INT, TEXT = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def facts(shape=(3,), classes=("a", "b", "c", "d"), low_high=(0, 1)):
    return DatasetRecord(
        id="d", sha256="", rows={"train": 1, "test": 1}, shape=shape, classes=classes, range=low_high, licence=""
    )


def ending(name, kind, *sizes):
    return helper.make_tensor_value_info(name, kind, list(sizes))


def node(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def write(path, nodes, inputs, outputs, *, opset=17, ir=9, ml=False, **weights):
    graph = helper.make_graph(
        nodes, "g", inputs, outputs, [numpy_helper.from_array(value, name) for name, value in weights.items()]
    )
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid("ai.onnx.ml", 3)] if ml else [])]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=ir).SerializeToString())
    return path


def linear(path, *, rows="n", kind=FLOAT, **more):
    nodes = [node("MatMul", "x w", "y")]
    weight = W.astype(helper.tensor_dtype_to_np_dtype(kind))
    return write(path, nodes, [ending("x", kind, rows, 3)], [ending("y", kind, rows, 4)], w=weight, **more)


def spec(path, **more):
    return Load(format="onnx", path=path.name, **more)


def asked(path, record, **more):
    """The model as a black box, white or not."""
    answering = open_onnx(spec(path, **more), path, record)
    return BlackBoxSubject(answering, classes=len(record.classes), shape=record.shape)


def white(path, record, **more):
    subject = load(spec(path, **more), record, path.parent)
    assert isinstance(subject, TorchSubject)
    return subject


def exported(net, x, path, **options):
    net.eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own
        held = io.BytesIO()
        names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
        torch.onnx.export(net, (torch.tensor(x),), held, dynamo=False, **(names | options))
    path.write_bytes(held.getvalue())
    return path


def test_onnxruntime_answers_and_the_file_can_be_got_at(tmp_path):
    subject = asked(linear(tmp_path / "m.onnx"), facts())
    np.testing.assert_allclose(subject.predict(X), X @ W, atol=1e-6)
    assert subject.access == {Access.LABELS, Access.PROBABILITIES, Access.LOGITS, Access.FILE}
    np.testing.assert_array_equal(subject.bare_labels(X), (X @ W).argmax(1))


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE])
def test_inputs_become_the_models_number_type(tmp_path, kind):
    path = linear(tmp_path / "m.onnx", kind=kind)
    tolerance = 1e-2 if kind == TensorProto.FLOAT16 else 1e-6
    np.testing.assert_allclose(asked(path, facts()).predict(X), X @ W, atol=tolerance)
    np.testing.assert_allclose(white(path, facts()).predict(X), X @ W, atol=tolerance)


def test_a_model_of_bytes_is_asked_with_whole_numbers_of_the_declared_range(tmp_path):
    path = write(
        tmp_path / "m.onnx",
        [node("Cast", "x", "f", to=FLOAT), node("MatMul", "f w", "y")],
        [ending("x", TensorProto.UINT8, "n", 3)],
        [ending("y", FLOAT, "n", 4)],
        w=W,
    )
    with pytest.raises(ModelError, match=r"takes whole numbers \(x tensor\(uint8\).*load.input_range: \[0, 255\]"):
        asked(path, facts())
    found = open_onnx(spec(path, input_range=(0, 255)), path, facts())
    assert found.module is None
    np.testing.assert_allclose(found.answer(X * 255), np.rint(X * 255) @ W, rtol=1e-4)


def test_a_fixed_batch_is_filled_up_as_a_black_box_and_free_as_a_white_one(tmp_path):
    path = linear(tmp_path / "m.onnx", rows=4)
    np.testing.assert_allclose(asked(path, facts()).predict(X), X @ W, atol=1e-6)
    np.testing.assert_allclose(white(path, facts()).predict(X), X @ W, atol=1e-6)


def test_images_are_flattened_for_a_model_of_rows_and_turned_for_channels_last(tmp_path):
    images = RNG.uniform(size=(5, 3, 2, 4)).astype(np.float32)
    weight = RNG.normal(size=(24, 4)).astype(np.float32)
    rows = write(
        tmp_path / "rows.onnx",
        [node("MatMul", "x w", "y")],
        [ending("x", FLOAT, "n", 24)],
        [ending("y", FLOAT, "n", 4)],
        w=weight,
    )
    last = write(
        tmp_path / "last.onnx",
        [node("Flatten", "x", "f"), node("MatMul", "f w", "y")],
        [ending("x", FLOAT, "n", 2, 4, 3)],
        [ending("y", FLOAT, "n", 4)],
        w=weight,
    )
    turned = images.transpose(0, 2, 3, 1).reshape(5, 24)
    for path, expected in ((rows, images.reshape(5, 24) @ weight), (last, turned @ weight)):
        np.testing.assert_allclose(asked(path, facts((3, 2, 4))).predict(images), expected, atol=1e-5)
        np.testing.assert_allclose(white(path, facts((3, 2, 4))).predict(images), expected, atol=1e-5)


LABELLED = [
    node("MatMul", "x w", "z"),
    node("Softmax", "z", "p", axis=1),
    node("ArgMax", "z", "label", axis=1, keepdims=0),
]


def labelled(path, names=None):
    """As scikit-learn models are converted: labels, and probabilities as a list of maps."""
    keys = {"classlabels_strings": list(names)} if names else {"classlabels_int64s": [0, 1, 2, 3]}
    zipped = node("ZipMap", "p", "maps", domain="ai.onnx.ml", **keys)
    outputs = [ending("label", INT, "n"), helper.make_value_info("maps", maps(TEXT if names else INT))]
    return write(path, [*LABELLED, zipped], [ending("x", FLOAT, "n", 3)], outputs, ml=True, w=W)


def maps(key):
    return helper.make_sequence_type_proto(helper.make_map_type_proto(key, helper.make_tensor_type_proto(FLOAT, None)))


@pytest.mark.parametrize("names", [None, ("d", "b", "a", "c")])
def test_maps_of_probabilities_become_columns_of_their_classes(tmp_path, names):
    subject = asked(labelled(tmp_path / "m.onnx", names), facts(), outputs="probabilities")
    scores = np.exp(X @ W)
    expected = scores / scores.sum(1, keepdims=True)
    order = [names.index(name) for name in "abcd"] if names else [0, 1, 2, 3]
    np.testing.assert_allclose(subject.predict(X), expected[:, order], atol=1e-6)


def test_labels_are_found_among_the_outputs(tmp_path):
    subject = asked(labelled(tmp_path / "m.onnx"), facts(), outputs="labels")
    np.testing.assert_array_equal(subject.predict(X), np.eye(4)[(X @ W).argmax(1)])
    assert subject.access == {Access.LABELS, Access.FILE}


def test_labels_that_are_class_names_are_looked_up(tmp_path):
    names = ["d", "b", "a", "c"]
    named = node("LabelEncoder", "label", "named", domain="ai.onnx.ml", keys_int64s=[0, 1, 2, 3], values_strings=names)
    path = write(
        tmp_path / "m.onnx",
        [*LABELLED, named],
        [ending("x", FLOAT, "n", 3)],
        [ending("named", TEXT, "n")],
        ml=True,
        w=W,
    )
    expected = np.array(["abcd".index(names[i]) for i in (X @ W).argmax(1)])
    np.testing.assert_array_equal(asked(path, facts(), outputs="labels").predict(X), np.eye(4)[expected])


def test_a_class_the_data_has_not_is_named(tmp_path):
    path = labelled(tmp_path / "m.onnx", ("a", "b", "c", "elephant"))
    with pytest.raises(ModelError, match="answers the class 'elephant', which the data has not; its classes are a, b"):
        asked(path, facts(), outputs="probabilities").predict(X)


def test_probabilities_beside_labels_can_be_differentiated(tmp_path):
    outputs = [ending("label", INT, "n"), ending("p", FLOAT, "n", 4)]
    path = write(tmp_path / "m.onnx", LABELLED, [ending("x", FLOAT, "n", 3)], outputs, w=W)
    subject = white(path, facts(), outputs="probabilities")
    assert Access.GRADIENTS in subject.access
    np.testing.assert_allclose(subject.predict(X), asked(path, facts(), outputs="probabilities").predict(X), atol=1e-6)


def test_outputs_that_could_both_be_meant_are_listed_and_one_is_named(tmp_path):
    outputs = [ending("z", FLOAT, "n", 4), ending("p", FLOAT, "n", 4)]
    path = write(tmp_path / "m.onnx", LABELLED, [ending("x", FLOAT, "n", 3)], outputs, w=W)
    with pytest.raises(ModelError, match=r"2 outputs \(z tensor\(float\) \(\?, 4\), p .*name it as load.output"):
        asked(path, facts())
    np.testing.assert_allclose(asked(path, facts(), output="z").predict(X), X @ W, atol=1e-6)
    with pytest.raises(UnknownNameError, match=r"load.output: unknown output of m.onnx 'q'"):
        asked(path, facts(), output="q")


class Attention(nn.Module):
    """What a small transformer is made of."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm, self.mix, self.head = (
            nn.Linear(8, 12),
            nn.LayerNorm(12),
            nn.Linear(12, 36),
            nn.Linear(12, 4),
        )

    def forward(self, x):
        x = self.norm(self.embed(x.flatten(1, 2)))
        q, k, v = self.mix(x).chunk(3, -1)
        x = x + torch.softmax(q @ k.transpose(1, 2) / 3, -1) @ v
        return self.head(nn.functional.gelu(x).mean(1))


class Residual(nn.Module):
    """What a small residual network is made of."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6)
        self.second, self.head = nn.Conv2d(6, 6, 3, padding="same", groups=2), nn.Linear(6, 4)
        nn.init.uniform_(self.norm.running_mean)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = nn.functional.hardswish(x + self.second(x))
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def pooled(*layers, width):
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, 5), nn.Tanh(), nn.Linear(5, 4))


NETS = {
    "perceptron": lambda: pooled(nn.Flatten(), nn.Linear(128, 9), nn.LeakyReLU(0.2), nn.Dropout(), width=9),
    "pooling": lambda: pooled(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2, padding=1), nn.AvgPool2d(2), width=12),
    "padding": lambda: pooled(
        nn.ReflectionPad2d(1),
        nn.Conv2d(2, 3, 3, 3),
        nn.SiLU(),
        nn.AvgPool2d(2, 1, 1),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        width=12,
    ),
    "clipping": lambda: pooled(nn.ReLU6(), nn.ELU(), nn.Hardtanh(-0.5, 0.5), nn.Softplus(), nn.PReLU(), width=128),
    "residual": Residual,
    "attention": Attention,
}


@pytest.mark.parametrize("opset", [11, 17, 20])
@pytest.mark.parametrize("name", NETS)
def test_a_net_and_its_gradients_come_back_from_its_graph(tmp_path, name, opset):
    if name == "attention" and opset < 17:
        opset = 14  # the exporter refuses less
    torch.manual_seed(0)
    net = NETS[name]()
    path = exported(net, IMAGES[:2], tmp_path / "m.onnx", opset_version=opset)
    subject = white(path, facts((2, 8, 8)))
    x = torch.tensor(IMAGES, requires_grad=True)
    (expected,) = torch.autograd.grad(net(x).square().sum(), x)
    (found,) = torch.autograd.grad(subject.logits(x).square().sum(), x)
    np.testing.assert_allclose(subject.predict(IMAGES), net(x).detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(asked(path, facts((2, 8, 8))).predict(IMAGES), net(x).detach().numpy(), atol=1e-5)


def test_penultimate_features_are_those_of_the_net(tmp_path):
    net = NETS["perceptron"]()
    subject = white(exported(net, IMAGES[:2], tmp_path / "m.onnx"), facts((2, 8, 8)))
    assert {Access.FEATURES, Access.GRADIENTS, Access.FILE} <= subject.access
    with torch.no_grad():
        np.testing.assert_allclose(subject.features(IMAGES), net[:-1](torch.tensor(IMAGES)).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ([node("Round", "x", "r"), node("MatMul", "r w", "y")], "an operator that is not known"),
        ([node("Greater", "x x", "g"), node("Cast", "g", "c", to=FLOAT), node("MatMul", "c w", "y")], "no gradient"),
        ([node("RandomNormalLike", "x", "r"), node("MatMul", "r w", "y")], "chance"),
    ],
)
def test_what_cannot_be_differentiated_stays_a_black_box(tmp_path, nodes, why):
    path = write(tmp_path / "m.onnx", nodes, [ending("x", FLOAT, "n", 3)], [ending("y", FLOAT, "n", 4)], w=W)
    found = open_onnx(spec(path), path, facts())
    assert found.module is None, why
    assert found.answer(X).shape == (7, 4)


def test_a_graph_that_torch_answers_otherwise_is_not_trusted(tmp_path):
    path = linear(tmp_path / "m.onnx")
    model, box = onnx.load(path), asked(path, facts())
    for shift, trusted in ((1e-6, True), (1e-2, False)):
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(W + np.float32(shift), "w"))
        onnx.save(model, tmp_path / "other.onnx")
        found = white_box(tmp_path / "other.onnx", ("x", "y"), "as-is", np.dtype("float32"), box, (0, 1))
        assert (found is not None) is trusted


def test_weights_in_a_file_beside_it_are_found_and_missed_by_name(tmp_path):
    model = onnx.load(linear(tmp_path / "m.onnx"))
    onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    np.testing.assert_allclose(white(tmp_path / "m.onnx", facts()).predict(X), X @ W, atol=1e-6)
    assert files_beside(tmp_path / "m.onnx") == {"m.onnx.data": (tmp_path / "m.onnx.data").resolve()}
    (tmp_path / "m.onnx.data").write_bytes(b"\0" * 10)
    with pytest.raises(ModelError, match="keeps its weights in files beside it, and the file of w is missing or cut"):
        asked(tmp_path / "m.onnx", facts())
    (tmp_path / "m.onnx.data").unlink()
    with pytest.raises(ModelError, match=r"and m.onnx.data is missing or cut short: fetch it too"):
        asked(tmp_path / "m.onnx", facts())


def test_the_same_rows_get_the_same_answer(tmp_path):
    path = exported(NETS["residual"](), IMAGES[:2], tmp_path / "m.onnx")
    first, second = (asked(path, facts((2, 8, 8))) for _ in range(2))
    np.testing.assert_array_equal(first.predict(IMAGES), first.predict(IMAGES))
    np.testing.assert_array_equal(first.predict(IMAGES), second.predict(IMAGES))


@pytest.mark.parametrize("content", [b"", b"hello world", b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"])
def test_a_model_whole_in_itself_and_what_is_no_model_name_no_files_beside(tmp_path, content):
    assert files_beside(linear(tmp_path / "m.onnx")) == {}
    (tmp_path / "n.onnx").write_bytes(content)
    assert files_beside(tmp_path / "n.onnx") == {}


@pytest.mark.parametrize("part", [0.1, 0.5, 0.98])
def test_a_file_cut_short_is_named(tmp_path, part):
    path = linear(tmp_path / "m.onnx")
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ModelError, match=r"m.onnx is no whole ONNX file; save or fetch it again"):
        asked(path, facts())


@pytest.mark.parametrize("content", [b"hello world", b"PK\x03\x04" + b"\0" * 50, b"\x80\x04\x95", b"<!doctype html>"])
def test_what_is_no_onnx_is_named(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="is no whole ONNX file"):
        asked(tmp_path / "m.onnx", facts())


@pytest.mark.parametrize("newer", [{"opset": 99}, {"ir": 99}])
def test_a_model_newer_than_the_runtime_is_named(tmp_path, newer):
    version = onnxruntime.__version__
    with pytest.raises(ModelError, match=rf"is newer than onnxruntime {version} reads .*export with a smaller opset"):
        asked(linear(tmp_path / "m.onnx", **newer), facts())


def test_an_operator_that_the_runtime_lacks_is_named(tmp_path):
    path = write(
        tmp_path / "m.onnx", [node("Magic", "x", "y")], [ending("x", FLOAT, "n", 3)], [ending("y", FLOAT, "n", 4)]
    )
    with pytest.raises(ModelError, match=r"cannot be run by onnxruntime .*Magic"):
        asked(path, facts())


def test_inputs_of_another_shape_and_number_are_named(tmp_path):
    path = linear(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"takes x tensor\(float\) \(\?, 3\); the data has rows of shape \(5,\)"):
        asked(path, facts((5,)))
    two = write(
        tmp_path / "two.onnx",
        [node("Add", "a b", "y")],
        [ending("a", FLOAT, "n", 4), ending("b", FLOAT, "n", 4)],
        [ending("y", FLOAT, "n", 4)],
    )
    with pytest.raises(
        ModelError, match=r"takes 2 inputs \(a tensor\(float\) \(\?, 4\), b .*export the model with one"
    ):
        asked(two, facts((4,)))
    with pytest.raises(UnknownNameError, match=r"load.input: unknown input of two.onnx 'aa'; did you mean 'a'"):
        asked(two, facts((4,)), input="aa")


def test_another_number_of_classes_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"m.onnx answers 8 inputs with shape \(8, 4\); expected \(8, 2\)"):
        asked(linear(tmp_path / "m.onnx"), facts(classes=("a", "b")))


def test_a_model_that_fixes_its_number_of_rows_inside_is_named(tmp_path):
    path = write(
        tmp_path / "m.onnx",
        [node("MatMul", "x w", "z"), node("Reshape", "z s", "y")],
        [ending("x", FLOAT, "n", 3)],
        [ending("y", FLOAT, "n", 4)],
        w=W,
        s=np.array([2, 4]),
    )
    with pytest.raises(ModelError, match=r"m.onnx cannot answer float32 inputs of shape \(8, 3\): .*requested shape:"):
        asked(path, facts())


def test_labels_agree_however_the_model_is_asked(tmp_path):
    net = NETS["pooling"]()
    path = exported(net, IMAGES[:2], tmp_path / "m.onnx")
    labels = predicted_labels(net(torch.tensor(IMAGES)).detach().numpy())
    np.testing.assert_array_equal(asked(path, facts((2, 8, 8))).bare_labels(IMAGES), labels)
    np.testing.assert_array_equal(predicted_labels(white(path, facts((2, 8, 8))).predict(IMAGES)), labels)


def test_the_door_prepares_inputs_for_either_box_alike(tmp_path):
    path = linear(tmp_path / "m.onnx")
    settings = {"input_range": (-1, 1), "normalisation": {"mean": [0.1, 0.2, 0.3], "std": [1, 2, 4]}}
    expected = ((X * 2 - 1 - [0.1, 0.2, 0.3]) / [1, 2, 4]) @ W
    turned = load(spec(path, classes=("d", "a", "b", "c"), **settings), facts(), tmp_path)
    assert isinstance(turned, TorchSubject)
    np.testing.assert_allclose(turned.predict(X), expected[:, [1, 2, 3, 0]], atol=1e-5)
    np.testing.assert_array_equal(turned.bare_labels(X), expected[:, [1, 2, 3, 0]].argmax(1))
