"""Reasons why a membership number may flatter or mislead."""

import math
from collections.abc import Mapping

import numpy as np

from auditor.blocks import Chosen, blocks
from auditor.dataset import Array
from auditor.probe import Case
from auditor.record import Caveat
from auditor.seeds import Seeds
from auditor.statistics import auc

from .loss_attack import FEWEST_FALSE_ALARMS, Threshold, tied_share
from .scored import Scored
from .shift import shift_scores
from .sides import Rows, Sides

CONFIDENCE = 0.999
# Cross-fitted scores vary a third more than DeLong's variance says: at this level 1 in 2000 equal splits is accused.
SHIFT_CONFIDENCE = 0.99999
SHIFT_VALUES = 2**24  # a side
TIES_LIMIT = 0.2
FEWEST_ROWS = 8


def caveats_of(case: Case, sides: Sides, scored: Scored, thresholds: Mapping[float, Threshold]) -> tuple[Caveat, ...]:
    """Everything that should be known beside the numbers of this case."""
    found = [*_access(case, scored), *_null_control(scored), *_shift(case, sides)]
    return (*found, *(_unresolved(fpr, t, scored.size) for fpr, t in thresholds.items() if not t.resolved))


def _access(case: Case, scored: Scored) -> list[Caveat]:
    ties = tied_share(scored.members, scored.others)
    if case.subject.outputs == "labels":
        evidence = "the subject gives labels alone: the attack knows only right or wrong, and others find more"
        return [Caveat(flag="labels_only", severity="suspicious", evidence=evidence)]
    if ties > TIES_LIMIT:
        evidence = (
            f"{ties:.0%} of pairs of a member and a non-member have the same score: "
            "coarse outputs hide membership from this attack and do not protect it"
        )
        return [Caveat(flag="coarse_scores", severity="suspicious", evidence=evidence)]
    return []


def _null_control(scored: Scored) -> list[Caveat]:
    """Non-members shown early against those shown late: a coin toss, unless answers depend on the order."""
    if scored.size < FEWEST_ROWS:
        return []
    position = scored.position[scored.size :]
    late = position > np.median(position)
    null = auc(scored.others[late], scored.others[~late], CONFIDENCE)
    if null.low <= 0.5 <= null.high:
        return []
    evidence = f"the attack tells non-members from non-members: AUC {null.value:.3f}, expected 0.5"
    return [Caveat(flag="null_control_failed", severity="suspicious", evidence=evidence)]


def _shift(case: Case, sides: Sides) -> list[Caveat]:
    """Members and non-members that differ as inputs: then the attack measures that, not membership."""
    if len(sides.members) < FEWEST_ROWS:
        return []
    rng = Seeds(case.seeds.root).numpy("attack", probe=case.probe.id, row="shift")
    members = _in_units(case, case.data.x_train, _some(sides.members, case, rng))
    others = _in_units(case, case.data.x_test, _some(sides.others, case, rng))
    scores = shift_scores(members, others, rng)
    apart = auc(scores[: len(members)], scores[len(members) :], SHIFT_CONFIDENCE)
    if apart.low <= 0.5:
        return []
    evidence = (
        f"training and test rows differ before any model sees them (AUC {apart.value:.3f}): "
        "membership numbers may measure that difference"
    )
    return [Caveat(flag="membership_shift", severity="suspicious", evidence=evidence)]


def _some(rows: Rows, case: Case, rng: np.random.Generator) -> Rows:
    """These rows, or of very wide ones as many as can be held in memory several times."""
    most = max(FEWEST_ROWS, SHIFT_VALUES // math.prod(case.data.shape))
    return rows if len(rows) <= most else np.sort(rng.permutation(rows)[:most])


def _in_units(case: Case, x: Array, rows: Rows) -> Array:
    """Rows (n, D) of x in units of the feature range."""
    found = np.empty((len(rows), math.prod(case.data.shape)), np.float32)
    start = 0
    for block in blocks(Chosen(x, rows)):
        found[start : start + len(block)] = case.domain.to_unit(block).reshape(len(block), -1)
        start += len(block)
    return found


def _unresolved(fpr: float, threshold: Threshold, others: int) -> Caveat:
    if threshold.enough_rows:
        evidence = f"fpr {fpr:g} is left out: non-members tie, and no threshold is passed by so few of them"
    else:
        needed = round(FEWEST_FALSE_ALARMS / fpr)
        evidence = f"fpr {fpr:g} is left out: it needs {needed} non-members, and there are {others}"
    return Caveat(flag="fpr_not_resolved", severity="info", evidence=evidence)
