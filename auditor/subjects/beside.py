"""Finds what "module:callable" names, first in a .py file beside the audit file, else among installed modules."""

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from auditor import plugins
from auditor.errors import ConfigError, UnknownNameError


def file_beside(reference: str, directory: Path) -> Path | None:
    """The .py file beside the audit file that a "module:callable" means, or None."""
    module_name, colon, _ = reference.partition(":")
    path = directory / (module_name.replace(".", "/") + ".py")
    return path if module_name and colon and path.is_file() else None


def find(reference: str, directory: Path, *, what: str) -> Any:  # a user's object may be anything
    """The named object. Raises ConfigError for a wrong form or module, UnknownNameError for a name the module lacks."""
    path = file_beside(reference, directory)
    if path is None:
        return plugins.imported(reference, what=what)
    attribute = reference.partition(":")[2]
    module = _module(path, directory, what)
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise UnknownNameError(f"name in {path.name}", attribute, public, where=what)
    return getattr(module, attribute)


def _module(path: Path, directory: Path, what: str) -> ModuleType:
    """The module in a file, under a name of its place and content, so that an edited file is read again."""
    source = path.read_bytes()
    name = "_auditor_" + hashlib.sha256(str(path.resolve()).encode() + source).hexdigest()[:16]
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    sys.modules[name] = module  # dataclasses and pickling look a class's module up there
    sys.path.insert(0, str(directory))
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's module may raise anything, and this is where it is said
        del sys.modules[name]
        raise ConfigError(f"{what}: {path.name} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path[:] = before
    return module
