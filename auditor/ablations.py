"""How an ablation is told by its name: cnn/sgd~no-momentum is cnn/sgd without its momentum."""

MARK = "~"  # between the name of an arm and that of its ablation
VARIANT = "@"  # before the variant, which both share


def ablated(arm: str, ablation: str) -> str:
    """The name of an arm without what the ablation takes away."""
    return arm + MARK + ablation


def parent_of(group: str) -> str | None:
    """The group of which a group is an ablation; None for one that is none.

    The parent of a variant is that variant: of cnn/sgd~no-momentum@int8 it is cnn/sgd@int8.
    """
    name, mark, variant = group.partition(VARIANT)
    before, found, _ = name.partition(MARK)
    return before + mark + variant if found else None
