"""Intervals of shares and means: exact, score and t, and what may be said when nothing varied."""

import math

import numpy as np
import numpy.typing as npt

from auditor.distributions import beta_quantile, normal_quantile, t_quantile


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Where does a share lie, when `successes` of `n` said yes? The exact interval, (low, high) in [0, 1].

    Its coverage is never below nominal and mostly above. Clopper and Pearson, Biometrika 26 (1934) 404-413.

    Raises:
        ValueError: n is below 1, or successes outside 0..n.
    """
    _check_counts(successes, n)
    tail = tail_probability(confidence)
    low = 0.0 if successes == 0 else beta_quantile(tail, successes, n - successes + 1)
    high = 1.0 if successes == n else beta_quantile(1.0 - tail, successes + 1, n - successes)
    return low, high


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Where does a share lie, on average over shares with nominal coverage? The score interval, in [0, 1].

    Narrower than Clopper-Pearson, and below nominal coverage for some shares. Wilson, JASA 22 (1927) 209-212.

    Raises:
        ValueError: n is below 1, or successes outside 0..n.
    """
    _check_counts(successes, n)
    return score_interval(successes / n, n, confidence)


def score_interval(share: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for a share of n draws, where n need not be whole: an effective sample size."""
    z = normal_quantile(1.0 - tail_probability(confidence))
    weight = z * z / n
    half = z * math.sqrt(share * (1.0 - share) / n + weight / (4.0 * n))
    low, high = (share + weight / 2.0 - half) / (1.0 + weight), (share + weight / 2.0 + half) / (1.0 + weight)
    return (0.0 if share == 0.0 else low), (1.0 if share == 1.0 else high)


def unseen_share(n: int, confidence: float = 0.95) -> float:
    """How large a share of a population can have stayed unseen in n draws: 1 - (alpha/2)^(1/n)."""
    return -math.expm1(math.log(tail_probability(confidence)) / n)


def mean_interval(
    values: npt.ArrayLike, confidence: float = 0.95, bounds: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Where does the mean lie of which these values are a sample? The t interval, clipped to `bounds`.

    One value says nothing of its spread: the answer is `bounds`, or (-inf, inf) without them. Equal values
    have no spread, and still an interval: a share of the population, at most `unseen_share(n)`, may hold
    other values, anywhere within `bounds`; without bounds, within [0, 1] or [-1, 1] where the value lies
    there, else between zero and twice the value. For zeros or ones in [0, 1] that is Clopper-Pearson. Blind
    spot: skewed values in small samples.

    Raises:
        ValueError: no values, or values that are not finite.
    """
    sample = np.asarray(values, np.float64).ravel()
    if not len(sample) or not np.isfinite(sample).all():
        raise ValueError("a mean needs at least one value, and finite ones")
    low, high = bounds or (-math.inf, math.inf)
    if len(sample) == 1:
        return low, high
    mean = float(sample.mean())
    if sample.min() == sample.max():
        return unseen_interval(float(sample[0]), len(sample), confidence, bounds)
    half = (
        t_quantile(1.0 - tail_probability(confidence), len(sample) - 1)
        * float(sample.std(ddof=1))
        / math.sqrt(len(sample))
    )
    return max(low, mean - half), min(high, mean + half)


def unseen_interval(
    value: float, n: int, confidence: float, bounds: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Where may a mean lie when all n values seen were the same? See `mean_interval`."""
    if bounds is None:
        bounds = next(
            (b for b in ((0.0, 1.0), (-1.0, 1.0)) if b[0] <= value <= b[1]), (min(0.0, 2 * value), max(0.0, 2 * value))
        )
    unseen = unseen_share(n, confidence)
    return value - unseen * (value - bounds[0]), value + unseen * (bounds[1] - value)


def tail_probability(confidence: float) -> float:
    """How likely is the truth beyond one end of an interval of this confidence."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"a confidence must lie strictly between 0 and 1, not {confidence}")
    return (1.0 - confidence) / 2.0


def _check_counts(successes: int, n: int) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is not a share")
