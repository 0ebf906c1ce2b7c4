"""Record and findings to a report of plain strings: the sections, their order and the contents."""

from auditor.bundle import Facts
from auditor.policy import Findings

from .material import Material
from .page import Link, ProbeSection, Report
from .view_appendix import appendix
from .view_cards import cards
from .view_findings import findings_section
from .view_frameworks import framework_section
from .view_optimizers import optimizers_section
from .view_probes import probe_section
from .view_scope import scope
from .view_verdict import banner, scorecard


def report(facts: Facts, findings: Findings) -> Report:
    """Everything a report says, worded and rounded, in the order it is read."""
    material = Material(facts, findings)
    probes = tuple(probe_section(material, p) for p in material.probes)
    return Report(
        language="en",
        title=f"{material.record.audit.name}: security and robustness audit",
        contents=_contents(probes),
        banner=banner(material),
        scope=scope(material),
        scorecard=scorecard(material),
        findings=findings_section(material),
        optimizers=optimizers_section(material),
        probes=probes,
        framework=framework_section(material),
        cards=cards(material),
        appendix=appendix(material),
        colophon=_colophon(material),
    )


def _contents(probes: tuple[ProbeSection, ...]) -> tuple[Link, ...]:
    return (
        Link("#verdict", "Verdict"),
        Link("#scope", "Scope and limits"),
        Link("#scorecard", "Scorecard"),
        Link("#findings", "Findings"),
        Link("#optimizers", "Optimizer comparison"),
        Link("#probes", "Probes", tuple(Link(f"#{p.anchor}", p.title) for p in probes)),
        Link("#framework", "NIST AI RMF"),
        Link("#cards", "Model and data cards"),
        Link("#reproduction", "Reproduction"),
        Link("#methods", "Methods"),
        Link("#evidence", "Evidence index"),
        Link("#glossary", "Glossary"),
    )


def _colophon(material: Material) -> str:
    facts, day = material.facts, material.findings.as_of.isoformat()
    return f"Made by auditor {facts.catalogue.version} from the facts {facts.sha256[:16]}, judged as of {day}."
