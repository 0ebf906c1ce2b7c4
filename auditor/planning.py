"""Units as they are collected: what is asked for twice is one unit, identified by all that decides its result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from auditor.config import AuditConfig
from auditor.dataset import Array
from auditor.plan import Unit, UnitKind
from auditor.recipe import Fit, Recipe, Tuned
from auditor.record import DatasetRecord, digest
from auditor.sources import Codes

TUNING_SEED = -1  # never the seed of a subject, so that what is compared was not used for choosing
NOISE_ROWS, TEST_ROWS = 8, 56


@dataclass
class Planner:
    """Collects units; the same work asked for twice is one unit."""

    config: AuditConfig
    data: DatasetRecord
    directory: Path
    environment: Mapping[str, Any]
    test_rows: Callable[[], Array] | None = None  # where they can be had
    units: dict[str, Unit] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @cached_property
    def codes(self) -> Codes:
        """Digests of code that is not ours."""
        return Codes(self.directory)

    @cached_property
    def probing_rows(self) -> Array:
        """A few inputs, always the same, by whose answers a model is known that has no file.

        Noise, and test rows: of noise, models that were trained alike may all say the same.
        """
        rng = np.random.Generator(np.random.PCG64(0))
        noise = rng.uniform(*self.data.range, (NOISE_ROWS, *self.data.shape)).astype(np.float32)
        if self.test_rows is None:
            return noise
        rows = self.test_rows()
        chosen = np.linspace(0, len(rows) - 1, min(TEST_ROWS, len(rows))).astype(np.int64)
        return np.concatenate([noise, np.asarray(rows[chosen], np.float32)])

    def add(
        self, kind: UnitKind, label: str, spec: Mapping[str, Any], inputs: tuple[str, ...] = (), **of: str | None
    ) -> str:
        """The identity of this unit, added if it is new."""
        spec = {"data": self.data.sha256, "root": self.config.seed, **spec}
        identity = digest({"kind": kind, "spec": spec, "inputs": inputs, "environment": self.environment})
        if identity not in self.units:
            self.units[identity] = Unit(kind, label, spec, inputs, identity, **of)
        return identity

    def fit(self, fit: Fit, label: str, subject: str | None = None) -> str:
        """A training, after the search for its learning rate where it has one."""
        tuned = fit.recipe.learning_rate
        inputs = (self.tune(fit.recipe, tuned),) if isinstance(tuned, Tuned) else ()
        spec = {"fit": fit.model_dump(mode="json"), "code": self.code_of(fit)}
        return self.add("fit", label, spec, inputs, subject=subject)

    def code_of(self, fit: Fit) -> dict[str, str | None]:
        """Digests of the code that a training runs beside ours, which stands in the environment."""
        name, own = fit.recipe.architecture, fit.recipe.function
        return {
            "function": self.codes.named(own),
            "architecture": self.codes.named(name) if ":" in name else self.codes.plugin("auditor.architectures", name),
            "optimizer": None if own else self.codes.plugin("auditor.optimizers", fit.recipe.optimizer),
            "change": self.codes.of(fit.change.function) if fit.change else None,
        }

    def tune(self, recipe: Recipe, tuned: Tuned) -> str:
        """A search: one trial a learning rate, then the choice among them."""
        name = f"{recipe.architecture}/{recipe.optimizer}"
        trials = []
        for rate in tuned.grid:
            trial = recipe.model_copy(update={"learning_rate": rate, "seed": TUNING_SEED, "epochs": tuned.epochs})
            trials.append(self.fit(Fit(recipe=trial, holdout=tuned.validation), f"tune {name} at {rate:g}"))
        return self.add("tune", f"tune {name}", {"grid": list(tuned.grid)}, tuple(trials))
