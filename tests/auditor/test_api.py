"""The Python API: a model in memory in, a record out, nothing changed and nothing left behind."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from torch import nn

import auditor
from auditor.bundle import read_facts
from auditor.errors import AuditorError, DataError, ModelError, UnknownNameError
from auditor.stages import verify

PROBES = {"accuracy": {}, "calibration": {}}


@pytest.fixture(scope="module")
def iris() -> dict[str, np.ndarray]:
    x, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(150)
    train, test = order[:100], order[100:]
    return {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}


@pytest.fixture
def only(tmp_path: Path) -> dict[str, Any]:
    """Arguments for an audit by few probes."""
    (tmp_path / "own.yaml").write_text("schema: auditor/audit/1\n")
    return {"profile": str(tmp_path / "own.yaml"), "probes": PROBES}


def of(record: auditor.Record, metric: str) -> float:
    probe, _, name = metric.rpartition(".")
    return next(m.value for m in record.measurements if (m.probe, m.metric) == (probe, name))


def test_a_scikit_learn_classifier_is_audited_and_its_numbers_are_its_own(iris: Any, only: Any) -> None:
    model = LogisticRegression(max_iter=500).fit(iris["x_train"], iris["y_train"])
    record = auditor.audit(model, iris, **only)
    assert of(record, "accuracy.accuracy") == pytest.approx(
        model.score(iris["x_test"].astype(np.float32), iris["y_test"])
    )
    probabilities = model.predict_proba(iris["x_test"].astype(np.float32))
    brier = ((probabilities - np.eye(3)[iris["y_test"]]) ** 2).sum(axis=1).mean()
    assert of(record, "calibration.brier") == pytest.approx(brier, abs=1e-5)
    assert [s.id for s in record.subjects] == ["model"]
    assert record.subjects[0].access == ("labels", "probabilities")


def test_a_torch_module_is_audited_and_left_as_it_was(iris: Any, only: Any, streams: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    model.train()
    model[2].eval()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    before = streams()
    inputs = {k: v.copy() for k, v in iris.items()}

    record = auditor.audit(model, iris, **only)

    assert [m.training for m in model] == [True, True, False, True, True]
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert streams() == before
    assert all(np.array_equal(inputs[k], iris[k]) and iris[k].flags.writeable for k in iris)
    model.eval()
    with torch.no_grad():
        expected = (model(torch.tensor(iris["x_test"], dtype=torch.float32)).argmax(1).numpy() == iris["y_test"]).mean()
    assert of(record, "accuracy.accuracy") == pytest.approx(expected)


def test_the_same_call_gives_the_same_record_in_this_process_and_in_workers(iris: Any, only: Any) -> None:
    model = LogisticRegression(max_iter=500).fit(iris["x_train"], iris["y_train"])
    here, there = auditor.audit(model, iris, **only), auditor.audit(model, iris, workers=1, **only)
    assert {r.outcome for r in (*here.results, *there.results)} == {"completed"}
    assert here.measurements == there.measurements
    assert here.sha256 == there.sha256


def test_a_forest_gets_completed_evasion_ood_and_membership_results(iris: Any, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("schema: auditor/audit/1\n")
    model = RandomForestClassifier(20, random_state=0).fit(iris["x_train"], iris["y_train"])
    probes = {
        "evasion.linf": {"epsilons": [0.1], "samples": 20, "blind_queries": 50},
        "ood.scores": {},
        "privacy.membership": {},
    }
    record = auditor.audit(model, iris, profile=str(tmp_path / "own.yaml"), probes=probes)
    assert {(r.probe, r.outcome) for r in record.results} == {(p, "completed") for p in probes}
    assert of(record, "evasion.linf.robust_accuracy") < of(record, "evasion.linf.clean_accuracy")


def test_nothing_is_left_on_disk_unless_a_folder_is_named(
    iris: Any, only: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    model = LogisticRegression(max_iter=500).fit(iris["x_train"], iris["y_train"])
    record = auditor.audit(model, iris, **only)
    assert list(work.iterdir()) == []
    kept = auditor.audit(model, iris, out=work / "kept", **only)
    assert kept.sha256 == record.sha256 == read_facts(work / "kept").record.sha256
    assert (work / "kept/looks/report.html").is_file()
    assert verify(work / "kept")


def test_a_model_that_is_none_or_is_not_fitted_is_refused_at_once(iris: Any, only: Any) -> None:
    with pytest.raises(ModelError, match="a str cannot be audited"):
        auditor.audit("model.pt", iris, **only)
    with pytest.raises(ModelError, match="LogisticRegression is not fitted"):
        auditor.audit(LogisticRegression(), iris, **only)
    with pytest.raises(ModelError, match="probabilities"):
        auditor.audit(nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), iris, **only)


def test_data_that_cannot_be_audited_is_refused_by_key(iris: Any, only: Any) -> None:
    model = LogisticRegression(max_iter=500).fit(iris["x_train"], iris["y_train"])
    broken = {**iris, "x_test": iris["x_test"].copy()}
    broken["x_test"][3, 1] = np.nan
    with pytest.raises(DataError, match="x_test has 1 values that are not finite"):
        auditor.audit(model, broken, **only)
    with pytest.raises(AuditorError, match="unknown key 'x_tset'; did you mean 'x_test'"):
        auditor.audit(model, {**iris, "x_tset": iris["x_test"]}, **only)
    with pytest.raises(AuditorError, match="unknown probe 'acuracy'; did you mean 'accuracy'"):
        auditor.audit(model, iris, **{**only, "probes": {"acuracy": {}}})


def test_a_model_that_fails_inside_is_errored_in_the_record(iris: Any, only: Any) -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.calls = nn.Linear(4, 3), 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if self.calls > 2:  # two see that it answers at all
                raise RuntimeError("out of luck")
            out: torch.Tensor = self.net(x)
            return out

    record = auditor.audit(Late(), iris, **only)
    assert any(r.outcome == "errored" and "out of luck" in (r.reason or "") for r in record.results)
    assert record.audit.complete


def test_an_unknown_kind_of_outputs_is_refused_by_name() -> None:
    with pytest.raises(UnknownNameError, match="unknown outputs 'logit'; did you mean 'logits'"):
        auditor.audit(torch.nn.Linear(2, 2), {}, outputs="logit")  # type: ignore[arg-type]
