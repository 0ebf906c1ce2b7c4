"""Random streams: each is named by what it is for, so adding a probe or an optimizer changes no other number."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import torch

Role = Literal["validation", "init", "order", "craft", "attack", "bootstrap"]


@dataclass(frozen=True)
class Seeds:
    """The streams of one seed index under one root seed.

    A stream is sha256(root, role, index, and for probes the probe id and row). It never depends on the optimizer,
    the variant, the worker or the unit, so paired subjects share split, initialisation, order and attacked rows.
    """

    root: int
    index: int = 0

    def integer(self, role: Role, *, probe: str = "", row: str = "") -> int:
        """A 63-bit seed for this role, and probe and row where given."""
        text = f"{self.root}|{role}|{self.index}|{probe}|{row}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    def numpy(self, role: Role, *, probe: str = "", row: str = "") -> np.random.Generator:
        """A numpy generator of this stream."""
        return np.random.Generator(np.random.PCG64(self.integer(role, probe=probe, row=row)))

    def torch(self, role: Role, *, probe: str = "", row: str = "") -> "torch.Generator":
        """A torch CPU generator of this stream."""
        import torch

        return torch.Generator().manual_seed(self.integer(role, probe=probe, row=row))
