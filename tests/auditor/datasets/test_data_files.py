"""IDX and npz files are read exactly, and broken ones are named with what to do."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from auditor.datasets import content_files, load
from auditor.datasets.files import IDX_FILES, read_idx
from auditor.datasets.spec import DataConfig
from auditor.errors import AuditorError, DataError, UnknownNameError

DEBIAN = Path("usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist, which `make test` brings
FASHION = next((p for root in ("/", ".venv") if (p := Path(root) / DEBIAN).is_dir()), Path("/") / DEBIAN).resolve()


def idx_bytes(array, code):
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder, *, packed=False, spelling="-idx"):
    x = (np.arange(8 * 3 * 3) % 256).astype(np.uint8).reshape(8, 3, 3)
    y = (np.arange(8) % 2).astype(np.uint8)
    for key, name in IDX_FILES.items():
        content = idx_bytes(x if key.startswith("x") else y, 0x08)
        path = folder / (name.replace("-idx", spelling) + (".gz" if packed else ""))
        path.write_bytes(gzip.compress(content) if packed else content)
    return x


def config(source, path, **more):
    return DataConfig(source=source, path=path, **more)


def npz(folder, **changes):
    rng = np.random.default_rng(0)
    given = {
        "x_train": rng.normal(size=(20, 3)),
        "y_train": np.arange(20) % 2,
        "x_test": rng.normal(size=(10, 3)),
        "y_test": np.arange(10) % 2,
    }
    arrays = {key: value for key, value in {**given, **changes}.items() if value is not None}
    np.savez(folder / "data.npz", **arrays)
    return arrays


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("spelling", ["-idx", ".idx"])
def test_idx_images_are_read_as_shares_of_255(tmp_path, packed, spelling):
    x = write_idx(tmp_path, packed=packed, spelling=spelling)
    data = load(config("idx", "."), tmp_path)
    np.testing.assert_array_equal(data.x_train, (x[:, None] / 255.0).astype(np.float32))
    assert data.y_test.tolist() == [0, 1] * 4


@pytest.mark.parametrize(
    ("code", "stored"), [(0x08, "u1"), (0x09, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")]
)
def test_every_idx_type_is_read(tmp_path, code, stored):
    values = np.array([[1, 2, 3], [100, 5, 6]])
    (tmp_path / "a").write_bytes(idx_bytes(values.astype(stored), code))
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), values)


def test_fashion_mnist_is_read_whole_and_limited_by_class():
    data = load(config("idx", str(FASHION), limit={"train": 500, "test": 200}, range=(0, 255)), Path())
    assert data.shape == (1, 28, 28)
    assert np.bincount(data.y_train).tolist() == [50] * 10
    assert np.bincount(data.y_test).tolist() == [20] * 10
    labels = gzip.decompress((FASHION / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    assert np.bincount(np.frombuffer(labels, np.uint8)).tolist() == [1000] * 10
    assert 0.2 < data.x_train.mean() < 0.4  # the published mean is 0.286


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\0\0\x08", "starts with 00 00 08, which is no IDX file"),
        (b"PK\3\4 and more", "which is no IDX file"),
        (b"\0\0\x08\3\0\0\0\1", "ends inside its header"),
        (idx_bytes(np.zeros((8, 3, 3), np.uint8), 0x08)[:-5], r"is cut short.* \(8, 3, 3\), 72 bytes, and 67"),
        (idx_bytes(np.zeros((8, 3, 3), np.uint8), 0x08) + b"x", "has bytes too many"),
        (gzip.compress(b"\0" * 999)[:-9], "cannot be unpacked"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "is a git-LFS pointer.*git lfs pull"),
    ],
)
def test_a_broken_idx_file_is_named(tmp_path, content, said):
    write_idx(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=f"t10k-images-idx3-ubyte.*{said}"):
        load(config("idx", "."), tmp_path)


def test_a_missing_idx_file_is_named(tmp_path):
    write_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"neither train-labels-idx1-ubyte nor train-labels-idx1-ubyte.gz is there"):
        content_files(config("idx", "."), tmp_path)


def test_npz_keys_become_the_dataset(tmp_path):
    arrays = npz(tmp_path, x_ood_noise=np.ones((4, 3)))
    data = load(config("npz", "data.npz", classes=[True, False], licence="MIT", description="mine"), tmp_path)
    np.testing.assert_array_equal(data.x_train, arrays["x_train"].astype(np.float32))
    assert data.classes == ("true", "false")
    assert (data.id, data.licence, data.description, list(data.ood)) == ("data", "MIT", "mine", ["noise"])


def test_npz_without_test_rows_is_split_by_class(tmp_path):
    npz(tmp_path, x_test=None, y_test=None)
    data = load(config("npz", "data.npz", test_share=0.2), tmp_path)
    assert (len(data.y_train), data.y_test.tolist().count(0), data.y_test.tolist().count(1)) == (16, 2, 2)


def test_npz_with_test_rows_and_a_share_is_a_contradiction(tmp_path):
    npz(tmp_path)
    with pytest.raises(DataError, match=r"data.test_share splits .*no x_test or y_test may be there"):
        load(config("npz", "data.npz", test_share=0.2), tmp_path)


def test_pickled_objects_in_npz_are_refused(tmp_path):
    npz(tmp_path, x_train=np.array([{"a": 1}] * 20, dtype=object))
    with pytest.raises(DataError, match="x_train cannot be read without running code"):
        load(config("npz", "data.npz"), tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not a zip", "is no npz file; save it with numpy.savez"),
        (b"PK\3\4 cut", "cannot be read"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
    ],
)
def test_a_broken_npz_file_is_named(tmp_path, content, said):
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(DataError, match=said):
        load(config("npz", "data.npz"), tmp_path)


def test_a_truncated_npz_file_is_named(tmp_path):
    npz(tmp_path)
    whole = (tmp_path / "data.npz").read_bytes()
    (tmp_path / "data.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"data.npz: cannot be read"):
        load(config("npz", "data.npz"), tmp_path)


def test_a_missing_file_and_a_missing_path_are_named(tmp_path):
    with pytest.raises(DataError, match=r"data.path: .*nothing.npz does not exist"):
        load(config("npz", "nothing.npz"), tmp_path)
    with pytest.raises(DataError, match=r"data.source npz needs data.path"):
        load(config("npz", None), tmp_path)


def test_an_unknown_source_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match=r"data.source: unknown dataset 'digit'; did you mean 'digits'"):
        load(config("digit", None), tmp_path)


def test_content_files_are_what_identifies_the_data(tmp_path):
    npz(tmp_path)
    (tmp_path / "mine.py").write_text("")
    own = DataConfig(source="mine:make", ood=[{"name": "far", "source": "npz", "path": "data.npz"}])
    assert content_files(own, tmp_path) == [tmp_path / "data.npz", tmp_path / "mine.py"]
    assert content_files(config("digits", None), tmp_path) == []


def test_a_users_function_beside_the_audit_file_makes_the_data(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from auditor.datasets import from_arrays\n"
        "def make(config, directory):\n"
        "    x = [[0.0], [1.0]]\n"
        "    return from_arrays({'x_train': x, 'y_train': [0, 1], 'x_test': x, 'y_test': [0, 1]}, id=directory.name)\n"
        "def broken(config, directory): raise KeyError('age')\n"
        "def numbers(config, directory): return 3\n"
    )
    assert load(config("mine:make", None), tmp_path).id == tmp_path.name
    with pytest.raises(DataError, match="mine:broken raised KeyError: 'age'"):
        load(config("mine:broken", None), tmp_path)
    with pytest.raises(DataError, match="returned a int; it must return a Dataset"):
        load(config("mine:numbers", None), tmp_path)
    with pytest.raises(AuditorError, match=r"unknown name in mine.py 'mak'; did you mean 'make'"):
        load(config("mine:mak", None), tmp_path)
