"""The training of a scikit-learn classifier by one of its solvers, kept as the network that answers the same."""

import importlib
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from auditor.blocks import copied
from auditor.dataset import Dataset
from auditor.errors import ConfigError, DataError, ModelError
from auditor.recipe import Fit, Recipe
from auditor.seeds import Seeds
from auditor.training import conditions
from auditor.training.architectures import Normalised, build
from auditor.training.cost import Seconds, Stopwatch
from auditor.training.estimators import DESCENT, Estimator, Solver, check_kwargs, check_settings, estimator, solver
from auditor.training.loop import EVALUATION_BATCH, Parts, parts
from auditor.training.rebuilt import Rebuilt, check_same, weights_of

CHECKED_ROWS = 256
ADVICE = re.compile(r" (?:Increase the number of iterations|You might also want|See also|Please also refer)\b")
OVERFLOW = re.compile(r"non-finite parameter weights|under-/overflow occurred at epoch #(\d+)")


@dataclass(frozen=True, eq=False)
class Estimated:
    """What a solver gave: weights, as a network, and what is known of how it came to them.

    `epochs` are its iterations: fewer than the recipe's where its tolerance was met before. `said` holds what
    scikit-learn warned of, such as that it was not, without its advice. `curve` has one entry, at the end: samples
    seen, mean cross-entropy of the training rows, and of those held back. Steps are known of solvers that take batches;
    operations, memory and the solver's state of none. Where `diverged_at` names the step by which weights or loss were
    no longer finite (the iteration, where steps are not known), there is no network.
    """

    state: dict[str, torch.Tensor]
    module: nn.Module | None
    learning_rate: float | None
    epochs: int
    steps: int | None
    curve: tuple[dict[str, float], ...]
    holdout_loss: float | None
    diverged_at: int | None
    seconds: Seconds
    said: tuple[str, ...]
    flops: None = None
    optimizer_state_bytes: None = None
    peak_bytes: None = None
    privacy: None = None
    clipped: None = None


def fit_estimator(fit: Fit, data: Dataset, *, seeds: Seeds, learning_rate: float | None) -> Estimated:
    """Train the estimator of a recipe by its solver, with the fit's change and hold-out. Same arguments, same bits.

    Rows are normalised as for networks trained here, by mean and deviation of each feature, or of each channel of
    images, and flattened; scikit-learn computes on them in float64, on one thread, from a seed that paired solvers
    share. It stops by its own tolerance on the training rows alone. Raises DataError for rows of a single class,
    ModelError where a solver gave up for another or the network does not answer as the estimator.

    Blind spots: solvers of logistic regression end at one optimum wherever they start, so their seeds are alike. Where
    newton-cholesky meets a step that leads upward, scikit-learn goes on by lbfgs and says nothing of it.
    """
    recipe, rows, clock = fit.recipe, parts(fit, data, seeds), Stopwatch()
    y = np.asarray(rows.y, np.int64)
    if len(np.unique(y)) < 2:
        raise DataError(f"all {len(y)} training rows are of one class: a classifier needs two")
    assert recipe.estimator is not None, "the recipe names an estimator"
    module = build(recipe, data.facts())
    with conditions.repeatable(), _one_thread():
        x = _normalised(module, copied(rows.x))
        made = made_by(recipe, learning_rate, seeds.integer("init") % 2**31, len(y))
        with clock, warnings.catch_warnings(record=True) as warned, np.errstate(all="ignore"):
            warnings.simplefilter("always")
            failed = _failure(made, x, y)
        said = tuple(dict.fromkeys(" ".join(str(w.message).split()) for w in warned if _meant(w)))
        _check_kept_to(recipe, said)
        run = _Run(recipe, learning_rate, made, module, rows, said, clock.seconds)
        return run.diverged(failed) if failed is not None else run.fitted(x)


def made_by(recipe: Recipe, learning_rate: float | None, seed: int, rows: int) -> Any:  # an estimator of scikit-learn
    """The estimator of a recipe, not yet fitted. Raises ConfigError for a rate that does not act, or is not there."""
    kind, chosen = _named(recipe)
    settings: dict[str, Any] = dict(check_settings(chosen, recipe.settings))
    if "n_iter_no_change" in settings:
        settings["n_iter_no_change"] = int(settings["n_iter_no_change"])
    if (chosen.rate is None) != (learning_rate is None):
        raise ConfigError(f"{kind.name}: {chosen.line()}; the learning rate given is {learning_rate}")
    if chosen.rate is not None:
        settings[chosen.rate] = learning_rate
    if chosen.batches:
        settings["batch_size"] = min(recipe.batch_size, rows)
    shape = {k: tuple(v) if isinstance(v, list) else v for k, v in check_kwargs(kind, recipe.kwargs).items()}
    module, _, name = kind.path.partition(":")
    factory = getattr(importlib.import_module(module), name)
    return factory(**chosen.keywords, **shape, **settings, max_iter=recipe.epochs, random_state=seed)


def _named(recipe: Recipe) -> tuple[Estimator, Solver]:
    kind = estimator(recipe.estimator or "")
    return kind, solver(kind, recipe.optimizer)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of the libraries below scikit-learn, too: two add numbers in another order."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1):
        yield


def _normalised(module: Normalised, x: np.ndarray) -> np.ndarray:
    """Rows (N, features) in float64 as the estimator gets them; the module keeps mean and deviation."""
    module.measure(x)
    with torch.no_grad():
        rows = (torch.from_numpy(x) - module.mean) / module.deviation
    return rows.flatten(1).double().numpy()


def _meant(warning: warnings.WarningMessage) -> bool:
    """Whether a warning is about what came out; numpy's of numbers too large are told by divergence."""
    from scipy.linalg import LinAlgWarning
    from sklearn.exceptions import ConvergenceWarning

    return issubclass(warning.category, ConvergenceWarning | LinAlgWarning)


def _failure(made: Any, x: np.ndarray, y: np.ndarray) -> int | None:  # an estimator of scikit-learn
    """Fit; the iteration at whose end numbers were found not finite, None where they are."""
    try:
        made.fit(x, y)
    except ValueError as error:
        found = OVERFLOW.search(str(error))
        if found is None:
            raise
        if found[1]:
            return int(found[1])
        bad = np.flatnonzero(~np.isfinite(getattr(made, "loss_curve_", [])))
        return int(bad[0]) + 1 if len(bad) else int(made.n_iter_)
    finite = all(np.isfinite(part).all() for layer in weights_of(made) for part in layer)
    return None if finite else _iterations(made)


def _iterations(made: Any) -> int:  # an estimator of scikit-learn
    return int(np.max(made.n_iter_))


def _check_kept_to(recipe: Recipe, said: tuple[str, ...]) -> None:
    """Raise ModelError where what was fitted is not by the solver that is compared."""
    if recipe.optimizer != "lbfgs" and (gave_up := next((s for s in said if "resort to lbfgs" in s), None)):
        raise ModelError(
            f"{recipe.optimizer} gave up and scikit-learn went on by lbfgs, which is another solver: a smaller C "
            f"penalises more and may help, or take lbfgs ({gave_up[:160]})"
        )


@dataclass(frozen=True, eq=False)
class _Run:
    """A fit that ended, and what is to be said of it."""

    recipe: Recipe
    learning_rate: float | None
    made: Any  # an estimator of scikit-learn
    module: Normalised
    rows: Parts
    said: tuple[str, ...]
    seconds: Seconds

    def diverged(self, iteration: int) -> Estimated:
        """Kept as a failure with its step."""
        return self._told({}, None, iteration, (), self._steps(iteration) or iteration)

    def fitted(self, x: np.ndarray) -> Estimated:
        """The network with the estimator's weights, found to answer the same, and its losses."""
        net, iterations = self.module.net, _iterations(self.made)
        assert isinstance(net, Rebuilt)
        net.take(self.made)
        self.module.eval()
        rows = x[:: -(-len(x) // CHECKED_ROWS)]
        with torch.no_grad():
            answers = net(torch.from_numpy(rows).float())
        if not bool(torch.isfinite(answers).all()):
            return self.diverged(iterations)
        check_same(answers, self.made, rows, against_rest=self.recipe.estimator == DESCENT.name)
        point = {"samples": float(len(x) * iterations), "loss": self._loss(copied(self.rows.x), self.rows.y)}
        if len(self.rows.y_holdout):
            point["holdout_loss"] = self._loss(copied(self.rows.x_holdout), self.rows.y_holdout)
        state = {name: t.detach().clone() for name, t in self.module.state_dict().items()}
        return self._told(state, self.module, iterations, (point,), None)

    def _told(
        self,
        state: dict[str, torch.Tensor],
        module: nn.Module | None,
        iterations: int,
        curve: tuple[dict[str, float], ...],
        diverged_at: int | None,
    ) -> Estimated:
        return Estimated(
            state=state,
            module=module,
            learning_rate=self.learning_rate,
            epochs=iterations,
            steps=self._steps(iterations),
            curve=curve,
            holdout_loss=curve[-1].get("holdout_loss") if curve else None,
            diverged_at=diverged_at,
            seconds=self.seconds,
            said=tuple(dict.fromkeys(ADVICE.split(text)[0] for text in self.said)),
        )

    def _steps(self, iterations: int) -> int | None:
        """Steps of so many iterations, where a step sees a batch."""
        _, chosen = _named(self.recipe)
        return iterations * -(-len(self.rows.y) // self.recipe.batch_size) if chosen.batches else None

    def _loss(self, x: np.ndarray, y: np.ndarray) -> float:
        """Mean cross-entropy of rows (N, *shape)."""
        with torch.no_grad():
            parts = [self.module(part).double() for part in torch.split(torch.from_numpy(x), EVALUATION_BATCH)]
        labels = torch.from_numpy(np.array(y, np.int64))
        return float(nn.functional.cross_entropy(torch.cat(parts), labels))
