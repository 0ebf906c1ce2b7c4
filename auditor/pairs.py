"""Which subjects are compared: optimizers with the first of their family, variants with the model they are made of."""

from collections.abc import Sequence
from typing import Protocol

from auditor.ablations import parent_of
from auditor.variants.names import FLOAT, MARK


class Comparable(Protocol):
    """A subject as it is planned, or as it stands in a record."""

    @property
    def id(self) -> str:
        """The subject's own name."""
        ...

    @property
    def group(self) -> str:
        """What it shares with those that differ by seed alone."""
        ...

    @property
    def seed(self) -> int | None:
        """Its seed, if it has one."""
        ...

    @property
    def variant(self) -> str:
        """What was done to it for deployment."""
        ...

    @property
    def family(self) -> str | None:
        """What trains it along with others."""
        ...


def side_of(subject: Comparable) -> str:
    """What stands on one side of a comparison: a group of seeds, or one model that has none."""
    return subject.id if subject.seed is None else subject.group


def pairs(subjects: Sequence[Comparable], reference: str | None) -> list[tuple[str, str]]:
    """Every group with the reference, or with the first of its family; ablations with their parents, and variants.

    A family is what one configuration trains; all groups of loaded models are one. Variants are in no family: those of
    two optimizers are compared by way of their originals. An ablation is compared with its parent alone.
    """
    family: dict[str, str | None] = {}
    variants: dict[str, str] = {}
    for subject in subjects:
        side = side_of(subject)
        if subject.variant != FLOAT:
            variants[side] = side.removesuffix(MARK + subject.variant)
        elif subject.seed is not None:
            family.setdefault(side, subject.family)
    firsts: dict[str | None, str] = {}
    for group, name in family.items():
        firsts.setdefault(name, group)
    between = [
        (a, group) for group, name in family.items() if (a := parent_of(group) or reference or firsts[name]) != group
    ]
    return between + [(original, side) for side, original in variants.items()]
