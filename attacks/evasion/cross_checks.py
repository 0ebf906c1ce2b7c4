"""Other tools' decision-based attacks on a few of the rows that ours left: a second opinion, not the main attack."""

from dataclasses import dataclass, field

import numpy as np
import torch

from auditor.attacks.art_adapter import nearest_decision
from auditor.errors import UnitError
from auditor.record import Caveat

from . import sanity
from .bench import Bench, Rows, Standing
from .label_search import elsewhere
from .survivors import per_row


@dataclass
class CrossChecks:
    """The attacks to ask, of how many rows and how long; what each found, and why it failed where it did.

    `points` are unit points (N, *shape), the clean ones where none was found. They do not depend on epsilon, so a row
    is asked about once, at the least epsilon at which its turn comes.
    """

    names: tuple[str, ...]
    rows: int
    iterations: int
    points: dict[str, torch.Tensor] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)
    broke: dict[str, list[int]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def strike(self, bench: Bench, standing: Standing, epsilon: float) -> None:
        """Ask every check about rows that stand, and put what it found, drawn into the ball, before the case."""
        if not self.names:
            return
        fresh = self._fresh(np.flatnonzero(~standing.broken))
        for name in self.names:
            if len(fresh) and name not in self.failed:
                self._ask(bench, name, fresh)
            if name in self.points:
                self.broke.setdefault(name, []).append(self._judge(bench, standing, epsilon, name))

    def _fresh(self, stand: Rows) -> Rows:
        """The first of the rows that stand and were not asked about, so that so many as are wanted were."""
        asked = np.isin(stand, list(self.asked))
        fresh = stand[~asked][: max(0, self.rows - int(asked.sum()))]
        self.asked.update(fresh.tolist())
        return fresh

    def _ask(self, bench: Bench, name: str, rows: Rows) -> None:
        index = torch.as_tensor(rows, device=bench.unit.device)
        away, known = elsewhere(bench, bench.unit[index], bench.labels[index], 1)
        start = torch.where(per_row(known[0], away[0]), away[0], bench.unit[index])
        try:
            found = nearest_decision(
                bench.case,
                name,
                bench.x[rows],
                norm=bench.norm.name,
                start=start.cpu().numpy(),
                seeds=bench.keys[index].cpu().numpy(),
                iterations=self.iterations,
            )
        except UnitError as error:
            self.failed[name] = str(error)
            return
        self.points.setdefault(name, bench.unit.clone())[index] = bench.view.unit(found)

    def _judge(self, bench: Bench, standing: Standing, epsilon: float, name: str) -> int:
        stand = np.flatnonzero(~standing.broken)
        rows = stand[np.isin(stand, list(self.asked))]
        if not len(rows):
            return 0
        index = torch.as_tensor(rows, device=bench.unit.device)
        inside = bench.task(index, bench.unit[index], epsilon).inside(self.points[name][index])
        return len(standing.judge(bench, epsilon, rows, bench.view.inputs(inside)))

    def caveats(self, rows: int) -> list[Caveat]:
        """What the checks found, where that casts doubt on our attack of so many rows, and which could not be run."""
        caveats = []
        for name, broke in self.broke.items():
            told = f"ART's {name} attack was asked about {len(self.asked)} rows that stood, and broke {sum(broke)}"
            caveats.append(Caveat(flag="cross_check", severity="info", evidence=told))
            caveats += sanity.beaten_caveats("cross_check_beats_ours", f"ART's {name} attack", broke, rows)
        for name, why in self.failed.items():
            caveats.append(Caveat(flag="cross_check_failed", severity="info", evidence=f"{name} not run: {why}"))
        return caveats
