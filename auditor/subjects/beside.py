"""Finds what "module:callable" names, first in a module beside the audit file, else among those installed."""

import hashlib
import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from auditor import plugins
from auditor.errors import ConfigError, UnknownNameError

OURS = "_auditor_"


def file_beside(reference: str, directory: Path) -> Path | None:
    """The Python file beside the audit file that a "module:callable" means, or None.

    For `nets` that is nets.py, else nets/__init__.py; for `nets.models`, where there is no nets.py, nets/models.py,
    else nets/models/__init__.py.
    """
    module_name, colon, _ = reference.partition(":")
    first, dot, _ = module_name.partition(".")
    if not first or not colon or (dot and (directory / f"{first}.py").is_file()):
        return None
    path = directory.joinpath(*module_name.split("."))
    return next((p for p in (path.with_name(f"{path.name}.py"), path / "__init__.py") if p.is_file()), None)


def files_beside(reference: str, directory: Path) -> list[Path]:
    """That file, or all Python files of the package beside the audit file that it belongs to; none where it is not."""
    path = file_beside(reference, directory)
    if path is None or path.parent == directory:
        return [] if path is None else [path]
    return sorted((directory / reference.partition(":")[0].partition(".")[0]).rglob("*.py"))


def modules_in(directory: Path) -> list[str]:
    """The names of all modules and packages beside an audit file, sorted."""
    packages = {p.parent.name for p in directory.glob("*/__init__.py")}
    return sorted(packages | {p.stem for p in directory.glob("*.py")})


def find(reference: str, directory: Path, *, what: str) -> Any:  # a user's object may be anything
    """The named object. Raises ConfigError for a wrong form or module, UnknownNameError for a name the module lacks.

    What was edited since is read anew, whatever it imports from beside the audit file included.
    """
    directory = directory.resolve()
    path = file_beside(reference, directory)
    if path is None:
        return plugins.imported(reference, what=what)
    module_name, _, attribute = reference.partition(":")
    module = _imported(module_name, directory, f"{what}: {path.relative_to(directory)}")
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise UnknownNameError(f"name in {path.relative_to(directory)}", attribute, public, where=what)
    return getattr(module, attribute)


def _imported(module_name: str, directory: Path, place: str) -> ModuleType:
    """A module beside the audit file, under a name of its content, so that it is the same wherever that lies."""
    from auditor.sources import code_digest

    first, _, rest = module_name.partition(".")
    digest = hashlib.sha256(f"{first}\0{code_digest(first, directory)}".encode()).hexdigest()
    top = f"{OURS}{digest[:16]}"
    before = list(sys.path)
    sys.path.append(str(directory))  # last: what is called like an installed package is never run in its place
    try:
        _ensure(top, first, directory)
        return importlib.import_module(f"{top}.{rest}" if rest else top)
    except Exception as error:  # a user's module may raise anything, and this is where it is said
        _forget(top)
        raise ConfigError(f"{place} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path[:] = before


def _ensure(top: str, first: str, directory: Path) -> None:
    """The top-level module or package of a name, in sys.modules under another."""
    single, folder = directory / f"{first}.py", directory / first
    origin = single if single.is_file() else folder / "__init__.py"
    held = sys.modules.get(top)
    if held is not None and held.__spec__ is not None and held.__spec__.origin == str(origin):
        return
    _forget(top)
    _forget_older(origin, directory)
    places = None if single.is_file() else [str(folder)]
    spec = (
        importlib.util.spec_from_file_location(top, origin, submodule_search_locations=places)
        if origin.is_file()
        else ModuleSpec(top, None, origin=str(origin), is_package=True)  # a folder without __init__.py
    )
    assert spec is not None
    if places is not None:
        spec.submodule_search_locations = places
    module = importlib.util.module_from_spec(spec)
    sys.modules[top] = module  # dataclasses and pickling look a class's module up there
    if spec.loader is not None:
        spec.loader.exec_module(module)


def _forget(top: str) -> None:
    for name in [n for n in sys.modules if n == top or n.startswith(f"{top}.")]:
        del sys.modules[name]


def _forget_older(origin: Path, directory: Path) -> None:
    """Where this file was imported with another content, what lies beside it may have changed too: read it anew."""
    older = [n for n, m in sys.modules.items() if n.startswith(OURS) and _origin(m) == str(origin)]
    if not older:
        return
    for name in [n for n, m in sys.modules.items() if directory in Path(_origin(m)).parents]:
        del sys.modules[name]


def _origin(module: object) -> str:
    spec = getattr(module, "__spec__", None)
    return str(getattr(spec, "origin", None) or "")
