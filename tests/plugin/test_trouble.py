"""A third party's broken probes and a user's broken models: their units are errored, everything else is there."""

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file
from torch import nn

from auditor import plugins

NETS = '''
"""Models of a user, broken in every way a model can be."""
import os, signal, time
from torch import nn

class Broken(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.net = nn.Linear(13, 3)
        self.how = how

    def forward(self, x):
        if self.how == "raises":
            raise ValueError("a layer is missing")
        if self.how == "hangs":
            time.sleep(1e6)
        if self.how == "crashes" or (self.how == "late" and len(x) > 20):
            os.kill(os.getpid(), signal.SIGSEGV)
        return self.net(x)
'''
LOADED = """\
  - id: {how}
    load: {{format: state-dict, path: w.safetensors, factory: "nets:Broken", kwargs: {{how: {how}}}}}
"""
AUDIT = """\
schema: auditor/audit/1
name: trouble
unit_seconds: 20
profile: nothing.yaml
data: {source: wine}
subjects:
  - id: sound
    train: {optimizers: [sgd], seeds: 1, epochs: 5, tune: off}
"""
PROBES = """\
probes:
  accuracy:
  trouble.brightness: {factor: 2}
"""
BROKEN = "".join(f"  trouble.{name}:\n" for name in ("crashing", "hanging", "leaving", "missing", "raising", "writing"))
POLICY = """\
schema: auditor/policy/1
id: trouble
rules:
  - {id: ACC, metric: accuracy.accuracy, at_least: 0.05, where: {group: sound*}, severity: high}
  - {id: RAISING, metric: trouble.raising.score, at_least: 0.1, severity: high}
"""


@dataclass(frozen=True)
class Troubled:
    """What a shell saw of an audit with broken parts, and what the bundle says."""

    code: int
    err: str
    bundle: Path
    record: dict[str, Any]
    findings: list[dict[str, Any]]

    def result(self, probe: str, subject: str) -> tuple[str, str | None]:
        """Outcome and reason."""
        found = next(r for r in self.record["results"] if (r["probe"], r["subject"]) == (probe, subject))
        return found["outcome"], found["reason"]


def audited(folder: Path, shell: Any, audit: str, *args: str) -> Troubled:
    (folder / "nets.py").write_text(NETS)
    (folder / "nothing.yaml").write_text("schema: auditor/audit/1\n")
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "audit.yaml").write_text(audit)
    net = nn.Linear(13, 3)
    save_file({f"net.{k}": v for k, v in net.state_dict().items()}, folder / "w.safetensors")
    ended = shell("run", "audit.yaml", "--out", "bundle", "--format", "html", *args)
    facts = json.loads((folder / "bundle/facts/record.json").read_text())
    findings = json.loads((folder / "bundle/judgement/findings.json").read_text())["findings"]
    return Troubled(ended.code, ended.err, folder / "bundle", facts, findings)


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory, shell_at: Any) -> Troubled:
    """One audit with a sound subject, three broken models, one good probe and six broken ones."""
    folder = tmp_path_factory.mktemp("trouble")
    loaded = "".join(LOADED.format(how=how) for how in ("raises", "hangs", "crashes"))
    return audited(
        folder, shell_at(folder), AUDIT + loaded + PROBES + BROKEN + "policy: policy.yaml\n", "--workers", "2"
    )


def test_an_audit_with_broken_parts_ends_with_3_and_without_a_traceback(troubled: Troubled) -> None:
    assert troubled.code == 3
    assert "Traceback" not in troubled.err
    assert troubled.record["audit"]["complete"] is True


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        ("trouble.raising", "RuntimeError: no luck with sound/sgd/0"),
        ("trouble.hanging", "ran over 20 seconds"),
        ("trouble.crashing", "SIGSEGV"),
        ("trouble.leaving", "exit code 7"),
        ("trouble.missing", "No module named 'auditor_trouble_dependency'"),
        ("trouble.writing", "read-only"),
    ],
)
def test_a_broken_probe_is_errored_with_its_reason(troubled: Troubled, probe: str, reason: str) -> None:
    outcome, said = troubled.result(probe, "sound/sgd/0")
    assert outcome == "errored"
    assert said is not None
    assert reason in said


def test_the_results_beside_broken_probes_are_complete(troubled: Troubled) -> None:
    assert troubled.result("accuracy", "sound/sgd/0") == ("completed", None)
    assert troubled.result("trouble.brightness", "sound/sgd/0") == ("completed", None)
    measured = [
        m for m in troubled.record["measurements"] if m["of"] == "sound/sgd/0" and m["probe"] == "trouble.brightness"
    ]
    from sklearn.datasets import load_wine

    wine = load_wine()
    x = (wine.data - wine.data.min(0)) / (wine.data.max(0) - wine.data.min(0))
    held = [i for i in range(178) if i not in _training_rows(x)]
    assert len(measured) == 1
    assert measured[0]["n"] == 59
    assert measured[0]["value"] == pytest.approx(2 * x[held].mean(), abs=1e-6)


def _training_rows(x: np.ndarray) -> set[int]:
    """Which of the wines the data set trains on, found by their values."""
    from auditor.datasets import load
    from auditor.datasets.spec import DataConfig

    train = load(DataConfig(source="wine"), Path()).x_train
    return {i for i, row in enumerate(x.astype(np.float32)) if (np.abs(train - row).max(axis=1) < 1e-6).any()}


@pytest.mark.parametrize(
    ("subject", "reason"), [("raises", "a layer is missing"), ("hangs", "ran over 20 seconds"), ("crashes", "SIGSEGV")]
)
def test_a_broken_model_is_errored_with_its_reason_and_so_is_every_probe_of_it(
    troubled: Troubled, subject: str, reason: str
) -> None:
    entry = next(s for s in troubled.record["subjects"] if s["id"] == subject)
    assert reason in entry["error"]
    for probe in ("accuracy", "trouble.brightness", "trouble.raising"):
        outcome, said = troubled.result(probe, subject)
        assert outcome == "errored"
        assert said is not None
        assert reason in said
    assert not [m for m in troubled.record["measurements"] if m["of"] == subject]


def test_a_rule_on_a_broken_probe_is_not_assessed(troubled: Troubled) -> None:
    states = {f["state"] for f in troubled.findings if f["rule"] == "RAISING"}
    assert states == {"not-assessed"}
    assert {f["state"] for f in troubled.findings if f["rule"] == "ACC"} == {"pass"}


def test_a_bundle_with_broken_parts_verifies(troubled: Troubled, shell_at: Any) -> None:
    ended = shell_at(troubled.bundle.parent)("verify", "bundle")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[0].endswith("32 results")
    gate = shell_at(troubled.bundle.parent)("gate", "bundle", "--quiet")
    assert gate.code == 3


def test_a_model_that_crashes_under_a_probe_is_blamed_there_only(tmp_path: Path, shell: Any) -> None:
    audit = AUDIT + LOADED.format(how="late") + PROBES + "policy: policy.yaml\n"
    seen = audited(tmp_path, shell, audit, "--workers", "1")
    assert seen.code == 3
    outcome, reason = seen.result("accuracy", "late")
    assert outcome == "errored"
    assert reason is not None
    assert "SIGSEGV" in reason
    assert seen.result("trouble.brightness", "late") == ("completed", None)
    assert seen.result("accuracy", "sound/sgd/0") == ("completed", None)


def test_listing_probes_shows_third_parties_without_importing_them(shell: Any) -> None:
    ended = shell("list", "probes")
    assert ended.code == 0
    owners = {line.split()[0]: line.split()[1] for line in ended.out.splitlines()}
    assert {name for name, owner in owners.items() if owner == "auditor-trouble"} == {
        "trouble.brightness",
        "trouble.crashing",
        "trouble.hanging",
        "trouble.leaving",
        "trouble.missing",
        "trouble.raising",
        "trouble.writing",
    }
    code = (
        "import sys; from auditor.cli import exit_code\n"
        "exit_code(['list', 'probes']); print('auditor_trouble' in sys.modules)"
    )
    assert shell.python(code).out.splitlines()[-1] == "False"


def test_explaining_a_probe_that_cannot_be_imported_says_why(shell: Any) -> None:
    ended = shell("explain", "trouble.missing")
    assert ended.code == 0
    assert "auditor-trouble" in ended.out
    assert "No module named 'auditor_trouble_dependency'" in ended.out


def test_an_unknown_parameter_of_a_third_partys_probe_is_refused_with_the_nearest_name(
    write_audit: Any, shell: Any
) -> None:
    write_audit(("  calibration:\n", "  trouble.brightness: {facter: 2}\n"))
    ended = shell("plan", "audit.yaml")
    assert ended.code == 2
    assert "audit.yaml:11: unknown parameter of trouble.brightness 'facter'; did you mean 'factor'?" in ended.err


def test_the_broken_probes_are_the_installed_ones() -> None:
    entries = {n: e for n, e in plugins.names("auditor.probes").items() if plugins.owner(e) == "auditor-trouble"}
    source = Path(__file__).parent / "auditor_trouble"
    for entry in entries.values():
        installed = (
            Path(str(importlib.import_module("auditor_trouble").__file__)).parent / f"{entry.module.split('.')[1]}.py"
        )
        told = (
            f"{installed} is not {source / installed.name}; run `make test` again: pip install --no-deps ./tests/plugin"
        )
        assert installed.read_text() == (source / installed.name).read_text(), told
