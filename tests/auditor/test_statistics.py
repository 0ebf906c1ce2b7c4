"""Intervals, tests and power against scipy, hand computation and simulation."""

import math
import subprocess
import sys
import timeit

import numpy as np
import pytest
from scipy import special, stats

from auditor import statistics as s
from auditor.crossed import Estimate, crossed_difference, crossed_mean, equivalent, value_mean
from auditor.distributions import beta_share

COUNTS = [(0, 1), (1, 1), (0, 30), (30, 30), (1, 30), (17, 30), (97, 100), (180, 360), (999, 1000), (30000, 60000)]


@pytest.mark.parametrize(("successes", "n"), COUNTS)
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_clopper_pearson_and_wilson_agree_with_scipy(successes: int, n: int, confidence: float) -> None:
    oracle = stats.binomtest(successes, n)
    for ours, method in ((s.clopper_pearson, "exact"), (s.wilson, "wilson")):
        expected = oracle.proportion_ci(confidence, method=method)
        assert ours(successes, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_clopper_pearson_of_no_failure_is_the_closed_form() -> None:
    low, high = s.clopper_pearson(20, 20, 0.95)
    assert low == pytest.approx(0.025 ** (1 / 20), abs=1e-14)
    assert high == 1.0


def test_clopper_pearson_takes_less_than_a_third_of_a_millisecond() -> None:
    assert min(timeit.repeat(lambda: s.clopper_pearson(4321, 10_000), number=20, repeat=5)) / 20 < 3e-4


def test_a_count_outside_its_total_and_a_confidence_of_one_are_refused() -> None:
    for successes, n in ((3, 2), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="is not a share"):
            s.clopper_pearson(successes, n)
        with pytest.raises(ValueError, match="is not a share"):
            s.wilson(successes, n)
    with pytest.raises(ValueError, match="strictly between"):
        s.clopper_pearson(1, 2, 1.0)


def test_beta_quantiles_of_any_shape_agree_with_scipy() -> None:
    rng = np.random.default_rng(0)
    for a, b, p in zip(*(10 ** rng.uniform(-1, 4, (2, 400))), rng.uniform(0.001, 0.999, 400), strict=True):
        assert s.beta_quantile(p, a, b) == pytest.approx(special.betaincinv(a, b, p), abs=1e-11)
    assert s.beta_quantile(0.0, 2.0, 3.0) == 0.0
    assert s.beta_quantile(1.0, 2.0, 3.0) == 1.0


def test_beta_shares_agree_with_scipy() -> None:
    for a, b, x in ((0.5, 0.5, 0.3), (3.0, 700.0, 0.01), (2e4, 3e4, 0.402), (5.0, 1.0, 0.0), (5.0, 1.0, 1.0)):
        assert beta_share(a, b, x) == pytest.approx(special.betainc(a, b, x), abs=1e-10)


@pytest.mark.parametrize("df", [0.5, 1.0, 2.0, 4.0, 4.7, 30.3, 1e4, 1e6, math.inf])
def test_t_quantiles_and_tails_agree_with_scipy(df: float) -> None:
    for p in (0.001, 0.025, 0.5, 0.6, 0.975, 0.9999, 1 - 1e-8):
        assert s.t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-9, abs=1e-12)
    for t in (0.0, 1e-6, 0.1, 2.5, -2.5, 100.0):
        assert s.t_two_sided_p(t, df) == pytest.approx(2 * stats.t.sf(abs(t), df), abs=1e-10)
    assert s.t_two_sided_p(math.inf, df) == 0.0


def test_a_quantile_outside_zero_and_one_is_refused() -> None:
    with pytest.raises(ValueError, match="strictly between"):
        s.t_quantile(1.0, 4.0)


def test_the_normal_quantile_agrees_with_scipy() -> None:
    assert s.normal_quantile(0.975) == pytest.approx(stats.norm.ppf(0.975), abs=1e-12)


def test_the_interval_of_a_mean_is_students() -> None:
    values = np.array([0.3, 0.1, 0.4, 0.1, 0.5])
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert s.mean_interval(values) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert s.mean_interval(values, bounds=(0.1, 0.35)) == (0.1, 0.35)


def test_equal_values_have_an_interval_that_is_not_a_point() -> None:
    assert s.mean_interval(np.ones(50)) == pytest.approx(s.clopper_pearson(50, 50), abs=1e-12)
    assert s.mean_interval(np.zeros(50)) == pytest.approx(s.clopper_pearson(0, 50), abs=1e-12)
    unseen = 1 - 0.025 ** (1 / 50)
    assert s.mean_interval(np.full(50, 0.3)) == pytest.approx((0.3 - unseen * 0.3, 0.3 + unseen * 0.7))
    assert s.mean_interval(np.full(50, -0.5)) == pytest.approx((-0.5 - unseen * 0.5, -0.5 + unseen * 1.5))
    assert s.mean_interval(np.full(50, 8.0)) == pytest.approx((8.0 - unseen * 8.0, 8.0 + unseen * 8.0))
    assert s.mean_interval(np.full(50, 8.0), bounds=(0.0, 10.0)) == pytest.approx((8 - 8 * unseen, 8 + 2 * unseen))


def test_one_value_says_nothing_of_its_spread() -> None:
    assert s.mean_interval([0.4]) == (-math.inf, math.inf)
    assert s.mean_interval([0.4], bounds=(0.0, 1.0)) == (0.0, 1.0)


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [0.1, math.inf]])
def test_a_mean_of_nothing_or_of_what_is_no_number_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        s.mean_interval(values)


def delong_by_pairs(positive: np.ndarray, negative: np.ndarray) -> tuple[float, float]:
    """Value and variance from the definition, over all pairs."""
    kernel = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    above, below = kernel.mean(axis=1), kernel.mean(axis=0)
    return kernel.mean(), above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)


def test_an_auc_with_ties_has_the_value_and_variance_of_the_definition() -> None:
    rng = np.random.default_rng(1)
    positive, negative = rng.integers(3, 12, 40).astype(float), rng.integers(0, 10, 70).astype(float)
    value, variance = delong_by_pairs(positive, negative)
    found = s.auc(positive, negative)
    assert found.value == pytest.approx(value, abs=1e-12)
    half = stats.norm.ppf(0.975) * math.sqrt(variance) / (value * (1 - value))
    ends = special.expit(special.logit(value) + np.array([-half, half]))
    assert (found.low, found.high) == pytest.approx(tuple(ends), abs=1e-9)


def test_the_contributions_to_an_auc_have_its_mean_and_delongs_variance() -> None:
    rng = np.random.default_rng(2)
    positive, negative = rng.normal(0.7, 1, 400), rng.normal(0, 1, 300)
    value, variance = delong_by_pairs(positive, negative)
    found = s.auc(positive, negative)
    pooled = np.concatenate([found.positive, found.negative])
    assert pooled.mean() == pytest.approx(value, abs=1e-12)
    assert pooled.var(ddof=1) / len(pooled) == pytest.approx(variance, rel=0.005)
    assert found.positive.shape == (400,)


def test_scores_that_separate_wholly_give_an_interval_that_is_not_a_point() -> None:
    best = s.auc([2.0, 3.0, 4.0], [0.0, 1.0, 0.5, 0.2])
    assert (best.value, best.high) == (1.0, 1.0)
    assert best.low == pytest.approx(0.025 ** (1 / 3), abs=1e-12)
    worst = s.auc([0.0, 1.0, 0.5, 0.2], [2.0, 3.0, 4.0])
    assert (worst.value, worst.low) == (0.0, 0.0)
    assert worst.high == pytest.approx(1 - 0.025 ** (1 / 3), abs=1e-12)


def test_scores_that_are_all_equal_have_auc_one_half_and_an_interval() -> None:
    found = s.auc(np.zeros(30), np.zeros(60))
    unseen = 1 - 0.025 ** (1 / 30)
    assert found.value == 0.5
    assert (found.low, found.high) == pytest.approx((0.5 - unseen / 2, 0.5 + unseen / 2))


def test_one_positive_among_others_leaves_its_auc_unknown() -> None:
    assert (s.auc([1.0], [0.0, 2.0]).low, s.auc([1.0], [0.0, 2.0]).high) == (0.0, 1.0)


def test_an_auc_without_positives_or_with_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one positive"):
        s.auc([], [1.0])
    with pytest.raises(ValueError, match="finite"):
        s.auc([math.nan], [1.0])


@pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 5), (1, 0), (0, 8), (3, 12), (400, 460)])
def test_mcnemar_agrees_with_the_exact_binomial_test(b: int, c: int) -> None:
    expected = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert s.mcnemar_exact(b, c) == pytest.approx(expected, abs=1e-10)


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="negative"):
        s.mcnemar_exact(-1, 2)


def test_the_sign_flip_test_agrees_with_scipys_permutations() -> None:
    values = np.array([0.3, -0.1, 0.25, 0.4, 0.05, 0.3])
    expected = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert s.sign_flip_p(values) == pytest.approx(expected, abs=1e-12)


def test_five_differences_of_one_sign_have_the_smallest_p_that_five_can_have() -> None:
    assert s.sign_flip_p([0.1, 0.2, 0.3, 0.1, 0.2]) == 2 / 32
    assert s.sign_flip_p(np.zeros(4)) == 1.0
    with pytest.raises(ValueError, match="1 to 20"):
        s.sign_flip_p(np.ones(21))


def test_a_paired_drop_is_the_published_interval() -> None:
    # Bonett and Price's formula by hand: 12 lost, 3 gained of 100.
    baseline = np.array([True] * 80 + [False] * 20)
    new = baseline.copy()
    new[:12], new[80:83] = False, True
    found = s.paired_drop(baseline, new)
    assert (found.value, found.lost, found.gained) == (pytest.approx(0.09), 12, 3)
    centre, half = 9 / 102, 1.959963985 * math.sqrt((17 / 102 - (9 / 102) ** 2) / 102)
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half), abs=1e-9)
    assert found.p_value == pytest.approx(stats.binomtest(3, 15).pvalue)


def test_no_change_at_all_is_not_certainty() -> None:
    found = s.paired_drop(np.ones(300, bool), np.ones(300, bool))
    assert found.value == 0.0
    assert (found.low, found.high) == pytest.approx((-0.00918, 0.00918), abs=1e-5)
    with pytest.raises(ValueError, match="same rows"):
        s.paired_drop([True], [True, False])


def test_holm_by_hand() -> None:
    assert s.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert s.holm([0.6, 0.9]) == [1.0, 1.0]
    assert s.holm([]) == []


def test_equivalence_needs_the_ninety_per_cent_interval_inside() -> None:
    found = Estimate(value=0.001, low=-0.02, high=0.022, se=0.0075, df=4.0, seeds=5, n=100)
    half = stats.t.ppf(0.95, 4) * 0.0075
    assert equivalent(found, 0.001 + half + 1e-6, 0.05)
    assert not equivalent(found, 0.001 + half - 1e-6, 0.05)


def test_the_minimum_detectable_difference_is_found_four_times_in_five() -> None:
    least = s.minimum_detectable(0.01, 50.0)
    power = stats.nct.sf(stats.t.ppf(0.975, 50), 50, least / 0.01)
    assert power == pytest.approx(0.8, abs=0.005)
    assert s.minimum_detectable(0.01, math.inf) == pytest.approx(0.028016, abs=1e-6)


def test_samples_to_settle_bring_the_interval_just_off_the_threshold() -> None:
    assert s.samples_to_settle(0.42, 0.40, 100, 0.04) == 401
    assert s.samples_to_settle(0.42, 0.40, 100, 0.01) == 100
    assert s.samples_to_settle(0.40, 0.40, 100, 0.01) is None


def test_the_crossed_interval_is_that_of_the_two_way_anova() -> None:
    table = np.array([[1.0, 2.0, 4.0, 3.0], [2.0, 2.5, 5.0, 3.5], [0.5, 2.0, 3.0, 4.0]])
    found = crossed_mean(table, 0.95)
    # Sums of squares in their textbook form.
    total = table.sum() ** 2 / 12
    seeds, rows = (table.sum(axis=1) ** 2).sum() / 4 - total, (table.sum(axis=0) ** 2).sum() / 3 - total
    rest = (table**2).sum() - total - seeds - rows
    of_seeds, of_rows = seeds / 2 / 12, (rows / 3 - rest / 6) / 12
    half = math.sqrt(stats.t.ppf(0.975, 2) ** 2 * of_seeds + stats.t.ppf(0.975, 3) ** 2 * of_rows)
    assert found.value == pytest.approx(table.mean())
    assert (found.low, found.high) == pytest.approx((table.mean() - half, table.mean() + half), abs=1e-9)
    assert found.se == pytest.approx(math.sqrt(of_seeds + of_rows))
    assert stats.t.ppf(0.975, found.df) * found.se == pytest.approx(half, rel=1e-8)
    assert (found.seeds, found.n) == (3, 12)


def test_one_seed_has_the_t_interval_of_its_rows() -> None:
    values = np.array([0.3, 0.1, 0.4, 0.1, 0.5])
    found = crossed_mean(values[None, :])
    assert (found.low, found.high) == pytest.approx(s.mean_interval(values), abs=1e-12)
    assert (found.seeds, found.df) == (1, 4)


def test_one_seed_of_a_share_has_nearly_wilsons_interval() -> None:
    outcomes = np.array([1.0] * 120 + [0.0] * 280)
    found = crossed_mean(outcomes[None, :], bounds=(0.0, 1.0))
    assert (found.low, found.high) == pytest.approx(s.wilson(120, 400), abs=2e-3)


def test_rows_that_were_not_asked_change_neither_the_mean_of_means_nor_its_seed_part() -> None:
    table = np.array(
        [[1.0, 0.0, 1.0, math.nan, math.nan], [1.0, 1.0, 1.0, 0.0, math.nan], [0.0, 1.0, 0.0, 0.0, math.nan]]
    )
    found = crossed_mean(table)
    assert found.value == pytest.approx((2 / 3 + 3 / 4 + 1 / 4) / 3)
    assert found.n == 11
    assert found.se >= np.std([2 / 3, 3 / 4, 1 / 4], ddof=1) / math.sqrt(3) - 1e-12


def test_success_in_every_cell_is_not_certainty_and_one_failure_does_not_raise_the_lower_end() -> None:
    table = np.ones((5, 300))
    sure = crossed_mean(table, bounds=(0.0, 1.0))
    table[0, 0] = 0.0
    nearly = crossed_mean(table, bounds=(0.0, 1.0))
    assert (sure.value, sure.high) == (1.0, 1.0)
    # As if each row had been asked once, for rows may succeed alike at every seed: Wilson of 300 of 300.
    assert sure.low == pytest.approx(s.wilson(300, 300)[0], abs=1e-3)
    assert sure.low - 1e-4 < nearly.low + 1e-4
    assert abs(nearly.low - sure.low) < 1e-3


def test_bounds_other_than_zero_and_one_scale_the_same_interval() -> None:
    table = (np.random.default_rng(3).random((4, 60)) < 0.8).astype(float)
    unit, wide = crossed_mean(table, bounds=(0.0, 1.0)), crossed_mean(5 * table - 2, bounds=(-2.0, 3.0))
    assert (wide.low, wide.high) == pytest.approx((5 * unit.low - 2, 5 * unit.high - 2), abs=1e-9)
    with pytest.raises(ValueError, match="do not lie within"):
        crossed_mean(table * 2, bounds=(0.0, 1.0))


def test_equal_cells_without_bounds_have_an_interval_that_is_not_a_point() -> None:
    found = crossed_mean(np.full((3, 100), 2.0))
    assert found.low < 2.0 < found.high
    assert found.se > 0.0


@pytest.mark.parametrize("table", [[[math.nan, math.nan], [1.0, 0.0]], [[]], [[[1.0]]], [[math.inf, 1.0]]])
def test_a_table_with_a_seed_that_answered_nothing_is_refused(table: list[object]) -> None:
    with pytest.raises(ValueError, match="at least one answer"):
        crossed_mean(table)  # type: ignore[arg-type]  # wrong on purpose


def test_one_row_cannot_show_how_rows_vary() -> None:
    with pytest.raises(ValueError, match="one row"):
        crossed_mean([[1.0], [0.0]])


def test_the_crossed_difference_is_the_mean_of_the_differences_and_agrees_with_its_p_value() -> None:
    rng = np.random.default_rng(4)
    a, b = (rng.random((5, 200)) < 0.55).astype(float), (rng.random((5, 200)) < 0.32).astype(float)
    found = crossed_difference(a, b)
    assert found.value == pytest.approx(b.mean() - a.mean())
    assert (found.low, found.high) == pytest.approx(tuple(2 * found.value - e for e in (found.high, found.low)))
    assert found.p_value is not None
    at_the_edge = crossed_difference(a, b, 1 - found.p_value)
    assert at_the_edge.high == pytest.approx(0.0, abs=1e-6)
    # The end of the interval that touches zero has a p-value of one minus the confidence.
    assert crossed_difference(a, b - found.high).p_value == pytest.approx(0.05, abs=1e-6)


def test_a_difference_of_rows_that_only_one_side_was_asked_is_that_of_the_groups_means() -> None:
    a = np.array([[1.0, 0.0, math.nan, 1.0], [1.0, 1.0, math.nan, 0.0]])
    b = np.array([[0.0, math.nan, 1.0, math.nan], [1.0, 0.0, 0.0, math.nan]])
    found = crossed_difference(a, b)
    assert found.value == pytest.approx(crossed_mean(b).value - crossed_mean(a).value)
    assert found.n == 3
    assert found.low < found.value < found.high


def test_the_same_answers_twice_differ_by_zero_but_not_for_certain() -> None:
    table = np.ones((5, 360))
    found = crossed_difference(table, table, bounds=(0.0, 1.0))
    unseen = 1 - 0.025 ** (1 / 360)
    assert (found.value, found.p_value) == (0.0, 1.0)
    assert (found.low, found.high) == pytest.approx((-unseen, unseen))
    everything = crossed_difference(table * 0, table, bounds=(0.0, 1.0))
    assert (everything.value, everything.high) == (1.0, 1.0)
    assert everything.low == pytest.approx(1 - 2 * unseen)
    assert everything.p_value is not None
    assert everything.p_value < 1e-9


def test_tables_of_unlike_shape_are_not_paired() -> None:
    with pytest.raises(ValueError, match="not paired"):
        crossed_difference(np.ones((2, 3)), np.ones((2, 4)))


def test_numbers_without_rows_combine_their_spread_with_their_own_intervals() -> None:
    found = value_mean([0.50, 0.54, 0.49], [0.02, 0.03, 0.01])
    seeds = stats.t.ppf(0.975, 2) ** 2 * np.var([0.50, 0.54, 0.49], ddof=1) / 3
    half = math.sqrt(seeds + (0.02**2 + 0.03**2 + 0.01**2) / 3)
    assert (found.low, found.high) == pytest.approx((0.51 - half, 0.51 + half), abs=1e-9)
    alone = value_mean([0.5], [0.02])
    assert (alone.low, alone.high) == pytest.approx((0.48, 0.52))
    with pytest.raises(ValueError, match="nothing of its spread"):
        value_mean([0.5], [0.0])


def test_neither_scipy_nor_torch_is_imported() -> None:
    code = "import sys, auditor.contrast; sys.exit(any(m in sys.modules for m in ('scipy', 'torch', 'sklearn')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def crossed_tables(share: float, seed_sd: float, replications: int) -> np.ndarray:
    """Probit outcomes (replications, 5 seeds, 150 rows): 80 % of the latent variance is the rows' own."""
    rng = np.random.default_rng(20261122)
    latent = seed_sd * math.sqrt(5) / stats.norm.pdf(stats.norm.ppf(share))
    centre = stats.norm.ppf(share) * math.sqrt(5 + latent**2)
    noise = 2 * rng.normal(size=(replications, 1, 150)) + latent * rng.normal(size=(replications, 5, 1))
    return (centre + noise + rng.normal(size=(replications, 5, 150)) > 0).astype(float)


def hits(share: float, seed_sd: float, replications: int) -> int:
    found = [crossed_mean(table, bounds=(0.0, 1.0)) for table in crossed_tables(share, seed_sd, replications)]
    return sum(e.low <= share <= e.high for e in found)


def test_crossed_intervals_at_five_seeds_hold_the_truth_as_often_as_they_say() -> None:
    found = stats.binomtest(hits(0.5, 0.025, 400), 400, 0.95, alternative="less")
    assert found.pvalue > 0.01


def test_a_t_interval_over_seeds_alone_holds_the_truth_far_less_often() -> None:
    means = crossed_tables(0.5, 0.025, 400).mean(axis=2)
    half = stats.t.ppf(0.975, 4) * means.std(axis=1, ddof=1) / math.sqrt(5)
    assert np.mean(np.abs(means.mean(axis=1) - 0.5) <= half) < 0.85


@pytest.mark.slow
@pytest.mark.parametrize(("share", "seed_sd"), [(0.1, 0.025), (0.5, 0.0), (0.5, 0.025), (0.97, 0.01), (0.99, 0.0)])
def test_crossed_intervals_of_any_share_hold_the_truth_as_often_as_they_say(share: float, seed_sd: float) -> None:
    found = stats.binomtest(hits(share, seed_sd, 2000), 2000, 0.95, alternative="less")
    assert found.pvalue > 0.001


@pytest.mark.slow
@pytest.mark.parametrize(("share_a", "share_b", "seed_sd"), [(0.545, 0.32, 0.025), (0.97, 0.97, 0.005)])
def test_crossed_differences_hold_the_truth_as_often_as_they_say(
    share_a: float, share_b: float, seed_sd: float
) -> None:
    pairs = zip(crossed_tables(share_a, seed_sd, 4000)[::2], crossed_tables(share_b, seed_sd, 4000)[1::2], strict=True)
    found = [crossed_difference(a, b, bounds=(0.0, 1.0)) for a, b in pairs]
    inside = sum(e.low <= share_b - share_a <= e.high for e in found)
    assert stats.binomtest(inside, 2000, 0.95, alternative="less").pvalue > 0.001


@pytest.mark.slow
def test_the_aucs_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    truth = stats.norm.cdf(1.5 / math.sqrt(2))
    found = [s.auc(rng.normal(1.5, 1, 80), rng.normal(0, 1, 120)) for _ in range(2000)]
    inside = sum(e.low <= truth <= e.high for e in found)
    assert stats.binomtest(inside, 2000, 0.95).pvalue > 0.001


def test_cells_that_vary_while_all_means_agree_are_no_certainty() -> None:
    cells = np.array([[1.0, -1.0, 0.0, 0.0], [-1.0, 1.0, 0.0, 0.0]])
    found = crossed_difference(np.zeros((2, 4)), cells)
    assert found.low < -0.5
    assert found.high > 0.5
    assert found.p_value == 1.0


def test_two_seeds_that_differ_equally_by_luck_are_no_certainty() -> None:
    cells = np.zeros((2, 360))
    cells[0, :20], cells[1, 100:120] = -1.0, -1.0  # twenty rows are lost by each seed, others by each
    found = crossed_difference(np.zeros((2, 360)), cells, bounds=(0.0, 1.0))
    assert found.value == pytest.approx(-1 / 18)
    assert found.p_value is not None
    assert found.p_value > 0.05  # two numbers and their spread cannot tell, whatever the rows


@pytest.mark.slow
def test_small_p_values_of_two_seeds_are_as_rare_as_they_say_sample() -> None:
    rng, tiny, trials = np.random.default_rng(3), 0, 1500
    for _ in range(trials):
        base = rng.random(360) < 0.9
        sides = [np.where(rng.random((2, 360)) < 0.08, rng.random((2, 360)) < 0.9, base) for _ in range(2)]
        found = crossed_difference(*sides, bounds=(0.0, 1.0))
        tiny += found.p_value is not None and found.p_value < 0.005
    assert stats.binomtest(tiny, trials, 0.005, alternative="greater").pvalue > 0.001
