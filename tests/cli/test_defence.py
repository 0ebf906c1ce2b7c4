"""A defence and its price in one audit, and a model that is fed wrongly: what may be said of either."""

import json
from typing import Any

DEFENCE = """\
schema: auditor/audit/1
name: defence
profile: nothing.yaml
data: {source: digits, limit: {train: 600, test: 400}}
subjects:
  - id: plain
    train: {kwargs: {hidden: [32]}, optimizers: [{name: sgd, learning_rate: 0.1}], seeds: 3, epochs: 15}
  - id: hardened
    train:
      kwargs: {hidden: [32]}
      optimizers: [{name: sgd, learning_rate: 0.1}]
      seeds: 3
      epochs: 15
      objective: {name: pgd, epsilon: 0.1, steps: 5}
contrasts: {reference: plain/sgd}
probes: {accuracy: on, evasion.linf: {epsilons: [0.1], samples: 200}}
"""
FED = """\
schema: auditor/audit/1
name: fed
profile: nothing.yaml
data: {source: digits}
subjects:
  - id: net
    load:
      format: state-dict
      path: weights/artifacts/plain__sgd__0.safetensors
      factory: "nets:make"
%s
probes: {accuracy: on, preflight: on, privacy.membership: on}
policy: policy.yaml
"""
NETS = """
from auditor.training.architectures import Normalised, mlp

def make():
    return Normalised(mlp((1, 8, 8), 10, hidden=(32,)), (1, 8, 8))
"""
POLICY = """\
schema: auditor/policy/1
id: private
rules:
  - {id: PRI, metric: privacy.membership.auc, at_most: 0.9, severity: high}
"""


def test_a_defence_is_judged_with_its_price_beside_it(shell: Any) -> None:
    (shell.folder / "nothing.yaml").write_text("schema: auditor/audit/1\n")
    (shell.folder / "audit.yaml").write_text(DEFENCE)
    shell("run", "audit.yaml", "--out", "bundle", "--quiet")
    findings = json.loads((shell.folder / "bundle/judgement/findings.json").read_bytes())["contrasts"]
    (robust,) = [f for f in findings if f["metric"] == "evasion.linf.robust_accuracy"]
    assert (robust["a"], robust["b"], robust["verdict"]) == ("plain/sgd", "hardened/sgd", "improved")
    record = json.loads((shell.folder / "bundle/facts/record.json").read_bytes())
    (accuracy,) = [c for c in record["contrasts"] if c["metric"] == "accuracy.accuracy"]
    if not accuracy["accuracy_equivalent"]:
        assert f"the accuracies differ by {accuracy['difference']:+.4g} [" in robust["reason"]
    flops = {s["group"]: s["training"]["flops"] for s in record["subjects"]}
    assert 5 < flops["hardened/sgd"] / flops["plain/sgd"] < 7  # five steps of attack and one of training, for one


def test_nothing_passes_for_a_model_that_is_not_fed_as_it_was_trained(shell: Any) -> None:
    (shell.folder / "nothing.yaml").write_text("schema: auditor/audit/1\n")
    (shell.folder / "train.yaml").write_text(DEFENCE.replace("seeds: 3", "seeds: 1"))
    (shell.folder / "nets.py").write_text(NETS)
    (shell.folder / "policy.yaml").write_text(POLICY)
    shell("train", "train.yaml", "--out", "weights", "--quiet")
    (shell.folder / "right.yaml").write_text(FED % "")
    assert shell("run", "right.yaml", "--out", "right", "--quiet").code == 0
    (shell.folder / "wrong.yaml").write_text(FED % "      input_range: [0, 255]")
    ended = shell("run", "wrong.yaml", "--out", "wrong", "--quiet")
    assert ended.code == 3, ended.out
    record = json.loads((shell.folder / "wrong/facts/record.json").read_bytes())
    membership = next(r for r in record["results"] if r["probe"] == "privacy.membership")
    assert membership["reliability"] != "reliable"
    found = [c["evidence"] for c in membership["caveats"] if c["flag"] == "range_mismatch"]
    assert found[0].startswith("found by preflight: ")
