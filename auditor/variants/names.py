"""Names of deployment variants: what each does to a network, read without torch."""

from dataclasses import dataclass
from typing import Literal

from auditor.errors import UnknownNameError

FLOAT = "float32"  # what a subject is called that is no variant
MARK = "@"  # between the id of a subject and its variant
Kind = Literal["quantised", "pruned", "lowered"]


@dataclass(frozen=True)
class Variant:
    """One way to make a network smaller.

    `weight_bits` is what a weight of a layer takes in a file, `activation_bits` what the inputs of a layer are rounded
    to (None: not at all), `pruned` the share of the weights that is zero.
    """

    name: str
    kind: Kind
    weight_bits: int = 32
    activation_bits: int | None = None
    pruned: float = 0.0


FIXED = {
    v.name: v
    for v in (
        Variant("int8", "quantised", weight_bits=8, activation_bits=8),
        Variant("int4", "quantised", weight_bits=4),
        Variant("bfloat16", "lowered", weight_bits=16),
    )
}


def variant_of(name: str, *, where: str = "") -> Variant:
    """The variant of this name: int8, int4, bfloat16, or pruned-N with N per cent of the weights set to zero.

    Raises:
        UnknownNameError: another name, or an N that is not a whole number from 1 to 99.
    """
    if name in FIXED:
        return FIXED[name]
    kind, _, percent = name.partition("-")
    if kind == "pruned" and percent.isascii() and percent.isdigit() and 1 <= int(percent) <= 99 and percent[0] != "0":
        return Variant(name, "pruned", pruned=int(percent) / 100)
    about = "" if kind != "pruned" else "(N of pruned-N is a whole number from 1 to 99)"
    raise UnknownNameError("variant", name, (*FIXED, "pruned-50", "pruned-80"), where=where, about=about)
