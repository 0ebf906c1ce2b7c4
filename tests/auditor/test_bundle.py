"""Three sealed layers: a reader never sees half of one, and every change after sealing is found."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from auditor.bundle import LayerWriter, Manifest, check_layer, file_sha256, read_facts, read_findings, read_model
from auditor.errors import ConfigError, IntegrityError
from auditor.folder import claim
from auditor.record import Record, canonical_json, digest
from auditor.stages import verify


@pytest.fixture
def copy(tiny: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny.bundle, tmp_path / "bundle"))


def layer(bundle: Path, name: Any, content: bytes) -> str:
    writer = LayerWriter(bundle, name)
    writer.write("a/b.txt", content)
    return writer.seal()


def test_the_record_file_is_canonical_and_its_digest_is_the_records(tiny: Any) -> None:
    raw = (tiny.bundle / "facts/record.json").read_bytes()
    record = read_facts(tiny.bundle).record
    assert raw == canonical_json(record)
    assert raw == json.dumps(json.loads(raw), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert record.sha256 == digest(record) == file_sha256(tiny.bundle / "facts/record.json")


def test_the_record_holds_no_time_machine_or_path(tiny: Any) -> None:
    text = (tiny.bundle / "facts/record.json").read_text()
    assert str(tiny.folder) not in text
    assert "seconds" not in text
    assert "python" not in text


def test_every_layer_names_the_digest_of_the_one_below(tiny: Any) -> None:
    for upper, lower in (("judgement", "facts"), ("looks", "judgement")):
        manifest = read_model(tiny.bundle / upper / "manifest.json", Manifest)
        assert manifest.below == file_sha256(tiny.bundle / lower / "manifest.json")
    assert read_findings(tiny.bundle).facts_sha256 == file_sha256(tiny.bundle / "facts/manifest.json")


def test_the_inputs_are_kept_word_for_word(tiny: Any) -> None:
    for name in ("audit.yaml", "policy.yaml"):
        assert (tiny.bundle / "facts/inputs" / name).read_bytes() == (tiny.folder / name).read_bytes()


def test_every_trained_model_is_kept_with_its_recipe(tiny: Any) -> None:
    from safetensors import safe_open

    record = read_facts(tiny.bundle).record
    for subject in record.subjects:
        path = tiny.bundle / "artifacts" / f"{subject.id.replace('/', '__')}.safetensors"
        assert file_sha256(path) == subject.sha256
        with safe_open(path, "np") as stored:
            recipe = json.loads(stored.metadata()["auditor"])["recipe"]
        assert (recipe["optimizer"], recipe["seed"]) == (subject.optimizer, subject.seed)


def test_a_sound_bundle_verifies(tiny: Any) -> None:
    assert [line.split()[0] for line in verify(tiny.bundle)] == ["facts", "judgement", "looks"]


def test_sealing_again_replaces_a_layer_and_what_was_made_of_it_is_stale(tmp_path: Path) -> None:
    first = layer(tmp_path, "facts", b"1")
    layer(tmp_path, "judgement", b"j")
    assert check_layer(tmp_path, "judgement")
    assert layer(tmp_path, "facts", b"2") != first
    assert check_layer(tmp_path, "facts")
    with pytest.raises(IntegrityError, match="made from other facts than this bundle holds"):
        check_layer(tmp_path, "judgement")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["facts", "judgement"]


def test_sealing_the_same_again_keeps_what_was_made_of_it(tmp_path: Path) -> None:
    first = layer(tmp_path, "facts", b"1")
    layer(tmp_path, "judgement", b"j")
    assert layer(tmp_path, "facts", b"1") == first
    assert check_layer(tmp_path, "judgement")


def test_a_layer_under_way_is_not_seen(tmp_path: Path) -> None:
    writer = LayerWriter(tmp_path, "facts")
    writer.write("record.json", b"{}")
    with pytest.raises(IntegrityError, match="holds no sealed facts"):
        read_facts(tmp_path)


def test_a_record_with_an_unknown_key_is_refused(copy: Path) -> None:
    path = copy / "facts/record.json"
    path.write_bytes(path.read_bytes().replace(b'"audit":{', b'"audit":{"approved":true,'))
    with pytest.raises(IntegrityError, match=r"record\.json: audit\.approved: Extra inputs are not permitted"):
        read_model(path, Record)


def test_a_new_folder_is_claimed_by_making_it(tmp_path: Path) -> None:
    claim(tmp_path / "a/b", "p")
    assert (tmp_path / "a/b").is_dir()
    claim(tmp_path / "a/b", "p")


def test_a_folder_of_the_same_plan_may_be_claimed_again_and_no_other(copy: Path) -> None:
    plan = read_facts(copy).record.audit.plan_sha256
    claim(copy, plan)
    with pytest.raises(ConfigError, match=r"holds another audit \('tiny', plan"):
        claim(copy, "0" * 64)


def test_a_folder_with_foreign_files_is_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="is not empty and holds no audit"):
        claim(tmp_path, "p")
    with pytest.raises(ConfigError, match="is a file"):
        claim(tmp_path / "thesis.tex", "p")


def test_what_a_killed_writer_left_is_cleared_away(copy: Path) -> None:
    LayerWriter(copy, "looks").write("report.html", b"half")
    LayerWriter(copy, "judgement").write("findings.json", b"half")
    claim(copy, read_facts(copy).record.audit.plan_sha256)
    assert not list(copy.glob(".*"))
    assert verify(copy)


def test_facts_that_a_killed_writer_had_set_aside_are_put_back(copy: Path) -> None:
    plan = read_facts(copy).record.audit.plan_sha256
    (copy / ".old-facts-abc").mkdir()
    (copy / "facts").rename(copy / ".old-facts-abc/facts")
    claim(copy, plan)
    assert not list(copy.glob(".*"))
    assert verify(copy)
