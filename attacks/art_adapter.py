"""The one door to the Adversarial Robustness Toolbox: what goes in is stated, what comes out is checked."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from auditor.dataset import Array, Labels
from auditor.errors import UnitError
from auditor.probe import Case
from auditor.subject import predicted_labels

_BATCH = 256
_POOL = 1000  # rows to look for a start among


def hop_skip_jump(
    case: Case, x: Array, y: Labels, *, rows: npt.NDArray[np.str_], iterations: int
) -> npt.NDArray[np.float64]:
    """What is the nearest input in Linf, known by labels alone, that is classified differently.

    `x` (n, *shape) rightly classified as `y` (n,), `rows` (n,) their identities. Returns inputs (n, *shape) inside
    the domain; a row for which nothing was found comes back unchanged. HopSkipJump (Chen, Jordan and Wainwright 2020)
    as ART runs it, a row at a time, each from its own random stream and from the nearest test row that is answered
    differently; distances are in units of the feature range. The caller puts the result before `case.verify`: nothing
    here counts as a success. Queries are counted by the case. Raises UnitError where ART returns another shape.
    """
    from art.attacks.evasion import HopSkipJump

    attack = HopSkipJump(
        black_box(case), batch_size=_BATCH, norm=np.inf, max_iter=iterations, max_eval=1000, init_eval=100,
        verbose=False,
    )  # fmt: skip
    unit = case.domain.to_unit(x).astype(np.float32)
    start = _elsewhere(case, unit, y)
    found = np.asarray(x, np.float64).copy()
    for i, name in enumerate(rows):
        if np.array_equal(start[i], unit[i]):
            continue
        with _seeded(case.seeds.integer("attack", probe=case.probe.id, row=str(name))):
            moved = np.asarray(attack.generate(unit[i : i + 1], x_adv_init=start[i : i + 1]), np.float64)
        if moved.shape != unit[i : i + 1].shape:
            raise UnitError(f"ART's HopSkipJump returned shape {moved.shape} for a row of shape {unit[i].shape}")
        found[i] = _inputs(case, moved[0])
    return found


def _elsewhere(case: Case, unit: Array, y: Labels) -> Array:
    """For each row the nearest test row that is answered differently, or the row itself; in unit coordinates.

    ART would draw random points from a generator that cannot be seeded, and they are farther away.
    """
    pool = case.data.x_test[case.rows(_POOL)]
    answers = predicted_labels(case.subject.predict(pool))
    others = case.domain.to_unit(pool).astype(np.float32)
    start = unit.copy()
    for i, row in enumerate(unit):
        candidates = others[answers != y[i]]
        if len(candidates):
            distance = np.abs(candidates - row).reshape(len(candidates), -1).max(axis=1)
            start[i] = candidates[distance.argmin()]
    return start


def _inputs(case: Case, unit: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    exact = np.asarray(unit, np.float64) * case.domain.span + case.domain.low
    return np.asarray(np.clip(exact, case.domain.low, case.domain.high), np.float64)


def black_box(case: Case) -> Any:  # ART's classes carry no types
    """The case's counted subject as ART sees it: unit coordinates in, float32 one-hot decisions out."""
    from art.estimators.classification import BlackBoxClassifier

    classes = case.subject.classes

    def decide(unit: npt.NDArray[np.floating]) -> Array:
        labels = predicted_labels(case.subject.predict(_inputs(case, unit).astype(np.float32)))
        return np.eye(classes, dtype=np.float32)[labels]

    return BlackBoxClassifier(decide, case.subject.shape, classes, clip_values=(0.0, 1.0))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Numpy's global generator, which ART draws from, on a stream of our own; as it was afterwards."""
    before = np.random.get_state()  # noqa: NPY002  # ART knows no other
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
