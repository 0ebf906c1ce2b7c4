"""The conformance checks find what is wrong, and say it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from auditor.training.conformance import conformance
from auditor.training.optimizers import OptimizerSpec, resolve
from auditor.training.references import quadratic
from auditor.training.trajectories import reference


class Steps(torch.optim.Optimizer):
    """Plain steps, with one thing wrong."""

    def __init__(self, params, lr, fault):
        super().__init__(params, {"lr": lr})
        self.fault, self.count = fault, 0

    @torch.no_grad()
    def step(self, closure=None):
        self.count += 1
        for group in self.param_groups:
            for p in group["params"]:
                rate = 0.1 if self.fault == "deaf" else group["lr"]
                scale = {"hidden": 1 / self.count, "random": float(torch.rand(())), "wrong": 1.001}.get(self.fault, 1)
                noise = 1e-3 * np.random.default_rng().normal() if self.fault == "own clock" else 0
                grad = p.grad * float(p.grad.norm() < 1) if self.fault == "global" else p.grad
                p.sub_(rate * scale * (grad + noise))
                if self.fault == "keeps":
                    self.state[p]["last"] = p.grad.clone()


def spec(fault, **changes):
    given = {
        "name": "sgd-plain",
        "title": "steps",
        "grid": (0.01, 0.04),
        "default": 0.02,
        "settings": {"weight_decay": 0.0},
        "source": "here",
        "build": lambda params, rate, settings: Steps(params, rate, fault),
        "elementwise": True,
        "state": 0,
    }
    return OptimizerSpec(**{**given, **changes})


def failed(fault, **changes):
    return [check.name for check in conformance(spec(fault, **changes)).failed]


def test_what_is_right_stands():
    assert failed("none") == []


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("wrong", ["reference"]),
        ("hidden", ["reference", "resume"]),
        ("own clock", ["reference", "repeatable", "resume", "element-wise"]),
        ("deaf", ["reference", "zero rate"]),
        ("keeps", ["state"]),
    ],
)
def test_a_planted_fault_is_found(fault, found):
    assert failed(fault) == found


def test_chance_from_the_seeded_generator_is_no_fault_of_repetition():
    assert "repeatable" not in failed("random")
    assert "resume" not in failed("random")


def test_element_wise_is_not_claimed_wrongly():
    assert "element-wise" in failed("global", elementwise=True)
    assert "element-wise" not in failed("global", elementwise=False)


def test_one_without_a_published_update_here_is_said_to_have_none():
    found = conformance(spec("none", name="something-else")).checks[0]
    assert (found.name, found.outcome) == ("reference", "none")
    assert "no independent implementation" in found.evidence


def test_modes_that_are_not_declared_are_found():
    loose = replace(resolve("schedule-free-sgd"), train_eval=False)
    assert "modes" in [check.name for check in conformance(loose).failed]


def test_what_raises_has_failed_with_what_it_raised():
    def build(params, rate, settings):
        raise RuntimeError("no such kernel")

    found = conformance(spec("none", build=build))
    assert {check.evidence for check in found.checks} == {"RuntimeError: no such kernel"}
    assert len(found.failed) == len(found.checks)


def test_a_reference_moves_towards_the_target():
    problem = quadratic(0)
    for name, rate in [("adam", 0.02), ("lbfgs", 1.0), ("muon", 0.02), ("sam", 0.1), ("rprop", 0.02)]:
        spec = resolve(name)
        end = reference(name, problem, 8, rate, spec.settings)
        before = sum(float(((w - t) ** 2).sum()) for w, t in zip(problem.start, problem.target, strict=True))
        after = sum(float(((w - t) ** 2).sum()) for w, t in zip(end, problem.target, strict=True))
        assert after < 0.9 * before, name


def test_the_reference_of_plain_steps_is_the_closed_form():
    problem = quadratic(3)
    end = reference("sgd-plain", problem, 5, 0.1, {"weight_decay": 0.0})
    for c, t, s, w in zip(problem.curvature, problem.target, problem.start, end, strict=True):
        np.testing.assert_allclose(w, t + (s - t) * (1 - 0.1 * c) ** 5, rtol=1e-12)


def test_the_process_is_as_it_was():
    torch.default_generator.manual_seed(11)
    state = torch.get_rng_state()
    conformance(resolve("sgd"))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()
