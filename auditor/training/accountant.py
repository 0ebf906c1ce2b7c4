"""What a training by noisy gradients says of one row at most: Renyi differential privacy of the subsampled Gaussian."""

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from auditor.errors import ConfigError

ORDERS = (*range(2, 257), 320, 384, 512, 768, 1024)
LEAST_NOISE, MOST_NOISE = 1e-2, 1e6  # between which a noise multiplier is looked for
TOLERANCE = 1e-6  # relative, of that search


def renyi(noise_multiplier: float, rate: float, order: int) -> float:
    """How far apart can one step with and without a row be: Renyi divergence of an integer order, at least 2.

    A step adds Gaussian noise of `noise_multiplier` times the sensitivity to a sum over rows, each in it with
    probability `rate`. With z = noise multiplier and q = rate it is log(A) / (order - 1), where A = sum over k of
    C(order, k) (1 - q)^(order - k) q^k exp((k^2 - k) / (2 z^2)) (Mironov, Talwar and Zhang, Renyi differential privacy
    of the sampled Gaussian mechanism, 2019, section 3.3); for q = 1, order / (2 z^2). Summed as A - 1, whose terms
    are all positive, so that no small rate is lost to rounding. Adding or removing one row is what is meant.
    """
    if rate == 1:
        return order / (2 * noise_multiplier**2)
    k = np.arange(2, order + 1, dtype=np.float64)
    growth = (k * k - k) / (2 * noise_multiplier**2)
    with np.errstate(under="ignore"):  # a term that vanishes beside the others
        above_one = growth + np.log(-np.expm1(-growth))  # log(exp(growth) - 1), also where growth is next to 0
        terms = _log_binomials(order) + k * math.log(rate) + (order - k) * math.log1p(-rate) + above_one
        top = float(terms.max())
        total = top + math.log(float(np.exp(terms - top).sum()))
    return float(np.logaddexp(0.0, total)) / (order - 1)


@cache
def _log_binomials(order: int) -> npt.NDArray[np.float64]:
    """Logarithms of C(order, k) for k from 2 to the order."""
    factorials = np.array([math.lgamma(n + 1) for n in range(order + 1)])
    whole: npt.NDArray[np.float64] = factorials[order] - factorials - factorials[::-1]
    return whole[2:]


def epsilon_spent(noise_multiplier: float, rate: float, steps: int, delta: float) -> float:
    """Which epsilon does a training of so many steps spend at this delta? An upper bound, in natural units.

    Renyi divergences of the steps add up. At each order a, epsilon is their sum + log(1 - 1/a) - log(delta a) / (a - 1)
    (Canonne, Kamath and Steinke, The discrete Gaussian for differential privacy, NeurIPS 2020, proposition 12); the
    least over integer orders from 2 to 1024 counts. Raises ConfigError for arguments outside their range.
    """
    _check(noise_multiplier, rate, steps, delta)
    spent = (steps * renyi(noise_multiplier, rate, a) + _conversion(a, delta) for a in ORDERS)
    return max(0.0, min(spent))


def _conversion(order: int, delta: float) -> float:
    return math.log1p(-1 / order) - math.log(delta * order) / (order - 1)


def noise_for(epsilon: float, rate: float, steps: int, delta: float) -> float:
    """Which noise multiplier spends no more than this epsilon, and hardly less? The inverse of `epsilon_spent`.

    Raises ConfigError for an epsilon that no noise reaches by this accountant, or that needs next to none.
    """
    low, high = LEAST_NOISE, MOST_NOISE
    if not epsilon > 0 or epsilon_spent(high, rate, steps, delta) > epsilon:
        raise ConfigError(f"dp: no noise is enough for epsilon {epsilon:g} at delta {delta:g}: ask for a larger one")
    if epsilon_spent(low, rate, steps, delta) <= epsilon:
        raise ConfigError(f"dp: an epsilon of {epsilon:g} promises nothing: values up to about 10 are in use")
    while high > low * (1 + TOLERANCE):
        middle = math.sqrt(low * high)
        if epsilon_spent(middle, rate, steps, delta) > epsilon:
            low = middle
        else:
            high = middle
    return high


def _check(noise_multiplier: float, rate: float, steps: int, delta: float) -> None:
    if not (0 < noise_multiplier < math.inf and 0 < rate <= 1 and steps >= 1 and 0 < delta < 1):
        raise ConfigError(
            f"dp: noise multiplier {noise_multiplier:g}, rate {rate:g}, {steps} steps, delta {delta:g}: noise must be "
            "above 0, the rate of rows in (0, 1], delta between 0 and 1"
        )
