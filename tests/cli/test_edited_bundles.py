"""A bundle edited by hand: verify, gate and report end with 2 and name the file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.bundle import file_sha256
from auditor.record import canonical_json


@pytest.fixture
def copy(tiny: Any, tmp_path: Path) -> Path:
    """A copy of the tiny bundle to edit."""
    return Path(shutil.copytree(tiny.bundle, tmp_path / "bundle"))


def edit_record(bundle: Path) -> str:
    path = bundle / "facts/record.json"
    record = json.loads(path.read_bytes())
    record["measurements"][0]["value"] = 1.0
    path.write_bytes(canonical_json(record))
    return "facts/record.json was changed after the facts were sealed"


def edit_sample(bundle: Path) -> str:
    path = sorted((bundle / "facts/samples").glob("*__accuracy.npz"))[0]
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["correct"][:] = True
    np.savez_compressed(path, **arrays)
    return f"{path.name} was changed after the facts were sealed"


def edit_manifest(bundle: Path) -> str:
    """The careful forger: a changed record with its right digest in the manifest. The judgement names the old facts."""
    edit_record(bundle)
    path = bundle / "facts/manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["files"]["record.json"] = file_sha256(bundle / "facts/record.json")
    path.write_bytes(canonical_json(manifest))
    return "judgement was made from other facts than this bundle holds"


def edit_findings(bundle: Path) -> str:
    path = bundle / "judgement/findings.json"
    path.write_bytes(path.read_bytes().replace(b'"fail"', b'"pass"').replace(b'"inconclusive"', b'"pass"') + b" ")
    return "judgement/findings.json was changed after the judgement was sealed"


def add_file(bundle: Path) -> str:
    (bundle / "facts/samples/extra.npz").write_bytes(b"")
    return "facts/samples/extra.npz is not among the files the facts were sealed with"


def remove_file(bundle: Path) -> str:
    path = sorted((bundle / "facts/samples").glob("*.npz"))[0]
    path.unlink()
    return f"{path.name} is missing; the facts were sealed with it"


def cut_file(bundle: Path) -> str:
    path = bundle / "facts/manifest.json"
    path.write_bytes(path.read_bytes()[:100])
    return "facts/manifest.json"


FORGERIES = [edit_record, edit_sample, edit_manifest, edit_findings, add_file, remove_file, cut_file]


@pytest.mark.parametrize("forge", FORGERIES)
def test_verify_names_what_was_edited(shell: Any, copy: Path, forge: Callable[[Path], str]) -> None:
    expected = forge(copy)
    ended = shell("verify", "bundle")
    assert ended.code == 2
    assert expected in ended.err
    assert "Traceback" not in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_a_gate_does_not_judge_edited_facts(shell: Any, copy: Path) -> None:
    expected = edit_sample(copy)
    for command in ("gate", "report"):
        ended = shell(command, "bundle")
        assert ended.code == 2
        assert expected in ended.err


def test_a_report_that_was_edited_is_found(shell: Any, copy: Path) -> None:
    path = copy / "looks/report.html"
    path.write_text(path.read_text() + "<!-- -->")
    ended = shell("verify", "bundle")
    assert ended.code == 2
    assert "looks/report.html was changed" in ended.err


def test_findings_that_do_not_follow_from_the_facts_are_found_even_when_sealed(shell: Any, copy: Path) -> None:
    folder = copy / "judgement"
    findings = json.loads((folder / "findings.json").read_bytes())
    findings["summary"] = "all is well"
    (folder / "findings.json").write_bytes(canonical_json(findings))
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"]["findings.json"] = file_sha256(folder / "findings.json")
    (folder / "manifest.json").write_bytes(canonical_json(manifest))
    ended = shell("verify", "bundle")
    assert ended.code == 2
    assert "is not what its policy says of these facts" in ended.err


@pytest.mark.parametrize("name", ["facts/record.json", "judgement/findings.json", "looks/report.html"])
def test_running_again_over_an_edited_bundle_is_refused_and_overwrites_nothing(
    tiny: Any, shell_at: Any, tmp_path: Path, contents: Any, name: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny.folder, folder)
    edited = folder / "bundle" / name
    edited.write_bytes(edited.read_bytes().replace(b"a", b"b", 1))
    before = contents(folder / "bundle")
    ended = shell_at(folder)("run", "audit.yaml", "--out", "bundle", "--store", "store", "--format", "html")
    assert ended.code == 2
    assert f"{name} was changed after" in ended.err
    assert "nothing was overwritten" in ended.err
    assert contents(folder / "bundle") == before
