"""Audits of scikit-learn's classifiers under their solvers, from the shell: what is found, kept and refused."""

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import skops.io
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

Contents = Callable[[Path], dict[str, bytes]]
NETS = "{architecture: mlp, kwargs: {hidden: [8]}, optimizers: [sgd, adamw], seeds: 2, epochs: 20, tune: off}"
SOLVERS = (
    "{estimator: mlp-classifier, kwargs: {hidden_layer_sizes: [8]}, seeds: 2, epochs: 60, tune: {trials: 2, extend: 0},"
    " optimizers: [adam, {name: sgd, as: sgd-plain, learning_rate: 0.05, settings: {momentum: 0}}, lbfgs]}"
)
WARNED = "Stochastic Optimizer: Maximum iterations (60) reached and the optimization hasn't converged yet."


def record_of(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bundle / "facts" / "record.json").read_text())
    return found


@pytest.fixture
def audit(shell: Any, write_audit: Any) -> Any:
    """The tiny audit, its networks replaced by an estimator."""

    def write(train: str, *changes: tuple[str, str]) -> Any:
        write_audit((NETS, train), *changes)
        return shell

    return write


@pytest.mark.slow
def test_solvers_are_trained_tuned_attacked_and_compared(audit: Any) -> None:
    attacked = ("  calibration:\n", "  calibration:\n  evasion.linf: {epsilons: [0.05]}\n")
    compared = ("probes:\n", "contrasts: {reference: mlp/adam}\nprobes:\n")
    shell = audit(SOLVERS, attacked, compared)
    ended = shell("run", "audit.yaml", "--out", "out", "--workers", 1)
    assert ended.code in (0, 3), ended.err
    record = record_of(shell.folder / "out")
    made = {s["id"]: s for s in record["subjects"]}
    assert {s["group"] for s in made.values()} == {"mlp/adam", "mlp/sgd-plain", "mlp/lbfgs"}
    assert all({"gradients", "logits", "recipe"} <= set(s["access"]) for s in made.values())
    tuned = made["mlp/adam/0"]["training"]
    assert [t["learning_rate"] for t in tuned["tuning"]["trials"]] == [0.001, 0.064]
    assert tuned["learning_rate"] in (0.001, 0.064)
    assert tuned["recipe"]["estimator"] == "mlp-classifier"
    assert made["mlp/sgd-plain/1"]["training"]["learning_rate"] == 0.05
    assert made["mlp/lbfgs/0"]["training"]["learning_rate"] is None
    assert all(r["outcome"] == "completed" for r in record["results"])
    asked = {(c["a"], c["b"]) for c in record["contrasts"] if c["metric"] == "accuracy.accuracy"}
    assert {("mlp/adam", "mlp/sgd-plain"), ("mlp/adam", "mlp/lbfgs")} <= asked
    accuracy = [
        m["value"] for m in record["measurements"] if m["probe"] == m["metric"] == "accuracy" and m["of"] in made
    ]
    assert len(accuracy) == 6
    assert min(accuracy) > 0.85
    report = (shell.folder / "out" / "looks" / "report.html").read_text()
    assert "mlp-classifier" in report
    assert "iterations allowed" in report
    stopped = made["mlp/sgd-plain/0"]["training"]
    if stopped["epochs"] == 60:
        assert stopped["said"] == [WARNED]
        assert f"scikit-learn: {WARNED}" in html.unescape(report)


@pytest.mark.slow
def test_the_same_audit_gives_the_same_record_anew_on_other_workers_and_from_the_store(audit: Any) -> None:
    shell = audit(SOLVERS)
    for number, args in enumerate([("--workers", 1), ("--workers", 2), ("--workers", 1)]):
        store = ("--store", "fresh") if number == 1 else ()
        ended = shell("run", "audit.yaml", "--out", f"out{number}", *store, *args)
        assert ended.code in (0, 3), ended.err
    kept = [(shell.folder / f"out{n}" / "facts" / "record.json").read_bytes() for n in range(3)]
    assert kept[0] == kept[1] == kept[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "train",
    [
        "{estimator: logistic-regression, optimizers: [lbfgs, newton-cholesky], seeds: 2, epochs: 50}",
        "{estimator: sgd-classifier, optimizers: [optimal, constant], seeds: 2, epochs: 30, tune: off}",
    ],
)
def test_linear_classifiers_are_audited_too_their_poisoned_fits_included(audit: Any, train: str) -> None:
    shell = audit(train)
    ended = shell("run", "audit.yaml", "--out", "out", "--workers", 1)
    assert ended.code in (0, 3), ended.err
    record = record_of(shell.folder / "out")
    assert {r["outcome"] for r in record["results"]} == {"completed"}
    assert any(m["probe"] == "poisoning.label_flips" for m in record["measurements"])


def test_a_training_that_diverges_is_an_error_with_its_step_and_has_no_accuracy(audit: Any) -> None:
    shell = audit(
        "{estimator: mlp-classifier, optimizers: [lbfgs, {name: sgd, learning_rate: 1.0e200}], seeds: 1, epochs: 20}"
    )
    ended = shell("run", "audit.yaml", "--out", "out", "--workers", 1)
    assert ended.code == 3, ended.err
    record = record_of(shell.folder / "out")
    failed = next(s for s in record["subjects"] if s["id"] == "mlp/sgd/0")
    assert failed["error"].startswith("its training diverged at step ")
    assert not [m for m in record["measurements"] if m["of"] == "mlp/sgd/0"]


def test_train_keeps_the_weights_of_an_estimator(audit: Any) -> None:
    shell = audit("{estimator: logistic-regression, optimizers: [newton-cg], seeds: 1, epochs: 50}")
    ended = shell("train", "audit.yaml", "--out", "weights")
    assert ended.code == 0, ended.err
    assert "mlp/newton-cg/0: trained by logistic-regression, weights/" in ended.out
    assert list((shell.folder / "weights").rglob("*.safetensors"))


def test_the_doctor_examines_the_network_of_an_estimator(audit: Any) -> None:
    shell = audit("{estimator: mlp-classifier, kwargs: {hidden_layer_sizes: [8]}, optimizers: [adam], seeds: 1}")
    ended = shell("doctor", "audit.yaml")
    assert "mlp (mlp-classifier, untrained)" in ended.out
    assert "OK  No check found a problem." in ended.out
    assert ended.code == 0


@pytest.mark.slow
def test_a_loaded_classifier_is_retrained_by_the_estimator_that_its_owner_states(audit: Any) -> None:
    shell = audit(NETS)
    data = load_digits()
    made = LogisticRegression(max_iter=500).fit(data.data / 16, data.target)
    (shell.folder / "m.skops").write_bytes(skops.io.dumps(made))
    recipe = "{estimator: logistic-regression, optimizers: [lbfgs], epochs: 200}"
    (shell.folder / "audit.yaml").write_text(
        "schema: auditor/audit/1\nname: loaded\ndata: {source: digits, limit: {train: 300, test: 150}}\n"
        f"subjects:\n  - id: released\n    load: {{format: sklearn, path: m.skops}}\n    recipe: {recipe}\n"
    )
    ended = shell("run", "audit.yaml", "--out", "out", "--only", "accuracy", "--only", "poisoning.label_flips")
    assert ended.code in (0, 3), ended.err
    record = record_of(shell.folder / "out")
    (one,) = record["subjects"]
    assert one["loaded"]["recipe"]["estimator"] == "logistic-regression"
    assert "recipe" in one["access"]
    assert {r["probe"]: r["outcome"] for r in record["results"]} == {
        "accuracy": "completed",
        "poisoning.label_flips": "completed",
    }


def test_what_an_estimator_cannot_have_is_refused_with_its_place_and_nothing_is_left(
    audit: Any, contents: Contents
) -> None:
    shell = audit("{estimator: mlp-classifier, optimizers: [adamw]}")
    before = contents(shell.folder)
    ended = shell("run", "audit.yaml")
    assert ended.code == 2
    assert "audit.yaml:8: unknown solver of mlp-classifier 'adamw'; did you mean 'adam'? adam: alpha" in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert {k: v for k, v in contents(shell.folder).items() if not k.startswith(".auditor/")} == before


def test_an_estimator_is_explained_and_listed(shell: Any) -> None:
    said = shell("explain", "mlp-classifier").out
    assert "  adam: alpha 0.0001, tol 0.0001, beta_1 0.9" in said
    assert "  lbfgs: alpha 0.0001, tol 0.0001; no learning rate" in said
    assert "logistic-regression" in shell("list", "estimators").out
    ended = shell("explain", "mlp-clasifier")
    assert ended.code == 2
    assert "did you mean 'mlp-classifier'?" in ended.err


def test_neither_explaining_nor_listing_imports_torch_or_scikit_learn(shell: Any) -> None:
    code = "import sys, auditor.training.estimators\nprint({'torch', 'sklearn'} & set(sys.modules))"
    assert shell.python(code).out.strip() == "set()"
