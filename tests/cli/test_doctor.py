"""`auditor doctor` finds what is wrong with each subject, goes on to the next, and its exit code tells."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

AUDIT = """\
schema: auditor/audit/1
name: ill
profile: quick
unit_seconds: 40
data: {source: npz, path: data.npz, licence: MIT}
card: {intended_use: To be examined.}
subjects:
"""
CODE = """\
import os
import time

import torch
from torch import nn


def make():
    return nn.Linear(3, 2)


def fit(x, y, optimizer, seed, epochs):
    print("training", len(x), epochs)
    if optimizer == "hides":

        class Hidden(nn.Linear):
            pass

        return Hidden(3, 2)
    if optimizer == "raises":
        raise ValueError("no such optimizer")
    if optimizer == "crashes":
        os.abort()
    if optimizer == "hangs":
        time.sleep(600)
    return make()
"""
LOAD = "load: {format: state-dict, path: %s, factory: 'nets:make'%s}"


@pytest.fixture
def ward(shell: Any) -> Any:
    """A folder with data of two classes that a linear network tells apart, and that network in files."""
    rng = np.random.default_rng(0)
    x = rng.random((300, 3)).astype(np.float32)
    y = (x[:, 0] > x[:, 1]).astype(int)
    np.savez(shell.folder / "data.npz", x_train=x[:200], y_train=y[:200], x_test=x[200:], y_test=y[200:])
    net = nn.Linear(3, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[-9.0, 9.0, 0.0], [9.0, -9.0, 0.0]]))
        net.bias.zero_()
    torch.save(net.state_dict(), shell.folder / "net.pt")
    (shell.folder / "nets.py").write_text(CODE)
    return shell


def audit(folder: Path, *subjects: str) -> None:
    (folder / "audit.yaml").write_text(AUDIT + "".join(f"  - {{id: {s}}}\n" for s in subjects))


def found(ended: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """Checks by subject and name."""
    return {s["subject"]: {c["name"]: c for c in s["checks"]} for s in json.loads(ended.out)["subjects"]}


def test_a_sound_model_ends_with_0_and_says_what_is_left_out_and_not_stated(ward: Any) -> None:
    audit(ward.folder, f"net, {LOAD % ('net.pt', ', expected_accuracy: 1.0')}")
    ended = ward("doctor", "audit.yaml")
    assert ended.code == 0, ended.out
    assert "200 training and 100 test rows of shape (3,), 2 classes" in ended.out
    assert ended.out.count("✔ ok") == 12
    assert "without backdoor.patch, poisoning.label_flips: needs access: recipe" in ended.out
    line = next(line for line in ended.out.splitlines() if line.startswith("card"))
    assert line.split(": ")[1] == "data.origin, data.collection, card.out_of_scope, card.owners, card.contact"
    assert "OK  No check found a problem." in ended.out


def test_one_line_of_advice_a_problem_and_the_next_subject_is_examined(ward: Any) -> None:
    (ward.folder / "cut.pt").write_bytes((ward.folder / "net.pt").read_bytes()[:200])
    audit(
        ward.folder,
        f"swapped, {LOAD % ('net.pt', ', classes: [1, 0]')}",
        f"cut, {LOAD % ('cut.pt', '')}",
        f"lower, {LOAD % ('net.pt', ', expected_accuracy: 0.8')}",
    )
    ended = ward("doctor", "--json", "audit.yaml")
    assert ended.code == 3
    checks = found(ended)
    assert checks["swapped"]["class order"]["advice"] == "remove load.classes: the model has the data's order"
    assert list(checks["cut"]) == ["loads"]
    assert checks["cut"]["loads"]["advice"]
    assert checks["lower"]["accuracy"]["found"] == "1.000 [0.964, 1.000] on 100 rows, expected 0.800"
    shown = ward("doctor", "--only", "lower", "audit.yaml")
    assert (shown.code, shown.out.count("\nmend ")) == (3, 1)


def test_a_training_function_is_tried_on_a_few_rows_for_each_optimizer(ward: Any) -> None:
    audit(ward.folder, "own, train: {function: 'nets:fit', optimizers: [sgd, raises, crashes, hides, adam], seeds: 1}")
    ended = ward("doctor", "--json", "audit.yaml")
    assert ended.code == 3
    assert "training 64 1" in ended.err
    checks = found(ended)
    assert list(checks) == ["own/sgd", "own/raises", "own/crashes", "own/hides", "own/adam"]
    assert checks["own/raises"]["trains"]["found"] == "ValueError: no such optimizer"
    assert checks["own/crashes"]["trains"]["found"].startswith("its process died")
    assert "define its class at the top of a module" in checks["own/hides"]["trains"]["found"]
    assert {c["verdict"] for c in checks["own/adam"].values()} == {"ok"}


def test_a_training_function_that_hangs_is_ended(ward: Any) -> None:
    audit(ward.folder, "own, train: {function: 'nets:fit', optimizers: [hangs], seeds: 1}")
    text = (ward.folder / "audit.yaml").read_text().replace("unit_seconds: 40", "unit_seconds: 8")
    (ward.folder / "audit.yaml").write_text(text)
    ended = ward("doctor", "--json", "audit.yaml")
    assert ended.code == 3
    assert found(ended)["own/hangs"]["trains"]["found"] == "it ran over 8 seconds and was ended"


def test_an_audit_that_cannot_be_planned_ends_with_2_after_what_could_be_seen(ward: Any) -> None:
    audit(ward.folder, f"net, {LOAD % ('net.pt', '')}", f"gone, {LOAD % ('gone.pt', '')}")
    ended = ward("doctor", "audit.yaml")
    assert ended.code == 2
    assert "gone.pt does not exist" in ended.out
    assert ended.out.count("✔ ok") == 12


def test_a_subject_that_nobody_knows_is_named_with_the_nearest(ward: Any) -> None:
    audit(ward.folder, f"net, {LOAD % ('net.pt', '')}")
    ended = ward("doctor", "--only", "nett", "audit.yaml")
    assert (ended.code, ended.err.strip()) == (2, "error: --only: unknown subject 'nett'; did you mean 'net'?")


def test_a_network_is_made_and_asked_untrained(ward: Any) -> None:
    audit(ward.folder, "net, train: {architecture: mlp}", "images, train: {architecture: strided-cnn}")
    ended = ward("doctor", "--json", "audit.yaml")
    assert ended.code == 3
    checks = found(ended)
    assert "accuracy" not in checks["net"]
    assert {c["verdict"] for c in checks["net"].values()} == {"ok"}
    assert "strided-cnn needs images" in checks["images"]["is made"]["found"]
