"""The one door to the Adversarial Robustness Toolbox: what goes in is stated, what comes out is checked."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from auditor.balls import NormName
from auditor.dataset import Array
from auditor.errors import AuditorError, UnitError, UnknownNameError
from auditor.probe import Case
from auditor.subject import predicted_labels

_BATCH = 256
_QUERIES = 20_000  # a row: ART has loops that end with a success or never


def nearest_decision(
    case: Case, name: str, x: Array, *, norm: NormName, start: Array, seeds: npt.NDArray[np.int64], iterations: int
) -> npt.NDArray[np.float64]:
    """What is the nearest input, known by labels alone, that is classified differently, as an attack of ART finds it.

    `name` is `hop-skip-jump` (Chen, Jordan and Wainwright 2020; Linf and L2), `boundary` (Brendel, Rauber and Bethge
    2018; L2, ten of its steps an iteration) or `sign-opt` (Cheng et al. 2020; L2). `x` (n, *shape) rightly classified,
    `start` (n, *shape) a point answered differently for each in unit coordinates, `seeds` (n,). Returns inputs
    (n, *shape) inside the domain; a row that starts from itself, or uses up 20000 queries, comes back unchanged. A row
    at a time, each from its own random stream, untargeted and without labels, which ART would take for targets;
    distances are in units of the feature range. The caller puts the result before `case.verify`: nothing here counts as
    a success. Queries are counted by the case. Raises UnitError where ART cannot be imported, fails, or returns another
    shape.
    """
    unit = case.domain.to_unit(x).astype(np.float32)
    start = start.astype(np.float32)
    found = np.asarray(x, np.float64).copy()
    for i, seed in enumerate(seeds):
        if np.array_equal(start[i], unit[i]):
            continue
        with _reported(name), _seeded(int(seed)):
            attack, more = _decision_based(case, name, norm, start[i : i + 1], iterations)
            moved = _within_queries(lambda a=attack, m=more, i=i: a.generate(unit[i : i + 1], **m), unit[i : i + 1])
        if moved.shape != unit[i : i + 1].shape:
            raise UnitError(f"ART's {name} returned shape {moved.shape} for a row of shape {unit[i].shape}")
        found[i] = _inputs(case, moved[0])
    return found


def _decision_based(case: Case, name: str, norm: NormName, start: Array, iterations: int) -> tuple[Any, dict[str, Any]]:
    """ART's attack of this name, and what its `generate` is given besides the row."""
    from art.attacks import evasion

    subject = black_box(case, most=_QUERIES)
    match name:
        case "hop-skip-jump":
            attack = evasion.HopSkipJump(
                subject, batch_size=_BATCH, norm=np.inf if norm == "linf" else 2, max_iter=iterations, max_eval=1000,
                init_eval=100, verbose=False,
            )  # fmt: skip
            return attack, {"x_adv_init": start}
        case "boundary":
            attack = evasion.BoundaryAttack(
                subject, batch_size=_BATCH, targeted=False, max_iter=10 * iterations, verbose=False
            )
            return attack, {"x_adv_init": start}
        case "sign-opt":
            attack = evasion.SignOPTAttack(
                subject, targeted=False, num_trial=20, max_iter=iterations, query_limit=_QUERIES, batch_size=_BATCH
            )
            return attack, {}
        case _:
            raise UnknownNameError("decision-based attack", name, ("hop-skip-jump", "boundary", "sign-opt"))


class _Spent(Exception):
    """More queries than a row may cost."""


def _within_queries(generate: Any, row: Array) -> npt.NDArray[np.float64]:  # what ART returns
    """What ART makes of a row; the row itself where that takes too many queries."""
    try:
        return np.asarray(generate(), np.float64)
    except _Spent:
        return np.asarray(row, np.float64)


@contextmanager
def _reported(name: str) -> Iterator[None]:
    """ART's warnings kept quiet, and whatever it fails with told as an error of this unit."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except AuditorError:
        raise
    except Exception as error:  # a second opinion that cannot be had must not end the first
        raise UnitError(f"ART's {name}: {type(error).__name__}: {error}") from error


def _inputs(case: Case, unit: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    exact = np.asarray(unit, np.float64) * case.domain.span + case.domain.low
    return np.asarray(np.clip(exact, case.domain.low, case.domain.high), np.float64)


def black_box(case: Case, *, most: int | None = None) -> Any:  # ART's classes carry no types
    """The case's counted subject as ART sees it: unit coordinates in, float32 one-hot decisions out.

    Answers `most` rows, if given, and then no more.
    """
    from art.estimators.classification import BlackBoxClassifier

    classes, asked = case.subject.classes, 0

    def decide(unit: npt.NDArray[np.floating]) -> Array:
        nonlocal asked
        asked += len(unit)
        if most is not None and asked > most:
            raise _Spent
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
