"""What a model file is by its bytes, whatever it is called, and without running any of it."""

import bz2
import gzip
import pickle
import warnings
import zlib

import joblib
import numpy as np
import pytest
import skops.io
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from torch import nn

from auditor.subjects.sniffing import ModelKind, formats_of, kind_of

X = np.random.default_rng(0).uniform(size=(20, 3)).astype(np.float32)
Y = np.arange(20) % 2


def net():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()


def scripted(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(net()), path)


def onnx(path):
    from onnx import TensorProto, helper

    node = helper.make_node("Relu", ["x"], ["y"])
    tensors = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3]) for n in "xy"]
    model = helper.make_model(helper.make_graph([node], "g", tensors[:1], tensors[1:]))
    path.write_bytes(model.SerializeToString())


def boosted(path, ending):
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(X, Y)
    model.save_model(path.with_suffix(ending))
    path.with_suffix(ending).replace(path)


def lightgbm(path):
    import lightgbm

    model = lightgbm.train({"objective": "binary", "num_threads": 1, "verbose": -1}, lightgbm.Dataset(X, Y), 2)
    model.save_model(path)


def skop(path):
    with path.open("wb") as file:
        skops.io.dump(LogisticRegression().fit(X, Y), file)


def arrays(path):
    with path.open("wb") as file:
        np.savez(file, x=X)


WRITERS = {
    ModelKind.SAFETENSORS: [lambda p: save_file(net().state_dict(), p)],
    ModelKind.TORCH: [
        lambda p: torch.save(net().state_dict(), p),
        lambda p: torch.save(net(), p),
        lambda p: torch.save(net().state_dict(), p, _use_new_zipfile_serialization=False),
    ],
    ModelKind.TORCHSCRIPT: [scripted],
    ModelKind.EXPORTED: [lambda p: exported(p)],
    ModelKind.SKOPS: [skop],
    ModelKind.PICKLE: [
        *(lambda p, n=n: p.write_bytes(pickle.dumps(LogisticRegression(), protocol=n)) for n in (2, 4, 5)),
        *(lambda p, c=c: joblib.dump(LogisticRegression(), p, compress=c) for c in (0, 3, ("gzip", 3), ("xz", 3))),
        lambda p: p.write_bytes(bz2.compress(pickle.dumps(X))),
    ],
    ModelKind.ONNX: [onnx],
    ModelKind.XGBOOST: [lambda p: boosted(p, ".json"), lambda p: boosted(p, ".ubj")],
    ModelKind.LIGHTGBM: [lightgbm],
    ModelKind.LFS_POINTER: [lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")],
    ModelKind.NPZ: [arrays],
    ModelKind.HTML: [
        lambda p: p.write_text("\n<!DOCTYPE HTML><html>Not found</html>"),
        lambda p: p.write_text("<html>"),
    ],
    ModelKind.HDF5: [lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99))],
    None: [
        lambda p: p.write_bytes(b""),
        lambda p: p.write_bytes(b"\x08"),
        lambda p: p.write_bytes(b"PK\3\4"),
        lambda p: p.write_bytes(bytes(200)),
        lambda p: p.write_bytes(np.random.default_rng(1).bytes(5000)),
        lambda p: p.write_text("a,b,label\n1,2,0\n"),
        lambda p: p.write_text('{"x": 1}'),
        lambda p: p.write_text("{"),
        lambda p: p.write_bytes(gzip.compress(b"text, not a pickle")),
        lambda p: p.write_bytes(zlib.compress(b"text")[:4]),
    ],
}


def exported(path):
    with path.open("wb") as file:
        torch.export.save(torch.export.export(net(), (torch.tensor(X),)), file)


@pytest.mark.parametrize(("kind", "write"), [(kind, write) for kind, writers in WRITERS.items() for write in writers])
def test_a_file_is_told_by_its_bytes(tmp_path, kind, write):
    path = tmp_path / "model.bin"
    write(path)
    assert kind_of(path) == kind


@pytest.mark.parametrize("kind", [ModelKind.SAFETENSORS, ModelKind.ONNX, ModelKind.LIGHTGBM, ModelKind.PICKLE])
def test_a_file_that_was_cut_short_is_still_told(tmp_path, kind):
    path = tmp_path / "model.bin"
    WRITERS[kind][0](path)
    path.write_bytes(path.read_bytes()[:-7])
    assert kind_of(path) == kind


def test_every_kind_of_model_names_the_format_that_opens_it():
    assert formats_of(ModelKind.TORCH) == formats_of(ModelKind.SAFETENSORS) == ("state-dict",)
    assert formats_of(ModelKind.PICKLE) == ("sklearn",)
    assert formats_of(ModelKind.HTML) == ()
