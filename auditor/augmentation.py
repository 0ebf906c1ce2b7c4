"""What a recipe may do to the rows of each batch before the network sees them, as it is declared."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, model_validator

from auditor.errors import ConfigError, UnknownNameError
from auditor.record import Frozen

Part = Literal["flip", "shift", "noise", "cutout", "mixup"]
ABOUT: Mapping[Part, str] = {
    "flip": "the share of images that are mirrored, such as {flip: 0.5}",
    "shift": "how many pixels an image may move, such as {shift: 2}",
    "noise": "a deviation as a share of each feature's range, such as {noise: 0.02}",
    "cutout": "the side in pixels of the square that is covered, such as {cutout: 4}",
    "mixup": "how evenly rows are mixed, such as {mixup: 0.2}",
}
HALF = 0.5  # of the images, where flip stands alone
IMAGES: frozenset[Part] = frozenset({"flip", "shift", "cutout"})
PIXELS: frozenset[Part] = frozenset({"shift", "cutout"})


class Augmentation(Frozen):
    """One part: its name and how much of it.

    flip: each image mirrored left to right with this probability. shift: each image moved by up to so many pixels
    along both axes, the lowest value of the domain behind it. noise: normal noise whose deviation is this share of
    each feature's range. cutout: a square of this side around a random point takes the mean of the training rows
    (DeVries and Taylor, 2017). mixup: rows and labels become weighted means with other rows of their batch, the weight
    from Beta(a, a) (Zhang et al., ICLR 2018).
    """

    name: Part
    amount: float

    @model_validator(mode="after")
    def _possible(self) -> Self:
        whole = self.name not in PIXELS or self.amount == int(self.amount) >= 1
        if not (0 < self.amount < float("inf") and whole) or (self.name in ("flip", "noise") and self.amount > 1):
            raise ValueError(f"{self.name}: {self.amount:g} cannot be; it is {ABOUT[self.name]}")
        return self


def _part(value: object) -> object:
    """A part from its name alone, from {name: amount}, or as a record has it."""
    if isinstance(value, Augmentation) or (isinstance(value, Mapping) and set(value) == {"name", "amount"}):
        return value
    given = {value: None} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or len(given) != 1:
        raise ValueError("a part of augment is one name with its amount, such as {shift: 2}")
    ((name, amount),) = given.items()
    if name not in ABOUT:
        raise ValueError(str(UnknownNameError("part of augment", str(name), ABOUT)))
    if amount is None and name != "flip":
        raise ValueError(f"{name} needs its amount: {ABOUT[name]}")
    return {"name": name, "amount": HALF if amount is None else _number(name, amount)}


def _number(name: Part, amount: object) -> float:
    try:
        if isinstance(amount, int | float | str) and not isinstance(amount, bool):
            return float(Fraction(amount))
    except (ValueError, ZeroDivisionError, OverflowError):
        pass
    raise ValueError(f"{name}: {amount!r} is no number; it is {ABOUT[name]}")


def _each_once(parts: tuple[Augmentation, ...]) -> tuple[Augmentation, ...]:
    names = [p.name for p in parts]
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise ValueError(f"augment names {twice} twice: once is enough")
    return parts


Augment = Annotated[
    tuple[
        Annotated[
            Augmentation,
            BeforeValidator(_part, json_schema_input_type=Literal["flip"] | dict[Part, float | str] | Augmentation),
        ],
        ...,
    ],
    AfterValidator(_each_once),
]


def check_augment(parts: Sequence[Augmentation], shape: Sequence[int], objective: str, *, where: str = "") -> None:
    """Raise ConfigError for parts that inputs of this shape cannot have, or that break what an objective promises."""
    place = where + ": " if where else ""
    for part in parts:
        if part.name in IMAGES and len(shape) != 3:
            raise ConfigError(
                f"{place}augment: {part.name} is for images, and this data has {len(shape)} axis of features, "
                f"{tuple(shape)}: take noise or mixup, or remove it"
            )
        if part.name in PIXELS and part.amount >= min(shape[1:]):
            raise ConfigError(
                f"{place}augment: {part.name} {part.amount:g} leaves nothing of an image of {shape[1]} by {shape[2]} "
                "pixels: take a smaller one"
            )
        if part.name == "mixup" and objective == "dp":
            raise ConfigError(
                f"{place}augment: mixup gives every row the features of another, so what dp promises of one row would "
                "not hold: remove mixup"
            )
