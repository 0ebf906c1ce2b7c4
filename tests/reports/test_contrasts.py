"""What the report says of contrasts: at unequal accuracy, and of variants apart from trainings."""

from collections.abc import Callable
from dataclasses import replace

from auditor.bundle import Facts
from auditor.policy import Findings
from auditor.record import Matched
from auditor.reports import html
from auditor.reports.material import Material
from auditor.reports.view_contrasts import _without_numbers
from auditor.reports.view_optimizers import optimizers_section
from auditor.reports.wording import THIN

from .conftest import whole_record

REASON = "in the 4 of 5 pairs whose accuracies on held-back rows match, the difference is -0.1"


def told(bundle: Callable[..., Facts], findings: Findings, matched: Matched, reason: str | None = None) -> str:
    first, *rest = whole_record().contrasts
    first = first.model_copy(update={"accuracy_equivalent": False, "matched": matched})
    said = [c.model_copy(update={"reason": reason or c.reason}) for c in findings.contrasts[:1]]
    judged = findings.model_copy(update={"contrasts": (*said, *findings.contrasts[1:])})
    return html.render(bundle(contrasts=(first, *rest)), judged).decode().replace(THIN, " ").replace("\u2212", "-")


def test_pairs_that_match_are_told_beside_all_with_the_reason(bundle: Callable[..., Facts], findings: Findings) -> None:
    matched = Matched(by="subset", difference=-0.1, low=-0.14, high=-0.06, pairs=4, p_value=0.001, adjusted_p=0.002)
    text = told(bundle, findings, matched, REASON)
    assert "5 pairs, not equally accurate; -10.0 pp (-14.0 to -6.0 pp) in the 4 pairs that match in accuracy" in text
    assert REASON in text


def test_a_regression_is_told_with_its_weakness(bundle: Callable[..., Facts], findings: Findings) -> None:
    matched = Matched(by="regression", difference=-0.1, low=-0.14, high=-0.06, pairs=5, slope=2.0)
    text = told(bundle, findings, matched)
    assert "less what goes with accuracy from run to run, which may take off too little" in text


def test_variants_stand_in_a_table_and_a_drawing_of_their_own(facts: Facts, findings: Findings) -> None:
    record = facts.record
    one = record.contrasts[0]
    made = one.model_copy(update={"a": one.b, "b": f"{one.b}@int8"})
    changed = replace(facts, record=record.model_copy(update={"contrasts": (*record.contrasts, made)}))
    section = optimizers_section(Material(changed, findings))
    assert section.contrasts is not None
    assert section.variants is not None
    assert not any("@int8" in row[1].text for row in section.contrasts.rows)
    assert [row[1].text for row in section.variants.rows] == [f"{one.b}@int8 − {one.b.removeprefix('mlp/')}"]
    titles = [chart.title for chart in section.charts]
    assert titles[:2] == [
        "Differences between groups, with their intervals",
        "What variants change, with their intervals",
    ]


def test_without_variants_there_is_neither(facts: Facts, findings: Findings) -> None:
    section = optimizers_section(Material(facts, findings))
    assert section.variants is None
    assert not any(chart.title.startswith("What variants") for chart in section.charts)


def test_a_reason_says_nothing_again_that_its_row_says_and_has_its_margin_in_points() -> None:
    said = "the difference is +0.00875 [-0.0165, +0.034], neither shown nor shown to be within ±0.02"
    power = "; 5 pairs find one of 0.045 four times in five"
    rest = "; of these two models alone, over their rows"
    assert _without_numbers(said + power + rest) == f"neither shown nor shown to be within ±2\u202fpp{rest}"
    doubt = "the result of net/sgd is suspicious; without that it would be improved"
    assert _without_numbers(doubt) == doubt
