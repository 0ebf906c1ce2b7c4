"""A first audit.yaml and policy.yaml, written after a look at the data and model they are for."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from auditor.dataset import Dataset
from auditor.datasets.spec import DataConfig
from auditor.errors import ConfigError

AUDIT = """\
# What is audited, and with what. `auditor run audit.yaml` does it; `auditor plan audit.yaml` says first what it does.
schema: auditor/audit/1
name: {name}
seed: 1
profile: quick                    # quick | standard | thorough | the path of a profile of your own

data:
{data}
  licence: not stated             # the report shows it
  # ood: [{{name: other, source: npz, path: other.npz}}]   # of no class; a far set is made if none is named

subjects:
{subject}

probes:                           # the profile names them; name one to set its parameters, or `off` to leave it out
  evasion.linf: {{epsilons: [0.02, 0.05]}}   # largest change of any feature, in units of its range; 8/255 is understood
  # privacy.membership: off

card:                             # what only you know; the report says "not stated" for what is missing
  # intended_use: What the model is for, and for whom.
  # out_of_scope: [What it must not be used for.]
  # owners: [Who answers for it.]
  # contact: Where to write to.

policy: policy.yaml               # the bar, written down before the run
"""
TRAIN = """\
  - id: {id}
    train:                        # one model for each optimizer and seed: paired, so that differences can be judged
      architecture: {architecture}   # a built-in name, or module:callable beside this file
      optimizers: [sgd, adamw]    # `auditor list optimizers`
      seeds: 5
      epochs: 30
      tune: auto                  # the learning rate, with equal trials for each optimizer"""
LOAD = """\
  - id: {id}
    load:
      format: {format}
      path: {path}{factory}
      outputs: logits             # logits | probabilities | labels"""
POLICY = """\
# The bar. A rule passes only when its whole interval clears the threshold; what was not measured never passes.
schema: auditor/policy/1
id: {name}-release
confidence: 0.95
fail_on: high                     # findings below this severity are shown, and do not fail
rules:
  - id: ACC-1
    title: Right often enough
    metric: accuracy.balanced_accuracy
    at_least: 0.80
    severity: high
    on_not_assessed: fail         # fail (exit 1) | report (exit 3) | ignore
  - id: CAL-1
    title: Confidence can be believed
    metric: calibration.ece
    at_most: 0.10
    severity: medium
  - id: EVA-1
    title: Small adversarial changes do not change the answer
    metric: evasion.linf.robust_accuracy
    at: {{epsilon: 0.02}}
    at_least: 0.50
    severity: high
  - id: PRI-1
    title: Training records cannot be told from others
    metric: privacy.membership.auc
    at_most: 0.75
    severity: high
  - id: PRI-2
    title: Training records are not given away
    metric: privacy.membership.tpr_at_fpr
    at: {{fpr: 0.01}}
    at_most: 0.10
    severity: high
    on_not_assessed: ignore       # so low a rate needs 300 test rows
"""


@dataclass(frozen=True)
class Seen:
    """The data section of audit.yaml, and the data it loads."""

    section: str
    data: Dataset


def write(folder: Path, *, data: Path | None, model: Path | None, factory: str | None, name: str | None) -> list[str]:
    """Write both files; lines that say what was seen and what to do next. Raises AuditorError, writing nothing."""
    for file in ("audit.yaml", "policy.yaml"):
        if (folder / file).exists():
            raise ConfigError(f"{folder / file} exists and is not overwritten; name another folder")
    seen = look(folder, data)
    title = name or _name(folder.resolve().name)
    subject = _load_section(folder, model, factory) if model else _train_section(seen.data)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "audit.yaml").write_text(
        AUDIT.format(name=json.dumps(title), data=seen.section, subject=subject), encoding="utf-8"
    )
    (folder / "policy.yaml").write_text(POLICY.format(name=title), encoding="utf-8")
    facts = seen.data
    return [
        f"data     {facts.id}: {len(facts.x_train)} training and {len(facts.x_test)} test rows of shape {facts.shape}, "
        f"{len(facts.classes)} classes",
        f"wrote    {folder / 'audit.yaml'} and {folder / 'policy.yaml'}",
        f"next     auditor run {folder / 'audit.yaml'}",
    ]


def _name(text: str) -> str:
    """A text as the name of an audit or a subject: what these may not hold becomes a dash."""
    return re.sub(r"[^A-Za-z0-9._ -]+", "-", text).lstrip("._ -") or "audit"


def look(folder: Path, path: Path | None) -> Seen:
    """Load the data as an audit would, and say how an audit file names it."""
    from auditor.datasets import load

    if path is None:
        return Seen(
            "  source: digits                  # built in: digits, breast-cancer, wine; files: npz, idx",
            load(DataConfig(source="digits"), folder),
        )
    if not path.exists():
        raise ConfigError(f"--data: {path} does not exist")
    source = "idx" if path.is_dir() else "npz"
    relative = os.path.relpath(path.resolve(), folder.resolve())
    data = load(DataConfig(source=source, path=str(path.resolve())), folder)
    lines = [
        f"  source: {source}",
        f"  path: {json.dumps(relative)}",
        "  # range: [0, 255]              # as stored, if it was guessed wrong; the subject sees [0, 1]",
    ]
    return Seen("\n".join([*lines, f"  # classes: [{', '.join(data.classes)}]"]), data)


def _train_section(data: Dataset) -> str:
    large = data.is_image and min(data.shape[1:]) >= 16
    return TRAIN.format(id="cnn" if large else "mlp", architecture="strided-cnn" if large else "mlp")


def _load_section(folder: Path, model: Path, factory: str | None) -> str:
    if not model.is_file():
        raise ConfigError(f"--model: {model} does not exist")
    if model.suffix in (".pkl", ".pickle", ".joblib"):
        raise ConfigError(f"--model: {model.name} is a pickle, which runs code on loading; save it with skops.io.dump")
    kind = "sklearn" if model.suffix == ".skops" else "state-dict"
    if kind == "state-dict" and factory is None:
        raise ConfigError(
            f"--model: {model.name} holds weights; name what makes their module with --factory module:callable"
        )
    line = f"\n      factory: {json.dumps(factory)}" if factory else ""
    return LOAD.format(
        id=_name(model.stem).replace(" ", "-"),
        format=kind,
        path=json.dumps(os.path.relpath(model.resolve(), folder.resolve())),
        factory=line,
    )
