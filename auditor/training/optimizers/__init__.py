"""The optimizers a comparison is made of: what each is called, may be set to, needs, and how it is built."""

from auditor.training.optimizers.registry import every, names, resolve
from auditor.training.optimizers.spec import (
    Build,
    Limit,
    OptimizerSpec,
    Settings,
    check,
    check_licence,
    check_objective,
    check_settings,
    non_commercial,
)

__all__ = [
    "Build",
    "Limit",
    "OptimizerSpec",
    "Settings",
    "check",
    "check_licence",
    "check_objective",
    "check_settings",
    "every",
    "names",
    "non_commercial",
    "resolve",
]
