"""What is installed: probes, optimizers, architectures, data sets, reports; listed by name without importing."""

import importlib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, Literal

from auditor.errors import ConfigError, UnknownNameError

Group = Literal["auditor.probes", "auditor.optimizers", "auditor.architectures", "auditor.datasets", "auditor.reports"]


@cache
def names(group: Group) -> dict[str, EntryPoint]:
    """Installed plugins of a group by name. Raises ConfigError where two distributions own one name."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        held = found.get(entry.name)
        if held is not None and held.value != entry.value:
            raise ConfigError(
                f"two installed packages own the {kind(group)} {entry.name!r}: "
                f"{owner(held)} and {owner(entry)}; uninstall one"
            )
        found[entry.name] = entry
    return dict(sorted(found.items()))


def kind(group: Group) -> str:
    """What a plugin of this group is called: `auditor.probes` holds a `probe`."""
    return group.rpartition(".")[2].removesuffix("s")


def owner(entry: EntryPoint) -> str:
    """The distribution that brings a plugin."""
    return entry.dist.name if entry.dist is not None else "an unnamed package"


def load(group: Group, name: str, *, where: str = "") -> Any:  # a plugin may be any object
    """The plugin itself. Raises UnknownNameError with the nearest name, or whatever its import raises."""
    entry = names(group).get(name)
    if entry is None:
        raise UnknownNameError(kind(group), name, names(group), where=where)
    return entry.load()


def imported(reference: str, *, what: str) -> Any:  # a user's object may be anything
    """The object named "module:callable". Raises ConfigError saying which half was not found."""
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise ConfigError(f"{what} {reference!r} is not of the form module:callable")
    try:
        module: ModuleType = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:
            raise
        raise ConfigError(
            f"{what} {reference!r}: no module {module_name!r}; is it beside the audit file or installed?"
        ) from None
    if not hasattr(module, attribute):
        public = [n for n in vars(module) if not n.startswith("_")]
        raise UnknownNameError(f"name in {module_name}", attribute, public, where=what)
    return getattr(module, attribute)
