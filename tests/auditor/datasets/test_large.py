"""A folder of npy files: mapped, checked like npz, and audited without ever being in memory whole."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from auditor import blocks
from auditor.blocks import mapped
from auditor.dataset import Dataset
from auditor.datasets import load
from auditor.datasets.spec import DataConfig
from auditor.errors import DataError, UnknownNameError
from auditor.recipe import Fit, Recipe
from auditor.seeds import Seeds
from auditor.store import Store
from auditor.training import loop
from auditor.training.architectures import Normalised
from auditor.training.rows import MappedRows, tensor_rows


def arrays(rows=60, shape=(1, 4, 4), dtype=np.float32):
    rng = np.random.default_rng(0)
    x = rng.random((rows + 20, *shape), dtype=np.float32)
    x = (x * 255).astype(dtype) if dtype == np.uint8 else x.astype(dtype)
    y = np.arange(rows + 20) % 3
    return {"x_train": x[:rows], "y_train": y[:rows], "x_test": x[rows:], "y_test": y[rows:]}


def write(folder, given):
    folder.mkdir(exist_ok=True)
    for key, value in given.items():
        np.save(folder / f"{key}.npy", value)
    return folder.parent


def config(**options):
    return DataConfig(source="npy", path="data", **options)


def test_float32_in_the_unit_range_stays_in_its_file(tmp_path):
    given = arrays() | {"x_ood_far": np.zeros((5, 1, 4, 4), np.float32), "groups_site": np.arange(20) % 2}
    data = load(config(), write(tmp_path / "data", given))
    assert os.path.samefile(mapped(data.x_train).filename, tmp_path / "data/x_train.npy")
    np.testing.assert_array_equal(data.x_train, given["x_train"])
    np.testing.assert_array_equal(data.x_test, given["x_test"])
    assert list(data.ood) == ["far"]
    assert data.groups["site"].tolist() == [0, 1] * 10


@pytest.mark.parametrize("large", [2**28, 1000], ids=["in memory", "in a temporary file"])
def test_bytes_and_other_numbers_are_scaled_block_by_block_as_npz_are(tmp_path, monkeypatch, large):
    monkeypatch.setattr(blocks, "LARGE", large)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 100)
    given = arrays(dtype=np.uint8)
    data = load(config(), write(tmp_path / "data", given))
    np.testing.assert_array_equal(data.x_train, (given["x_train"] / 255).astype(np.float32))
    assert (mapped(data.x_train) is not None) == (large == 1000)
    np.savez(tmp_path / "data.npz", **given)
    assert load(DataConfig(source="npz", path="data.npz"), tmp_path).sha256 == data.sha256
    table = {key: value.reshape(len(value), -1) if key[0] == "x" else value for key, value in given.items()}
    doubles = load(config(range=(0, 510)), write(tmp_path / "data", table | {"x_train": table["x_train"] * 1.0}))
    np.testing.assert_array_equal(doubles.x_test, (table["x_test"] / 510).astype(np.float32))


def test_a_test_share_splits_the_training_file(tmp_path):
    given = arrays()
    write(tmp_path / "data", {key: given[key] for key in ("x_train", "y_train")})
    data = load(config(test_share=0.25), tmp_path)
    assert (len(data.x_train), len(data.x_test)) == (45, 15)
    assert np.bincount(data.y_test).tolist() == [5, 5, 5]
    write(tmp_path / "data", given)
    with pytest.raises(DataError, match="no x_test or y_test may be there"):
        load(config(test_share=0.25), tmp_path)


def test_values_that_are_not_finite_or_out_of_range_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 100)
    given = arrays()
    given["x_train"][50, 0, 2, 3] = np.nan
    given["x_train"][55, 0, 0, 0] = np.inf
    with pytest.raises(DataError, match=r"x_train has 2 values that are not finite, the first at \(50, 0, 2, 3\)"):
        load(config(), write(tmp_path / "data", given))
    given["x_train"][50:] = 3
    with pytest.raises(DataError, match=r"x_train has pixels from .* to 3; state the range"):
        load(config(), write(tmp_path / "data", given))


def test_files_that_cannot_be_mapped_are_named(tmp_path):
    write(tmp_path / "data", arrays())
    path = tmp_path / "data/x_train.npy"
    whole = path.read_bytes()
    for content, message in (
        (whole[:-50], "cannot be mapped"),
        (whole[:40], "cannot be mapped"),
        (b"", "is no npy file"),
        (b"PK\3\4", "is no npy file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a git-LFS pointer"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"x_train.npy:? {message}"):
            load(config(), tmp_path)
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DataError, match=r"x_train.npy: cannot be mapped: .*objects"):
        load(config(), tmp_path)
    path.unlink()
    with pytest.raises(DataError, match="x_train is missing"):
        load(config(), tmp_path)
    np.save(tmp_path / "data/x_val.npy", np.zeros(3))
    with pytest.raises(UnknownNameError, match="x_val"):
        load(config(), tmp_path)
    with pytest.raises(DataError, match=r"is a file; npy reads a folder of x_train.npy"):
        load(DataConfig(source="npy", path="data/y_test.npy"), tmp_path)


def test_an_empty_foreign_set_is_named(tmp_path):
    with pytest.raises(DataError, match="x_ood_far is empty"):
        load(config(), write(tmp_path / "data", arrays() | {"x_ood_far": np.zeros((0, 1, 4, 4), np.float32)}))


def test_an_empty_file_is_named(tmp_path):
    write(tmp_path / "data", arrays() | {"x_train": np.zeros((0, 1, 4, 4), np.float32), "y_train": np.zeros(0, int)})
    with pytest.raises(DataError, match="x_train is empty"):
        load(config(), tmp_path)


def test_a_file_in_columns_is_read_while_it_is_small(tmp_path, monkeypatch):
    given = arrays()
    write(tmp_path / "data", given | {"x_train": np.asfortranarray(given["x_train"])})
    np.testing.assert_array_equal(load(config(), tmp_path).x_train, given["x_train"])
    monkeypatch.setattr(blocks, "LARGE", 1000)
    with pytest.raises(DataError, match="stored column by column"):
        load(config(), tmp_path)


def test_the_store_keeps_what_the_data_is_and_where_it_is_from(tmp_path):
    data = load(config(origin="a lab", collection="by hand"), write(tmp_path / "data", arrays()))
    store = Store(tmp_path / "store")
    store.write_dataset(data)
    kept = store.dataset(data.sha256)
    assert kept.facts() == data.facts()
    assert (kept.origin, kept.collection) == ("a lab", "by hand")
    assert Dataset.sha256.func(kept) == data.sha256


def test_rows_read_as_they_are_needed_are_the_rows_in_memory(tmp_path, monkeypatch):
    data = load(config(), write(tmp_path / "data", arrays()))
    seeds = Seeds(3)
    wanted = Fit(recipe=Recipe(architecture="mlp", optimizer="sgd", epochs=2, batch_size=7), holdout=0.3)
    inside = loop.fit(wanted, data, seeds=seeds, learning_rate=0.1)
    monkeypatch.setattr(blocks, "LARGE", 100)
    rows = loop.parts(wanted, data, seeds)
    assert isinstance(tensor_rows(rows.x), MappedRows)
    order = np.random.default_rng(0).permutation(len(rows.y))
    np.testing.assert_array_equal(rows.x[order], np.asarray(data.x_train)[rows.x.index][order])
    outside = loop.fit(wanted, data, seeds=seeds, learning_rate=0.1)
    assert outside.steps == inside.steps
    for name, weights in inside.state.items():
        np.testing.assert_allclose(outside.state[name], weights, rtol=1e-4, atol=1e-6)
    assert outside.holdout_loss == pytest.approx(inside.holdout_loss, rel=1e-5)


def test_mean_and_deviation_of_large_rows_are_those_of_all(monkeypatch):
    x = np.random.default_rng(0).normal(3, 2, (500, 6)).astype(np.float32)
    x[:, 2] = 5
    monkeypatch.setattr(blocks, "LARGE", 100)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1000)
    net = Normalised(None, (6,))
    net.measure(x)
    np.testing.assert_allclose(net.mean, x.astype(np.float64).mean(axis=0), rtol=1e-6)
    expected = x.astype(np.float64).std(axis=0)
    np.testing.assert_allclose(net.deviation, np.where(np.arange(6) == 2, 1, expected), rtol=1e-6)


ASKED = """
import numpy as np, torch
from auditor.subjects.torch_subject import TorchSubject

def held(what):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))

net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10))
subject = TorchSubject(net, classes=10, shape=(3, 32, 32))
x = np.load("x.npy", mmap_mode="r")
subject.predict(x[:2000])
before = held("VmRSS")
assert subject.predict(x).shape == (50_000, 10)
print(held("VmHWM") - before)
"""


def test_asking_for_many_rows_holds_one_batch_of_them(tmp_path):
    """600 MB of rows; tensors kept from batch to batch would keep most of that in memory."""
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (50_000, 3, 32, 32))
    done = subprocess.run([sys.executable, "-c", ASKED], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1.5e8


AUDIT = """schema: auditor/audit/1
name: large
seed: 1
profile: quick
data: {source: npy, path: data}
subjects:
  - id: net
    train: {kwargs: {hidden: [16]}, optimizers: [sgd], seeds: 1, epochs: 1, batch_size: 512, tune: off}
"""
PROBES = ("accuracy", "calibration", "evasion.linf", "ood.scores", "privacy.membership")


@pytest.mark.slow
def test_a_sample_of_a_large_file_is_audited_in_less_memory_than_it_has(tmp_path):
    """Measured in processes of their own: 1.6 GB of rows; one that held them all would have more than 1.4 GB."""
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, rows in (("train", 130_000), ("test", 2000)):
        y = rng.integers(0, 4, rows)
        x = np.lib.format.open_memmap(folder / f"x_{part}.npy", "w+", np.float32, (rows, 3, 32, 32))
        for start in range(0, rows, 2000):
            labels = y[start : start + 2000, None, None, None]
            x[start : start + 2000] = 0.9 * rng.random((len(labels), 3, 32, 32), dtype=np.float32) + 0.025 * labels
            blocks.release(x)
        np.save(folder / f"y_{part}.npy", y)
    (tmp_path / "audit.yaml").write_text(AUDIT)
    only = [option for probe in PROBES for option in ("--only", probe)]
    command = [
        sys.executable,
        "-m",
        "auditor",
        "run",
        "audit.yaml",
        "--out",
        "out",
        "--workers",
        "1",
        "--no-gate",
        *only,
    ]
    timed = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
    timed += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", timed, *command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "out/facts/record.json").read_bytes())
    assert [r["outcome"] for r in record["results"]] == ["completed"] * len(PROBES)
    assert int(done.stdout.split()[-1]) * 1024 < 1.4e9
