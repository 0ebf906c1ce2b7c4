"""Every score that a subject's access allows, on one batch of rows."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.blocks import gather
from auditor.dataset import Array, Labels
from auditor.probe import Case, stratified
from auditor.record import Caveat
from auditor.seeds import Seeds
from auditor.subject import Access, log_probabilities, predicted_labels

from .formulas import energy, maximum_softmax, neighbour_distance, unit_length

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores by name, predictions and the place in the order of showing, each (N,), and what was left out."""

    scores: Mapping[str, Floats]
    prediction: Labels
    position: npt.NDArray[np.int64]
    caveats: tuple[Caveat, ...]


def score(case: Case, x: Array, neighbours: int, bank: int) -> Scored:
    """How foreign does each row of x (N, *shape) look to the subject of this case?

    Rows are shown in a random order, so that a batch of one kind cannot give its rows away.
    """
    order = Seeds(case.seeds.root).numpy("attack", probe=case.probe.id, row="order").permutation(len(x))
    position = np.argsort(order)
    outputs = case.subject.predict(x[order])[position]
    kind = case.subject.outputs
    scores, caveats = {}, []
    if kind == "labels":
        caveats.append(_left_out("msp", "probabilities"))
    else:
        scores["msp"] = maximum_softmax(log_probabilities(outputs, kind))
    if kind == "logits":
        scores["energy"] = energy(outputs)
    else:
        caveats.append(_left_out("energy", "logits"))
    if Access.FEATURES not in case.subject.access:
        evidence = "the subject shows no features: knn compares inputs, which tells of the data alone"
        caveats.append(Caveat(flag="knn_on_inputs", severity="info", evidence=evidence))
    scores["knn"] = _neighbours(case, x[order], neighbours, bank)[position]
    return Scored(scores=scores, prediction=predicted_labels(outputs), position=position, caveats=tuple(caveats))


def _neighbours(case: Case, x: Array, neighbours: int, bank: int) -> Floats:
    rng = Seeds(case.seeds.root).numpy("attack", probe=case.probe.id, row="bank")
    known = gather(case.data.x_train, stratified(case.data.y_train, bank, rng))
    k = min(neighbours, max(1, len(known) // 10))
    return neighbour_distance(_space(case, known), _space(case, x), k)


def _space(case: Case, x: Array) -> Floats:
    if Access.FEATURES in case.subject.access:
        return unit_length(case.subject.features(x))
    return case.domain.to_unit(x).reshape(len(x), -1)


def _left_out(name: str, needed: str) -> Caveat:
    return Caveat(
        flag=f"{name}_left_out", severity="info", evidence=f"{name} needs {needed}, which this subject does not give"
    )
