"""Every exit code, as a shell sees it."""

import json
import resource
import subprocess
from pathlib import Path
from typing import Any

import pytest

from auditor.bundle import file_sha256

RULES = """\
schema: auditor/policy/1
id: bar
fail_on: high
rules:
"""
PASS = "  - {id: P, metric: accuracy.accuracy, where: {group: mlp/sgd}, at_least: 0.5, severity: high}\n"
FAIL = "  - {id: F, metric: accuracy.accuracy, where: {group: mlp/sgd}, at_least: 0.999, severity: high}\n"
LOW = "  - {id: L, metric: accuracy.accuracy, where: {group: mlp/sgd}, at_least: 0.999, severity: low}\n"
UNSETTLED = "  - {id: U, metric: accuracy.accuracy, where: {group: mlp/sgd}, at_least: 0.983, severity: high}\n"
UNMEASURED = "  - {id: N, metric: poisoning.label_flips.accuracy, at: {rate: 0.3}, at_least: 0, severity: high%s}\n"


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        (PASS, 0),
        (PASS + LOW, 0),
        (PASS + FAIL, 1),
        (PASS + UNSETTLED, 3),
        (PASS + UNMEASURED % "", 3),
        (PASS + UNMEASURED % ", on_not_assessed: fail", 1),
        (PASS + UNMEASURED % ", on_not_assessed: ignore", 0),
        (FAIL + UNSETTLED, 1),
    ],
    ids=[
        "pass",
        "low fails",
        "fail",
        "inconclusive",
        "not assessed",
        "must be assessed",
        "need not be assessed",
        "1 before 3",
    ],
)
def test_a_gate_ends_with_the_code_of_its_verdict(shell: Any, tiny: Any, rules: str, code: int) -> None:
    policy = shell.folder / "bar.yaml"
    policy.write_text(RULES + rules)
    ended = shell("gate", tiny.bundle, "--policy", policy)
    assert ended.code == code, ended.out + ended.err
    assert ended.err == ""
    as_json = shell("gate", tiny.bundle, "--policy", policy, "--json")
    assert as_json.code == code
    assert json.loads(as_json.out)["exit_code"] == code


def test_a_run_ends_with_the_code_of_its_verdict_and_without_the_gate_with_0(
    shell: Any, tiny: Any, write_audit: Any
) -> None:
    write_audit(policy=RULES + FAIL)
    line = ("run", "audit.yaml", "--store", tiny.store, "--out", "bundle", "--format", "html")
    assert shell(*line).code == 1
    assert shell(*line, "--no-gate").code == 0


def test_an_input_file_that_is_no_text_is_named_and_ends_with_2(shell: Any, write_audit: Any) -> None:
    write_audit()
    (shell.folder / "audit.yaml").write_bytes(b"\xff\xfe\x00\x01")
    ended = shell("run", "audit.yaml")
    assert ended.code == 2
    assert "audit.yaml cannot be read as text" in ended.err
    (shell.folder / "policy.yaml").write_bytes(b"\xff\xfe\x00\x01")
    (shell.folder / "audit.yaml").unlink()
    write_audit()
    (shell.folder / "policy.yaml").write_bytes(b"\xff\xfe\x00\x01")
    ended = shell("run", "audit.yaml")
    assert ended.code == 2
    assert "policy.yaml cannot be read as text" in ended.err


def test_a_disk_that_takes_no_more_ends_with_4_and_leaves_the_bundle_whole(
    shell: Any, tiny: Any, write_audit: Any
) -> None:
    write_audit()
    line = shell.line("run", "audit.yaml", "--store", tiny.store, "--out", "bundle", "--format", "html")
    done = subprocess.run(
        line,
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),  # no threads here
    )
    assert done.returncode == 4
    assert "File too large" in done.stderr
    assert not (shell.folder / "bundle/facts").exists()
    assert shell("run", *line[4:]).code == 0
    assert file_sha256(shell.folder / "bundle/facts/record.json") == tiny.sha256


def test_a_gate_nobody_listens_to_is_not_a_pass(shell: Any, tiny: Any) -> None:
    process = shell.start("gate", tiny.bundle)
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 4
    assert err == ""


def test_a_finished_audit_run_again_does_nothing_and_says_so(
    shell: Any, tiny: Any, write_audit: Any, contents: Any
) -> None:
    write_audit()
    before = {k: v for k, v in contents(tiny.store).items() if k.startswith("units/")}
    ended = shell("run", "audit.yaml", "--store", tiny.store, "--out", "bundle", "--format", "html")
    assert ended.code == 0, ended.err
    assert "nothing was left to do: all units were finished before" in ended.out
    assert {k: v for k, v in contents(tiny.store).items() if k.startswith("units/")} == before
    assert file_sha256(shell.folder / "bundle/facts/record.json") == tiny.sha256
    code = (
        "import sys; from auditor.cli import exit_code\n"
        f"line = ['run', 'audit.yaml', '--store', {str(tiny.store)!r}, '--out', 'bundle']\n"
        "code = exit_code([*line, '--format', 'html', '--quiet'])\n"
        "print(code, 'torch' in sys.modules, 'sklearn' in sys.modules)"
    )
    assert shell.python(code).out.splitlines()[-1] == "0 False False"


def test_quiet_prints_the_verdict_and_the_report_only(shell: Any, tiny: Any, write_audit: Any) -> None:
    write_audit()
    ended = shell("run", "audit.yaml", "--store", tiny.store, "--out", "bundle", "--format", "html", "--quiet")
    assert ended.err == ""
    assert [line.split()[0] for line in ended.out.splitlines()] == ["PASS", "report"]


def test_plan_says_what_is_left_and_identifies_the_audit(shell: Any, tiny: Any, write_audit: Any) -> None:
    write_audit()
    record = json.loads((tiny.bundle / "facts/record.json").read_text())
    fresh = shell("plan", "audit.yaml")
    assert fresh.code == 0
    assert "units      28 (16 fit, 12 probe); 0 finished, 28 to do" in fresh.out
    assert "cost       unknown for 28 units: none of their kind is finished in this store" in fresh.out
    assert fresh.out.splitlines()[-1] == f"digest     {record['audit']['plan_sha256']}"
    done = shell("plan", "audit.yaml", "--store", tiny.store)
    assert "28 finished, 0 to do" in done.out
    assert "nothing: all units are finished" in done.out
    units = json.loads(shell("plan", "audit.yaml", "--json").out)["units"]
    assert len({u["identity"] for u in units}) == 28


def test_a_mistake_of_ours_keeps_its_traceback_and_ends_with_4(shell: Any, tmp_path: Path) -> None:
    code = (
        "import click; from auditor import cli\n"
        "def broken(): raise ZeroDivisionError('ours')\n"
        "cli.Commands.get_command = lambda self, ctx, name: click.Command('list', callback=broken)\n"
        "print(cli.exit_code(['list']))"
    )
    ended = shell.python(code)
    assert ended.out.strip() == "4"
    assert "Traceback" in ended.err
    assert "ZeroDivisionError: ours" in ended.err
    assert ended.err.strip().endswith("internal error: please report the lines above")
