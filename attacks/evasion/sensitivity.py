"""The models of several learning rates under one attack: how accurate, how sturdy, and how much that depends."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from auditor.errors import DivergedError, ModelError
from auditor.probe import Case, Outcome, Samples
from auditor.record import Caveat, Measurement
from auditor.subject import predicted_labels

if TYPE_CHECKING:
    from .learning_rates import LearningRates


@dataclass(frozen=True, eq=False)
class _At:
    """What one rate came to: right (test rows,), and the attack's outcome."""

    rate: float
    right: npt.NDArray[np.bool_]
    attacked: Outcome

    @property
    def robust(self) -> npt.NDArray[np.float64]:
        """Robust rows (n, epsilons), by ascending epsilon."""
        assert self.attacked.samples is not None
        named = [m.column or "" for m in _standing(self.attacked)]
        columns = self.attacked.samples.columns
        picked = [columns[name][:, int(index)] for name, _, index in (n.partition(":") for n in named)]
        return np.stack(picked, axis=1).astype(np.float64)


def compare(case: Case, probe: "LearningRates", fits: Mapping[float, str]) -> Outcome:
    """Everything evasion.learning_rates finds on one subject. Raises ModelError where no rate gives a model."""
    if not fits:
        raise ModelError("this training chooses its own learning rate, so no other can be tried")
    found = [at for rate, name in fits.items() if (at := _at(case, probe, rate, name)) is not None]
    if not found:
        raise ModelError("every training diverged: name smaller `rates`")
    good = _good(found, probe.margin)
    epsilons = [float(m.at["epsilon"]) for m in _standing(found[0].attacked)]
    robust = np.stack([at.robust for at in found], axis=1)  # (n, rates, epsilons)
    measured = [m for i, at in enumerate(found) for m in _by_rate(case, at, robust[:, i], i, epsilons)]
    ends = [_ends(robust[:, good, k]) for k in range(len(epsilons))]
    spread = np.stack([robust[:, good[best], k] - robust[:, good[worst], k] for k, (best, worst) in enumerate(ends)], 1)
    for k, epsilon in enumerate(epsilons):
        worst, at_epsilon = good[ends[k][1]], {"epsilon": epsilon}
        column = f"robust:{worst * len(epsilons) + k}"
        measured.append(case.proportion("worst_robust_accuracy", robust[:, worst, k], column=column, at=at_epsilon))
        measured.append(case.mean("spread", spread[:, k], column=f"spread:{k}", at=at_epsilon))
    measured.append(case.proportion("good_share", np.arange(len(fits)) < len(good), column=None))
    first = found[0].attacked.samples
    assert first is not None
    columns = {"robust": robust.reshape(len(robust), -1), "spread": spread}
    return Outcome(
        tuple(measured), Samples(first.row, first.label, _answers(case), columns), tuple(_doubts(found, good))
    )


def _at(case: Case, probe: "LearningRates", rate: float, name: str) -> _At | None:
    """The model of one rate under attack; None where its training diverged."""
    try:
        model = case.model(name)
    except DivergedError:
        return None
    right = predicted_labels(model.predict(case.data.x_test)) == case.data.y_test
    assert case.fitted is not None
    inner = replace(case, probe=probe.attack, inner=case.fitted(name), unchanged=None)  # its original is another's
    return _At(rate, right, probe.attack.run(inner))


def _standing(attacked: Outcome) -> list[Measurement]:
    """The robust accuracies that an attack left, by ascending epsilon."""
    return sorted((m for m in attacked.measurements if m.metric == "robust_accuracy"), key=lambda m: m.at["epsilon"])


def _by_rate(
    case: Case, at: _At, robust: npt.NDArray[np.float64], index: int, epsilons: list[float]
) -> list[Measurement]:
    places = {"learning_rate": at.rate}
    column = index * len(epsilons)
    return [
        case.proportion("accuracy", at.right, column=None, at=places),
        *(
            case.proportion("robust_accuracy", robust[:, k], column=f"robust:{column + k}", at={**places, "epsilon": e})
            for k, e in enumerate(epsilons)
        ),
    ]


def _good(found: list[_At], margin: float) -> list[int]:
    """The rates whose accuracy is within the margin of the best, by their place."""
    best = max(float(at.right.mean()) for at in found)
    return [i for i, at in enumerate(found) if at.right.mean() >= best - margin - 1e-9]


def _ends(robust: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Which columns of (n, rates) hold the most and the least robust rows."""
    standing = robust.sum(axis=0)
    return int(standing.argmax()), int(standing.argmin())


def _answers(case: Case) -> npt.NDArray[np.int64]:
    """What the subject itself says of the attacked rows."""
    rows = case.rows(min(case.probe.parameters()["samples"], len(case.data.y_test)))
    return predicted_labels(case.subject.predict(case.data.x_test[rows]))


def _doubts(found: list[_At], good: list[int]) -> list[Caveat]:
    """What the attack said against itself, with the rate at which it did; it weighs where the rate is good."""
    return [
        Caveat(
            flag=caveat.flag,
            severity=caveat.severity if i in good else "info",
            evidence=f"at rate {at.rate:g}: {caveat.evidence}",
        )
        for i, at in enumerate(found)
        for caveat in at.attacked.caveats
    ]
