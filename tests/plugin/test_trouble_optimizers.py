"""A third party's optimizers: the good one is like ours; broken ones are named with what is wrong, and hide nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from auditor import plugins
from auditor.errors import ConfigError, UnknownNameError
from auditor.training.optimizers import every, resolve

OWNER = "of auditor-trouble"


def test_the_installed_optimizers_are_those_of_this_folder() -> None:
    source, found = Path(__file__).parent / "auditor_trouble", plugins.names("auditor.optimizers")
    theirs = {name: entry for name, entry in found.items() if plugins.owner(entry) == "auditor-trouble"}
    assert len(theirs) == 8, "run `make test` again: pip install --no-deps ./tests/plugin"
    descents = Path(str(__import__("auditor_trouble").__file__)).with_name("descents.py")
    assert descents.read_text() == (source / "descents.py").read_text(), "pip install --no-deps ./tests/plugin"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("trouble-unread", "could not be read: ModuleNotFoundError: No module named 'auditor_trouble_dependency'"),
        ("trouble-leaves", "could not be read: SystemExit: no licence found"),
        ("trouble-misnamed", "its name is 'signs', its entry point's 'trouble-misnamed'"),
        ("trouble-rateless", "the grid is not two or more rising rates above 0"),
        ("trouble-wordless", "is a dict; its entry point must name an OptimizerSpec"),
    ],
)
def test_a_broken_specification_is_refused_with_what_is_wrong_and_whose_it_is(name: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve(name, where="audit.yaml:7")
    assert str(refused.value).startswith(f"audit.yaml:7: the optimizer {name!r} {OWNER}")
    assert said in str(refused.value)


def test_broken_ones_leave_the_others_as_they_are() -> None:
    assert {"sgd", "muon", "trouble-signs", "trouble-none", "trouble-twin"} <= {spec.name for spec in every()}
    assert resolve("heavy-ball").name == "momentum"
    assert resolve("sign-descent").name == "trouble-signs"
    with pytest.raises(UnknownNameError, match="did you mean 'trouble-unread'"):
        resolve("trouble-unred")


def test_a_name_of_ours_means_ours_whatever_else_is_installed() -> None:
    assert resolve("adamw").provider == "torch"
    assert resolve("nesterov").name == "sgd"


def test_an_alias_of_two_is_nobodys() -> None:
    with pytest.raises(ConfigError) as refused:
        resolve("descent-by-signs")
    both = "trouble-signs (of auditor-trouble) and trouble-twin (of auditor-trouble)"
    assert str(refused.value) == f"the optimizer 'descent-by-signs' may be {both}: write the one you mean"


def test_listing_names_broken_ones_too_and_imports_none(shell: Any) -> None:
    listed = shell("list", "optimizers")
    assert listed.code == 0
    assert ["trouble-unread", "auditor-trouble"] in [line.split() for line in listed.out.splitlines()]


def test_explaining_tells_what_a_third_partys_optimizer_keeps_to(shell: Any) -> None:
    good, none, unread = (shell("explain", f"trouble-{name}") for name in ("signs", "none", "unread"))
    assert good.code == 0
    assert "FAILS" not in good.out
    assert "zero rate     FAILS  ConfigError: the optimizer trouble-none builds a NoneType" in none.out
    assert (unread.code, "Traceback" in unread.err) == (2, False)


def test_a_limit_of_a_third_party_is_kept(write_audit: Any, shell: Any) -> None:
    write_audit(("[sgd, adamw]", "[sgd, {name: trouble-signs, settings: {shrink: 1}}]"))
    ended = shell("plan", "audit.yaml")
    assert ended.code == 2
    assert "audit.yaml:8: trouble-signs: shrink is 1; it must be 0 or more, below 1" in ended.err


def test_a_third_partys_optimizer_is_audited_and_one_that_builds_nothing_is_errored(
    write_audit: Any, shell: Any, tmp_path: Path
) -> None:
    write_audit(("[sgd, adamw]", "[sgd, {name: sign-descent, learning_rate: 0.02}, trouble-none]"))
    ended = shell("run", "audit.yaml", "--out", "bundle", "--workers", "1")
    assert ended.code == 3, ended.err
    facts = json.loads((tmp_path / "bundle/facts/record.json").read_text())
    errors = {s["id"]: s["error"] for s in facts["subjects"]}
    assert errors["mlp/trouble-signs/0"] is None
    assert "the optimizer trouble-none builds a NoneType, and no torch.optim.Optimizer" in errors["mlp/trouble-none/0"]
    accuracy = next(
        m["value"] for m in facts["measurements"] if (m["of"], m["probe"]) == ("mlp/trouble-signs/0", "accuracy")
    )
    assert accuracy > 0.5
