"""A user's own data, architecture and model files, beside the audit file, through the whole audit."""

import json
import os
import signal
import time
from typing import Any

from auditor.bundle import file_sha256

OWN = '''
"""Data and networks of a user."""
import numpy as np
from torch import nn
from auditor import Dataset, Domain

def blobs(config, directory):
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = np.clip(rng.normal(0.3 + 0.4 * y[:, None], 0.1, (200, 3)), 0, 1).astype(np.float32)
    return Dataset("blobs", x[:100], y[:100], x[100:], y[100:], ("low", "high"), Domain.unit((3,)), licence="mine")

def net(shape, classes, *, width=4):
    return nn.Sequential(nn.Linear(shape[0], width), nn.ReLU(), nn.Linear(width, classes))

def released(width):
    from auditor.training.architectures import Normalised
    return Normalised(net((3,), 2, width=width), (3,))
'''
AUDIT = """\
schema: auditor/audit/1
name: own
profile: nothing.yaml
data: {source: "own:blobs"}
subjects:
  - id: net
    train: {architecture: "own:net", kwargs: {width: 6}, optimizers: [sgd], seeds: 1, epochs: 30, tune: off}
%s
probes:
  accuracy:
  poisoning.label_flips:
policy: policy.yaml
"""
RELEASED = """\
  - id: released
    load:
      {format: state-dict, path: bundle/artifacts/net__sgd__0.safetensors, factory: "own:released", kwargs: {width: 6}}
"""
POLICY = """\
schema: auditor/policy/1
id: own
rules:
  - {id: ACC, metric: accuracy.accuracy, at_least: 0.9, severity: high}
"""


def test_own_data_and_architecture_are_audited_and_the_trained_weights_can_be_audited_as_a_file(shell: Any) -> None:
    (shell.folder / "own.py").write_text(OWN)
    (shell.folder / "nothing.yaml").write_text("schema: auditor/audit/1\n")
    (shell.folder / "policy.yaml").write_text(POLICY)
    (shell.folder / "audit.yaml").write_text(AUDIT % "")
    trained = shell("train", "audit.yaml", "--out", "bundle", "--workers", "1")
    assert trained.code == 0, trained.err
    assert trained.out.startswith("net/sgd/0: learning rate 0.1, loss ")
    weights = shell.folder / "bundle/artifacts/net__sgd__0.safetensors"
    digest = file_sha256(weights)

    ended = shell("run", "audit.yaml", "--out", "bundle", "--workers", "1", "--format", "html")
    assert ended.code == 0, ended.err
    assert file_sha256(weights) == digest
    record = json.loads((shell.folder / "bundle/facts/record.json").read_bytes())
    assert record["dataset"]["licence"] == "mine"
    accuracy = {
        m["of"]: m["value"] for m in record["measurements"] if m["metric"] == "accuracy" and m["probe"] == "accuracy"
    }
    assert accuracy["net/sgd/0"] > 0.95

    (shell.folder / "audit.yaml").write_text((AUDIT % RELEASED).replace("at_least: 0.9", "at_least: 0.95"))
    both = shell("run", "audit.yaml", "--out", "second", "--workers", "1", "--format", "html")
    record = json.loads((shell.folder / "second/facts/record.json").read_bytes())
    values = {
        (m["of"], m["metric"]): m["value"]
        for m in record["measurements"]
        if m["probe"] == "accuracy" and m["of"] != "net/sgd"
    }
    assert values["released", "accuracy"] == values["net/sgd/0", "accuracy"]
    assert values["released", "macro_f1"] == values["net/sgd/0", "macro_f1"]
    flips = next(r for r in record["results"] if (r["probe"], r["subject"]) == ("poisoning.label_flips", "released"))
    assert flips["outcome"] == "skipped"
    assert "needs access: recipe" in flips["reason"]
    assert both.code == 0, both.err


def test_an_early_ctrl_c_ends_with_130_and_writes_nothing(shell: Any) -> None:
    process = shell.start("run")
    time.sleep(0.7)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)
    assert (
        not (shell.folder / "audits/digits/facts").exists()
        or (shell.folder / "audits/digits/facts/manifest.json").is_file()
    )
