"""Which optimizers there are: those behind entry points, and those that the [optim] extra brings."""

from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec

from auditor import plugins
from auditor.errors import ConfigError, UnknownNameError
from auditor.training.optimizers import extra
from auditor.training.optimizers.faults import faults
from auditor.training.optimizers.spec import OptimizerSpec

OURS = "auditor"


def names() -> dict[str, str]:
    """Every optimizer with the package that brings it; nothing heavy is imported."""
    owners = {name: plugins.owner(entry) for name, entry in plugins.names("auditor.optimizers").items()}
    here = find_spec(extra.PACKAGE) is not None
    brings = extra.DISTRIBUTION if here else f'{extra.DISTRIBUTION}, not installed: pip install "auditor[optim]"'
    return dict(sorted({**dict.fromkeys(extra.usable(), brings), **owners}.items()))


def resolve(name: str, *, where: str = "") -> OptimizerSpec:
    """The optimizer of this name or alias.

    Raises UnknownNameError with the nearest name and what it is; ConfigError for one of pytorch_optimizer that cannot
    be used here, one of a third party that cannot be read, and an alias that two have: each with the reason.
    """
    if name in plugins.names("auditor.optimizers"):
        return _plugged(name, where)
    if name in extra.usable():
        return extra.spec(name)
    called = [spec for spec in every() if name in spec.aliases]
    called = [spec for spec in called if _owner(spec.name) == OURS] or called  # no other package takes a name from us
    place = where + ": " if where else ""
    if len(called) > 1:
        both = " and ".join(f"{spec.name} (of {_owner(spec.name)})" for spec in called)
        raise ConfigError(f"{place}the optimizer {name!r} may be {both}: write the one you mean")
    if called:
        return called[0]
    if why := extra.refused().get(name):
        raise ConfigError(f"{place}the optimizer {name!r} of {extra.DISTRIBUTION} is not used here: {why}")
    raise _unknown(name, where)


def every() -> Iterator[OptimizerSpec]:
    """All optimizers behind entry points that can be read: a third party's broken one does not hide the others."""
    for name in plugins.names("auditor.optimizers"):
        with suppress(ConfigError):
            yield _plugged(name)


def _plugged(name: str, where: str = "") -> OptimizerSpec:
    """What an entry point names. Raises ConfigError, saying whose it is, where that is no sound specification."""
    try:
        spec = plugins.load("auditor.optimizers", name)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a third party's module does, the others are there
        said = f"{type(error).__name__}: {error}".split("\n")[0]
        raise ConfigError(f"{_blamed(name, where)} could not be read: {said}; mend or uninstall that package") from None
    if not isinstance(spec, OptimizerSpec):
        raise ConfigError(
            f"{_blamed(name, where)} is a {type(spec).__name__}; its entry point must name an OptimizerSpec"
        )
    if wrong := faults(spec, name):
        raise ConfigError(f"{_blamed(name, where)} declares what cannot be: {wrong[0]}; mend or uninstall that package")
    return spec


def _blamed(name: str, where: str) -> str:
    return f"{where + ': ' if where else ''}the optimizer {name!r} of {_owner(name)}"


def _owner(name: str) -> str:
    return plugins.owner(plugins.names("auditor.optimizers")[name])


def _unknown(name: str, where: str) -> UnknownNameError:
    aliases = {alias: spec.name for spec in every() for alias in spec.aliases}
    plain = UnknownNameError("optimizer", name, (*names(), *aliases), where=where)
    about = ""
    if plain.nearest is not None:
        with suppress(ConfigError):  # the nearest may be a broken one
            about = resolve(plain.nearest).line()
    return UnknownNameError("optimizer", name, (*names(), *aliases), where=where, about=about)
