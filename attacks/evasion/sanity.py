"""Checks that an attack's number can be believed: what each finds is a caveat with its evidence."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from auditor.dataset import Array, Labels
from auditor.record import Caveat, Severity

from .bench import Bench, Mask, Rows
from .losses import cross_entropy

_DRIFT = 1e-4  # of the outputs' spread: more, and the same input gives different answers
_MATES = 0.1  # of the outputs' spread: arithmetic in batches moves less, batch statistics move more
_SATURATED = 10.0  # a median gap of 100 between the two best logits: float32 softmax has rounded to one and zero
_MANY = 250


@dataclass(frozen=True)
class Slope:
    """Whether gradients reach the input: the share of rows where it is zero, and where no number."""

    zero: float = 0.0
    unreadable: float = 0.0
    missing: str = ""


def slope(bench: Bench, rows: Rows) -> Slope:
    """Does cross-entropy have a gradient at these clean rows."""
    index = torch.as_tensor(rows, device=bench.unit.device)
    point = bench.unit[index].requires_grad_()
    try:
        scores = bench.view.differentiable(point)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # a model that leaves torch on the way, for example by .numpy()
        return Slope(missing=str(error).splitlines()[0][:160])
    if not scores.requires_grad:
        return Slope(missing="the outputs are cut off from the graph")
    loss = cross_entropy(scores, bench.labels[index], bench.temperature).sum()
    gradient = cast("torch.Tensor | None", torch.autograd.grad(loss, point, allow_unused=True)[0])
    if gradient is None:
        return Slope(missing="the inputs are cut off from the graph")
    flat = gradient.flatten(1)
    return Slope(_share((flat == 0).all(1)), _share((~flat.isfinite()).any(1)))


def slope_caveats(found: Slope, rows: int) -> list[Caveat]:
    """What the gradients at clean rows say about an attack that follows them."""
    if found.missing:
        return [
            _caveat("no_gradient_path", "suspicious", f"white box not run: {found.missing}; random search used instead")
        ]
    caveats = []
    if found.zero > 0.05:
        caveats.append(
            _caveat("zero_gradient", "suspicious", f"gradient exactly zero at {found.zero:.1%} of {rows} clean rows")
        )
    if found.unreadable > 0:
        caveats.append(
            _caveat("non_finite", "suspicious", f"gradient not finite at {found.unreadable:.1%} of {rows} clean rows")
        )
    return caveats


def steadiness_caveats(predict: Callable[[Array], Array], x: Array) -> list[Caveat]:
    """Does the subject answer rows of x (n, *shape) the same twice, and the same alone as in company."""
    few = x[:32]
    first, again = predict(few), predict(few)
    drift, spread = _gap(first, again), _spread(first)
    if drift > _DRIFT * spread:
        return [
            _caveat(
                "stochastic",
                "suspicious",
                f"the same {len(few)} inputs gave outputs {drift:.3g} apart (spread {spread:.3g}); "
                "one lucky draw counts as a success, and gradients are of another draw",
            )
        ]
    alone = np.concatenate([predict(row[None]) for row in few[:4]])
    company = _gap(alone, first[: len(alone)])
    if company > _MATES * spread:
        return [
            _caveat(
                "batch_dependent",
                "invalid",
                f"inputs alone and in a batch of {len(few)} gave outputs {company:.3g} apart "
                f"(spread {spread:.3g}): is batch normalisation in training mode?",
            )
        ]
    return []


def clean_caveats(outputs: Array, y: Labels, correct: Mask, temperature: float, *, scored: bool) -> list[Caveat]:
    """What outputs (n, K) of clean rows already say: unreadable, hard or saturated, at chance, too few."""
    caveats = _output_caveats(outputs, scored=scored)
    if temperature >= _SATURATED:
        told = f"logits were divided by {temperature:.3g} inside the loss to keep its gradient"
        caveats.append(_caveat("saturated_logits", "info", told))
    majority = np.bincount(y).max() / len(y)
    if correct.mean() <= max(majority, 0.5):
        told = f"{correct.mean():.1%} right on {len(y)} clean rows, the largest class is {majority:.1%}"
        told += ": read robust accuracy against it, and check the labels"
        caveats.append(_caveat("low_clean_accuracy", "info", told))
    if len(y) < _MANY:
        told = f"{len(y)} rows attacked; {_MANY} or more narrow the interval to 6 points either side"
        caveats.append(_caveat("few_rows", "info", told))
    return caveats


def _output_caveats(outputs: Array, *, scored: bool) -> list[Caveat]:
    caveats = []
    unreadable = int((~np.isfinite(outputs)).any(axis=1).sum())
    if unreadable:
        told = f"{unreadable} of {len(outputs)} clean rows have outputs that are not finite"
        caveats.append(_caveat("non_finite", "suspicious", told))
    if scored and len(outputs) >= 32 and len(np.unique(outputs)) == 2:
        told = f"the outputs of {len(outputs)} clean rows take two values only: scores that say no more than the "
        caveats.append(_caveat("hard_label", "suspicious", told + "label give a search nothing to follow"))
    return caveats


def gain_caveats(flag: str, who: str, gains: list[int], rows: int) -> list[Caveat]:
    """Did something that should be weaker break rows that the main attack could not."""
    most = max(gains, default=0)
    if most <= max(3, 0.01 * rows):  # masking moves tens of points; certified nets honestly give up to 0.9
        return []
    return [_caveat(flag, "suspicious", f"{who} broke about {most} of {rows} rows that the main attack left standing")]


def full_range_caveats(tried: Mask, standing: Mask, broken_earlier: Mask) -> list[Caveat]:
    """Did an attack with the whole range to move in break nearly every row it tried (masks (n,))."""
    left, count = int((standing & tried).sum()), int(tried.sum())
    if left < 3 or left <= 0.05 * count:
        return []
    caveats = [_caveat("unbounded_fail", "suspicious", f"{left} of {count} rows stood with the whole range to move in")]
    back = int((standing & tried & broken_earlier).sum())
    if back >= 3:
        caveats.append(
            _caveat("not_monotone", "suspicious", f"{back} rows that broke in a small ball stood in the whole range")
        )
    return caveats


def budget_caveats(violations: int) -> list[Caveat]:
    """Did the attack hand in inputs outside its ball or the domain."""
    if not violations:
        return []
    return [
        _caveat(
            "budget_violation",
            "invalid",
            f"{violations} changed inputs had left the ball or the domain and were clipped",
        )
    ]


def constrained_caveats(attacked: Rows, broken: Mask, refused: Mask, still: Mask) -> list[Caveat]:
    """How many of the `attacked` rows stand only because what broke them was against the data's constraints.

    `still` (D,) are the features that could not move at all, even at the largest epsilon.
    """
    stand, fell = int((refused & ~broken)[attacked].sum()), int(broken[attacked].sum())
    severity: Severity = "suspicious" if stand > max(3, 0.01 * len(attacked)) else "info"
    told = f"the attack broke {stand + fell} of {len(attacked)} rows, {stand} of them only by changes that the "
    told += "constraints of the data forbid: these count as standing, though it did not look for other changes; "
    told += f"{int(still.sum())} of {len(still)} features could not move: immutable, or whole numbers too far apart"
    return [_caveat("constrained", severity, told)]


def noop_caveats(moved: Mask) -> list[Caveat]:
    """Did the attack move anything at all; `moved` (n,) over the rows it was given."""
    if not len(moved) or moved.any():
        return []
    return [_caveat("noop_attack", "invalid", f"none of {len(moved)} attacked rows was moved")]


def untested_caveats(*, tested: bool) -> list[Caveat]:
    """Were the self-tests turned off: then nothing shows that the attack works on this subject."""
    if tested:
        return []
    return [_caveat("self_test_off", "suspicious", "the self-tests that look for masked gradients were turned off")]


def _caveat(flag: str, severity: Severity, evidence: str) -> Caveat:
    return Caveat(flag=flag, severity=severity, evidence=evidence)


def _share(mask: torch.Tensor) -> float:
    return float(mask.double().mean()) if len(mask) else 0.0


def _gap(a: Array, b: Array) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    return float(np.abs(a[both] - b[both]).max(initial=0.0))


def _spread(outputs: npt.NDArray[np.floating]) -> float:
    finite = outputs[np.isfinite(outputs)]
    return float(finite.max() - finite.min()) if len(finite) else 0.0
