"""Arrays that need not fit into memory: the same values as in memory, and their pages given back."""

import resource

import numpy as np
import pytest

from auditor import blocks
from auditor.blocks import Chosen, copied, extremes, gather, mapped, release, save, scratch, taken
from auditor.errors import DataError


@pytest.fixture
def file(tmp_path):
    """A mapped file of 200 rows of 1000 floats, and the same in memory."""
    x = np.random.default_rng(0).random((200, 1000), dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    return np.load(tmp_path / "x.npy", mmap_mode="r"), x


def resident(array):
    """Bytes of a mapped file that this process holds, as the system counts them."""
    start, inside, total = array.__array_interface__["data"][0], False, 0
    with open("/proc/self/smaps") as lines:
        for line in lines:
            if "-" in line.split()[0] and not line.startswith(("Vm", "THP")):
                low, high = (int(n, 16) for n in line.split()[0].split("-"))
                inside = low <= start < high
            elif inside and line.startswith("Rss:"):
                total += int(line.split()[1]) * 1024
    return total


def test_blocks_are_consecutive_and_whole(file):
    on_disk, x = file
    parts = list(blocks.blocks(on_disk, 64))
    assert [len(part) for part in parts] == [64, 64, 64, 8]
    np.testing.assert_array_equal(np.concatenate(parts), x)
    assert list(blocks.blocks(x[:0])) == []


def test_pages_of_a_mapped_file_are_given_back_also_through_views(file):
    on_disk, x = file
    view = np.asarray(on_disk).view()[10:]
    assert view.sum() > 0
    assert resident(on_disk) > x.nbytes / 2
    release(view)
    assert resident(on_disk) == 0
    np.testing.assert_array_equal(view, x[10:])


def test_what_was_written_to_a_private_copy_of_a_file_is_never_given_back(file, tmp_path):
    private = np.load(tmp_path / "x.npy", mmap_mode="c")
    private[3] = 7
    release(private)
    assert (private[3] == 7).all()


def test_gathered_rows_are_the_rows_asked_for_in_their_order(file):
    on_disk, x = file
    rows = np.random.default_rng(1).integers(0, 200, 900)  # more rows than are read between two releases
    np.testing.assert_array_equal(gather(on_disk, rows), x[rows])
    np.testing.assert_array_equal(gather(x, rows), x[rows])


def test_what_is_large_is_chosen_and_not_copied(file, monkeypatch):
    on_disk, x = file
    keep = np.arange(200) % 3 == 0
    assert isinstance(taken(on_disk, keep), np.ndarray)
    monkeypatch.setattr(blocks, "LARGE", 1000)
    chosen = taken(on_disk, keep)
    assert isinstance(chosen, Chosen)
    assert (chosen.shape, len(chosen), chosen.nbytes) == ((67, 1000), 67, 268_000)
    np.testing.assert_array_equal(chosen[10:20], x[keep][10:20])
    np.testing.assert_array_equal(copied(chosen), x[keep])
    assert mapped(copied(chosen)) is not None


def test_extremes_are_those_of_each_feature_and_show_what_is_no_number():
    x = np.float32([[0, 5, 1], [-2, 4, 1], [3, 6, 1]])
    seen = extremes(x)
    assert seen.low.tolist() == [-2, 4, 1]
    assert seen.high.tolist() == [3, 6, 1]
    x[1, 1] = np.nan
    assert np.isnan(extremes(x).low).tolist() == [False, True, False]


def test_a_large_array_to_fill_lies_in_a_file_and_keeps_what_was_written(monkeypatch):
    monkeypatch.setattr(blocks, "LARGE", 1000)
    x = scratch((300, 20), np.float32)
    x[:] = np.arange(20)
    release(x)
    assert mapped(x) is not None
    assert x.sum() == 300 * 190
    assert mapped(scratch((5,), np.float32)) is None


def test_no_room_for_a_large_array_is_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(DataError, match=r"GB of temporary space are needed in .*TMPDIR"):
        scratch((2**22, 2**20), np.float64)


def test_a_file_written_block_by_block_is_the_one_that_numpy_writes(tmp_path, monkeypatch):
    x = np.random.default_rng(0).random((500, 3, 8, 8), dtype=np.float32)
    np.save(tmp_path / "whole.npy", x)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 10_000)
    save(tmp_path / "blocks.npy", x)
    assert (tmp_path / "blocks.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    save(tmp_path / "turned.npy", x.T)
    np.testing.assert_array_equal(np.load(tmp_path / "turned.npy"), x.T)


def test_reading_a_whole_file_in_blocks_holds_a_few_of_them(tmp_path):
    size = 2**28
    with (tmp_path / "x.npy").open("wb") as file:
        header = {"shape": (size // 4096, 1024), "fortran_order": False, "descr": "<f4"}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert extremes(x).high.max() == 0
    assert resident(x) < 2 * blocks.BLOCK_BYTES
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4 * blocks.BLOCK_BYTES / 1024
