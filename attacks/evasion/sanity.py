"""Checks that an attack's number can be believed: what each finds is a caveat with its evidence."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from auditor.dataset import Array, Labels
from auditor.record import Caveat, Severity
from auditor.subject import margins

from .bench import Mask, Rows
from .convergence import Convergence
from .planted import Planted
from .slopes import Slope

_DRIFT = 1e-4  # of the outputs' spread: more, and the same input gives different answers
_MATES = 0.02  # of the outputs' spread: arithmetic in batches and int8 move less, batch statistics move more
_ALONE = 8
_ASKED = 16
_REPEATS = 8  # a lot drawn once a call comes out the same twice quite often
_LEAST_AGREEMENT = 0.9  # honest nets have 0.95 and more, gradients of half the inputs 0.7
_LOST = 1e-3  # of the outputs' spread: a success that is lost by less was lost to rounding
_SATURATED = 10.0  # a median gap of 100 between the two best logits: float32 softmax has rounded to one and zero
_MANY = 250
_TELLING = 32  # outputs
_FOUND = 0.95  # share of planted points that an attack which works finds (Zimmermann et al. 2022)
_FEW = 3
_SAID = 256  # changed inputs shown again
_LITTLE = 0.01  # share of rows that may stand by accident: a masked model's illusion is larger


def slope_caveats(found: Slope, rows: int) -> list[Caveat]:
    """What the gradients of so many clean rows say about an attack that follows them."""
    if found.missing:
        return [
            _caveat("no_gradient_path", "suspicious", f"white box not run: {found.missing}; random search used instead")
        ]
    caveats = []
    if found.zero > 0.05:
        caveats.append(
            _caveat("zero_gradient", "suspicious", f"gradient exactly zero at {found.zero:.1%} of {rows} clean rows")
        )
    if found.unfelt > 0:
        told = f"no gradient names {found.unfelt:.1%} of the features at any row, though the scores move with them"
        caveats.append(_caveat("zero_gradient", "suspicious", told))
    if found.unreadable > 0:
        caveats.append(
            _caveat("non_finite", "suspicious", f"gradient not finite at {found.unreadable:.1%} of {rows} clean rows")
        )
    if found.saturated > 0:
        told = f"cross-entropy has no gradient at {found.saturated:.1%} of {rows} clean rows, whose scores lie too far "
        caveats.append(_caveat("saturated_logits", "info", told + "apart for it; the lead of the best class has one"))
    return caveats + misled_caveats(found, "clean")


def misled_caveats(found: Slope, where: str) -> list[Caveat]:
    """Do gradients foretell what scores do, and scores not depend on who asks, at clean rows or where rows stood."""
    caveats = []
    if found.agreement < _LEAST_AGREEMENT and found.zero < 1:
        told = (
            f"at {where} rows the scores follow their gradient with a cosine of {found.agreement:.2f} along small steps"
        )
        caveats.append(_caveat("misleading_gradient", "suspicious", told + "; honest models give 0.95 and more"))
    elif found.astray > 0:
        told = f"at {found.astray:.1%} of {where} rows the scores do not follow their gradient along small steps"
        caveats.append(
            _caveat("misleading_gradient", "suspicious", told + "; of honest models at one row in 64 at most")
        )
    if found.differs:
        told = f"{found.differing:.1%} of {where} rows are answered otherwise when a gradient is asked for"
        caveats.append(_caveat("two_faced", "suspicious", told))
    return caveats


def steadiness_caveats(predict: Callable[[Array], Array], x: Array) -> list[Caveat]:
    """Does the subject answer rows x (n, *shape) the same twice, and the same alone as in company."""
    first, some = predict(x), x[:_ASKED]
    again = [predict(some) for _ in range(_REPEATS)]
    drift = max(_gap(first, predict(x)), *(_gap(again[0], other) for other in again[1:]))
    spread = _spread(first)
    if drift > _DRIFT * spread:
        told = f"the same {len(x)} inputs gave outputs {drift:.3g} apart (spread {spread:.3g}): one answer is one draw"
        return [_caveat("stochastic", "suspicious", told)]
    few = x[:: max(1, len(x) // _ALONE)][:_ALONE]
    alone = np.concatenate([predict(row[None]) for row in few])
    company = _gap(alone, first[:: max(1, len(x) // _ALONE)][:_ALONE])
    if company <= _MATES * spread:
        return []
    told = f"inputs alone and in a batch of {len(x)} gave outputs {company:.3g} apart (spread {spread:.3g}): "
    return [_caveat("batch_dependent", "invalid", told + "is batch normalisation in training mode?")]


def stateful_caveats(predict: Callable[[Array], Array], x: Array, outputs: Array) -> list[Caveat]:
    """Does the subject, after all that was asked of it, answer clean rows x (n, *shape) as it did at first."""
    now = predict(x)
    drift, spread = _gap(now, outputs), _spread(outputs)
    if drift <= _DRIFT * spread and np.array_equal(np.isfinite(now), np.isfinite(outputs)):
        return []
    told = f"after the attack {len(x)} clean rows gave outputs {drift:.3g} from those before it (spread {spread:.3g})"
    return [_caveat("stateful", "invalid", told + ": what was measured is no one model")]


def repeat_caveats(predict: Callable[[Array], Array], changed: Array, y: Labels) -> list[Caveat]:
    """Are changed inputs (n, *shape) that broke their rows still answered wrongly when they are shown again."""
    if not len(y):
        return []
    spread_out = slice(None, None, -(-len(y) // _SAID))
    changed, y = changed[spread_out], y[spread_out]
    outputs = predict(changed)
    lost = int((margins(outputs, y) > _LOST * _spread(outputs)).sum())
    if lost < _FEW:
        return []
    told = f"{lost} of {len(y)} changed inputs that were answered wrongly are answered rightly when shown again"
    return [_caveat("stochastic", "suspicious", told)]


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
    if scored and hard(outputs):
        told = f"the outputs of {len(outputs)} clean rows take two values only: scores that say no more than the "
        caveats.append(_caveat("hard_label", "suspicious", told + "label give a search nothing to follow"))
    return caveats


def hard(outputs: Array) -> bool:
    """Do the outputs (n, K), where they are enough to tell, take two values only, and so say no more than the label."""
    return outputs.size >= _TELLING and len(np.unique(outputs)) == 2


def gain_caveats(flag: str, who: str, gains: list[int], rows: int) -> list[Caveat]:
    """Did something that should be weaker break rows that the main attack could not."""
    most = max(gains, default=0)
    if most <= max(3, 0.01 * rows):  # masking moves tens of points; certified nets honestly give up to 0.9
        return []
    return [_caveat(flag, "suspicious", f"{who} broke about {most} of {rows} rows that the main attack left standing")]


def beaten_caveats(flag: str, who: str, gains: list[int], rows: int) -> list[Caveat]:
    """Did an attack that is no match for the main one break over 3 rows, and 0.2 % of them, that it could not."""
    most = max(gains, default=0)
    if most <= max(_FEW, 0.002 * rows):
        return []
    return [_caveat(flag, "suspicious", f"{who} broke {most} of {rows} rows that the main attack left standing")]


def little_stands(broken: Mask) -> bool:
    """Whether so few rows stand, of what is broken (n,), that no robustness is claimed which could be an illusion."""
    return bool((~broken).sum() <= _LITTLE * len(broken))


def fallen_caveats(broken: Mask, epsilon: float) -> list[Caveat]:
    """Why the self-tests that look for masked gradients were left out."""
    told = (
        f"{int((~broken).sum())} of {len(broken)} rows stand at epsilon {epsilon:g}: the attack is seen to work, and "
    )
    return [
        _caveat("nothing_stands", "info", told + "self-tests that look for rows it should have broken were left out")
    ]


def convergence_caveats(ended: Convergence, rows: int) -> list[Caveat]:
    """Had the attack by gradients come to its end, and was it better than a single step."""
    caveats = _one_step_caveats(max(ended.one_step, default=0), rows)
    if ended.unended:
        told = f"attacks of {ended.steps} steps still broke {ended.unended} of the 64 rows that led least"
        caveats.append(_caveat("not_converged", "suspicious", told + ": longer ones would break more"))
    elif ended.broken > max(_FEW, 0.002 * rows):
        told = (
            f"the attack was continued with up to {ended.steps} steps, until more of them broke no more than chance: "
        )
        caveats.append(_caveat("continued", "info", told + f"{ended.broken} rows fell"))
    return caveats


def unended_caveats(unended: list[int], rows: int) -> list[Caveat]:
    """Did the longest search by answers, of so many rows, still break more than a few."""
    most = max(unended, default=0)
    if not most:
        return []
    told = f"the longest search by answers alone still broke {most} of {rows} rows: a longer one would break more"
    return [_caveat("not_converged", "suspicious", told)]


def _one_step_caveats(beyond: int, rows: int) -> list[Caveat]:
    if beyond <= max(_FEW, 0.01 * rows):
        return []
    told = f"one step across the ball broke about {beyond} of {rows} rows that attacks of many steps cannot break"
    return [_caveat("one_step_beats_multi", "suspicious", told)]


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


def planted_caveats(test: Planted) -> list[Caveat]:
    """Did the attack find the weak points that were planted beside rows for it to find."""
    if not test.rows:
        return [_caveat("planted", "info", "no weak point could be planted: the scores hardly move inside the ball")]
    told = f"of {test.rows} weak points planted beside rows the attack found {test.found}, plain noise {test.by_noise}"
    if test.found < _FOUND * test.rows - 1:
        return [_caveat("planted_missed", "suspicious", told)]
    return [_caveat("planted", "info", told)]


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


def whole_caveats(radii: tuple[float, ...], whole: float, features: int) -> list[Caveat]:
    """Are there epsilons at which the ball holds the whole range, so that any input may become any other."""
    large = [f"{radius:g}" for radius in radii if radius >= whole]
    if not large:
        return []
    told = f"at epsilon {', '.join(large)} the ball holds the whole range ({whole:g} for {features} features): any "
    return [_caveat("whole_range", "info", told + "row may become any other, and nothing is expected to stand")]


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


def _gap(a: Array, b: Array) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    return float(np.abs(a[both] - b[both]).max(initial=0.0))


def _spread(outputs: npt.NDArray[np.floating]) -> float:
    finite = outputs[np.isfinite(outputs)]
    return float(finite.max() - finite.min()) if len(finite) else 0.0
