"""Built-in data sets, limits, and out-of-distribution sets in the subject's shape."""

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.datasets import load_breast_cancer, load_digits

from auditor.datasets import load
from auditor.datasets.ood import resize
from auditor.datasets.spec import DataConfig
from auditor.errors import ConfigError, DataError


def make(folder, source="digits", **more):
    return load(DataConfig(source=source, **more), folder)


def test_digits_are_a_third_for_test_and_nothing_is_lost(tmp_path):
    data, stored = make(tmp_path), load_digits()
    assert (len(data.x_train), len(data.x_test), data.shape) == (1198, 599, (1, 8, 8))
    together = np.concatenate([data.x_train, data.x_test]).reshape(-1, 64)
    np.testing.assert_array_equal(np.sort(together, axis=0), np.sort(stored.data / 16, axis=0).astype(np.float32))
    assert np.abs(np.bincount(data.y_test) - np.bincount(stored.target) / 3).max() < 1
    assert data.licence.startswith("CC BY 4.0")


def test_the_split_is_always_the_same(tmp_path):
    assert make(tmp_path).sha256 == make(tmp_path).sha256


def test_tabular_features_span_zero_to_one_and_keep_their_names(tmp_path):
    data, stored = make(tmp_path, "breast-cancer"), load_breast_cancer()
    together = np.concatenate([data.x_train, data.x_test])
    assert together.min(axis=0).tolist() == [0.0] * 30
    assert together.max(axis=0).tolist() == [1.0] * 30
    assert data.domain.feature_names == tuple(stored.feature_names)
    assert data.classes == ("malignant", "benign")


def test_wine_has_three_growers(tmp_path):
    data = make(tmp_path, "wine", test_share=0.5)
    assert (data.shape, len(data.classes), len(data.y_test)) == ((13,), 3, 89)


def test_a_limit_keeps_the_classes_in_proportion(tmp_path):
    data = make(tmp_path, limit={"train": 100})
    assert np.bincount(data.y_train).tolist() == [10] * 10
    assert len(data.y_test) == 599


def test_built_in_data_takes_no_path_and_no_range(tmp_path):
    with pytest.raises(ConfigError, match=r"data.path: digits is built in"):
        make(tmp_path, path="x")


def test_photographs_are_the_far_set_of_images(tmp_path):
    x = make(tmp_path).ood["photographs"]
    assert x.shape == (500, 1, 8, 8)
    assert 0 <= x.min() < 0.1
    assert 0.9 < x.max() <= 1
    assert x.reshape(500, -1).std(axis=1).min() > 0.001  # no patch is flat


def test_declared_images_are_resized_and_recoloured(tmp_path):
    x = np.zeros((6, 3, 16, 16))
    x[:, 0], x[:, 1, :8] = 90, 60
    y = np.arange(6) % 2
    np.savez(tmp_path / "far.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    far = {"name": "far", "source": "npz", "path": "far.npz", "range": (0, 100)}
    found = make(tmp_path, ood=[far]).ood
    assert list(found) == ["far"]
    np.testing.assert_allclose(found["far"][:, 0, :4], 0.5, rtol=1e-6)  # (0.9 + 0.6 + 0) / 3
    np.testing.assert_allclose(found["far"][:, 0, 4:], 0.3, rtol=1e-6)


def test_a_declared_table_keeps_its_values_and_must_fit(tmp_path):
    x, y = np.arange(12.0).reshape(4, 3), np.array([0, 1, 0, 1])
    np.savez(tmp_path / "near.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    np.savez(tmp_path / "far.npz", x_train=9 * x, y_train=y, x_test=9 * x, y_test=y)
    far = {"name": "far", "source": "npz", "path": "far.npz"}
    data = make(tmp_path, "npz", path="near.npz", ood=[far])
    np.testing.assert_array_equal(data.ood["far"], 9 * x)
    with pytest.raises(DataError, match=r"data.ood wine has rows of shape \(13,\); the data has rows of shape \(3,\)"):
        make(tmp_path, "npz", path="near.npz", ood=[{"name": "wine", "source": "wine"}])
    with pytest.raises(DataError, match="only images are resized"):
        make(tmp_path, ood=[{"name": "wine", "source": "wine"}])


def test_shrinking_takes_the_mean_over_the_area():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    np.testing.assert_allclose(resize(x, 2, 2)[0, 0], [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_allclose(resize(np.array([[[[0.0, 3.0, 6.0]]]]), 1, 2)[0, 0], [[1.0, 5.0]])  # halves of a pixel


def test_growing_agrees_with_torchs_bilinear_interpolation():
    import torch

    x = np.random.default_rng(0).uniform(size=(2, 3, 5, 4))
    expected = torch.nn.functional.interpolate(torch.tensor(x), (11, 7), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(resize(x, 11, 7), expected.numpy(), atol=1e-12)


def test_shrinking_agrees_with_torchs_adaptive_mean_where_sizes_divide():
    import torch

    x = np.random.default_rng(0).uniform(size=(2, 3, 12, 9))
    expected = torch.nn.functional.adaptive_avg_pool2d(torch.tensor(x), (4, 3))
    np.testing.assert_allclose(resize(x, 4, 3), expected.numpy(), atol=1e-12)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"range": (1, 1)}, "must rise"),
        ({"classes": ["a", "a"]}, "two classes are called 'a'"),
        ({"classes": ["a"]}, "at least 2"),
        ({"limit": {"trian": 5}}, "'train' or 'test'"),
        ({"limit": {"train": 0}}, "greater than or equal to 1"),
        ({"test_share": 1}, "less than 1"),
        ({"sources": "digits"}, "Extra inputs are not permitted"),
    ],
)
def test_a_configuration_that_means_nothing_is_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        DataConfig(source="digits", **given)


def test_class_names_may_be_written_as_numbers():
    assert DataConfig(source="npz", classes=[0, 1, 2.5]).classes == ("0", "1", "2.5")
