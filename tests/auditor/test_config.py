"""audit.yaml with its profile below and its flags above."""

from pathlib import Path
from typing import Any

import pytest

from auditor.config import AuditConfig, Loaded, load_audit, narrowed, resolve
from auditor.documents import loads, parse
from auditor.errors import ConfigError, UnknownNameError

BASE = "schema: auditor/audit/1\nname: a\ndata: {source: wine}\nsubjects: [{id: m, train: {}}]\n"


def resolved(text: str, **more: Any) -> Loaded:
    return resolve(loads(BASE + text, source="audit.yaml"), BASE + text, more.pop("directory", Path()), **more)


def profile_at(folder: Path, text: str) -> Path:
    (folder / "own.yaml").write_text("schema: auditor/audit/1\n" + text)
    return folder


def test_flags_lie_over_the_file_and_the_file_over_its_profile(tmp_path: Path) -> None:
    profile_at(tmp_path, "seed: 1\nconfidence: 0.9\nunit_seconds: 5\n")
    text = "profile: own.yaml\nseed: 2\nunit_seconds: 6\n"
    config = resolved(text, directory=tmp_path, flags={"unit_seconds": 7}).config
    assert (config.confidence, config.seed, config.unit_seconds) == (0.9, 2, 7)


def test_a_profile_named_on_the_command_line_is_the_one_used(tmp_path: Path) -> None:
    profile_at(tmp_path, "confidence: 0.9\n")
    config = resolved("profile: standard\n", directory=tmp_path, profile="own.yaml").config
    assert (config.profile, config.confidence) == ("own.yaml", 0.9)


def test_naming_a_probe_turns_it_on_and_off_turns_it_off(tmp_path: Path) -> None:
    profile_at(
        tmp_path, "probes: {accuracy: {}, calibration: {bins: 5}, evasion.linf: {epsilons: [0.1], samples: 9}}\n"
    )
    named = "accuracy: off, ood.scores: , calibration: false, evasion.linf: {samples: 8}, privacy.membership: on"
    text = f"profile: own.yaml\nprobes: {{{named}}}\n"
    assert resolved(text, directory=tmp_path).enabled() == {
        "evasion.linf": {"epsilons": [0.1], "samples": 8},
        "ood.scores": {},
        "privacy.membership": {},
    }


def test_the_place_of_a_value_is_the_file_it_comes_from(tmp_path: Path) -> None:
    profile_at(tmp_path, "confidence: 2\n")
    with pytest.raises(ConfigError, match=r"own\.yaml:2: confidence: Input should be less than 1 \(found 2\)"):
        resolved("profile: own.yaml\n", directory=tmp_path)


def test_every_shipped_profile_is_a_whole_configuration_of_installed_probes() -> None:
    from auditor import plugins

    for profile in ("quick", "standard", "thorough"):
        enabled = resolved("", profile=profile).enabled()
        assert enabled
        assert set(enabled) <= set(plugins.names("auditor.probes"))


def test_the_built_in_audit_compares_three_optimizers_with_five_seeds() -> None:
    loaded = load_audit(None)
    train = loaded.config.subjects[0].train
    assert train is not None
    assert [arm.name for arm in train.arms] == ["sgd", "adamw", "rmsprop"]
    assert (train.seeds, loaded.config.policy) == (5, "policy.yaml")
    assert "fail_on: critical" in loaded.policy_text


def test_without_a_policy_the_shipped_baseline_is_used() -> None:
    assert "id: baseline" in resolved("").policy_text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subjcts: []\n", "audit.yaml:5: unknown key 'subjcts'; did you mean 'subjects'?"),
        ("contrasts: {refrence: x}\n", "unknown key 'contrasts.refrence'; did you mean 'reference'?"),
        ("card: {owner: me}\n", "unknown key 'card.owner'; did you mean 'owners'?"),
        ("probes: {accuracy: maybe}\n", "audit.yaml:5: probes.accuracy"),
        ("gallery: perhaps\n", "audit.yaml:5: gallery"),
        ("unit_seconds: 0\n", "audit.yaml:5: unit_seconds: Input should be greater than 0 (found 0)"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("subjects", "message"),
    [
        ("[{id: m}]", "subject 'm' needs exactly one of train, load"),
        ("[{id: m, train: {}}, {id: m, train: {}}]", "two subjects are called 'm'"),
        ("[{id: a/b, train: {}}]", "subjects.0.id: String should match pattern"),
        ("[]", "subjects needs at least 1 entry"),
        ("[{id: m, train: {optimizers: []}}]", "optimizers needs at least 1 entry"),
        ("[{id: m, train: {tune: {grid: [0.1]}}}]", "grid needs at least 2"),
        (
            "[{id: m, train: {optimizers: [{name: sgd, learning_rate: 0}]}}]",
            "learning_rate: Input should be greater than 0 (found 0)",
        ),
        ("[{id: m, train: {optimizers: [{name: sgd, learnin_rate: 1}]}}]", "did you mean 'learning_rate'?"),
        ("[{id: m, load: {format: state-dict, path: x}}]", "a state dict needs `factory: module:callable`"),
        ("[{id: m, load: {format: pickle, path: x}}]", "load.format"),
    ],
)
def test_a_mistake_in_a_subject_is_named(subjects: str, message: str) -> None:
    text = BASE.replace("[{id: m, train: {}}]", subjects)
    with pytest.raises(ConfigError) as caught:
        resolve(loads(text, source="audit.yaml"), text, Path())
    assert message in str(caught.value)
    assert str(caught.value).startswith("audit.yaml")


def test_globs_select_known_names_and_select_none_only_by_mistake() -> None:
    known = ["accuracy", "evasion.l2", "evasion.linf"]
    assert narrowed(["evasion.*"], known, "--only") == ["evasion.l2", "evasion.linf"]
    with pytest.raises(UnknownNameError, match=r"--skip: unknown probe 'evasion.l3'; did you mean 'evasion.l2'"):
        narrowed(["evasion.l3"], known, "--skip")


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ("{name: sgd, learning_rate: 0}", "learning_rate: Input should be greater than 0 (found 0)"),
        ("{name: sgd, learning_rat: 0.1}", "unknown key 'subjects.0.train.optimizers.0.learning_rat'; did you mean"),
    ],
)
def test_what_is_wrong_in_an_arm_is_said_once_and_not_that_it_might_have_been_a_word(arm: str, said: str) -> None:
    text = f"""\
schema: auditor/audit/1
name: arms
data: {{source: digits}}
subjects:
  - id: mlp
    train: {{architecture: mlp, optimizers: [{arm}]}}
"""
    with pytest.raises(ConfigError) as error:
        parse(text, AuditConfig, source="audit.yaml")
    assert str(error.value).startswith("audit.yaml:6: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
