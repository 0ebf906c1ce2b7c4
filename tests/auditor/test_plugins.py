"""What is installed is listed by name, without importing it, and no name has two owners."""

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from auditor import plugins
from auditor.errors import ConfigError, UnknownNameError


def test_plugins_come_in_the_order_of_their_names() -> None:
    names = list(plugins.names("auditor.probes"))
    assert names == sorted(names)
    assert {"accuracy", "evasion.linf", "trouble.brightness"} <= set(names)


def test_an_unknown_plugin_is_named_with_its_kind_and_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"x:3: unknown architecture 'strided-cn'; did you mean 'strided-cnn'\?"):
        plugins.load("auditor.architectures", "strided-cn", where="x:3")


def test_two_packages_that_own_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    doubled = [EntryPoint("same", "a:x", "auditor.probes"), EntryPoint("same", "b:x", "auditor.probes")]
    monkeypatch.setattr(plugins, "entry_points", lambda **_: doubled)
    with pytest.raises(ConfigError, match="two installed packages own the probe 'same'"):
        plugins.names.__wrapped__("auditor.probes")
    monkeypatch.setattr(plugins, "entry_points", lambda **_: [doubled[0], doubled[0]])
    assert list(plugins.names.__wrapped__("auditor.probes")) == ["same"]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nocolon", "factory 'nocolon' is not of the form module:callable"),
        (":x", "is not of the form module:callable"),
        ("nowhere_at_all:x", "no module 'nowhere_at_all'; is it beside the audit file or installed?"),
        ("json:loadz", "factory: unknown name in json 'loadz'; did you mean 'load"),
    ],
)
def test_an_object_that_cannot_be_found_is_named_with_which_half(reference: str, message: str) -> None:
    with pytest.raises((ConfigError, UnknownNameError)) as caught:
        plugins.imported(reference, what="factory")
    assert message in str(caught.value)


def test_a_module_that_lacks_another_module_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lacking_module.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        plugins.imported("lacking_module:x", what="factory")


def test_the_public_names_are_there_and_no_other(shell: Any) -> None:
    import auditor

    for name in auditor.__all__:
        assert getattr(auditor, name).__module__.startswith("auditor.")
    with pytest.raises(AttributeError, match="module 'auditor' has no attribute 'nothing'"):
        auditor.nothing  # noqa: B018
    assert shell.python("import auditor, sys; print('numpy' in sys.modules)").out.strip() == "False"
