"""Packages that only some audits need: imported where they are used, with what to install said where one is absent."""

import importlib
from typing import Any, Literal

from auditor.errors import ConfigError

Extra = Literal["boost", "onnx", "optim", "tabular"]


def imported(module: str, extra: Extra, purpose: str) -> Any:  # a module of another's types
    """An optional package for a purpose such as "an ONNX model". Raises ConfigError with what to install.

    A package that is there and itself fails on import raises what it raises.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise ConfigError(f'{purpose} needs the package {error.name}: pip install "auditor[{extra}]"') from None
