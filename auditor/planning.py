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
from auditor.recipe import Fit, Later, Recipe, Tuned
from auditor.record import DatasetRecord, digest
from auditor.sources import Codes, version_of
from auditor.training.optimizers import resolve
from auditor.training.search import further, going_on

TUNING_SEED = -1  # never the seed of a subject, so that what is compared was not used for choosing
NOISE_ROWS, TEST_ROWS = 8, 56
Rates = tuple[float | Later, ...]


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

    def fit(self, fit: Fit, label: str, subject: str | None = None, after: tuple[str, ...] = ()) -> str:
        """A training, after the search for its learning rate where it has one, or the choice that names it."""
        tuned = fit.recipe.learning_rate
        if isinstance(tuned, Tuned):
            inputs: tuple[str, ...] = (self.tune(fit.recipe, tuned, subject),)
        else:
            inputs = after if isinstance(tuned, Later) else ()
        spec = {"fit": fit.model_dump(mode="json"), "code": self.code_of(fit)}
        return self.add("fit", label, spec, inputs, subject=subject)

    def code_of(self, fit: Fit) -> dict[str, str | None]:
        """Digests of the code that a training runs beside ours, which stands in the environment."""
        name, own = fit.recipe.architecture, fit.recipe.function
        return {
            "function": self.codes.named(own),
            "architecture": self.codes.named(name) if ":" in name else self.codes.plugin("auditor.architectures", name),
            "optimizer": None if own or fit.recipe.estimator else self._optimizer_code(fit.recipe.optimizer),
            "change": self.codes.of(fit.change.function) if fit.change else None,
        }

    def _optimizer_code(self, name: str) -> str | None:
        """Digest of a third party's optimizer, or the version of the package that an extra of ours brings."""
        spec = resolve(name)
        if spec.extra is not None:
            return f"{spec.provider}=={version_of(spec.provider)}"
        return self.codes.plugin("auditor.optimizers", name)

    def tune(self, recipe: Recipe, tuned: Tuned, subject: str | None = None) -> str:
        """A search: trials, then the choice among them, as often as it has rungs and rates to try further.

        Its cost is that of who asks first. Answers the last choice.
        """
        name = f"{recipe.architecture or recipe.estimator}/{recipe.optimizer}"
        search = _Search(self, recipe.searched(tuned), tuned, name, subject)
        rates: Rates = tuned.grid
        before: str | None = None
        if tuned.short is not None:
            before = search.choice(rates, tuned.short, None, " first")
            rates = tuple(Later(rank=rank) for rank in range(going_on(len(rates))))
        for left in range(further(tuned.short, tuned.extend), 0, -1):
            before = search.choice(rates, tuned.epochs, before, f" with {left} to extend")
            rates = (Later(rank=None),)
        return search.choice(rates, tuned.epochs, before, "")


@dataclass(frozen=True)
class _Search:
    """One search as it is planned: whose rate is looked for, and how."""

    planner: Planner
    recipe: Recipe
    tuned: Tuned
    name: str
    subject: str | None

    def choice(self, rates: Rates, epochs: int, before: str | None, label: str) -> str:
        """The choice among trials of these rates and all before; those that it names later wait for the one before."""
        after = (before,) if before else ()
        trials = tuple(self._trial(rate, epochs, seed, after) for rate in rates for seed in range(self.tuned.seeds))
        most = len(self.tuned.grid) + self.tuned.extend
        spec = {"rates": len(rates), "seeds": self.tuned.seeds, "epochs": epochs, "most": most, "final": not label}
        return self.planner.add("tune", f"tune {self.name}{label}", spec, trials + after, subject=self.subject)

    def _trial(self, rate: float | Later, epochs: int, seed: int, after: tuple[str, ...]) -> str:
        changed = {"learning_rate": rate, "seed": TUNING_SEED - seed, "epochs": epochs}
        fit = Fit(recipe=self.recipe.model_copy(update=changed), holdout=self.tuned.validation)
        said = f"at {rate:g}" if isinstance(rate, float) else rate.said
        return self.planner.fit(fit, f"tune {self.name} {said}{f', seed {seed}' if seed else ''}", after=after)
