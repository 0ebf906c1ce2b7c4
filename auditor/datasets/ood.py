"""Inputs that belong to none of the classes: declared ones in the subject's shape, and one built-in far set."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from auditor.blocks import gather
from auditor.dataset import Array, Dataset
from auditor.errors import DataError

PATCHES = 500
FAR_ROWS = 10_000
PATCH_SIDE = 64  # pixels of a photograph that one patch shows at least; fewer would show no object, only flat colour


def with_far_set(data: Dataset) -> Dataset:
    """The data with one far set: photographs for images, shuffled features for tables. Unchanged where it has sets."""
    if data.ood:
        return data
    name, x = ("photographs", photographs(data)) if data.is_image else ("shuffled", shuffled(data))
    return replace(data, ood={name: x})


def fitted(x: npt.NDArray[np.floating], like: Dataset, place: str) -> Array:
    """Images x (N, C, H, W) with values in [0, 1], resized and recoloured to the shape and the domain of the data."""
    if x.ndim != 4 or not like.is_image:
        raise DataError(
            f"{place} has rows of shape {x.shape[1:]}; the data has rows of {like.shape}, and only images are resized"
        )
    sized = resize(recolour(x, like.shape[0]), like.shape[1], like.shape[2])
    return like.domain.clip((like.domain.low + sized * (like.domain.high - like.domain.low)).astype(np.float32))


def recolour(x: npt.NDArray[np.floating], channels: int) -> npt.NDArray[np.floating]:
    """Images with so many channels: unchanged, or their mean channel repeated."""
    return x if x.shape[1] == channels else np.repeat(x.mean(axis=1, keepdims=True), channels, axis=1)


def resize(x: npt.NDArray[np.floating], height: int, width: int) -> npt.NDArray[np.float64]:
    """Images (N, C, H, W) in another size: the mean over the area of each new pixel, bilinear where a side grows."""
    rows, columns = _weights(x.shape[2], height), _weights(x.shape[3], width)
    return np.asarray(rows @ x @ columns.T)


def _weights(old: int, new: int) -> npt.NDArray[np.float64]:
    """How much of each old pixel goes into each new one, (new, old), rows of sum 1. A pixel is an interval."""
    if new < old:
        edges = np.arange(new + 1)[:, None] * old / new
        covered = np.clip(np.minimum(edges[1:], np.arange(old) + 1) - np.maximum(edges[:-1], np.arange(old)), 0, None)
        return np.asarray(covered * new / old)
    centre = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)[:, None]
    return np.asarray(np.clip(1 - np.abs(centre - np.arange(old)), 0, None))


def photographs(like: Dataset) -> Array:
    """Patches of the two photographs that scikit-learn ships, cut at fixed random places, (500, *shape)."""
    from sklearn.datasets import load_sample_images

    images = [np.asarray(image, np.float64).transpose(2, 0, 1) / 255 for image in load_sample_images().images]
    rng = np.random.Generator(np.random.PCG64(0))
    _, height, width = like.shape
    grow = max(1.0, PATCH_SIDE / max(height, width))
    cut = []
    for number in range(PATCHES):
        image = images[number % len(images)]
        tall, wide = min(round(grow * height), image.shape[1]), min(round(grow * width), image.shape[2])
        top, left = rng.integers(image.shape[1] - tall + 1), rng.integers(image.shape[2] - wide + 1)
        patch = image[None, :, top : top + tall, left : left + wide]
        cut.append(fitted(patch, like, "photographs"))
    return np.concatenate(cut)


def shuffled(like: Dataset) -> Array:
    """Test rows with every feature permuted on its own: each feature is as before, no row belongs together."""
    rng = np.random.Generator(np.random.PCG64(0))
    return rng.permuted(sample(like.x_test), axis=0)


def sample(x: Array) -> Array:
    """A copy of at most 10,000 rows of x (N, *shape), always the same: no probe asks for more foreign inputs."""
    rows = np.arange(len(x))
    if len(x) > FAR_ROWS:
        rows = np.sort(np.random.Generator(np.random.PCG64(2)).permutation(len(x))[:FAR_ROWS])
    return gather(x, rows)
