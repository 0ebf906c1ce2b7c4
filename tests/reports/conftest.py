"""Bundles for the report tests: small audits written by hand, whose every number is known."""

from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.bundle import Facts, LayerWriter, Timings, UnitTiming, read_facts
from auditor.catalogue import Catalogue, MetricEntry, ProbeEntry, ThreatEntry
from auditor.policy import ContrastFinding, Finding, Findings
from auditor.record import (
    AuditRecord,
    Caveat,
    Contrast,
    DatasetRecord,
    Measurement,
    Record,
    Result,
    SubjectRecord,
    Training,
    canonical_json,
)
from auditor.reports import html

OPTIMIZERS = ("sgd", "adamw", "rmsprop")
SEEDS = 5
CLASSES = ("zero", "one", "two")
ROBUST = {"sgd": (0.62, 0.31), "adamw": (0.48, 0.17), "rmsprop": (0.455, 0.14)}
ROWS = 60


def metric(name: str, title: str, better: str = "higher", kind: str = "estimate", **more: Any) -> MetricEntry:
    return MetricEntry.model_validate(
        {"name": name, "title": title, "better": better, "kind": kind, "unit": "share", **more}
    )


EVASION = ProbeEntry(
    id="evasion.linf",
    version=1,
    title="Evasion under Linf",
    family="evasion",
    question="How often does a small change of every feature, at most `epsilon` of its range, break the answer?",
    method="APGD after Croce & Hein 2020, with `square` as a sentinel.\n\nRaises:\n    ConfigError: never here.",
    blind_spots=("Other norms are not tried.",),
    source="auditor",
    needs=("labels",),
    threat=ThreatEntry(goal="integrity", knowledge="white box", capability="changes inputs at use"),
    metrics=(
        metric("clean_accuracy", "Accuracy on attacked rows", kind="exact"),
        metric("robust_accuracy", "Robust accuracy", kind="upper-bound", at=("epsilon",), headline=True),
    ),
    references={"nist-ai-rmf": ("MEASURE 2.7",), "nist-aml": ("NISTAML.022",)},
)
ACCURACY = ProbeEntry(
    id="accuracy",
    version=1,
    title="Accuracy",
    family="performance",
    question="How often is it right?",
    method="On all test rows.",
    metrics=(
        metric("accuracy", "Accuracy", headline=True),
        metric("class_accuracy", "Accuracy of a class", at=("class",)),
    ),
    references={"nist-ai-rmf": ("MEASURE 2.5",)},
)
MEMBERSHIP = ProbeEntry(
    id="privacy.membership",
    version=1,
    title="Membership inference",
    family="privacy",
    question="Can training rows be told from others?",
    method="The loss attack.",
    metrics=(
        metric("auc", "Membership AUC", "lower", "lower-bound", unit="number", headline=True),
        metric("tpr_at_fpr", "Members found", "lower", "lower-bound", at=("fpr",)),
    ),
    references={"nist-ai-rmf": ("MEASURE 2.10",)},
)
FLIPS = ProbeEntry(
    id="poisoning.label_flips",
    version=1,
    title="Label-flip poisoning",
    family="poisoning",
    question="How much is lost?",
    method="By retraining.",
    metrics=(metric("accuracy_drop", "Accuracy lost", "lower", at=("rate",), headline=True),),
    references={"nist-ai-rmf": ("MEASURE 2.7",), "nist-aml": ("NISTAML.013",)},
)
OOD = ProbeEntry(
    id="ood.scores",
    version=1,
    title="Foreign inputs",
    family="ood",
    question="Are foreign inputs noticed?",
    method="MSP.",
    metrics=(metric("auroc", "AUROC", unit="number", at=("score", "set")),),
)
CATALOGUE = Catalogue(version="0.1.0", probes=(ACCURACY, EVASION, FLIPS, MEMBERSHIP, OOD))

Arrays = dict[str, Any]


def of(subject: str, probe: str, name: str, value: float, half: float | None = 0.03, **more: Any) -> Measurement:
    low, high = (None, None) if half is None else (value - half, value + half)
    fields = {"better": "higher", "kind": "estimate", "n": 100, "at": {}, **more}
    return Measurement.model_validate(
        {"of": subject, "probe": probe, "metric": name, "value": value, "low": low, "high": high, **fields}
    )


def subject_of(optimizer: str, seed: int) -> SubjectRecord:
    training = Training(
        learning_rate=0.003,
        epochs=5,
        steps=230,
        flops=1_200_000_000,
        steps_to_target=90,
        recipe={"architecture": "mlp", "objective": "standard"},
    )
    return SubjectRecord(
        id=f"mlp/{optimizer}/{seed}",
        group=f"mlp/{optimizer}",
        config="mlp",
        optimizer=optimizer,
        seed=seed,
        access=("gradients", "labels", "logits"),
        sha256="ab" * 32,
        training=training,
    )


def dataset(classes: tuple[str, ...] = CLASSES, shape: tuple[int, ...] = (1, 4, 4)) -> DatasetRecord:
    counts = tuple(10 + i for i in range(len(classes)))
    return DatasetRecord(
        id="toy",
        sha256="cd" * 32,
        rows={"train": sum(counts), "test": 100},
        shape=shape,
        classes=classes,
        range=(0, 1),
        licence="CC0",
        class_counts={"train": counts, "test": counts},
        description="Made by hand.",
        ood=("far",),
    )


def result(probe: str, subject: str, **more: Any) -> Result:
    fields = {"outcome": "completed", "version": 1, "counts": {"forwards": 1200}, **more}
    return Result.model_validate({"probe": probe, "subject": subject, **fields})


def group_measurements(optimizer: str) -> list[Measurement]:
    group = f"mlp/{optimizer}"
    clean = 0.9412 if optimizer == "sgd" else 0.9375
    found = [
        of(group, "accuracy", "accuracy", clean, 0.012, seeds=SEEDS),
        of(group, "privacy.membership", "auc", 0.5731, seeds=SEEDS),
    ]
    found += [
        of(group, "accuracy", "class_accuracy", 0.9 + 0.02 * i, at={"class": c}, seeds=SEEDS)
        for i, c in enumerate(CLASSES)
    ]
    found.append(of(group, "evasion.linf", "clean_accuracy", clean, 0.02, seeds=SEEDS))
    for epsilon, value in zip((0.05, 0.1), ROBUST[optimizer], strict=True):
        found.append(of(group, "evasion.linf", "robust_accuracy", value, at={"epsilon": epsilon}, seeds=SEEDS))
    found += [
        of(group, "privacy.membership", "tpr_at_fpr", 0.021, 0.015, at={"fpr": f}, better="lower") for f in (0.01, 0.05)
    ]
    for score in ("msp", "energy"):
        found += [
            of(group, "ood.scores", "auroc", 0.83, at={"score": score, "set": s}) for s in ("noise", "inverted", "far")
        ]
    return found


def probed(subject: SubjectRecord) -> list[Result]:
    flat = subject.id.replace("/", "-")
    skipped = {"outcome": "skipped", "reason": "needs access: recipe", "counts": {}}
    caveat = Caveat(flag="small_sample", severity="info", evidence="only 100 rows")
    return [
        result("accuracy", subject.id, samples=f"samples/accuracy-{flat}.npz"),
        result(
            "evasion.linf",
            subject.id,
            gallery=f"gallery/{flat}.npz",
            caveats=(caveat,),
            parameters={"epsilons": [0.05, 0.1]},
        ),
        result("ood.scores", subject.id, reliability="suspicious"),
        result("poisoning.label_flips", subject.id, **skipped),
        result("privacy.membership", subject.id, samples=f"samples/membership-{flat}.npz"),
    ]


def files_of(subject: SubjectRecord) -> dict[str, Arrays]:
    flat, rng = subject.id.replace("/", "-"), np.random.default_rng(subject.seed or 0)
    label = np.arange(ROWS) % len(CLASSES)
    prediction = np.where(np.arange(ROWS) % 10 == 0, (label + 1) % len(CLASSES), label)
    images = rng.random((2, 1, 4, 4), dtype=np.float32)
    names = np.arange(ROWS).astype(str)
    member = np.arange(ROWS) < ROWS // 2
    return {
        f"samples/accuracy-{flat}.npz": {
            "row": label.astype(str),
            "label": label,
            "prediction": prediction,
            "correct": (label == prediction)[:, None],
        },
        f"samples/membership-{flat}.npz": {
            "row": np.where(member, np.char.add("member:", names), names),
            "label": label,
            "prediction": label,
            "score": (rng.random(ROWS) + 0.2 * member)[:, None],
        },
        f"gallery/{flat}.npz": {"before": images, "after": 1 - images, "label": label[:2], "prediction": label[1:3]},
    }


def whole_record(**changes: Any) -> Record:
    """Three optimizers by five seeds, five probes, two contrasts."""
    subjects = tuple(subject_of(o, s) for o in OPTIMIZERS for s in range(SEEDS))
    contrasts = tuple(
        Contrast(
            metric="evasion.linf.robust_accuracy",
            at={"epsilon": 0.1},
            a="mlp/sgd",
            b=f"mlp/{b}",
            difference=ROBUST[b][1] - ROBUST["sgd"][1],
            low=ROBUST[b][1] - ROBUST["sgd"][1] - 0.04,
            high=ROBUST[b][1] - ROBUST["sgd"][1] + 0.04,
            pairs=SEEDS,
            p_value=0.0004,
            adjusted_p=0.0008,
            minimum_detectable=0.05,
            accuracy_equivalent=True,
        )
        for b in ("adamw", "rmsprop")
    )
    fields: dict[str, Any] = {
        "audit": AuditRecord(name="toy audit", seed=7, profile="quick", plan_sha256="ef" * 32, complete=True),
        "dataset": dataset(),
        "subjects": subjects,
        "results": tuple(r for s in subjects for r in probed(s)),
        "contrasts": contrasts,
        "measurements": tuple(m for o in OPTIMIZERS for m in group_measurements(o)),
        **changes,
    }
    return Record.model_validate(fields)


def finding(rule: str, state: str, subject: str | None = "mlp/adamw", **more: Any) -> Finding:
    fields = {
        "metric": "evasion.linf.robust_accuracy",
        "at": {"epsilon": 0.1},
        "severity": "critical",
        "counts": True,
        "threshold": {"at_least": 0.25},
        "reason": f"{state} for a reason",
        "fingerprint": "12" * 32,
        "references": {"nist-ai-rmf": ("MEASURE 2.7",)},
        **more,
    }
    return Finding.model_validate({"rule": rule, "state": state, "subject": subject, **fields})


def whole_findings(**changes: Any) -> Findings:
    """One finding of every state."""
    fields: dict[str, Any] = {
        "as_of": date(2026, 11, 22),
        "facts_sha256": "0" * 64,
        "verdict": "fail",
        "exit_code": 1,
        "summary": "1 of 5 rules failed: EVA-1 (mlp/adamw).",
        "policy": {"id": "toy-policy", "sha256": "9a" * 32, "confidence": 0.95, "fail_on": "high", "subjects": "all"},
        "findings": (
            finding("EVA-1", "fail", value=0.17, low=0.14, high=0.2),
            finding(
                "EVA-1",
                "inconclusive",
                "mlp/rmsprop",
                value=0.14,
                low=0.11,
                high=0.26,
                settle="about 300 more rows would settle it",
            ),
            finding(
                "POI-1",
                "not-assessed",
                None,
                metric="poisoning.label_flips.accuracy_drop",
                at={"rate": 0.1},
                threshold={"at_most": 0.05},
            ),
            finding(
                "PRI-1",
                "waived",
                "mlp/sgd",
                metric="privacy.membership.auc",
                at={},
                threshold={"at_most": 0.55},
                value=0.5731,
                waiver="W-1",
            ),
            finding("EVA-1", "pass", "mlp/sgd", value=0.31, low=0.28, high=0.34),
        ),
        "contrasts": (
            ContrastFinding(
                metric="evasion.linf.robust_accuracy",
                at={"epsilon": 0.1},
                a="mlp/sgd",
                b="mlp/adamw",
                verdict="regressed",
                reason="lower by 14 points",
            ),
            ContrastFinding(
                metric="evasion.linf.robust_accuracy",
                at={"epsilon": 0.1},
                a="mlp/sgd",
                b="mlp/rmsprop",
                verdict="inconclusive",
                reason="too few seeds",
            ),
        ),
        "notes": ("waiver W-1 ends in 10 days",),
        **changes,
    }
    return Findings.model_validate(fields)


def write(
    folder: Path,
    record: Record,
    *,
    catalogue: Catalogue = CATALOGUE,
    config: Mapping[str, Any] | None = None,
    arrays: Mapping[str, Arrays] | None = None,
) -> Facts:
    """A sealed facts layer of this record, read back."""
    layer = LayerWriter(folder, "facts")
    layer.write("record.json", canonical_json(record))
    layer.write("catalogue.json", canonical_json(catalogue))
    layer.write("config.json", canonical_json(dict(config or {"card": {"intended_use": "To test reports."}})))
    units = tuple(
        UnitTiming(
            unit=s.id,
            kind="fit",
            label=f"fit {s.id}",
            subject=s.id,
            wall_seconds=0.5 + 0.1 * (s.seed or 0),
            cpu_seconds=0.4 + 0.1 * (s.seed or 0),
        )
        for s in record.subjects
        if s.training
    )
    layer.write(
        "timings.json",
        canonical_json(Timings(units=units, provenance={"python": "3.11.2", "versions": {"torch": "2.13.0"}})),
    )
    files = (
        {name: content for s in record.subjects for name, content in files_of(s).items()}
        if arrays is None
        else dict(arrays)
    )
    for name, content in files.items():
        (layer.root / name).parent.mkdir(exist_ok=True)
        np.savez(layer.root / name, allow_pickle=False, **content)
    layer.seal()
    return read_facts(folder)


@pytest.fixture(scope="session")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return write(tmp_path_factory.mktemp("whole") / "bundle", whole_record())


@pytest.fixture(scope="session")
def findings() -> Findings:
    return whole_findings()


@pytest.fixture(scope="session")
def rendered(facts: Facts, findings: Findings) -> bytes:
    """The HTML report of the whole bundle."""
    return html.render(facts, findings)


@pytest.fixture
def bundle(tmp_path: Path) -> Callable[..., Facts]:
    """Writes a bundle of a changed record."""

    def make(
        *,
        arrays: Mapping[str, Arrays] | None = None,
        catalogue: Catalogue = CATALOGUE,
        config: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> Facts:
        return write(tmp_path / "changed", whole_record(**changes), catalogue=catalogue, config=config, arrays=arrays)

    return make
