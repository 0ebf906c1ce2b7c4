"""Later stages, from a bundle alone: judge, render, verify. They need neither torch nor any probe."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path

from auditor import plugins
from auditor.bundle import Facts, LayerWriter, Observed, check_layer, read_facts, read_findings, read_model, sealed
from auditor.config import text_digest
from auditor.errors import ConfigError, IntegrityError
from auditor.judgement import judge
from auditor.policy import Findings, load_policy, load_waivers
from auditor.record import Record, canonical_json


def judged(
    facts: Facts,
    *,
    policy_text: str | None = None,
    waivers_text: str | None = None,
    baseline: Observed | None = None,
    as_of: date | None = None,
    source: str = "inputs/policy.yaml",
    waivers_source: str = "inputs/waivers.yaml",
) -> Findings:
    """The findings on these facts: by the policy, waivers and baseline in the bundle, or by others."""
    text = policy_text or facts.input_text("policy.yaml")
    if text is None:
        raise ConfigError(f"{facts.root} holds no policy; name one with --policy")
    waivers = waivers_text or facts.input_text("waivers.yaml")
    contrasts = facts.config.get("contrasts", {})
    return judge(
        facts,
        load_policy(text, source),
        policy_sha256=text_digest(text),
        waivers=load_waivers(waivers, waivers_source) if waivers else None,
        baseline=baseline or facts.baseline(),
        as_of=as_of or datetime.now(UTC).date(),
        contrast_delta=contrasts.get("delta", 0.02),
        alpha=contrasts.get("alpha", 0.05),
    )


def seal_findings(
    bundle: Path,
    findings: Findings,
    *,
    policy_text: str | None = None,
    waivers_text: str | None = None,
    baseline: Observed | None = None,
) -> None:
    """Put findings into a bundle as its judgement, with what they were made by where that is not in the facts."""
    writer = LayerWriter(bundle, "judgement")
    writer.write("findings.json", canonical_json(findings))
    for name, text in (("policy.yaml", policy_text), ("waivers.yaml", waivers_text)):
        if text is not None:
            writer.write(name, text.encode())
    if baseline is not None:
        writer.copy("baseline/record.json", baseline.root / "record.json")
        if (baseline.root / "samples").is_dir():
            writer.copy("baseline/samples", baseline.root / "samples")
    writer.seal()


def render_bundle(bundle: Path, formats: Sequence[str]) -> list[Path]:
    """Render a bundle's facts and judgement, and seal the looks."""
    facts, findings = read_facts(bundle), read_findings(bundle)
    paths = [bundle / "looks" / f"report.{name}" for name in formats]
    renderers = {name: plugins.load("auditor.reports", name, where="--format") for name in formats}
    made_by = _renderers_digest(formats)
    held = sealed(bundle, "looks")
    if held is not None and held.made_by == made_by and set(held.files) == {p.name for p in paths}:
        return paths
    writer = LayerWriter(bundle, "looks")
    for name, render in renderers.items():
        writer.write(f"report.{name}", render(facts, findings))
    writer.seal(made_by=made_by)
    return paths


def _renderers_digest(formats: Sequence[str]) -> str:
    """Digest of the source that renders these formats: the same bundle and digest give the same bytes."""
    sha = hashlib.sha256()
    for package in sorted({plugins.names("auditor.reports")[name].module.rpartition(".")[0] for name in formats}):
        spec = find_spec(package)
        for root in (Path(p) for p in (spec.submodule_search_locations if spec else None) or ()):
            for path in sorted(p for p in root.rglob("*") if p.is_file() and p.suffix != ".pyc"):
                sha.update(path.name.encode() + b"\0" + path.read_bytes())
    return sha.hexdigest()


def verify(bundle: Path) -> list[str]:
    """Check every layer against its seal, and judge the facts again; lines that say what holds.

    Raises IntegrityError for what does not.
    """
    facts = read_facts(bundle)
    lines = [f"facts      sealed, record {facts.record.sha256[:12]}, {len(facts.record.results)} results"]
    if not (bundle / "judgement").is_dir():
        return [*lines, "judgement  none: this audit was not judged"]
    findings = read_findings(bundle)
    again = _judged_again(bundle, facts, findings)
    if again != findings:
        raise IntegrityError(
            f"{bundle / 'judgement'} is not what its policy says of these facts; "
            f"`auditor gate {bundle} --save` judges again"
        )
    lines.append(f"judgement  sealed, the same when judged again as of {findings.as_of}: {findings.verdict}")
    if (bundle / "looks").is_dir():
        check_layer(bundle, "looks")
        lines.append("looks      sealed, made from this judgement")
    return lines


def _judged_again(bundle: Path, facts: Facts, findings: Findings) -> Findings:
    own = {name: bundle / "judgement" / f"{name}.yaml" for name in ("policy", "waivers")}
    texts = {name: path.read_text(encoding="utf-8") if path.is_file() else None for name, path in own.items()}
    root = bundle / "judgement" / "baseline"
    other = Observed(root, read_model(root / "record.json", Record)) if root.is_dir() else None
    return judged(
        facts, policy_text=texts["policy"], waivers_text=texts["waivers"], baseline=other, as_of=findings.as_of
    )
