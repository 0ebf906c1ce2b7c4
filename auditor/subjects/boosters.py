"""Boosted trees in the files of XGBoost and LightGBM, each asked for the probabilities that it was trained to give."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from auditor.dataset import Array
from auditor.errors import ModelError
from auditor.extras import imported
from auditor.record import DatasetRecord
from auditor.subject import Access, Outputs
from auditor.subjects import ubjson
from auditor.subjects.answering import Answering, Answers
from auditor.subjects.spec import Load

XGBOOST = ("binary:logistic", "binary:logitraw", "binary:hinge", "multi:softprob", "multi:softmax")
LIGHTGBM = ("binary", "multiclass", "multiclassova")
FILE = frozenset({Access.FILE})


@dataclass(frozen=True)
class Trained:
    """What a file of boosted trees says of its training; `classes` is 2 for an objective of two classes."""

    library: str
    objective: str
    classes: int
    features: int


def open_xgboost(spec: Load, path: Path, facts: DatasetRecord) -> Answering:
    """What do the trees in an XGBoost file (JSON or UBJSON) answer?

    Probabilities (n, classes), or labels under `binary:hinge`, asked on one thread and, after early stopping, of the
    trees up to the best round, as XGBClassifier does. Values that are not numbers count as missing. Raises ModelError
    for a file that is not whole, for an objective that is no classification, and for other features or classes than
    the data's.
    """
    xgboost = imported("xgboost", "boost", "an XGBoost model")
    booster = xgboost.Booster({"nthread": 1})
    try:
        booster.load_model(bytearray(_xgboost_content(path)))  # by content: the name's ending does not matter
    except ValueError as error:
        raise ModelError(
            f"{path} is no whole XGBoost file: {_first(error)}; save it again with save_model, as .json or .ubj"
        ) from None
    trained = _xgboost_trained(booster)
    outputs: Outputs = "labels" if trained.objective == "binary:hinge" else "probabilities"
    _check(trained, XGBOOST, outputs, spec, path, facts)
    rounds = _rounds(booster)

    def answer(x: Array) -> Answers:
        margins = np.asarray(
            booster.inplace_predict(x.reshape(len(x), -1), iteration_range=(0, rounds), predict_type="margin")
        )
        if outputs == "labels":
            return (margins > 0).astype(np.int64)
        return _probabilities(margins)

    return Answering(answer, outputs, name=path.name, access=FILE)


def open_lightgbm(spec: Load, path: Path, facts: DatasetRecord) -> Answering:
    """What do the trees in a LightGBM text file answer?

    Probabilities (n, classes), asked on one thread; those of `multiclassova`, one classifier a class, are divided by
    their sum. Values that are not numbers count as missing. Raises ModelError for a file that is not whole, for an
    objective that is no classification, and for other features or classes than the data's.
    """
    lightgbm = imported("lightgbm", "boost", "a LightGBM model")
    text = _lightgbm_text(path)
    try:
        booster = lightgbm.Booster(model_str=text)
    except (lightgbm.basic.LightGBMError, ValueError) as error:
        raise ModelError(f"{path} is no whole LightGBM file: {_first(error)}; save it again with save_model") from None
    _check(_lightgbm_trained(text, booster), LIGHTGBM, "probabilities", spec, path, facts)

    def answer(x: Array) -> Answers:
        raw = np.asarray(booster.predict(x.reshape(len(x), -1), num_threads=1))
        if raw.ndim == 1:
            return np.stack([1 - raw, raw], axis=1)
        return np.asarray(raw / raw.sum(axis=1, keepdims=True))

    return Answering(answer, "probabilities", name=path.name, access=FILE)


def _xgboost_content(path: Path) -> bytes:
    """A file that is whole as a document: XGBoost ends the process on some that are not. Raises ValueError."""
    content = path.read_bytes()
    if not ubjson.is_whole(content):
        json.loads(content)
    return content


def _xgboost_trained(booster: Any) -> Trained:  # an xgboost.Booster
    learner = json.loads(booster.save_config())["learner"]
    classes = int(learner["learner_model_param"]["num_class"])
    return Trained("XGBoost", learner["objective"]["name"], max(classes, 2), booster.num_features())


def _rounds(booster: Any) -> int:  # an xgboost.Booster
    """Up to which round its trees are asked; 0 for all of them."""
    best = booster.attr("best_iteration")
    return min(int(best) + 1, booster.num_boosted_rounds()) if best is not None else 0


def _lightgbm_text(path: Path) -> str:
    """The text of a file whose trees are all there: LightGBM ends the process where one is cut short."""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if not text.startswith("tree\n"):
        raise ModelError(f"{path} is no LightGBM text file; save the model with booster.save_model")
    sizes = [int(size) for size in (_header(text, "tree_sizes") or "").split() if size.isdecimal()]
    place = text.find("\nTree=0\n") + 1
    for number, size in enumerate(sizes):
        whole = text.startswith(f"Tree={number}\n", place)
        place += size
        if not whole:
            break
    else:
        if sizes and text.startswith("end of trees", place):
            return text
    raise ModelError(f"{path} is no whole LightGBM file: its trees end early or were edited; save or fetch it again")


def _header(text: str, key: str) -> str | None:
    found = re.search(rf"^{key}=(.*)$", text, re.MULTILINE)
    return found[1] if found else None


def _lightgbm_trained(text: str, booster: Any) -> Trained:  # a lightgbm.Booster
    objective, *_ = (_header(text.partition("\nTree=0\n")[0], "objective") or "custom").split(" ")
    return Trained("LightGBM", objective, max(booster.num_model_per_iteration(), 2), booster.num_feature())


def _check(
    trained: Trained, known: tuple[str, ...], outputs: Outputs, spec: Load, path: Path, facts: DatasetRecord
) -> None:
    """Raise ModelError for a model that is no classifier of this data, or is declared to answer something else."""
    place = f"{path} is {trained.library}"
    if trained.objective not in known:
        raise ModelError(
            f"{place} with the objective {trained.objective}, which is no classification that can be audited; "
            f"these are: {', '.join(known)}"
        )
    width = int(np.prod(facts.shape))
    if trained.features != width:
        raise ModelError(f"{place} of {trained.features} features; the data has {width} (rows of shape {facts.shape})")
    if trained.classes != len(facts.classes):
        raise ModelError(f"{place} of {trained.classes} classes; the data has {len(facts.classes)}")
    if spec.outputs not in ("logits", outputs):  # logits is what is said where nothing is
        raise ModelError(
            f"{place} with the objective {trained.objective}, which answers {outputs}: remove outputs: {spec.outputs}"
        )


def _probabilities(margins: Answers) -> Answers:
    """Softmax of margins (n, classes); of the two classes of a binary margin (n,), whose logistic function it is."""
    z = np.asarray(margins, np.float64)
    scores = z if z.ndim == 2 else np.stack([-z / 2, z / 2], axis=1)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _first(error: BaseException) -> str:
    """What an error says, without the stack of the library below it."""
    told = str(error).partition("Stack trace:")[0]
    return re.sub(r"^\[[\d:]+\] \S+?:\d+: ", "", " ".join(told.split()))[:200]
