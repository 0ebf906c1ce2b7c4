"""The short report: the same answers as the long one, readable on a forge."""

import re
from collections.abc import Callable
from pathlib import Path

from auditor.bundle import Facts
from auditor.policy import Findings
from auditor.record import AuditRecord
from auditor.reports import markdown

GOLDEN = Path(__file__).parents[1] / "golden" / "report.md"


def test_the_report_is_the_one_that_was_reviewed(facts: Facts, findings: Findings, tmp_path: Path) -> None:
    written = tmp_path / "report.md"
    text = markdown.render(facts, findings).decode()
    for name, digest in (("facts", facts.sha256), ("record", facts.record.sha256)):
        text = text.replace(digest, f"<{name}>").replace(digest[:16], f"<{name}>")
    written.write_text(text)
    assert written.read_text() == GOLDEN.read_text(), f"if the change is meant, copy {written} over {GOLDEN}"


def test_every_row_of_a_table_has_as_many_cells_as_its_heading(facts: Facts, findings: Findings) -> None:
    text = markdown.render(facts, findings).decode()
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) >= 6
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


def test_a_hostile_name_makes_no_markup(bundle: Callable[..., Facts], findings: Findings) -> None:
    name = "a|b <script> [x](http://x) `c` *d*\nnext"
    audit = AuditRecord(name=name, seed=1, profile="quick", plan_sha256="0" * 64, complete=True)
    text = markdown.render(bundle(audit=audit), findings).decode()
    heading = text.splitlines()[0]
    assert heading.startswith(r"# a\|b &lt;script&gt; \[x\](http://x) \`c\` \*d\* next: ")
    assert "<script" not in text


def test_the_order_is_verdict_scorecard_findings_comparison_gaps_reproduction(facts: Facts, findings: Findings) -> None:
    text = markdown.render(facts, findings).decode()
    assert text.startswith("# toy audit: ✕ FAIL\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "Scope",
        "Scorecard",
        "Robustness curves",
        "Findings",
        "Optimizer comparison",
        "Not assessed",
        "Reproduction",
    ]


def test_an_interrupted_audit_says_so(bundle: Callable[..., Facts], findings: Findings) -> None:
    audit = AuditRecord(name="cut", seed=1, profile="quick", plan_sha256="0" * 64, complete=False)
    assert (
        markdown.render(bundle(audit=audit), findings)
        .decode()
        .startswith("# cut: … INCOMPLETE\n\n> This audit was interrupted")
    )
