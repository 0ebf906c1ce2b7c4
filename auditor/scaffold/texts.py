"""The words of a first audit.yaml and policy.yaml."""

import json
from typing import Any

from auditor.dataset import Dataset
from auditor.scaffold.models import TELL_THEMSELVES, SeenModel

AUDIT = """\
# What is audited, and with what. `auditor run audit.yaml` does it; `auditor doctor audit.yaml` looks first whether all
# is well, and `auditor plan audit.yaml` says what would be done.
schema: auditor/audit/1
name: {name}
seed: 1
profile: quick                    # quick | standard | thorough | the path of a profile of your own

data:
{data}
  # what only you know of the data; the report shows it
  licence: not stated
  # origin: Where the data comes from, and which version of it.
  # collection: How, when and from whom it was collected, and who labelled it.
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
      tune: auto                  # the learning rate, with equal trials for each optimizer
      # or your own training, fit(x, y, optimizer, seed, epochs) -> model, instead of architecture and tune:
      # function: train:fit"""
HINTS = {  # settings of `load` that were not needed, as comments
    "normalisation": "{mean: [0.5], std: [0.25]}   # what inputs pass before the model, where it is not inside it",
    "input_range": "[0, 255]     # what [0, 1] becomes for the model",
    "classes": "[first, second]  # in the order of the model's outputs, where it is not that of the data",
    "expected_accuracy": "0.95   # what you measured on the test rows; preflight compares",
}
RECIPE = """\
    # how it was made unlocks the probes that train it again:
    # recipe: {function: "train:fit", optimizers: [adamw]}   # fit(x, y, optimizer, seed, epochs) -> model"""
CHOICES = {"outputs": "logits | probabilities | labels"}
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


def trained(data: Dataset) -> str:
    """A subject to be trained here."""
    large = data.is_image and min(data.shape[1:]) >= 16
    return TRAIN.format(id="cnn" if large else "mlp", architecture="strided-cnn" if large else "mlp")


def loaded(seen: SeenModel) -> str:
    """A subject that exists."""
    lines = [f"  - id: {seen.id}", "    load:"]
    for key, value in seen.settings.items():
        line = f"      {key}: {value if key in ('format', 'outputs') else json.dumps(value, ensure_ascii=False)}"
        lines.append(f"{line:<34}# {CHOICES[key]}" if key in CHOICES else line)
    hints = {k: text for k, text in HINTS.items() if k not in seen.settings and _fits(k, seen.settings)}
    return "\n".join([*lines, *(f"      # {key}: {text}" for key, text in hints.items()), RECIPE])


def _fits(key: str, settings: dict[str, Any]) -> bool:
    """Whether a hint could ever help: a classifier of scikit-learn carries its own preparation."""
    return key == "expected_accuracy" or settings["format"] not in TELL_THEMSELVES
