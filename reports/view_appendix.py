"""The end of the report: how to get the same numbers again, how they were computed, and what they rest on."""

from collections.abc import Iterator, Mapping
from typing import Any

from auditor.bundle import Manifest, read_model

from . import wording
from .material import Material
from .page import Appendix, Cell, Column, Fact, Table

METHODS = (
    Fact(
        "Intervals of one model",
        "Shares have exact Clopper–Pearson intervals over the rows asked; areas under a curve have "
        "DeLong's; other means have t intervals. Their confidence is stated beside the scorecard.",
    ),
    Fact(
        "Intervals of a group",
        "Seeds and rows are crossed: the interval covers both another seed and other rows, from their "
        "variance components with Satterthwaite's degrees of freedom. With one seed it covers the rows alone.",
    ),
    Fact(
        "Contrasts",
        "The two groups share split, initialisation, order and attacked rows for each seed, so their difference "
        "is paired. p-values are two-sided and adjusted by Holm over the pairs of one metric.",
    ),
    Fact(
        "Judgement",
        "A rule is held against the pessimistic end of the interval: the lower end of what should be high, the "
        "upper end of what should be low. A threshold inside the interval is inconclusive. Skipped, errored, invalid "
        "or unmeasured evidence never passes.",
    ),
    Fact(
        "Bounds",
        "An attack's result is an upper bound on robustness: whatever it broke is broken, whatever it did not break "
        "may fall to a stronger attack. A certificate is a lower bound.",
    ),
    Fact(
        "Sanity checks",
        "Probes test themselves: vanishing gradients, a black-box attack that beats the white-box one, a "
        "trigger that acts without a backdoor, a null control that is not null. What they find stands as caveats, and "
        "a suspicious or invalid result cannot pass.",
    ),
    Fact(
        "Random streams",
        "Each stream is derived from the root seed, its role and the seed index, never from the optimizer, "
        "so adding a probe or an optimizer changes no other number.",
    ),
)
GLOSSARY = (
    Fact("adversarial example", "an input changed within a small budget so that the model answers wrongly"),
    Fact("attack success", "the share of attacked rows on which the attacker got what was wanted"),
    Fact("AUROC", "the chance that a foreign row scores higher than a familiar one: 0.5 is guessing, 1 is perfect"),
    Fact("backdoor", "a hidden rule, planted by poisoned training rows, that a trigger in the input sets off"),
    Fact("calibration", "whether answers given with 80 % confidence are right 80 % of the time"),
    Fact("caveat", "why a number may flatter or mislead, with its evidence"),
    Fact("contrast", "a paired difference of one metric between two groups"),
    Fact("epsilon (ε)", "how far each feature may be moved, as a share of its range"),
    Fact("equivalent", "the whole interval of a difference lies within the margin that was set beforehand"),
    Fact("group", "the models that differ by their seed alone"),
    Fact("inconclusive", "the evidence does not settle the question; more rows or seeds might"),
    Fact("interval", "the values that the data leave plausible at the stated confidence"),
    Fact("membership inference", "telling from a model's answers whether a row was in its training data"),
    Fact("minimum detectable difference", "the smallest true difference that this audit would find four times in five"),
    Fact("not assessed", "a rule for which the record holds no usable evidence"),
    Fact("poisoning", "changing training data to harm the model trained on it"),
    Fact("probe", "one question asked of a model, with the measurement that answers it"),
    Fact(
        "robust accuracy",
        "the share of rows answered rightly even after the attack; an attack can only show that it is at most so high",
    ),
    Fact("TPR at a FPR", "how many members an attack finds when it may raise that share of false alarms"),
)
NESTED = 3


def appendix(material: Material) -> Appendix:
    """All parts of the end."""
    return Appendix(
        steps=_steps(material),
        digests=_digests(material),
        methods=METHODS,
        provenance=_provenance(material),
        files=_files(material),
        glossary=GLOSSARY,
    )


def _steps(material: Material) -> tuple[Fact, ...]:
    generic = f"auditor run AUDIT.yaml --profile {material.record.audit.profile} --out AGAIN"
    return (
        Fact("Run the audit again", str(material.facts.timings.provenance.get("command", generic)), code=True),
        Fact("Check that nothing was changed since", "auditor verify BUNDLE", code=True),
        Fact("Judge it again, without the models", "auditor gate BUNDLE", code=True),
        Fact("Make this page again", "auditor report BUNDLE", code=True),
    )


def _digests(material: Material) -> tuple[Fact, ...]:
    record = material.record
    return (
        Fact("Root seed", str(record.audit.seed), code=True),
        Fact("Plan, sha256", record.audit.plan_sha256, code=True),
        Fact("Record, sha256", record.sha256, code=True),
        Fact("Facts, sha256", material.facts.sha256, code=True),
        Fact("Policy, sha256", str(material.findings.policy.get("sha256", "not stated")), code=True),
        Fact("Data, sha256", record.dataset.sha256, code=True),
    )


def _provenance(material: Material) -> Table | None:
    rows = tuple((Cell(name, head=True), Cell(text)) for name, text in _flat(material.facts.timings.provenance))
    version = (Cell("auditor", head=True), Cell(material.facts.catalogue.version))
    return Table("Machine and versions", (Column("What"), Column("Value")), (version, *rows))


def _flat(of: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:  # JSON values
    for name in sorted(of):
        value, path = of[name], f"{above} {name.replace('_', ' ')}".strip()
        if isinstance(value, Mapping) and path.count(" ") < NESTED:
            yield from _flat(value, path)
        else:
            yield path, ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _files(material: Material) -> Table:
    manifest = read_model(material.facts.root / "manifest.json", Manifest)
    rows = tuple(
        (Cell(f"facts/{name}", head=True, tone="path"), Cell(manifest.files[name], tone="digest"))
        for name in sorted(manifest.files)
    )
    note = f"{wording.count(len(rows), 'file')}; the digest of this list is the digest of the facts."
    return Table("Evidence index", (Column("File"), Column("sha256")), rows, note)
