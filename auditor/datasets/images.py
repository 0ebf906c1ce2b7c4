"""Data from folders of image files, a folder a class."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from auditor.blocks import BLOCK_BYTES, release, scratch
from auditor.dataset import Dataset
from auditor.datasets import places
from auditor.datasets.arrays import dataset, held_back
from auditor.datasets.spec import DataConfig, ImagesConfig
from auditor.errors import ConfigError, DataError

if TYPE_CHECKING:
    from PIL.Image import Image

Mode = Literal["grey", "rgb"]
GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes without colour
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")  # others run programs: PostScript does
LAYOUT = "folders train/CLASS and test/CLASS, or CLASS alone with data.test_share"


def images(config: DataConfig, directory: Path) -> Dataset:
    """Images in PATH/train/CLASS and PATH/test/CLASS, or in PATH/CLASS with `test_share`.

    Pixels are read as bytes. Classes are in the order of data.classes, else sorted by name; rows are class by class,
    files sorted by name. Raises DataError naming the file or folder that does not fit.
    """
    places.refuse_range(config)
    root = places.folder(config, directory, LAYOUT)
    parts = _parts(root, config)
    classes = config.classes or _subfolders(parts[0])
    listed = {part: _listed(part, classes, config.classes is not None) for part in parts}
    form = _form([row.path for rows in listed.values() for row in rows], config.images or ImagesConfig())
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for key, rows in zip(("train", "test"), listed.values(), strict=False):
        arrays[f"x_{key}"] = _pixels([row.path for row in rows], form)
        arrays[f"y_{key}"] = np.array([row.label for row in rows], np.int64)
    return dataset(
        held_back(arrays, config.test_share, root.name),
        place=str(config.path),
        name=root.resolve().name,
        bounds=(0, 255),
        classes=tuple(classes),
        licence=config.licence,
        description=config.description,
    )


def _parts(root: Path, config: DataConfig) -> tuple[Path, ...]:
    """The folders that hold class folders: train and test, or the root alone."""
    train, test = root / "train", root / "test"
    if config.test_share is not None:
        if train.is_dir() and test.is_dir():
            raise ConfigError(f"data.test_share: {root} has a folder test already; remove data.test_share")
        return (root,)
    for part in (train, test):
        if not part.is_dir():
            raise DataError(f"{root} has no folder {part.name}; images reads {LAYOUT}")
    return (train, test)


def _visible(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=lambda p: p.name)


def _subfolders(folder: Path) -> tuple[str, ...]:
    names = tuple(path.name for path in _visible(folder) if path.is_dir())
    if len(names) < 2:
        raise DataError(f"{folder} has {len(names)} class folder; a classifier needs at least two: {LAYOUT}")
    return names


@dataclass(frozen=True)
class _Row:
    path: Path
    label: int


def _listed(folder: Path, classes: Sequence[str], stated: bool) -> list[_Row]:
    """The image files of a part with their labels. Its folders must be the classes."""
    there = {path.name for path in _visible(folder) if path.is_dir()}
    wanted = "data.classes" if stated else "the training folders"
    if odd := sorted(there - set(classes)):
        raise DataError(f"{folder}: the folder {odd[0]!r} is not among {wanted}: {', '.join(classes)}")
    if lacking := [name for name in classes if name not in there]:
        raise DataError(f"{folder}: there is no folder {lacking[0]!r}, which {wanted} have")
    return [_Row(path, label) for label, name in enumerate(classes) for path in _files(folder / name)]


def _files(folder: Path) -> list[Path]:
    found = _visible(folder)
    if not found:
        raise DataError(f"{folder} is empty; give the class images, or remove its folder")
    for path in found:
        if path.is_dir():
            raise DataError(f"{path} is a folder inside a class; put its images into {folder} or elsewhere")
        if not path.is_file():
            raise DataError(f"{path} is no file that can be read, or a link to nothing; remove it")
    return found


@dataclass(frozen=True)
class _Form:
    """What every image is brought to; `resized` where a size was asked for."""

    height: int
    width: int
    mode: Mode
    resized: bool


def _form(paths: Sequence[Path], asked: ImagesConfig) -> _Form:
    """The size and mode of all images: as asked, else what they have in common."""
    if asked.size is not None and asked.mode is not None:
        return _Form(*asked.size, asked.mode, resized=True)
    seen = [_Seen.of(path) for path in paths]
    mode: Mode = asked.mode or ("grey" if all(one.grey for one in seen) else "rgb")
    if asked.size is not None:
        return _Form(*asked.size, mode, resized=True)
    first = seen[0]
    for path, one in zip(paths, seen, strict=True):
        if (one.height, one.width) != (first.height, first.width):
            raise DataError(
                f"{paths[0]} is {first.height} x {first.width} pixels (height x width) and {path} is "
                f"{one.height} x {one.width}; name one size, such as data.images.size: [{first.height}, {first.width}]"
            )
    return _Form(first.height, first.width, mode, resized=False)


@dataclass(frozen=True)
class _Seen:
    """What the header of an image file says."""

    height: int
    width: int
    grey: bool

    @classmethod
    def of(cls, path: Path) -> "_Seen":
        with _opened(path) as image:
            return cls(image.height, image.width, image.mode in GREY)


def _pixels(paths: Sequence[Path], form: _Form) -> npt.NDArray[np.uint8]:
    """The images (N, channels, height, width) as bytes."""
    x = scratch((len(paths), 1 if form.mode == "grey" else 3, form.height, form.width), np.uint8)
    often = max(1, BLOCK_BYTES // x[:1].nbytes)
    for row, path in enumerate(paths):
        x[row] = read_image(path, form.mode, (form.height, form.width) if form.resized else None)
        if row % often == 0:
            release(x)
    return x


def read_image(path: Path, mode: Mode, size: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
    """One image (channels, height, width) as bytes, resized to `size` (height, width) where it is given.

    What is transparent shows white; 16 bits become 8; a note of the camera on how to turn it is not looked at. Resizing
    is bilinear, over the whole area of a new pixel. Raises DataError for a file that is no image, is cut short or holds
    several images.
    """
    from PIL.Image import Resampling

    with _opened(path) as image:
        try:
            flat = _flat(image, path)
            turned = flat.convert("L" if mode == "grey" else "RGB")
            if size is not None and size != (turned.height, turned.width):
                turned = turned.resize((size[1], size[0]), Resampling.BILINEAR)
            pixels = np.asarray(turned, np.uint8)
        except _broken() as error:
            raise DataError(f"{path} cannot be read: {error}; fetch or save it again") from None
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _opened(path: Path) -> "Image":
    from PIL import Image, UnidentifiedImageError

    places.refuse_pointer(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # twice as large is an error
            return Image.open(path, formats=FORMATS)
    except UnidentifiedImageError:
        raise DataError(
            f"{path} is no image that can be read ({', '.join(FORMATS)}); a class folder holds images alone"
        ) from None
    except _broken() as error:
        raise DataError(f"{path} cannot be read: {error}; fetch or save it again") from None


def _flat(image: "Image", path: Path) -> "Image":
    """The image without transparency and with at most 8 bits a channel."""
    from PIL import Image

    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise DataError(f"{path} holds {frames} images; save each in a file of its own")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(f"{path} has pixels from {values.min()} to {values.max()}; save it with 8 or 16 bits")
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode == "F":
        raise DataError(f"{path} has pixels of floating point; store such images as npz or npy")
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, over).convert("RGB")
    return image


def _broken() -> tuple[type[Exception], ...]:
    from PIL import Image

    return (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
