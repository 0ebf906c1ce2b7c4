"""Policies and waivers as files, and whether a policy can be asked of the installed probes."""

from datetime import date

import pytest
from pydantic import ValidationError

from auditor.catalogue import Catalogue, MetricEntry, ProbeEntry
from auditor.errors import ConfigError, UnknownNameError
from auditor.judgement import check_policy
from auditor.policy import Policy, Rule, load_policy, load_waivers

CATALOGUE = Catalogue(
    version="0.1.0",
    probes=(
        ProbeEntry(
            id="evasion.linf",
            metrics=(
                MetricEntry(
                    name="robust_accuracy",
                    title="Robust accuracy",
                    better="higher",
                    kind="upper-bound",
                    unit="share",
                    at=("epsilon",),
                ),
            ),
        ),
        ProbeEntry(
            id="privacy.membership",
            metrics=(
                MetricEntry(name="auc", title="AUC", better="lower", kind="lower-bound", unit="share"),
                MetricEntry(name="members", title="Members", better="neither", kind="exact", unit="number"),
            ),
        ),
        ProbeEntry(id="theirs.broken", error="No module named 'theirs'"),
    ),
)

TEXT = """
schema: auditor/policy/1
id: release
rules:
  - id: EVA-1
    metric: evasion.linf.robust_accuracy
    at: {epsilon: 8/255}
    at_least: 0.4
    severity: critical
"""


def policy(*rules: dict) -> Policy:
    full = [
        {"id": f"R-{i}", "metric": "evasion.linf.robust_accuracy", "severity": "high", **r} for i, r in enumerate(rules)
    ]
    return Policy(schema="auditor/policy/1", id="p", rules=tuple(Rule(**r) for r in full))


def test_a_policy_file_is_read_with_its_defaults() -> None:
    read = load_policy(TEXT, "policy.yaml")
    assert (read.confidence, read.fail_on, read.subjects) == (0.95, "high", "all")
    assert (read.rules[0].at, read.rules[0].at_least, read.rules[0].on_not_assessed) == (
        {"epsilon": "8/255"},
        0.4,
        "report",
    )


def test_an_unknown_key_in_a_policy_is_named_with_its_line_and_the_nearest_key() -> None:
    with pytest.raises(ConfigError, match=r"policy\.yaml:8: unknown key .*at_lest.*did you mean 'at_least'"):
        load_policy(TEXT.replace("at_least", "at_lest"), "policy.yaml")


def test_a_policy_without_rules_is_refused() -> None:
    with pytest.raises(ConfigError, match="rules"):
        load_policy("schema: auditor/policy/1\nid: p\nrules: []\n", "policy.yaml")


@pytest.mark.parametrize(
    "bars", [{}, {"at_least": 0.1, "at_most": 0.2}, {"at_least": 0.1, "regression": {"max_drop": 0.1}}]
)
def test_a_rule_has_exactly_one_bar(bars: dict) -> None:
    with pytest.raises(ValidationError, match="exactly one of at_least, at_most, regression"):
        policy(bars)


def test_a_waiver_file_is_read_with_its_dates_and_bound() -> None:
    read = load_waivers(
        "schema: auditor/waivers/1\nwaivers:\n  - {id: W-1, rule: EVA-1, reason: accepted-risk,"
        " statement: Known and watched.,"
        " owner: a, approved_by: b, created: 2026-11-01, expires: 2026-12-01, while: {at_least: 0.3}}\n",
        "waivers.yaml",
    )
    assert (read.waivers[0].expires, read.waivers[0].while_.at_least) == (date(2026, 12, 1), 0.3)


def test_a_rule_on_a_metric_that_no_probe_has_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match=r"rule 'R-0': unknown metric .*did you mean 'evasion.linf.robust_accuracy'"
    ) as caught:
        check_policy(policy({"metric": "evasion.linf.robust_acuracy", "at_least": 0.1}), CATALOGUE)
    assert caught.value.exit_code == 2


def test_a_coordinate_that_a_metric_has_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"rule 'R-0': .* has no coordinate 'epsilom'; did you mean 'epsilon'"):
        check_policy(policy({"at": {"epsilom": 0.1}, "at_least": 0.1}), CATALOGUE)


def test_two_rules_of_one_id_are_refused() -> None:
    with pytest.raises(ConfigError, match="'A' stands twice"):
        check_policy(policy({"id": "A", "at_least": 0.1}, {"id": "A", "at_least": 0.2}), CATALOGUE)


def test_a_threshold_against_the_direction_of_its_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match="is better when lower; its threshold is written as at_most"):
        check_policy(policy({"metric": "privacy.membership.auc", "at_least": 0.6}), CATALOGUE)
    with pytest.raises(ConfigError, match="is better when higher; its threshold is written as at_least"):
        check_policy(policy({"at_most": 0.6}), CATALOGUE)


def test_a_metric_without_direction_takes_either_threshold_and_cannot_regress() -> None:
    check_policy(
        policy(
            {"metric": "privacy.membership.members", "at_least": 10},
            {"metric": "privacy.membership.members", "at_most": 10},
        ),
        CATALOGUE,
    )
    with pytest.raises(ConfigError, match="cannot regress"):
        check_policy(policy({"metric": "privacy.membership.members", "regression": {"max_drop": 0.1}}), CATALOGUE)


def test_a_metric_of_a_probe_that_cannot_be_read_is_no_mistake_of_the_policy() -> None:
    check_policy(policy({"metric": "theirs.broken.anything", "at_least": 0.1}), CATALOGUE)
