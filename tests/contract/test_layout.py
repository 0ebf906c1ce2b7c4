"""The shape of the source: import directions, doors, sizes, first lines, and that what is declared is what is there."""

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREES = {"auditor": "auditor", "attacks": "auditor.attacks", "reports": "auditor.reports"}
HEAVY = {"torch", "sklearn", "scipy", "art", "matplotlib"}
# Which parts of the source each part may import. The engine finds attacks and reports by entry points alone.
ALLOWED = {
    "auditor": {"auditor"},
    "auditor.attacks": {"auditor", "auditor.attacks"},
    "auditor.reports": {"auditor", "auditor.reports"},
}
DESERIALISERS = {
    "torch.load",
    "torch.jit.load",
    "torch.export.load",
    "pickle",
    "joblib",
    "skops",
    "dill",
    "cloudpickle",
}
# The one door for models, and the rooms that only it opens.
DOOR = "auditor/subjects/loading.py"
ROOMS = {
    f"auditor/subjects/{name}.py" for name in ("torch_files", "torch_programs", "exported_archive", "sklearn_files")
}
# Beside it: what a user's own training left in the store, and the batches of CIFAR, which are read with stand-ins:
# nothing they name is ever called. And bytes that conformance has just written itself.
MAY_DESERIALISE = {
    DOOR,
    *ROOMS,
    "auditor/subjects/kept.py",
    "auditor/datasets/cifar.py",
    "auditor/training/conformance.py",
}
GLOBAL_RANDOM = {
    "torch.manual_seed",
    "torch.seed",
    "torch.random.manual_seed",
    "torch.default_generator.manual_seed",
    "torch.set_rng_state",
    "np.random.seed",
    "np.random.set_state",
    "numpy.random.seed",
    "random.seed",
    "random.setstate",
}
# Who may touch global random state: building and training restore it, a unit and a call of ART are wrapped in that.
MAY_TOUCH_RANDOM = {
    "auditor/surroundings.py",
    "auditor/seeds.py",
    "auditor/training/architectures.py",
    "auditor/training/loop.py",
    "auditor/training/conditions.py",
    "auditor/training/conformance.py",
    "attacks/art_adapter.py",
}


@dataclass(frozen=True)
class Source:
    """One file of ours."""

    path: str
    module: str
    tree: ast.Module
    text: str

    def imports(self) -> Iterator[str]:
        """Every module it imports, wherever in the file, relative ones resolved."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from self._from(node)

    def _from(self, node: ast.ImportFrom) -> Iterator[str]:
        base = node.module or ""
        if node.level:
            package = self.module.split(".") if self.path.endswith("__init__.py") else self.module.split(".")[:-1]
            base = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)

    def names(self) -> Iterator[str]:
        """Every dotted name that it uses."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute) and (name := dotted(node)):
                yield name

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Every function and method."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def dotted(node: ast.expr) -> str | None:
    """a.b.c of nested attributes of a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (inner := dotted(node.value)):
        return f"{inner}.{node.attr}"
    return None


def sources() -> list[Source]:
    found = []
    for folder, package in TREES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            module = ".".join([package, *[p for p in parts if p != "__init__"]])
            text = path.read_text()
            found.append(Source(path.relative_to(ROOT).as_posix(), module, ast.parse(text), text))
    return found


SOURCES = sources()
EACH = pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.path)


def part(module: str) -> str | None:
    """Which of our parts a module belongs to."""
    for name in ("auditor.attacks", "auditor.reports", "auditor"):
        if module == name or module.startswith(name + "."):
            return name
    return None


@EACH
def test_imports_point_one_way(source: Source) -> None:
    own = part(source.module)
    assert own is not None
    wrong = sorted({m for m in source.imports() if (to := part(m)) and to not in ALLOWED[own]})
    assert wrong == []


@EACH
def test_art_has_one_door(source: Source) -> None:
    if source.path != "attacks/art_adapter.py":
        assert [m for m in source.imports() if m.split(".")[0] == "art"] == []


@EACH
def test_deserialising_a_model_has_one_door(source: Source) -> None:
    if source.path not in MAY_DESERIALISE:
        used = [n for n in source.names() if n in DESERIALISERS]
        imported = [m for m in source.imports() if m.split(".")[0] in DESERIALISERS or m in DESERIALISERS]
        pickles = [
            node.lineno
            for node in ast.walk(source.tree)
            if isinstance(node, ast.keyword)
            and node.arg == "allow_pickle"
            and not (isinstance(node.value, ast.Constant) and node.value.value is False)
        ]
        assert used + imported == []
        assert pickles == []


@EACH
def test_only_the_door_opens_the_rooms_behind_it(source: Source) -> None:
    rooms = {f"auditor.subjects.{Path(room).stem}" for room in ROOMS}
    if source.path not in {DOOR, *ROOMS}:
        assert [m for m in source.imports() if m in rooms] == []


@EACH
def test_numpy_files_are_read_without_pickles(source: Source) -> None:
    calls = [
        n for n in ast.walk(source.tree) if isinstance(n, ast.Call) and dotted(n.func) in ("np.load", "numpy.load")
    ]
    assert [c.lineno for c in calls if "allow_pickle" not in {k.arg for k in c.keywords}] == []


@EACH
def test_global_random_state_is_touched_only_where_it_is_restored(source: Source) -> None:
    if source.path not in MAY_TOUCH_RANDOM:
        assert [n for n in source.names() if n in GLOBAL_RANDOM] == []


@EACH
def test_no_function_is_longer_than_40_lines(source: Source) -> None:
    long = {f.name: lines for f in source.functions() if (lines := (f.end_lineno or f.lineno) - f.lineno + 1) > 40}
    assert long == {}


@EACH
def test_the_first_line_of_a_file_says_its_one_thing(source: Source) -> None:
    first = (ast.get_docstring(source.tree) or "").partition("\n")[0]
    assert len(first) > 10
    assert source.text.startswith('"""')


@EACH
def test_a_file_of_over_300_lines_is_an_exception(source: Source) -> None:
    lines = source.text.count("\n")
    assert lines <= 330, f"{source.path} has {lines} lines: split it"


@EACH
def test_library_code_does_not_print(source: Source) -> None:
    assert [n.lineno for n in ast.walk(source.tree) if isinstance(n, ast.Call) and dotted(n.func) == "print"] == []


def test_the_package_list_equals_the_tree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = set(project["tool"]["setuptools"]["packages"])
    there = set()
    for folder, package in TREES.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in path.parts:
                there.add(".".join([package, *path.relative_to(ROOT / folder).parent.parts]))
    assert declared == there


def test_every_file_that_is_no_code_is_declared_as_package_data() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for folder, package in TREES.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix not in (".py", ".pyc"):
                owner = ".".join([package, *path.relative_to(ROOT / folder).parent.parts])
                assert any(path.match(pattern) for pattern in project.get(owner, [])), path


def test_the_declared_entry_points_are_the_installed_ones() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    installed: dict[str, dict[str, str]] = {}
    for entry in distribution("auditor").entry_points:
        if entry.group.startswith("auditor."):
            installed.setdefault(entry.group, {})[entry.name] = entry.value
    assert installed == declared, "run `make test` again, or: pip install --no-deps -e ."


def test_every_declared_entry_point_can_be_loaded() -> None:
    for entry in distribution("auditor").entry_points:
        if entry.group.startswith("auditor."):
            assert entry.load() is not None


def test_the_source_says_nothing_of_the_machine_it_was_written_on() -> None:
    told = ("/" + "work/", "/" + "tmp/venv", "/" + "root/")
    for path in [
        *ROOT.glob("*.*"),
        *(p for t in (*TREES, "tests", "benchmarks", "docs", "examples") for p in (ROOT / t).rglob("*")),
    ]:
        if (
            path.suffix in (".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".css", ".j2", ".json")
            and "build" not in path.parts
        ):
            text = path.read_text()
            assert not [t for t in told if t in text], path
