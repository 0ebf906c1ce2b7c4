"""What in the .py files of a folder makes a torch module, read without importing anything."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from auditor.subject import Outputs

MODULES = {"Module", "Sequential"}  # of torch.nn
SOFTMAX = {"softmax", "Softmax", "Softmax2d"}
QUIET = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)


@dataclass(frozen=True)
class Factory:
    """A class or function that makes a torch module: what it is called as, what it cannot do without, what it answers.

    `works` says that importing its file does more than define things.
    """

    reference: str
    needs: tuple[str, ...]
    outputs: Outputs
    works: bool


def factories_in(folder: Path) -> list[Factory]:
    """Candidates in the .py files of a folder; those that others there are built of are left out."""
    found: list[Factory] = []
    for path in sorted(folder.glob("*.py")):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):  # it could not be imported either
            continue
        found += _in_module(path.stem, tree)
    return found


def _in_module(module: str, tree: ast.Module) -> Iterator[Factory]:
    made = _makers(tree)
    parts = {name for node in made.values() for name in _names(node) if name != node.name}
    works = any(not isinstance(node, QUIET) and not _harmless(node) for node in tree.body)
    for name, node in made.items():
        if name in parts and not _reached_only_from(name, made, parts):
            continue
        if not name.startswith("_"):
            kind: Outputs = "probabilities" if SOFTMAX & set(_within(node, made)) else "logits"
            yield Factory(f"{module}:{name}", tuple(_needs(node)), kind, works)


Maker = ast.ClassDef | ast.FunctionDef


def _makers(tree: ast.Module) -> dict[str, Maker]:
    """Classes that are torch modules and functions that return one, by name; found until no more are."""
    known: dict[str, Maker] = {}
    while True:
        new = [
            node
            for node in tree.body
            if isinstance(node, ast.ClassDef | ast.FunctionDef)
            and node.name not in known
            and _makes(node, MODULES | known.keys())
        ]
        if not new:
            return known
        known |= {node.name: node for node in new}


def _makes(node: Maker, modules: set[str]) -> bool:
    if isinstance(node, ast.ClassDef):
        return any(_last(base) in modules for base in node.bases)
    if node.returns is not None and _last(node.returns) in modules:
        return True
    made = {
        target.id
        for inner in ast.walk(node)
        if isinstance(inner, ast.Assign) and isinstance(inner.value, ast.Call) and _last(inner.value.func) in modules
        for target in inner.targets
        if isinstance(target, ast.Name)
    }
    returned = [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Return) and inner.value is not None]
    return any((isinstance(v, ast.Call) and _last(v.func) in modules) or _last(v) in made for v in returned)


def _last(node: ast.expr) -> str:
    """The last part of a dotted name: Module of torch.nn.Module, or of a text that says so."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.rpartition(".")[2]
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _names(node: ast.AST) -> Iterator[str]:
    yield from (n.id for n in ast.walk(node) if isinstance(n, ast.Name))
    yield from (n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute))


def _reached_only_from(name: str, made: dict[str, Maker], parts: set[str]) -> bool:
    """Whether what uses this one uses it in a ring, so that leaving all of them out would leave nothing."""
    return made.keys() <= parts and name == next(iter(made))


def _within(node: Maker, made: dict[str, Maker]) -> Iterator[str]:
    """Names that a maker uses, and those that the makers it uses do."""
    seen, waiting = {node.name}, [node]
    while waiting:
        for name in _names(waiting.pop()):
            yield name
            if name in made and name not in seen:
                seen.add(name)
                waiting.append(made[name])


def _needs(node: Maker) -> list[str]:
    """Parameters without a default."""
    function: ast.FunctionDef | None = node if isinstance(node, ast.FunctionDef) else None
    if isinstance(node, ast.ClassDef):
        function = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if function is None:
        return []
    args = function.args
    positional = [*args.posonlyargs, *args.args]
    if isinstance(node, ast.ClassDef):
        positional = positional[1:]
    plain = positional[: max(0, len(positional) - len(args.defaults))]
    keyword = [a for a, default in zip(args.kwonlyargs, args.kw_defaults, strict=True) if default is None]
    return [a.arg for a in (*plain, *keyword)]


def _harmless(node: ast.stmt) -> bool:
    """A docstring, or what only runs when the file is run itself."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.If) and "__name__" in set(_names(node.test))
