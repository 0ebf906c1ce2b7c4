"""Variants in whole audits: what they are called, how they are paired, and that honest ones are not accused."""

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import auditor
from auditor.auditing import Audited, Options, planned, run
from auditor.config import load_audit
from auditor.errors import ConfigError
from auditor.record import Record

AUDIT = """\
schema: auditor/audit/1
name: variants
seed: 7
profile: nothing.yaml
data: {source: wine}
subjects:
  - id: mlp
    train: {kwargs: {hidden: [8]}, optimizers: [sgd, adamw], seeds: 2, epochs: 10, tune: "off"}
    variants: [int8, pruned-50]
probes:
  accuracy:
  backdoor.patch: {rates: [0.1]}
"""


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    folder = tmp_path_factory.mktemp("variants")
    (folder / "nothing.yaml").write_text("schema: auditor/audit/1\n")
    (folder / "audit.yaml").write_text(AUDIT)
    options = Options(store=folder / "store", out=folder / "bundle", inline=True, formats=("md",))
    return run(load_audit(folder / "audit.yaml"), options)


def value(record: Record, of: str, metric: str) -> float:
    return next(m.value for m in record.measurements if m.of == of and f"{m.probe}.{m.metric}" == metric)


def test_variants_stand_behind_their_originals(audited: Audited) -> None:
    subjects = audited.facts.record.subjects
    assert [(s.id, s.group, s.variant) for s in subjects[:4]] == [
        ("mlp/sgd/0", "mlp/sgd", "float32"),
        ("mlp/sgd/0@int8", "mlp/sgd@int8", "int8"),
        ("mlp/sgd/0@pruned-50", "mlp/sgd@pruned-50", "pruned-50"),
        ("mlp/sgd/1", "mlp/sgd", "float32"),
    ]
    assert all(s.error is None and s.training is not None for s in subjects)
    assert len({s.sha256 for s in subjects}) == len(subjects) == 12
    assert not audited.failures


def test_agreement_is_asked_of_variants_alone(audited: Audited) -> None:
    results = [r for r in audited.facts.record.results if r.probe == "variant.agreement"]
    skipped = {r.subject for r in results if r.outcome == "skipped"}
    assert skipped == {"mlp/sgd/0", "mlp/sgd/1", "mlp/adamw/0", "mlp/adamw/1"}
    assert all(r.outcome == "completed" for r in results if "@" in r.subject)


def test_flips_account_for_the_change_of_accuracy(audited: Audited) -> None:
    record = audited.facts.record
    for s in (s for s in record.subjects if s.variant != "float32"):
        original = s.id.partition("@")[0]
        gained, lost = (value(record, s.id, f"variant.agreement.{m}") for m in ("gained", "lost"))
        change = value(record, s.id, "accuracy.accuracy") - value(record, original, "accuracy.accuracy")
        assert change == pytest.approx(gained - lost, abs=1e-12)


def test_each_group_is_compared_with_its_own_variants(audited: Audited) -> None:
    found = {(c.a, c.b, c.pairs) for c in audited.facts.record.contrasts if c.metric == "accuracy.accuracy"}
    own = {(g, f"{g}@{v}", 2) for g in ("mlp/sgd", "mlp/adamw") for v in ("int8", "pruned-50")}
    assert found == {("mlp/sgd", "mlp/adamw", 2), *own}


def test_poisoned_models_are_asked_as_the_variant(audited: Audited) -> None:
    """The same poisoned fits: none is trained again for a variant, and the answers are not those of float."""
    units = [u for u in audited.facts.timings.units if u.kind == "fit"]
    assert len(units) == 4 * 2  # clean and poisoned, of two optimizers and two seeds
    record = audited.facts.record
    control = [value(record, f"mlp/sgd/0{v}", "backdoor.patch.clean_accuracy") for v in ("", "@pruned-50")]
    assert control[0] != control[1]


def test_the_report_names_the_variants(audited: Audited) -> None:
    page = (audited.bundle / "looks" / "report.md").read_text()
    assert "mlp/sgd@pruned-50" in page
    assert "Agreement of a variant with its original" in page


def test_only_what_is_trained_is_trained(audited: Audited) -> None:
    folder = audited.bundle.parent
    plan = planned(load_audit(folder / "audit.yaml"), Options(store=folder / "store"))
    assert Counter(u.kind for u in plan.units.values()) == {"fit": 8, "variant": 8, "probe": 12 + 12 + 8 + 8}
    assert {u.kind for u in plan.trainings().units.values()} == {"fit"}
    assert [s.id for s in plan.trainings().subjects] == ["mlp/sgd/0", "mlp/sgd/1", "mlp/adamw/0", "mlp/adamw/1"]


def test_one_seed_is_compared_with_its_variant_over_rows(audited: Audited) -> None:
    folder = audited.bundle.parent
    (folder / "one.yaml").write_text(AUDIT.replace("seeds: 2", "seeds: 1").replace("[sgd, adamw]", "[sgd]"))
    options = Options(store=folder / "store", out=folder / "one", inline=True, formats=())
    one = run(load_audit(folder / "one.yaml"), options)
    found = {(c.metric, c.b): c for c in one.facts.record.contrasts}
    assert {m for m, _ in found} == {"accuracy.accuracy", "backdoor.patch.attack_success"}
    assert all((c.a, c.pairs) == ("mlp/sgd", 1) and c.p_value is not None for c in found.values())
    assert all("over their rows" in f.reason for f in one.findings.contrasts)


LOADED = """\
schema: auditor/audit/1
name: loaded
profile: nothing.yaml
data: {source: wine}
subjects:
  - id: net
    load: LOAD
    variants: VARIANTS
"""
STATE = '{format: state-dict, path: m.safetensors, factory: "nets:make"}'


@pytest.mark.parametrize(
    ("load", "variants", "said"),
    [
        (STATE, "[int9]", "unknown variant 'int9'; did you mean 'int8'"),
        (STATE, "[pruned-120]", "from 1 to 99"),
        (STATE, "[int8, int8]", "the variant 'int8' is named twice"),
        ("{format: onnx, path: m.onnx}", "[int8]", "the format onnx has none"),
        ("{format: torchscript, path: m.pt}", "[int8]", "the format torchscript has none"),
        ("{format: sklearn, path: m.skops}", "[int8]", "variants need a torch network"),
    ],
)
def test_what_cannot_be_is_said_with_its_line(tmp_path: Path, load: str, variants: str, said: str) -> None:
    (tmp_path / "nothing.yaml").write_text("schema: auditor/audit/1\n")
    (tmp_path / "audit.yaml").write_text(LOADED.replace("LOAD", load).replace("VARIANTS", variants))
    with pytest.raises(ConfigError, match=f"audit.yaml:[68].*{said}"):
        load_audit(tmp_path / "audit.yaml")


def net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))


def trained(data: dict[str, np.ndarray]) -> nn.Module:
    module = net(0)
    optimizer = torch.optim.Adam(module.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        x, y = torch.tensor(data["x_train"]), torch.tensor(data["y_train"])
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    return module


@pytest.fixture(scope="module")
def moons() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.random((900, 2), np.float32)
    y = (x[:, 0] + 0.3 * np.sin(6 * x[:, 1]) > 0.6).astype(np.int64)
    return {"x_train": x[:500], "y_train": y[:500], "x_test": x[500:], "y_test": y[500:]}


def test_a_model_in_memory_is_audited_with_its_variants_and_not_changed(moons: dict[str, Any]) -> None:
    module = trained(moons)
    before = copy.deepcopy(module.state_dict())
    record = auditor.audit(module, moons, probes={"evasion.linf": "off"}, variants=["int8", "pruned-90"])
    assert [s.id for s in record.subjects] == ["model", "model@int8", "model@pruned-90"]
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    found = {c.b: c for c in record.contrasts if c.metric == "accuracy.accuracy"}
    assert found["model@pruned-90"].pairs == 1
    assert found["model@pruned-90"].p_value is not None
    assert found["model@pruned-90"].difference < -0.1
    assert found["model@int8"].difference == pytest.approx(0, abs=0.01)


def test_what_is_no_torch_network_is_skipped_with_the_reason(moons: dict[str, Any]) -> None:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(moons["x_train"], moons["y_train"])
    record = auditor.audit(model, moons, probes={"evasion.linf": "off"}, variants=["int8"])
    found = [r for r in record.results if r.subject == "model@int8"]
    assert {r.outcome for r in found} == {"skipped"}
    reasons = {r.reason for r in found if r.probe not in ("backdoor.patch", "poisoning.label_flips")}
    assert reasons == {"variants need a torch network whose layers can be reached, and this is a SklearnSubject"}
    assert all(r.outcome == "completed" for r in record.results if r.probe == "accuracy" and r.subject == "model")


@pytest.mark.parametrize("variant", ["int8", "int4", "bfloat16"])
def test_honest_variants_are_not_accused(moons: dict[str, Any], variant: str) -> None:
    """Rounding is no masking: gradients pass straight through, so attacks see what they need."""
    record = auditor.audit(trained(moons), moons, profile="quick", variants=[variant])
    completed = [r for r in record.results if r.outcome == "completed" and r.subject.endswith(variant)]
    doubted = {r.probe: r.caveats for r in completed if r.reliability != "reliable"}
    same = {r.probe for r in record.results if r.subject == "model" and r.reliability != "reliable"}
    assert set(doubted) <= same, doubted
    assert {"evasion.linf", "privacy.membership", "ood.scores", "calibration"} <= {r.probe for r in completed} | same
    robust = {m.of: m.value for m in record.measurements if m.metric == "robust_accuracy"}
    assert robust[f"model@{variant}"] == pytest.approx(robust["model"], abs=0.05)
