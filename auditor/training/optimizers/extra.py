"""The usable rest of pytorch_optimizer, by a table of its names that is shipped: nothing is imported to list them."""

import json
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor import extras
from auditor.training.optimizers.spec import Limit, OptimizerSpec, Settings

if TYPE_CHECKING:
    import torch

PACKAGE = "pytorch_optimizer"
DISTRIBUTION = "pytorch_optimizer"
TABLE = Path(__file__).with_name("pytorch_optimizer.json")
MATRIX = "use_muon"  # how its optimizers for matrices tell the groups apart


@cache
def table() -> Mapping[str, Any]:  # JSON values
    """The table as it is shipped; benchmarks/optimizer_table.py writes it."""
    read: Mapping[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    return read


def usable() -> Mapping[str, Mapping[str, Any]]:  # JSON values
    """What the table says of each optimizer that can be used."""
    found: Mapping[str, Mapping[str, Any]] = table()["usable"]
    return found


def refused() -> Mapping[str, str]:
    """Why each of the others cannot."""
    found: Mapping[str, str] = table()["refused"]
    return found


def spec(name: str) -> OptimizerSpec:
    """The optimizer of this name."""
    row = usable()[name]
    told = {k: v for k, v in row.items() if k not in ("grid", "whole", "tuples", "fails")}
    return OptimizerSpec(
        name=name,
        grid=tuple(row["grid"]),
        build=partial(_build, name),
        provider=DISTRIBUTION,
        extra="optim",
        limits={setting: Limit(whole=True) for setting in row["whole"]},
        **told,
    )


def _build(name: str, params: Any, learning_rate: float, settings: Settings) -> "torch.optim.Optimizer":
    """Made by its class; numbers that stand for one tuple are put together again."""
    package = extras.imported(PACKAGE, "optim", f"the optimizer {name}")
    row = usable()[name]
    numbers = {k: int(v) if k in row["whole"] else v for k, v in settings.items()}
    keywords: dict[str, Any] = {
        whole: tuple(numbers.pop(part) for part in parts) for whole, parts in row["tuples"].items()
    }
    groups = [{"params": g["params"], MATRIX: g["matrix"]} for g in params] if row.get("matrices") else params
    made: torch.optim.Optimizer = package.load_optimizer(name)(groups, lr=learning_rate, **keywords, **numbers)
    return made
