"""CIFAR's python batches: files in exactly the distributed form, read without running anything."""

import codecs
import pickle
import pickletools
import struct
from contextlib import suppress

import numpy as np
import pytest

from auditor.datasets import load
from auditor.datasets.cifar import read_batch
from auditor.datasets.spec import DataConfig
from auditor.errors import ConfigError, DataError

NAMES10 = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]


def text(value):
    """A byte string as Python 2 pickles it."""
    return b"T" + struct.pack("<i", len(value)) + value if len(value) > 255 else b"U" + bytes([len(value)]) + value


def number(value):
    return b"J" + struct.pack("<i", value)


def python2_array(x):
    """An array of bytes as Python 2's numpy pickles it, protocol 2: what lies in the distributed files."""
    shape = b"".join(number(side) for side in x.shape)
    kind = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
    kind += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R"
    return made + b"(" + number(1) + b"(" + shape + b"t" + kind + b"\x89" + text(x.tobytes()) + b"tb"


def python2(value):
    """A value as Python 2 pickles it, protocol 2."""
    if isinstance(value, dict):
        return b"}(" + b"".join(python2(k) + python2(v) for k, v in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(python2, value)) + b"e"
    if isinstance(value, np.ndarray):
        return python2_array(value)
    return number(value) if isinstance(value, int) else text(value)


def write2(path, value):
    path.write_bytes(b"\x80\x02" + python2(value) + b".")


def write3(path, value):
    """The same, written by Python 3."""
    path.write_bytes(pickle.dumps(value, protocol=2))


def pixels(rows, seed):
    return np.random.default_rng(seed).integers(0, 256, (rows, 3072), dtype=np.uint8)


def batch(rows, seed, key=b"labels", classes=10):
    labels = [(i + seed) % classes for i in range(rows)]
    named = {b"batch_label": b"batch", key: labels, b"data": pixels(rows, seed), b"filenames": [b"a.png"] * rows}
    return named | ({b"coarse_labels": [0] * rows} if key == b"fine_labels" else {})


def cifar10(folder, write=write2):
    folder.mkdir()
    for i in range(1, 6):
        write(folder / f"data_batch_{i}", batch(10, i))
    write(folder / "test_batch", batch(10, 9))
    write(folder / "batches.meta", {b"num_cases_per_batch": 10, b"label_names": NAMES10, b"num_vis": 3072})
    (folder / "readme.html").write_text("hello")
    return folder


def config(source="cifar10", **options):
    return DataConfig(source=source, path="data", **options)


@pytest.mark.parametrize("write", [write2, write3], ids=["python2", "python3"])
def test_the_five_batches_are_read_in_order_with_pixels_channel_by_channel(tmp_path, write):
    cifar10(tmp_path / "data", write)
    data = load(config(), tmp_path)
    assert data.x_train.shape == (50, 3, 32, 32)
    assert data.x_test.shape == (10, 3, 32, 32)
    assert data.classes[:3] == ("airplane", "automobile", "bird")
    expected = np.concatenate([pixels(10, i) for i in range(1, 6)]) / 255
    np.testing.assert_allclose(data.x_train.reshape(50, -1), expected, atol=1e-7)
    assert data.x_train[0, 1, 0, 2] == np.float32(pixels(10, 1)[0, 1024 + 2] / 255)  # the second thousand is green
    assert data.y_train.tolist() == [(i + seed) % 10 for seed in range(1, 6) for i in range(10)]
    assert data.y_test.tolist() == [(i + 9) % 10 for i in range(10)]
    assert data.facts().range == (0.0, 1.0)


def test_cifar100_has_its_fine_classes(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    names = [f"class{i}".encode() for i in range(100)]
    write2(folder / "train", batch(200, 0, b"fine_labels", 100))
    write2(folder / "test", batch(100, 1, b"fine_labels", 100))
    write2(folder / "meta", {b"fine_label_names": names, b"coarse_label_names": [b"all"]})
    data = load(config("cifar100"), tmp_path)
    assert len(data.classes) == 100
    assert data.classes[99] == "class99"
    assert data.y_train.tolist() == [i % 100 for i in range(200)]


def test_the_test_files_are_what_python_reads_itself(tmp_path):
    write2(tmp_path / "a", batch(3, 1))
    ours, theirs = read_batch(tmp_path / "a"), pickle.loads((tmp_path / "a").read_bytes(), encoding="bytes")
    assert ours.keys() == theirs.keys()
    np.testing.assert_array_equal(ours[b"data"], theirs[b"data"])
    assert ours[b"labels"] == theirs[b"labels"]
    assert {o.name for o, *_ in pickletools.genops((tmp_path / "a").read_bytes())} >= {"GLOBAL", "SHORT_BINSTRING"}


def test_a_missing_batch_is_named(tmp_path):
    folder = cifar10(tmp_path / "data")
    (folder / "data_batch_3").unlink()
    (folder / "batches.meta").unlink()
    with pytest.raises(DataError, match=r"data_batch_3, batches.meta not there"):
        load(config(), tmp_path)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("protocol", range(6))
def test_a_prepared_file_runs_nothing(tmp_path, protocol):
    cifar10(tmp_path / "data")
    trap = tmp_path / "trap"
    (tmp_path / "data/data_batch_2").write_bytes(pickle.dumps({b"data": Malicious(trap)}, protocol=protocol))
    with pytest.raises(DataError, match=r"data_batch_2 .* asks for (__builtin__|_?io|builtins)\.open"):
        load(config(), tmp_path)
    assert not trap.exists()


@pytest.mark.parametrize(
    "prepared",
    [
        b"\x80\x02cos\nsystem\nU\x04true\x85R.",
        b"\x80\x02cnumpy\nload\nU\x04true\x85R.",
        b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.",
        b"cnumpy.core.multiarray\nscalar\n.",
        b"\x80\x02}(U\x04dataccodecs\ndecode\nu.",
    ],
)
def test_whatever_is_not_an_array_is_refused_by_name(tmp_path, prepared):
    (tmp_path / "a").write_bytes(prepared)
    with pytest.raises(DataError, match=r"it asks for (os.system|numpy|codecs)"):
        read_batch(tmp_path / "a")


def test_a_name_that_is_made_to_call_itself_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"\x80\x02cnumpy\ndtype\nq\x00(h\x00)}Ntb0h\x00)R.")
    with pytest.raises(DataError, match="it alters what it names"):
        read_batch(tmp_path / "a")


@pytest.mark.parametrize("number", [b"r" + (2**31 - 1).to_bytes(4, "little"), b"p2147483647\n"])
def test_a_short_file_cannot_ask_for_much_memory(tmp_path, number):
    (tmp_path / "a").write_bytes(b"\x80\x02N" + number + b".")
    with pytest.raises(DataError, match="it numbers a part 2147483647"):
        read_batch(tmp_path / "a")


def test_a_shape_of_which_one_would_never_finish_reading_is_not_printed(tmp_path):
    doubled = b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60))
    whole = python2_array(np.zeros((1, 8), np.uint8))
    shape = b"(" + number(1) + number(8) + b"t"
    assert shape in whole
    prepared = whole.replace(shape, b"]q\x00" + doubled + b"h<")
    (tmp_path / "a").write_bytes(b"\x80\x02}" + text(b"data") + prepared + b"s.")
    with pytest.raises(DataError, match="is no batch of CIFAR"):
        read_batch(tmp_path / "a")


def test_an_array_of_objects_is_refused_and_never_made(tmp_path):
    whole = python2_array(np.zeros((1, 8), np.uint8)).replace(text(b"u1"), text(b"O8"))
    (tmp_path / "a").write_bytes(b"\x80\x02}" + text(b"data") + whole + b"s.")
    with pytest.raises(DataError, match="not of bytes"):
        read_batch(tmp_path / "a")


@pytest.mark.parametrize("length", [0, 1, 7, 100, 2000])
def test_a_truncated_batch_is_named(tmp_path, length):
    folder = cifar10(tmp_path / "data")
    content = (folder / "test_batch").read_bytes()
    (folder / "test_batch").write_bytes(content[:length])
    with pytest.raises(DataError, match="test_batch is no batch of CIFAR"):
        load(config(), tmp_path)


def test_no_damaged_byte_ends_in_anything_but_a_message_or_data(tmp_path):
    write2(tmp_path / "a", batch(2, 1))
    content = bytearray((tmp_path / "a").read_bytes())
    rng = np.random.default_rng(0)
    for place in [*range(80), *rng.integers(80, len(content), 300)]:
        damaged = content.copy()
        damaged[place] = rng.integers(256)
        (tmp_path / "a").write_bytes(damaged)
        with suppress(DataError):
            read_batch(tmp_path / "a")


def test_a_file_cannot_change_how_the_next_one_is_read(tmp_path):
    setting = b"\x80\x02c_codecs\nencode\n}" + text(b"func") + text(b"x") + b"sb."
    (tmp_path / "a").write_bytes(setting)
    with pytest.raises(DataError):
        read_batch(tmp_path / "a")
    write3(tmp_path / "b", batch(2, 1))
    assert codecs.encode("é", "latin1") == b"\xe9"
    np.testing.assert_array_equal(read_batch(tmp_path / "b")[b"data"], pixels(2, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"data": np.zeros((10, 100), np.uint8)}, "data is no array of bytes"),
        ({b"labels": [1, 2]}, "labels is no list of 10 integers"),
        ({b"labels": [b"a"] * 10}, "labels is no list of 10 integers"),
    ],
)
def test_another_content_is_named(tmp_path, change, message):
    folder = cifar10(tmp_path / "data")
    write2(folder / "data_batch_1", batch(10, 1) | change)
    with pytest.raises(DataError, match=message):
        load(config(), tmp_path)


def test_a_label_that_is_no_byte_is_named(tmp_path):
    folder = cifar10(tmp_path / "data")
    write3(folder / "data_batch_1", batch(10, 1) | {b"labels": [2**70] * 10})
    with pytest.raises(DataError, match="labels is no list of 10 integers from 0 to 255"):
        load(config(), tmp_path)


def test_what_does_not_fit_the_batches_is_refused(tmp_path):
    cifar10(tmp_path / "data")
    with pytest.raises(ConfigError, match="brings its own test rows"):
        load(config(test_share=0.2), tmp_path)
    with pytest.raises(ConfigError, match="bytes"):
        load(config(range=(0, 1)), tmp_path)
    with pytest.raises(DataError, match="is a file"):
        load(DataConfig(source="cifar10", path="data/test_batch"), tmp_path)
    (tmp_path / "data/test_batch").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match="git-LFS pointer"):
        load(config(), tmp_path)


def test_the_data_card_gets_origin_and_collection(tmp_path):
    cifar10(tmp_path / "data")
    facts = load(config(origin="cs.toronto.edu", collection="students labelled them", licence="MIT"), tmp_path).facts()
    assert (facts.origin, facts.collection, facts.licence) == ("cs.toronto.edu", "students labelled them", "MIT")
