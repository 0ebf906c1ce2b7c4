"""The train section of audit.yaml: which models are made, by which arms, and what is taken away to see why."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from auditor.augmentation import Augment
from auditor.recipe import Dp, Layout, Objective, Schedule, Standard, Start, Tuned
from auditor.record import Frozen
from auditor.subject import Outputs
from auditor.training.search import Method, short_epochs, spaced

NAME = r"^[A-Za-z0-9][A-Za-z0-9.-]*(_[A-Za-z0-9.-]+)*$"  # becomes part of ids and file names


def _norm(value: object) -> object:
    """A gradient norm, or off."""
    if value in (None, "off") or value is False:
        return "off" if value is False else value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf"):
        return value
    raise ValueError("the largest norm of a gradient is a number above 0, or `off` for none")


Clip = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ClipOrOff = Annotated[float | Literal["off"] | None, BeforeValidator(_norm)]


class Declared(Frozen):
    """What an arm or an ablation may declare for itself: what it does not name, it has from above."""

    learning_rate: float | None = Field(None, gt=0, allow_inf_nan=False)
    settings: dict[str, float | bool] = Field(default_factory=dict)
    schedule: Schedule | None = None
    warmup: float | None = Field(None, ge=0, lt=1)
    clip: ClipOrOff = None
    augment: Augment | None = None
    batch_size: int | None = Field(None, ge=1)


class OptimizerConfig(Declared):
    """One arm of a comparison: an optimizer, its settings, and a learning rate if it is not to be tuned.

    `as` names the arm, so that one optimizer can stand twice; by default it is the optimizer's name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: str
    as_: str | None = Field(None, alias="as", pattern=NAME)


class AblationConfig(Declared):
    """Further arms that are like those of `optimizers` but for what it names.

    Without `optimizers`, of every arm that has the settings named and is changed by it. The learning rate is tuned
    anew, or with `tune: inherit` that of the arm.
    """

    name: str = Field(pattern=NAME)
    optimizers: tuple[str, ...] | None = Field(None, min_length=1)
    tune: Literal["anew", "inherit"] = "anew"

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not set(Declared.model_fields) & self.model_fields_set:
            raise ValueError(f"the ablation {self.name!r} changes nothing: name {', '.join(Declared.model_fields)}")
        if self.tune == "inherit" and self.learning_rate is not None:
            raise ValueError(
                f"the ablation {self.name!r} has a learning_rate and would inherit one: remove one of both"
            )
        return self


Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TuneConfig(Frozen):
    """How a learning rate is found, with as many trials for each optimizer.

    The rates are those of `grid`, or `trials` of them over the range of each optimizer's own; `extend` more lie outward
    where the best is on the edge. `halving` trains all for a quarter of the epochs and the best third in full. Each
    trial is `seeds` trainings without the share `validation` of the rows, by whose mean loss it is judged.
    """

    method: Method = "auto"
    grid: tuple[Rate, ...] | None = Field(None, min_length=2)
    trials: int | None = Field(None, ge=2, le=64)
    seeds: int = Field(1, ge=1, le=3)
    validation: float = Field(0.2, gt=0, lt=1)
    extend: int = Field(2, ge=0, le=8)

    @model_validator(mode="after")
    def _one_grid(self) -> Self:
        if self.grid is not None and self.trials is not None:
            raise ValueError("tune.grid names its rates, one a trial: remove tune.trials")
        if self.grid is not None and len(set(self.grid)) < len(self.grid):
            raise ValueError("tune.grid names a rate twice")
        return self


class TargetConfig(Frozen):
    """What a training is to reach on rows held back: an accuracy or a loss; neither means what the reference reaches.

    It is looked at `looks` times an epoch.
    """

    accuracy: float | None = Field(None, gt=0, le=1)
    loss: float | None = Field(None, gt=0, allow_inf_nan=False)
    looks: int = Field(4, ge=1, le=64)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.accuracy is not None and self.loss is not None:
            raise ValueError("a target is an accuracy or a loss, not both: remove one")
        return self


class StartConfig(Frozen):
    """A checkpoint from which trainings start, relative to the audit file; `head: new` allows another last layer."""

    format: Literal["state-dict"] = "state-dict"
    path: str
    head: Literal["kept", "new"] = "kept"

    @property
    def start(self) -> Start:
        """As a recipe has it, its content not yet looked at."""
        return Start(format=self.format, path=self.path, head=self.head)


class TrainConfig(Frozen):
    """Models to train: one for each optimizer and seed.

    With `function`, the user's own training as "module:callable" of (x, y, optimizer, seed, epochs), which answers the
    model; the optimizers are then names that it understands, and `outputs` says what its torch modules answer. With
    `estimator`, a classifier of scikit-learn, whose solvers are the optimizers and whose iterations are the epochs.
    """

    architecture: str = "mlp"
    kwargs: dict[str, Any] = Field(default_factory=dict)  # of the architecture
    function: str | None = None
    estimator: str | None = None
    outputs: Outputs = "logits"
    optimizers: tuple[str | OptimizerConfig, ...] = Field(("sgd", "adamw"), min_length=1)
    ablations: tuple[AblationConfig, ...] = ()
    seeds: int = Field(5, ge=1)
    epochs: int = Field(30, ge=1)
    batch_size: int = Field(64, ge=1)
    schedule: Schedule = "cosine"
    warmup: float = Field(0.0, ge=0, lt=1)
    clip: Clip | None = None
    augment: Augment = ()
    layout: Layout = "channels-first"
    start: StartConfig | None = None
    tune: Literal["auto", "off"] | TuneConfig = "auto"
    target: Literal["auto"] | TargetConfig | None = None
    objective: Objective = Standard()
    allow_licences: tuple[str, ...] = ()  # of optimizers that may not be used commercially

    @model_validator(mode="after")
    def _one_loop(self) -> Self:
        """The user's own function has its own architecture, rates, batches and objective."""
        if self.function is None:
            if "outputs" in self.model_fields_set and self.outputs != "logits":
                raise ValueError("outputs belongs to `function`; networks trained here answer logits: remove it")
            return self
        theirs = {"function", "outputs", "optimizers", "seeds", "epochs", "tune"}
        ours = self.model_fields_set - theirs
        if self.tune not in ("auto", "off"):
            ours.add("tune")
        if ours:
            raise ValueError(
                f"{min(ours)} belongs to the built-in training loop, and `function` is your own: remove it"
            )
        if arm := next((a for a in self.arms if a.model_fields_set - {"name"}), None):
            raise ValueError(f"the function chooses the rate and settings of {arm.name!r}: name the optimizer alone")
        return self

    @model_validator(mode="after")
    def _one_estimator(self) -> Self:
        """An estimator of scikit-learn has its own loop: what it stops at, in which order, and what it minimises."""
        if self.estimator is None:
            return self
        theirs = {"estimator", "kwargs", "optimizers", "seeds", "epochs", "batch_size", "tune"}
        if ours := self.model_fields_set - theirs:
            raise ValueError(
                f"{min(ours)} does not go with `estimator`, which is trained by scikit-learn's own loop: remove it"
            )
        for arm in self.arms:
            if named := arm.model_fields_set - {"name", "as_", "learning_rate", "settings", "batch_size"}:
                raise ValueError(f"{arm.name}: {min(named)} belongs to the built-in training loop: remove it")
        return self

    @model_validator(mode="after")
    def _distinct_ablations(self) -> Self:
        names = [a.name for a in self.ablations]
        if twice := next((n for n in names if names.count(n) > 1), None):
            raise ValueError(f"two ablations are called {twice!r}")
        return self

    @model_validator(mode="after")
    def _no_search_in_private(self) -> Self:
        """Trials look at the training rows as well, and no epsilon would count them."""
        searched = next((a.name for a in self.arms if a.learning_rate is None), None)
        if isinstance(self.objective, Dp) and self.tune != "off" and searched is not None:
            raise ValueError(
                "a search for the learning rate spends privacy that the objective dp does not count: say `tune: off`, "
                f"or give a rate: {{name: {searched}, learning_rate: 0.01}}"
            )
        return self

    @property
    def looked(self) -> TargetConfig | None:
        """The target with how often it is looked for; None where none is named."""
        return TargetConfig() if self.target == "auto" else self.target

    @property
    def validation(self) -> float:
        """The share of the training rows that searches and looks hold back."""
        return (self.tune if isinstance(self.tune, TuneConfig) else TuneConfig()).validation

    def search(self, own: Sequence[float], trials: int) -> Tuned:
        """How a rate is looked for where an optimizer's `own` grid is searched, unless `tune` says otherwise."""
        tune = self.tune if isinstance(self.tune, TuneConfig) else TuneConfig()
        grid = tuple(sorted(tune.grid)) if tune.grid else spaced(own, tune.trials or trials)
        return Tuned(
            grid=grid,
            epochs=self.epochs,
            validation=tune.validation,
            short=short_epochs(tune.method, len(grid), self.epochs),
            seeds=tune.seeds,
            extend=tune.extend,
        )

    @property
    def arms(self) -> tuple[OptimizerConfig, ...]:
        """The optimizers, each with its settings."""
        return tuple(OptimizerConfig(name=o) if isinstance(o, str) else o for o in self.optimizers)
