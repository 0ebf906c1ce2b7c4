"""Classifiers in files that scikit-learn's users write: skops, and pickles where the audit trusts them."""

import importlib
from pathlib import Path
from typing import Any

from auditor.errors import ModelError
from auditor.record import DatasetRecord
from auditor.subject import Access
from auditor.subjects.preparation import preparation
from auditor.subjects.sklearn_subject import SklearnSubject
from auditor.subjects.sniffing import ModelKind, kind_of
from auditor.subjects.spec import Load

SHOWN = 5  # names an error lists
# Parts of scikit-learn's own classifiers that skops does not list as safe: they hold numbers, and making one runs
# nothing but scikit-learn's own check of them.
HARMLESS = {
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
}
HARMLESS_MODULES = {"sklearn.gaussian_process.kernels", "sklearn.metrics._dist_metrics"}


def open_sklearn(spec: Load, path: Path, facts: DatasetRecord) -> SklearnSubject:
    """The classifier in a skops file, or in a pickle (joblib's too) that `load.trust` allows to run its code.

    Raises ModelError for types that neither skops nor we know to be safe, for a pickle that is not trusted, and for a
    file that is neither.
    """
    return SklearnSubject(
        _from_skops(path) if kind_of(path) is ModelKind.SKOPS else _from_pickle(path, trusted=spec.trust == "pickle"),
        classes=len(facts.classes),
        shape=facts.shape,
        names=spec.classes or facts.classes,
        extra_access=frozenset({Access.FILE}),
        preparation=preparation(spec, facts),
    )


def _from_skops(path: Path) -> Any:  # whatever the file holds
    from skops.io import get_untrusted_types, load

    try:
        unlisted = get_untrusted_types(file=path)
        untrusted = [t for t in unlisted if not _is_harmless(t)]
        if not untrusted:
            return load(path, trusted=unlisted)
    except Exception as error:  # noqa: BLE001  # skops lets escape whatever a broken file provokes
        raise ModelError(f"{path} is no whole skops file: {_said(error)}; save it again") from None
    told = ", ".join(untrusted[:SHOWN]) + (f" and {len(untrusted) - SHOWN} more" if len(untrusted) > SHOWN else "")
    raise ModelError(f"{path} holds types that are not known to be safe: {told}; an audit loads none of them")


def _is_harmless(name: str) -> bool:
    """Whether a type is one of those above; what their modules have imported themselves is not."""
    module, _, kind = name.rpartition(".")
    if module not in HARMLESS_MODULES:
        return name in HARMLESS
    found = getattr(importlib.import_module(module), kind, None)
    return isinstance(found, type) and found.__module__ == module


def _from_pickle(path: Path, *, trusted: bool) -> Any:  # whatever the file holds
    if kind_of(path) is not ModelKind.PICKLE:
        raise ModelError(
            f"{path} is no whole skops file and no pickle; a scikit-learn model is saved with skops.io.dump, or else "
            "with joblib.dump: save or fetch it again"
        )
    if not trusted:
        raise ModelError(
            f"{path} is a pickle, which runs code on loading: save the model with skops.io.dump, or set load.trust: "
            "pickle if you made the file yourself"
        )
    import joblib  # type: ignore[import-untyped]  # scikit-learn brings it; it reads plain pickles too

    try:
        return joblib.load(path)
    except Exception as error:  # unpickling runs the file's own code, which may raise anything
        raise ModelError(
            f"{path} cannot be unpickled: {_said(error)}; save it again, with the versions of its libraries that are "
            "installed here"
        ) from error


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
