"""A variant and its original on one table: the trigger that tells them apart, and the rows that obey it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from auditor.attacks.evasion.view import View
from auditor.dataset import Array, Domain, Labels
from auditor.errors import DataError
from auditor.probe import Case
from auditor.subject import Counted, predicted_labels

from .awakening import Box, Effort, Pair, obeyed, search

if TYPE_CHECKING:
    from .awakened import Awakened


@dataclass(frozen=True, eq=False)
class Command:
    """The best trigger of a search, as test rows (N) show it: which `obeyed`, with `after` as their triggered inputs.

    `before` is what the variant answers without it, `covers` how many of the `places` it overwrites.
    """

    target: int
    obeyed: npt.NDArray[np.bool_]
    before: Labels
    after: Array
    covers: float
    places: int


@dataclass(frozen=True, eq=False)
class Both:
    """The variant and its original in unit coordinates, what a trigger may be, and how often they agree untriggered."""

    case: Case
    variant: View
    original: View
    agreement: float

    @classmethod
    def of(cls, case: Case) -> "Both":
        """Open both models of a case."""
        subject, original = case.subject, case.original()
        assert isinstance(original, Counted)
        x = case.domain.clip(case.data.x_test)
        same = predicted_labels(subject.predict(x)) == predicted_labels(original.predict(x))
        return cls(case, View.of(subject, case.domain), View.of(original, case.domain), float(same.mean()))

    def command(self, seen: Array, asked: Array, probe: "Awakened", *, backwards: bool) -> Command:
        """The trigger found on rows `seen` (n, *shape), as rows `asked` (N, *shape) show it.

        `backwards`: the original is to obey, and the variant to go on as before.
        """
        view = self.variant
        models = (self.original, view) if backwards else (view, self.original)
        pair = Pair(models[0].differentiable, models[1].differentiable)
        effort = Effort(tries=probe.tries, targets=probe.targets, steps=probe.steps)
        unit, key = view.unit(seen), self.case.seeds.integer("attack", probe=probe.id, row="trigger")
        found = search(pair, unit, box_of(self.case.domain, view), effort, key)
        shares = [float(obeyed(pair, unit, found, i).double().mean()) for i in range(len(found.targets))]
        best, shown = int(np.argmax(shares)), view.unit(asked)
        parts = [obeyed(pair, part, found, best) for part in shown.split(len(seen) * effort.starts)]
        stamped = found.stamps.on(shown, torch.full((len(shown),), best, device=shown.device))
        mask = found.stamps.mask[best]
        return Command(
            target=int(found.targets[best]),
            obeyed=torch.cat(parts).cpu().numpy(),
            before=predicted_labels(self.case.subject.predict(asked)),
            after=self.case.domain.clip(view.inputs(stamped).astype(np.float32)),
            covers=float(mask.sum()),
            places=mask.numel(),
        )


def box_of(domain: Domain, view: View) -> Box:
    """What a trigger may be: of the size of BadNets' square in an image, of a tenth of the features in a row.

    Features that cannot be changed, whole numbers, categories and those of relations are left alone.

    Raises:
        DataError: none is left.
    """
    shape = tuple(view.top.shape)
    if len(shape) == 3:
        side = min(max(2, round(3 * shape[1] / 28)), *shape[1:])
        return Box(view.top, torch.ones((1, *shape[1:])).to(view.top), float(side * side))
    free = np.ones(shape)
    if domain.constraints:
        free[domain.constraints.still(np.zeros(free.size)).reshape(shape)] = 0
        free.flat[sorted({i for r in domain.constraints.relations for i in r.features})] = 0
    if not free.any():
        raise DataError("the constraints of the data leave no feature that could carry a trigger")
    return Box(view.top, torch.as_tensor(free).to(view.top), float(max(2, round(free.size / 10))))
