"""Weights as safetensors files: the same weights and facts give the same bytes."""

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from auditor.errors import ModelError
from auditor.record import canonical_json

KEY = "auditor"  # one key only: safetensors writes several in an order that changes from run to run


@dataclass(frozen=True, eq=False)
class Stored:
    """Weights by name, and the facts that were kept with them."""

    state: dict[str, torch.Tensor]
    metadata: Mapping[str, Any]  # any JSON value


def save_state(state: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, Any]) -> None:
    """Write weights and facts, which are any JSON values, complete or not at all."""
    from safetensors.torch import save

    tensors = {name: state[name].detach().cpu().contiguous().clone() for name in sorted(state)}
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(save(tensors, {KEY: canonical_json(dict(metadata)).decode()}))
    partial.replace(path)


def load_state(path: Path) -> Stored:
    """Weights and facts of a file. Raises ModelError for one that is no safetensors file or is cut short."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()
        state = load(content)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is no whole safetensors file: {error}; save or fetch it again") from None
    return Stored(dict(sorted(state.items())), _metadata(content))


def _metadata(content: bytes) -> Mapping[str, Any]:
    """The facts in a header that safetensors has found sound: eight bytes of length, then JSON."""
    (length,) = struct.unpack("<Q", content[:8])
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    facts: dict[str, Any] = json.loads(header.get("__metadata__", {}).get(KEY, "{}"))
    return facts
