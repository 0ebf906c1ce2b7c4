"""Attacks that need no gradient of the subject's own and none of our searches: a surrogate's, and other tools'."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from auditor.record import Caveat

from . import sanity
from .bench import Bench, Rows, Standing
from .cross_checks import CrossChecks
from .label_search import Found
from .paths import beyond_gradients
from .transfer import Transfer

if TYPE_CHECKING:
    from .ball import Ball

_CLASSES = 2  # fewer, and there is no other answer to lead to


@dataclass
class SecondLooks:
    """What a surrogate and other tools add: rows each broke, an entry an epsilon, and those that are news.

    `transfer` is `off`, `blind` (where gradients are missing or doubtful) or `always`; the surrogate is trained when
    it is first needed.
    """

    transfer: str
    checks: CrossChecks
    blind: bool
    learned: Transfer | None = None
    asked: bool = False
    broke: list[int] = field(default_factory=list)
    beyond: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, probe: "Ball", *, blind: bool) -> "SecondLooks":
        """What this probe asks for; `blind` says that the subject has no gradients to follow."""
        return cls(probe.transfer, CrossChecks(probe.checks, probe.check_rows, probe.check_iterations), blind)

    def lent(self, bench: Bench, rows: torch.Tensor, epsilon: float) -> Found | None:
        """Points that break these rows (n,) in balls of this radius and larger: a search by labels starts from them."""
        if self.transfer == "off":
            return None
        self._learn(bench, epsilon)
        return None if self.learned is None else self.learned.reach(bench, rows, epsilon)

    def before(self, bench: Bench, standing: Standing, epsilon: float) -> None:
        """Where there are no gradients: attack the rows that stand by transfer; searches go on from where it ended."""
        if self.transfer != "off" and self.blind and not standing.broken.all():
            self._strike(bench, standing, epsilon)

    def beside(self, bench: Bench, standing: Standing, epsilon: float) -> None:
        """With `always`: what an attack by gradients left, by transfer, and what of it a longer one would leave too."""
        if self.transfer == "always" and not sanity.little_stands(standing.broken):
            self.beyond.append(beyond_gradients(bench, epsilon, self._strike(bench, standing, epsilon)))

    def after(self, bench: Bench, standing: Standing, epsilon: float, *, doubtful: bool) -> None:
        """What all our attacks left: by transfer where gradients are in doubt, and by other tools."""
        if doubtful and self.transfer == "blind" and not self.blind and not standing.broken.all():
            self._strike(bench, standing, epsilon)
        self.checks.strike(bench, standing, epsilon)

    def _strike(self, bench: Bench, standing: Standing, epsilon: float) -> Rows:
        self._learn(bench, epsilon)
        if self.learned is None:
            return np.zeros(0, np.int64)
        found = standing.strike(bench, epsilon, self.learned.attack(bench, epsilon))
        self.broke.append(len(found))
        return found

    def _learn(self, bench: Bench, epsilon: float) -> None:
        if not self.asked and bench.classes >= _CLASSES:
            self.learned = Transfer.learned(bench, epsilon)
        self.asked = True

    def caveats(self, rows: int) -> list[Caveat]:
        """What was found, of so many rows, and what it says of the main attack."""
        caveats = self.checks.caveats(rows)
        if self.asked:
            caveats.append(Caveat(flag="transfer", severity="info", evidence=self._told(rows)))
        who = "transfer from a surrogate"
        return caveats + sanity.beaten_caveats("transfer_beats_whitebox", who, self.beyond, rows)

    def _told(self, rows: int) -> str:
        if self.learned is None:
            return "no surrogate: no training rows that the subject gives answers to, or a single class"
        when = "before any other search" if self.blind else "that the other attacks had left"
        told = f"nets taught by the subject name its class on {self.learned.surrogate.agreement:.1%} of test rows; "
        return told + f"attacks along their gradients broke {sum(self.broke)} of {rows} rows {when}"
