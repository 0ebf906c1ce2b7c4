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


def hop_skip_jump(
    case: Case, x: Array, y: Labels, *, rows: npt.NDArray[np.str_], iterations: int
) -> npt.NDArray[np.float64]:
    """What is the nearest input in Linf, known by labels alone, that is classified differently.

    `x` (n, *shape) rightly classified as `y` (n,), `rows` (n,) their identities. Returns inputs (n, *shape)
    inside the domain; a row for which nothing was found comes back unchanged. HopSkipJump (Chen, Jordan and
    Wainwright 2020) as ART runs it, a row at a time, each from its own random stream; distances are in units
    of the feature range. The caller puts the result before `case.verify`: nothing here counts as a success.
    Queries are counted by the case. Raises UnitError where ART returns something of another shape.
    """
    from art.attacks.evasion import HopSkipJump

    attack = HopSkipJump(
        black_box(case),
        batch_size=_BATCH,
        norm=np.inf,
        max_iter=iterations,
        max_eval=1000,
        init_eval=100,
        verbose=False,
    )
    span, low = case.domain.span.astype(np.float64), case.domain.low.astype(np.float64)
    unit = case.domain.to_unit(x).astype(np.float32)
    found = np.asarray(x, np.float64).copy()
    for i, name in enumerate(rows):
        with _seeded(case.seeds.integer("attack", probe=case.probe.id, row=str(name))):
            moved = np.asarray(
                attack.generate(unit[i : i + 1], y=np.eye(case.subject.classes, dtype=np.float32)[y[i : i + 1]])
            )
        if moved.shape != unit[i : i + 1].shape:
            raise UnitError(f"ART's HopSkipJump returned shape {moved.shape} for a row of shape {unit[i].shape}")
        if not np.array_equal(moved[0], unit[i]):
            found[i] = np.clip(moved[0].astype(np.float64) * span + low, case.domain.low, case.domain.high)
    return found


def black_box(case: Case) -> Any:  # ART's classes carry no types
    """The case's counted subject as ART sees it: unit coordinates in, float32 one-hot decisions out."""
    from art.estimators.classification import BlackBoxClassifier

    span, low = case.domain.span.astype(np.float64), case.domain.low.astype(np.float64)
    classes = case.subject.classes

    def decide(unit: npt.NDArray[np.floating]) -> Array:
        x = case.domain.clip((np.asarray(unit, np.float64) * span + low).astype(np.float32))
        labels = predicted_labels(case.subject.predict(x))
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
