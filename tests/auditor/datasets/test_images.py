"""Folders of image files become rows, or a message naming the file."""

import numpy as np
import pytest
from PIL import Image

from auditor.datasets import load
from auditor.datasets.images import read_image
from auditor.datasets.spec import DataConfig, ImagesConfig
from auditor.errors import ConfigError, DataError


def draw(path, value, size=(4, 6), mode="RGB"):
    """An image of one colour, `size` (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (size[1], size[0]), value).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two classes, two training images and a test image each; the red of each says which it is."""
    for i, name in enumerate(("cat", "dog")):
        draw(tmp_path / f"data/train/{name}/b.png", (10 + i, 0, 0))
        draw(tmp_path / f"data/train/{name}/a.png", (20 + i, 0, 0))
        draw(tmp_path / f"data/test/{name}/a.png", (30 + i, 0, 0))
    return tmp_path


def config(**options):
    return DataConfig(source="images", path="data", **options)


def reds(x):
    return np.round(255 * x[:, 0, 0, 0]).astype(int).tolist()


def test_rows_are_class_by_class_with_files_by_name(folder):
    (folder / "data/train/.DS_Store").write_text("x")
    (folder / "data/train/cat/.hidden.png").write_text("x")
    data = load(config(), folder)
    assert data.shape == (3, 4, 6)
    assert data.classes == ("cat", "dog")
    assert reds(data.x_train) == [20, 10, 21, 11]
    assert data.y_train.tolist() == [0, 0, 1, 1]
    assert reds(data.x_test) == [30, 31]
    assert data.y_test.tolist() == [0, 1]
    assert data.facts().range == (0.0, 1.0)


def test_stated_classes_give_the_order(folder):
    data = load(config(classes=("dog", "cat")), folder)
    assert data.classes == ("dog", "cat")
    assert reds(data.x_train) == [21, 11, 20, 10]
    assert data.y_train.tolist() == [0, 0, 1, 1]


def test_class_folders_alone_are_split_with_a_test_share(tmp_path):
    for i, name in enumerate(("cat", "dog")):
        for j in range(10):
            draw(tmp_path / f"data/{name}/{j}.png", 100 * i + j, mode="L")
    data = load(config(test_share=0.2), tmp_path)
    assert (len(data.x_train), len(data.x_test)) == (16, 4)
    assert data.y_test.tolist() == [0, 0, 1, 1]
    assert sorted(reds(data.x_train) + reds(data.x_test)) == [*range(10), *range(100, 110)]
    np.testing.assert_array_equal(load(config(test_share=0.2), tmp_path).x_test, data.x_test)


def test_images_are_grey_where_all_files_are_and_as_asked(folder):
    assert load(config(images=ImagesConfig(mode="grey")), folder).shape == (1, 4, 6)
    for path in (folder / "data").rglob("*.png"):
        draw(path, 51, mode="L")
    data = load(config(), folder)
    assert data.shape == (1, 4, 6)
    assert data.x_train.min() == data.x_train.max() == np.float32(0.2)
    assert load(config(images=ImagesConfig(mode="rgb")), folder).shape == (3, 4, 6)
    draw(folder / "data/test/dog/a.png", (51, 51, 51))
    assert load(config(), folder).shape == (3, 4, 6)


def test_different_sizes_are_named_and_one_size_brings_them_together(folder):
    draw(folder / "data/test/dog/a.png", (31, 0, 0), size=(5, 6))
    with pytest.raises(DataError, match=r"train/cat/a.png is 4 x 6 .*test/dog/a.png is 5 x 6; .*size: \[4, 6\]"):
        load(config(), folder)
    data = load(config(images=ImagesConfig(size=(3, 2))), folder)
    assert data.shape == (3, 3, 2)
    assert reds(data.x_test) == [30, 31]


def test_resizing_averages_over_the_whole_of_each_new_pixel(tmp_path):
    board = (np.indices((8, 8)).sum(axis=0) % 2 * 200).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", "grey", (1, 1)).tolist() == [[[100]]]
    half = np.zeros((2, 4), np.uint8)
    half[:, 2:] = 80
    Image.fromarray(half).save(tmp_path / "b.png")
    small = read_image(tmp_path / "b.png", "grey", (1, 2))[0, 0]
    assert small[0] < 40 < small[1]


@pytest.mark.parametrize(
    ("mode", "value", "grey", "rgb"),
    [
        ("RGBA", (255, 0, 0, 0), 255, (255, 255, 255)),
        ("RGBA", (0, 0, 0, 128), 127, (127, 127, 127)),
        ("LA", (0, 255), 0, (0, 0, 0)),
        ("1", 1, 255, (255, 255, 255)),
        ("I;16", 65535, 255, (255, 255, 255)),
        ("I;16", 257 * 100, 100, (100, 100, 100)),
        ("RGB", (255, 0, 0), 76, (255, 0, 0)),
    ],
)
def test_transparency_is_over_white_and_16_bits_become_8(tmp_path, mode, value, grey, rgb):
    path = draw(tmp_path / "a.png", value, mode=mode)
    assert read_image(path, "grey")[0, 0, 0] == grey
    assert tuple(read_image(path, "rgb")[:, 0, 0]) == rgb


def test_palettes_show_their_colours_and_their_transparent_entry_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.save(tmp_path / "plain.png")
    assert read_image(tmp_path / "plain.png", "rgb")[:, 0].T.tolist() == [[10, 20, 30], [40, 50, 60]]
    image.save(tmp_path / "clear.png", transparency=1)
    assert read_image(tmp_path / "clear.png", "rgb")[:, 0].T.tolist() == [[10, 20, 30], [255, 255, 255]]


def test_an_animation_is_no_image(tmp_path):
    frames = [Image.new("L", (4, 4), i) for i in (0, 100)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"a.gif holds 2 images"):
        read_image(tmp_path / "a.gif", "grey")


def test_a_truncated_image_is_named(folder):
    path = folder / "data/train/dog/a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    for length in (0, 20, 40, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"train/dog/a.png"):
            load(config(images=ImagesConfig(size=(4, 6))), folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", b"hello", r"train/cat/notes.txt is no image"),
        ("a.png", b"version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
        ("a.jpg", b"\xff\xd8\xff\xe0 not really", r"train/cat/a.jpg"),
    ],
)
def test_a_file_that_is_no_image_is_named(folder, name, content, message):
    (folder / "data/train/cat" / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(config(), folder)


def test_a_picture_that_would_be_run_as_a_program_is_no_image(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a.png is no image that can be read \(BMP, GIF, JPEG"):
        read_image(tmp_path / "a.png", "rgb")


def test_a_link_to_nothing_is_named(folder):
    (folder / "data/train/cat/c.png").symlink_to(folder / "nowhere.png")
    with pytest.raises(DataError, match=r"cat/c.png is no file that can be read, or a link to nothing"):
        load(config(), folder)


def test_an_image_too_large_to_be_one_is_named(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(DataError, match=r"bomb.png cannot be read: .*decompression bomb"):
        read_image(tmp_path / "bomb.png", "grey", (8, 8))


def test_folders_that_do_not_fit_are_named(folder):
    data = folder / "data"
    (data / "train/empty").mkdir()
    (data / "test/empty").mkdir()
    with pytest.raises(DataError, match="train/empty is empty"):
        load(config(), folder)
    (data / "test/empty").rmdir()
    draw(data / "train/empty/a.png", (1, 1, 1))
    with pytest.raises(DataError, match="test: there is no folder 'empty', which the training folders have"):
        load(config(), folder)
    (data / "train/empty/a.png").unlink()
    (data / "train/empty").rmdir()
    (data / "test/bird").mkdir()
    with pytest.raises(DataError, match="the folder 'bird' is not among the training folders: cat, dog"):
        load(config(), folder)
    (data / "test/bird").rmdir()
    with pytest.raises(DataError, match=r"there is no folder 'cow', which data.classes have"):
        load(config(classes=("cat", "dog", "cow")), folder)
    with pytest.raises(DataError, match=r"the folder 'dog' is not among data.classes: cat, cow"):
        load(config(classes=("cat", "cow")), folder)
    (data / "train/cat/more").mkdir()
    with pytest.raises(DataError, match="cat/more is a folder inside a class"):
        load(config(), folder)


def test_a_layout_that_does_not_fit_is_explained(folder):
    with pytest.raises(ConfigError, match=r"remove data.test_share"):
        load(config(test_share=0.5), folder)
    with pytest.raises(DataError, match="has no folder train"):
        load(DataConfig(source="images", path="data/train"), folder)
    with pytest.raises(DataError, match="0 class folder"):
        load(DataConfig(source="images", path="data/train/cat", test_share=0.5), folder)
    with pytest.raises(DataError, match="is a file"):
        load(DataConfig(source="images", path="data/train/cat/a.png"), folder)
    with pytest.raises(ConfigError, match=r"data.range"):
        load(config(range=(0, 1)), folder)
    with pytest.raises(ConfigError, match=r"data.images is for source: images, not for digits"):
        load(DataConfig(source="digits", images=ImagesConfig(mode="grey")), folder)
