"""Which code a "module:callable" or a plugin runs: its own, and what that imports."""

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from auditor import plugins
from auditor.errors import ConfigError
from auditor.subjects import beside

LOOKS_ONLY = {"cli", "reports", "attacks"}  # folders below the engine that decide no number, or are read on their own
VERSIONED = ("torch", "numpy", "scipy", "scikit-learn", "adversarial-robustness-toolbox")
DECIDING = (".py", ".json")  # a table of optimizers has their settings, which no recipe repeats
ELSEWHERE = {"auditor", "torch", "numpy", "sklearn", "art"}  # stand in every unit's environment already


@dataclass(frozen=True)
class Codes:
    """Digests of the code that one audit runs and that is not ours; each module is read once."""

    directory: Path
    known: dict[str, str | None] = field(default_factory=dict)

    def of(self, reference: str) -> str | None:
        """Digest of the code of "module" or "module:callable"; None for our own."""
        module = reference.partition(":")[0]
        if module not in self.known:
            self.known[module] = None if module.startswith("auditor.") else code_digest(module, self.directory)
        return self.known[module]

    def named(self, reference: str | None) -> str | None:
        """The same of what an audit file names as "module:callable". Raises ConfigError where no such module is."""
        if reference is None:
            return None
        module, _, attribute = reference.partition(":")
        if not module or not attribute:
            raise ConfigError(f"{reference!r} is not of the form module:callable, such as nets:make")
        if beside.file_beside(reference, self.directory) is None and not _installed(module):
            raise ConfigError(f"{reference!r}: no module {module!r}; is it beside the audit file or installed?")
        return self.of(reference)

    def plugin(self, group: plugins.Group, name: str) -> str | None:
        """The same of a plugin; None for our own."""
        entry = plugins.names(group).get(name)
        return self.of(entry.module) if entry else None


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):  # its package is not there; or it has no name
        return False


def code_digest(module: str, directory: Path) -> str | None:
    """What decides how the callables of a module behave? None where there is no such module.

    sha256 over the files of the module's top-level package, found beside the audit file (in `directory`) or else
    installed, and over those of every module that these import: sources where they lie outside site-packages, else
    the version of their distribution. Blind spots: imports by computed names, and files that the code reads.
    """
    first = module.partition(".")[0]
    sha, seen, waiting = hashlib.sha256(), set[str](), [first]
    while waiting:
        name = waiting.pop()
        if name in seen or name in ELSEWHERE or name in sys.stdlib_module_names:
            continue
        seen.add(name)
        files = _files(name, directory)
        released = any("site-packages" in p.parts or "dist-packages" in p.parts for p in files)
        if released and name != first:
            sha.update(f"{name}=={version_of(name)}\n".encode())
            continue
        for path in files:
            content = path.read_bytes()
            sha.update(f"{name}/{path.name}\0{len(content)}\0".encode() + content)
            if not released:
                waiting += sorted(_imports(content), reverse=True)
        if name == first and not files:
            return None
    return sha.hexdigest()


def _files(name: str, directory: Path) -> list[Path]:
    """The Python files of a top-level module or package; none for one that is not there or not written in Python."""
    if (directory / f"{name}.py").is_file():
        return [directory / f"{name}.py"]
    if (directory / name).is_dir():
        return sorted((directory / name).rglob("*.py"))
    spec = find_spec(name)  # of a top-level name: nothing is imported to find it
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return sorted(p for root in spec.submodule_search_locations for p in Path(root).rglob("*.py"))
    return [Path(spec.origin)] if spec.origin and spec.origin.endswith(".py") else []


def _imports(source: bytes) -> Iterator[str]:
    """Top-level names that a source imports; relative imports stay inside its package, whose files are all read."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # it cannot be imported, and the unit that needs it will say so
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def version_of(name: str) -> str:
    """The version of a distribution or of the one that brings a module of this name; "unknown" where there is none."""
    with suppress(PackageNotFoundError):
        return version(name)  # first, for who brings a module is only told by reading every distribution
    for distribution in packages_distributions().get(name, ()):
        with suppress(PackageNotFoundError):
            return version(distribution)
    return "unknown"


@cache
def source_digest() -> str:
    """Digest of the source of the engine and the attacks: what decides a number, not how it looks."""
    specs = (find_spec(package) for package in ("auditor", "auditor.attacks"))
    return tree_digest(Path(p) for spec in specs for p in (spec.submodule_search_locations if spec else None) or ())


def tree_digest(roots: Iterable[Path]) -> str:
    """sha256 over the names and contents of the code and tables in these folders, but for what only looks."""
    sha = hashlib.sha256()
    for root in roots:
        for path in sorted(p for p in root.rglob("*") if p.suffix in DECIDING and p.is_file()):
            name = path.relative_to(root)
            if not LOOKS_ONLY.intersection(name.parts):
                sha.update(name.as_posix().encode() + b"\0" + path.read_bytes())
    return sha.hexdigest()


@cache
def environment() -> dict[str, Any]:
    """What besides its inputs decides a unit's result: our source, the libraries, the device, how it is executed."""
    return {
        "source": source_digest(),
        "versions": {n: version_of(n) for n in VERSIONED},
        "device": "cpu",
        "execution": "single",
    }
