"""Classifiers of scikit-learn in skops files: its own come back, what is not known to be safe does not."""

import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import FunctionTransformer

from auditor.errors import ModelError
from auditor.record import DatasetRecord
from auditor.subjects.loading import load
from auditor.subjects.spec import Load

IRIS = DatasetRecord(
    id="iris", sha256="", rows={"train": 100, "test": 50}, shape=(4,), classes=("a", "b", "c"), range=(0, 8), licence=""
)


@pytest.mark.parametrize(
    "classifier",
    [
        RandomForestClassifier(5),
        HistGradientBoostingClassifier(max_iter=3),
        KNeighborsClassifier(algorithm="ball_tree"),
        KNeighborsClassifier(),
        MLPClassifier(max_iter=2000, tol=0.01),
        GaussianProcessClassifier(),
        CalibratedClassifierCV(LogisticRegression(max_iter=5000)),
    ],
    ids=lambda c: type(c).__name__,
)
def test_scikit_learns_own_classifiers_come_back_from_skops_without_any_trust(classifier, tmp_path):
    x, y = load_iris(return_X_y=True)
    x = x.astype(np.float32)
    classifier.fit(x, y)
    skops.io.dump(classifier, tmp_path / "m.skops")
    subject = load(Load(format="sklearn", path="m.skops"), IRIS, tmp_path)
    np.testing.assert_allclose(subject.predict(x), classifier.predict_proba(x), atol=1e-6)


def test_what_a_module_of_harmless_types_has_imported_is_not_harmless(tmp_path):
    """A function that stands in such a module by another's name, as only a file by someone who means harm has it."""
    skops.io.dump(FunctionTransformer(clone), tmp_path / "whole.skops")
    with zipfile.ZipFile(tmp_path / "whole.skops") as whole, zipfile.ZipFile(tmp_path / "m.skops", "w") as changed:
        for name in whole.namelist():
            changed.writestr(name, whole.read(name).replace(b"sklearn.base", b"sklearn.gaussian_process.kernels"))
    with pytest.raises(ModelError, match=r"not known to be safe: sklearn\.gaussian_process\.kernels\.clone;"):
        load(Load(format="sklearn", path="m.skops"), IRIS, tmp_path)
