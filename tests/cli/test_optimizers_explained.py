"""What the command line says of optimizers: their specification, and whether they keep to it."""

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sam-sgd", ["sam: Sharpness-aware", "about 2 gradients a step", "  reference     ok "]),
        (
            "soap",
            ["provider   pytorch_optimizer, Apache-2.0", "  reference     -      no independent", "  resume        ok"],
        ),
        ("fromage", ["CC-BY-NC-SA-4.0: no commercial use, refused unless train.allow_licences names it"]),
        ("adago", ["  zero rate     FAILS  moved by"]),
    ],
)
def test_an_optimizer_is_explained_and_checked(shell: Any, name: str, said: list[str]) -> None:
    ended = shell("explain", name)
    assert ended.code == 0, ended.err
    for line in said:
        assert line in ended.out


def test_a_name_of_the_package_that_is_refused_is_told_why(shell: Any) -> None:
    ended = shell("explain", "adahessian")
    assert ended.code == 2
    assert "is not used here: it needs second derivatives" in ended.err


def test_what_the_extra_brings_is_listed_with_its_package(shell: Any) -> None:
    listed = shell("list", "optimizers").out.splitlines()
    assert any(line.split() == ["soap", "pytorch_optimizer"] for line in listed)
    assert any(line.split() == ["muon", "auditor"] for line in listed)
    assert len(listed) > 110
