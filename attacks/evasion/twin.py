"""Attacks on a deployment variant along the gradients of the model that it was made of."""

from dataclasses import dataclass, field

from auditor.probe import Case
from auditor.record import Caveat
from auditor.subject import Access, Counted

from . import sanity
from .bench import Bench, Standing
from .paths import beyond_gradients
from .transfer import along
from .view import View


@dataclass
class Twin:
    """The original of a variant, if the subject is one, and how many rows what it lent broke, an entry an epsilon.

    Rounding and saturation can hide a slope that the deployed model still has: what fools the original then fools the
    variant too, and must count. `beyond` are the rows among these that a long attack by the variant's own gradients
    leaves standing.
    """

    original: View | None
    broke: list[int] = field(default_factory=list)
    beyond: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, case: Case) -> "Twin":
        """The twin of a case; none where the subject is no variant, or its original has no gradients."""
        original = None if case.unchanged is None else case.original()
        if not isinstance(original, Counted) or Access.GRADIENTS not in original.access:
            return cls(None)
        return cls(View.of(original, case.domain))

    def strike(self, bench: Bench, standing: Standing, epsilon: float, *, gradients: bool) -> None:
        """Attack the rows that stand along the original's slopes; the variant itself says which of them broke.

        Costs a row that stands 20 passes of the original, forward and backward, and 6 forward of the variant.
        """
        if self.original is None or standing.broken.all():
            return
        found = standing.strike(bench, epsilon, along(self.original.differentiable, bench, epsilon))
        self.broke.append(len(found))
        if gradients:
            self.beyond.append(beyond_gradients(bench, epsilon, found))

    def caveats(self, rows: int) -> list[Caveat]:
        """What was found, of so many rows, and what it says of the attack by the variant's own gradients."""
        if not self.broke:
            return []
        told = f"attacks along the gradients of the original broke {sum(self.broke)} of {rows} rows that the other "
        said = Caveat(flag="original_lent", severity="info", evidence=told + "attacks on the variant had left")
        who = "transfer from the original"
        return [said, *sanity.beaten_caveats("original_beats_whitebox", who, self.beyond, rows)]
