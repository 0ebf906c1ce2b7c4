"""Exemplars in pictures: what lay before, the change alone, what came of it."""

import base64
import io

import numpy as np
from matplotlib.image import imread

from auditor.reports.exemplars import moved, png, radius


def grey(uri: str) -> np.ndarray:
    """The picture of a data URI in 256 steps, its red alone."""
    pixels = imread(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    return np.round(255 * pixels[..., 0]).astype(int)


def test_a_change_is_grey_where_there_is_none_and_as_strong_as_can_be_shown_where_there_is_one() -> None:
    before = np.full((1, 2, 2), 0.5, np.float32)
    after = before + np.array([[[0.0, 0.02], [-0.04, 0.04]]], np.float32)
    shown = grey(png(*moved(before, after)))
    side = len(shown) // 2
    assert shown[::side, ::side].tolist() == [[128, 191], [0, 255]]


def test_no_change_at_all_is_grey_all_over() -> None:
    image = np.random.default_rng(0).random((3, 4, 4))
    assert set(grey(png(*moved(image, image))).ravel()) == {128}


def test_the_caption_says_at_which_epsilon_the_first_row_fell() -> None:
    arrays = {"epsilon": np.array([2 / 255])}
    assert radius(arrays) == ", at epsilon 2/255, the least at which any row fell"
    assert radius({}) == ""
