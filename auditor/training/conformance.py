"""Does an optimizer do what its paper and its own specification say? Checks that take less than a second together."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from auditor.dataset import Dataset, Domain
from auditor.recipe import Fit, Recipe
from auditor.seeds import Seeds
from auditor.training import conditions
from auditor.training.cost import tensors_in
from auditor.training.optimizers.driver import StepDriver
from auditor.training.optimizers.spec import OptimizerSpec, Settings, check_installed
from auditor.training.references import SHAPES, Quadratic, Weights, quadratic
from auditor.training.trajectories import SETTINGS, reference

TRAJECTORY = 8  # steps; the rectification of RAdam begins at the sixth
TOLERANCE = 1e-6  # relative to the largest weight
STACKED = 1e-9  # the same, between a problem by itself and stacked with another
TOO_FAST = 10  # times the largest rate of the grid
CLASSES = 3

CheckOutcome = Literal["pass", "fail", "none"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `none` where there is nothing to hold it against."""

    name: str
    outcome: CheckOutcome
    evidence: str


@dataclass(frozen=True)
class Conformance:
    """What was found of one optimizer."""

    optimizer: str
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that it does not stand."""
        return tuple(check for check in self.checks if check.outcome == "fail")


class Slope(nn.Module):
    """The quadratic problem as a module, in float64 or `kind`; several problems stack along a new first axis."""

    def __init__(
        self, problems: tuple[Quadratic, ...], *, stacked: bool = False, kind: torch.dtype = torch.float64
    ) -> None:
        super().__init__()

        def joined(parts: list[Weights]) -> list[torch.Tensor]:
            arrays = zip(*parts, strict=True)
            return [torch.tensor(np.stack(a) if stacked else a[0], dtype=kind) for a in arrays]

        self.curvature = joined([p.curvature for p in problems])
        self.target = joined([p.target for p in problems])
        self.weights = nn.ParameterList(nn.Parameter(t) for t in joined([p.start for p in problems]))

    def backward(self) -> torch.Tensor:
        """Leave the gradient; the loss comes back."""
        terms = zip(self.curvature, self.weights, self.target, strict=True)
        loss: torch.Tensor = torch.stack([(c * (w - t) ** 2).sum() / 2 for c, w, t in terms]).sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        return loss.detach()

    def now(self) -> Weights:
        """The weights as arrays of their own."""
        return [w.detach().numpy().copy() for w in self.weights]


def conformance(spec: OptimizerSpec) -> Conformance:
    """Hold an optimizer against its published update, and against what its specification declares.

    On a quadratic in float64 with a hidden matrix, a kernel, a vector and a head (see `references`): the trajectory of
    the published update; the same bits on a second run; a stopped and resumed run equals an unbroken one, its state
    written and read as bytes; at rate 0 nothing moves; tensors kept, stacking and modes are as declared. By the
    training loop on a few rows: ten times the largest rate gives numbers or a divergence that is told. A check that
    raises has failed with what it raised. Raises ConfigError where the optimizer's package is not installed. Blind
    spots: 8 steps, which can disprove that an update is element-wise and not prove it; settings but the defaults.
    """
    check_installed(spec)
    checks: dict[str, Callable[[OptimizerSpec], Check]] = {
        "reference": _reference,
        "repeatable": _repeatable,
        "resume": _resume,
        "zero rate": _zero_rate,
        "too fast": _too_fast,
        "state": _state,
        "element-wise": _elementwise,
        "modes": _modes,
    }
    with conditions.repeatable():
        return Conformance(spec.name, tuple(_tried(name, check, spec) for name, check in checks.items()))


def _tried(name: str, check: Callable[[OptimizerSpec], Check], spec: OptimizerSpec) -> Check:
    torch.default_generator.manual_seed(0)  # some optimizers draw; the state is put back by `repeatable`
    try:
        return check(spec)
    except Exception as error:  # noqa: BLE001  # whatever a third party's optimizer does, the others are asked
        return Check(name, "fail", f"{type(error).__name__}: {error}".split("\n")[0].split(". ")[0][:200])


def _judged(name: str, holds: bool, evidence: str) -> Check:
    return Check(name, "pass" if holds else "fail", evidence)


def _driver(spec: OptimizerSpec, module: Slope, rate: float | None = None, **settings: float | bool) -> StepDriver:
    return StepDriver(spec, module, spec.default if rate is None else rate, {**spec.settings, **settings})


def _run(spec: OptimizerSpec, module: Slope, steps: int = TRAJECTORY, settings: Settings | None = None) -> Weights:
    """Weights to be evaluated after so many steps at the default rate."""
    driver = _driver(spec, module, **(settings or {}))
    for _ in range(steps):
        driver.step(module.backward)
    driver.eval()
    return module.now()


def _apart(a: Weights, b: Weights) -> float:
    """The largest difference, by the largest weight."""
    largest = max(float(np.abs(x).max()) for x in b)
    return max(float(np.abs(x - y).max()) for x, y in zip(a, b, strict=True)) / largest


def _same(a: Weights, b: Weights) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def _reference(spec: OptimizerSpec) -> Check:
    problem, settings = quadratic(0), SETTINGS.get(spec.name, {})
    expected = reference(spec.name, problem, TRAJECTORY, spec.default, {**spec.settings, **settings})
    if expected is None:
        return Check("reference", "none", "no independent implementation to hold it against")
    apart = _apart(_run(spec, Slope((problem,)), settings=settings), expected)
    return _judged("reference", apart <= TOLERANCE, f"{apart:.1e} apart after {TRAJECTORY} steps")


def _repeatable(spec: OptimizerSpec) -> Check:
    runs = []
    for _ in range(2):
        torch.default_generator.manual_seed(0)
        runs.append(_run(spec, Slope((quadratic(0),))))
    return _judged("repeatable", _same(*runs), "the same bits twice" if _same(*runs) else "two runs differ")


def _resume(spec: OptimizerSpec) -> Check:
    """An unbroken run, and one whose second half goes on from bytes; in float32, as trainings are."""
    half, module = TRAJECTORY // 2, Slope((quadratic(0),), kind=torch.float32)
    driver = _driver(spec, module)
    for _ in range(half):
        driver.step(module.backward)
    stream = io.BytesIO()
    drawn = torch.get_rng_state()
    torch.save({"weights": module.state_dict(), "driver": driver.state_dict()}, stream)
    for _ in range(half):
        driver.step(module.backward)
    stream.seek(0)
    saved = torch.load(stream, weights_only=True)
    again = Slope((quadratic(0),), kind=torch.float32)
    again.load_state_dict(saved["weights"])
    resumed = _driver(spec, again)
    resumed.load_state_dict(saved["driver"])
    torch.set_rng_state(drawn)
    for _ in range(half):
        resumed.step(again.backward)
    same = _same(module.now(), again.now())
    return _judged("resume", same, "the same bits" if same else f"{_apart(again.now(), module.now()):.1e} apart")


def _zero_rate(spec: OptimizerSpec) -> Check:
    module = Slope((quadratic(0),))
    driver, before = _driver(spec, module, rate=0.0 if spec.schedule == "own" else None), module.now()
    driver.rate(0.0)
    for _ in range(3):
        driver.step(module.backward)
    driver.eval()
    moved = _apart(module.now(), before)
    return _judged("zero rate", moved == 0, "nothing moved" if moved == 0 else f"moved by {moved:.1e}")


def _too_fast(spec: OptimizerSpec) -> Check:
    """By the loop itself: what it calls a result must be made of numbers."""
    from auditor.training.loop import fit

    rate = TOO_FAST * max(spec.grid)
    recipe = Recipe(architecture="mlp", kwargs={"hidden": [8]}, optimizer=spec.name, epochs=4, batch_size=16)
    fitted = fit(Fit(recipe=recipe), _few_rows(), seeds=Seeds(0, 0), learning_rate=rate, spec=spec)
    if fitted.diverged_at is not None:
        return Check("too fast", "pass", f"divergence told at step {fitted.diverged_at} with rate {rate:g}")
    numbers = all(bool(torch.isfinite(t).all()) for t in fitted.state.values())
    told = numbers and math.isfinite(fitted.curve[-1]["loss"])
    return _judged("too fast", told, f"numbers throughout with rate {rate:g}" if told else "NaN kept as a result")


def _few_rows() -> Dataset:
    """Three blobs of 16 rows in four features."""
    rng = np.random.Generator(np.random.PCG64(0))
    y = np.arange(48) % CLASSES
    x = (0.5 + 0.2 * np.eye(CLASSES, 4)[y] + 0.05 * rng.standard_normal((48, 4))).clip(0, 1).astype(np.float32)
    names = tuple(f"c{k}" for k in range(CLASSES))
    return Dataset("conformance", x, y, x[:9], y[:9], domain=Domain.unit((4,)), classes=names)


def kept(spec: OptimizerSpec) -> float:
    """How many tensors of a weight's size does it keep? Single numbers such as counters are left out."""
    module = Slope((quadratic(0),))
    driver = _driver(spec, module)
    for _ in range(3):
        driver.step(module.backward)
    tensors = tensors_in(list(driver.optimizer.state.values()))
    return sum(t.numel() for t in tensors if t.numel() > 1) / sum(math.prod(shape) for shape in SHAPES)


def _state(spec: OptimizerSpec) -> Check:
    found = kept(spec)
    if spec.state is None:
        return Check("state", "none", f"{found:.2g} tensors a weight here; none declared, since it depends")
    return _judged("state", found == spec.state, f"{found:.2g} tensors a weight, {spec.state} declared")


def _elementwise(spec: OptimizerSpec) -> Check:
    """Two problems one by one, and stacked."""
    if not spec.elementwise:
        return Check("element-wise", "none", "not declared, so never trained stacked")
    problems = (quadratic(1), quadratic(2))
    alone = [np.stack(pair) for pair in zip(*(_run(spec, Slope((p,))) for p in problems), strict=True)]
    apart = _apart(_run(spec, Slope(problems, stacked=True)), alone)
    return _judged("element-wise", apart <= STACKED, f"{apart:.1e} apart when stacked")


def _modes(spec: OptimizerSpec) -> Check:
    module = Slope((quadratic(0),))
    driver = _driver(spec, module)
    has = callable(getattr(driver.optimizer, "eval", None))
    if not spec.train_eval:
        return _judged("modes", not has, "none" if not has else "it has train and eval, which are not declared")
    for _ in range(4):
        driver.step(module.backward)
    trained = module.now()
    driver.eval()
    evaluated = module.now()
    driver.train()
    back = _same(module.now(), trained)
    return _judged("modes", back, f"{_apart(evaluated, trained):.1e} between modes, put back to the bit")
