"""Data sets that scikit-learn ships: handwritten digits, breast cancer and wine."""

from pathlib import Path
from typing import Any

from auditor.dataset import Dataset
from auditor.datasets.arrays import dataset, split
from auditor.datasets.spec import DataConfig
from auditor.errors import ConfigError

TEST_SHARE = 1 / 3  # the split depends on nothing but the data
LICENCE = "CC BY 4.0 (UCI Machine Learning Repository), as shipped with scikit-learn"


def digits(config: DataConfig, directory: Path) -> Dataset:  # noqa: ARG001  # the signature of a data set
    """1797 handwritten digits of 8 x 8 pixels with 17 grey levels (Alpaydin and Kaynak, 1998)."""
    from sklearn.datasets import load_digits

    _refuse(config)
    stored = load_digits()
    arrays = split(stored.images, stored.target, config.test_share or TEST_SHARE, "digits")
    return dataset(
        arrays,
        place="digits",
        name="digits",
        bounds=(0, 16),
        classes=config.classes,
        licence=config.licence or LICENCE,
        description=config.description or "Handwritten digits of 8 x 8 pixels, the test part of the UCI set.",
    )


def breast_cancer(config: DataConfig, directory: Path) -> Dataset:  # noqa: ARG001  # the signature of a data set
    """569 tumours by 30 measurements of their cell nuclei (Street, Wolberg and Mangasarian, 1993)."""
    from sklearn.datasets import load_breast_cancer

    description = "Measurements of cell nuclei from breast tumours, Wisconsin."
    return _tabular(config, "breast-cancer", load_breast_cancer(), description)


def wine(config: DataConfig, directory: Path) -> Dataset:  # noqa: ARG001  # the signature of a data set
    """178 wines of three growers by 13 chemical measurements (Aeberhard and Forina, 1992)."""
    from sklearn.datasets import load_wine

    return _tabular(config, "wine", load_wine(), "Chemical measurements of wines from three growers in Italy.")


def _tabular(config: DataConfig, name: str, stored: Any, description: str) -> Dataset:  # a bunch of scikit-learn
    """Rows whose features are scaled to [0, 1] by their range over the whole set, so that one epsilon fits all."""
    _refuse(config)
    low, high = stored.data.min(axis=0), stored.data.max(axis=0)
    x = (stored.data - low) / (high - low)
    return dataset(
        split(x, stored.target, config.test_share or TEST_SHARE, name),
        place=name,
        name=name,
        bounds=(0, 1),
        classes=config.classes or tuple(map(str, stored.target_names)),
        licence=config.licence or LICENCE,
        description=config.description or description,
        feature_names=tuple(map(str, stored.feature_names)),
    )


def _refuse(config: DataConfig) -> None:
    for key in ("path", "range"):
        if getattr(config, key) is not None:
            raise ConfigError(f"data.{key}: {config.source} is built in and has its own; remove it")
