"""How a model is made: a recipe, a fit of it on a split, and a declared change of the data."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, model_validator

from auditor.augmentation import Augment
from auditor.errors import UnknownNameError
from auditor.record import Frozen
from auditor.subject import Outputs

Schedule = Literal["constant", "cosine", "one-cycle", "linear", "step"]


def _share(value: object) -> object:
    """A fraction such as 8/255 as a number; what is no fraction is left to be refused with its place."""
    try:
        number = float(Fraction(value)) if isinstance(value, str) else value
    except (ValueError, ZeroDivisionError):
        return value
    if isinstance(number, int | float) and number > 1:
        raise ValueError(f"a share of each feature's range, at most 1: write {number:g}/255 for {number:g} grey levels")
    return number


Share = Annotated[float, BeforeValidator(_share, json_schema_input_type=float | str), Field(gt=0, le=1)]


class Standard(Frozen):
    """Cross-entropy on the training rows as they are."""

    name: Literal["standard"] = "standard"


class Pgd(Frozen):
    """Cross-entropy on rows moved by projected gradient ascent (Madry et al., ICLR 2018).

    `epsilon` is the Linf radius in units of each feature's range, `step` the length of one of the `steps`; by default
    2.5 epsilon / steps, at most epsilon.
    """

    name: Literal["pgd"] = "pgd"
    epsilon: Share = 8 / 255
    steps: int = Field(7, ge=1)
    step: Share | None = None


class Trades(Frozen):
    """Cross-entropy plus `beta` times how answers change near the rows (Zhang et al., TRADES, ICML 2019)."""

    name: Literal["trades"] = "trades"
    epsilon: Share = 8 / 255
    steps: int = Field(7, ge=1)
    step: Share | None = None
    beta: float = Field(6.0, gt=0)


class Dp(Frozen):
    """Differentially private gradient descent (Abadi et al., CCS 2016): per-row gradients clipped, noise added.

    Either `noise_multiplier`, or the `epsilon` to be spent over the whole training at `delta`, from which the noise
    follows. `delta` is 1 / (10 n) by default for n training rows.
    """

    name: Literal["dp"] = "dp"
    max_grad_norm: float = Field(1.0, gt=0, allow_inf_nan=False)
    noise_multiplier: float | None = Field(None, gt=0, allow_inf_nan=False)
    epsilon: float | None = Field(None, gt=0, allow_inf_nan=False)
    delta: float | None = Field(None, gt=0, lt=1)

    @model_validator(mode="after")
    def _one_noise(self) -> Self:
        if (self.noise_multiplier is None) == (self.epsilon is None):
            raise ValueError(
                "dp needs either noise_multiplier or the epsilon to spend, and not both: {name: dp, epsilon: 8}"
            )
        return self


OBJECTIVES: dict[str, type[Frozen]] = {"standard": Standard, "pgd": Pgd, "trades": Trades, "dp": Dp}


def _objective(value: object) -> object:
    """An objective from its name alone or a mapping; names and keys that are unknown are told with the nearest."""
    if isinstance(value, Frozen):
        return value
    given = {"name": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise ValueError("an objective is a name, or a mapping that has one: {name: pgd, epsilon: 8/255}")
    name = given["name"]
    if name not in OBJECTIVES:
        raise ValueError(str(UnknownNameError("objective", name, OBJECTIVES)))
    known = OBJECTIVES[name].model_fields
    if unknown := next((key for key in given if key not in known), None):
        raise ValueError(str(UnknownNameError(f"key of the objective {name}", str(unknown), known)))
    return OBJECTIVES[name].model_validate(given)


Objective = Annotated[
    Standard | Pgd | Trades | Dp,
    Discriminator("name"),
    BeforeValidator(
        _objective, json_schema_input_type=Literal["standard", "pgd", "trades"] | Standard | Pgd | Trades | Dp
    ),
]


Layout = Literal["channels-first", "channels-last"]


class Tuned(Frozen):
    """A learning rate to be found: `seeds` fits a trial, by mean loss on a validation part of the training rows.

    Where the best lies on the edge of what was tried, up to `extend` further rates lie outward of it; after a `short`
    rung, rates beside the best that it left behind are trained in full first.
    Identified by this specification, so the identity of what uses it is known before anything runs. Where it is the
    rate of another recipe that is taken over, `of` holds the fields in which that one differs.
    """

    grid: tuple[float, ...]
    epochs: int
    validation: float = 0.2
    short: int | None = None  # epochs of a first rung, whose best third is then trained in full
    seeds: int = 1
    extend: int = 0
    of: dict[str, Any] = Field(default_factory=dict)  # JSON


class Later(Frozen):
    """A rate of a trial that an earlier choice of its search names: the best but `rank`, or None the next to try."""

    rank: int | None

    @property
    def said(self) -> str:
        """In words."""
        return "outward" if self.rank is None else f"best {self.rank + 1}"


class Start(Frozen):
    """Weights from which a training starts: a file, known by its content.

    With `head: new` the last layer starts afresh where its shape in the file is another.
    """

    format: Literal["state-dict"] = "state-dict"
    path: str
    head: Literal["kept", "new"] = "kept"
    sha256: str | None = None  # found while planning


class Recipe(Frozen):
    """Everything that decides a training but the data: the same recipe on the same data gives the same weights.

    Either an `architecture` under the training loop of this package; or an `estimator` of scikit-learn, whose optimizer
    is its solver, whose epochs are the most iterations, and which has rate, settings, kwargs and batches where the
    solver has them; or `function`: the user's own, as
    "module:callable" of (x, y, optimizer, seed, epochs), which answers the trained model; what else is set then means
    nothing to it. `outputs` says what such a model answers, where it is a torch module. `clip` is the largest L2 norm
    over all parameters that a gradient may have; `layout` how a network holds images in memory, whatever their shape.
    """

    architecture: str = ""
    function: str | None = None
    estimator: str | None = None
    optimizer: str
    learning_rate: float | Tuned | Later | None = None
    epochs: int
    batch_size: int = 64
    schedule: Schedule = "cosine"
    warmup: float = Field(0.0, ge=0, lt=1)  # share of the steps
    clip: float | None = Field(None, gt=0)
    augment: Augment = ()
    layout: Layout = "channels-first"
    start: Start | None = None
    objective: Objective = Standard()
    settings: dict[str, float | bool] = Field(default_factory=dict)  # of the optimizer
    kwargs: dict[str, Any] = Field(default_factory=dict)  # of the architecture
    outputs: Outputs = "logits"
    seed: int = 0

    def searched(self, tuned: Tuned) -> "Recipe":
        """The recipe whose learning rate is looked for: this one, or that from which the rate is taken over."""
        return Recipe.model_validate(self.model_dump(mode="json") | tuned.of) if tuned.of else self

    def stated(self) -> dict[str, Any]:  # any JSON value
        """The recipe as a record has it: without its seed, and files by their name alone."""
        said = self.model_dump(mode="json", exclude={"seed"})
        if self.start is not None:
            said["start"]["path"] = PurePath(self.start.path).name
        return said


class Change(Frozen):
    """A declared change of the training data.

    `function` is "module:callable" of (x, y, context, **parameters) -> (x, y). The context is a
    `ChangeContext`. A change must depend on nothing but its arguments.
    """

    function: str
    parameters: dict[str, Any] = Field(default_factory=dict)  # any JSON value


class Fit(Frozen):
    """One training to do: a recipe on the training rows, with an optional change.

    `holdout` keeps that share of the rows back for validation, at which `looks` times an epoch a look is taken.
    """

    recipe: Recipe
    change: Change | None = None
    holdout: float | None = None
    looks: int = 0
