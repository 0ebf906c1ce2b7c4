"""Each optimizer against its published update rule, written here in plain numpy."""

import math

import numpy as np
import pytest
import torch

from auditor.errors import ConfigError, UnknownNameError
from auditor.training.optimizers import check_settings, resolve

CURVATURE = np.array([1.0, 10.0])
START = np.array([3.0, -2.0])
STEPS = 6
RATE = 0.05


def by_auditor(name, rate=RATE, **settings):
    spec = resolve(name)
    w = torch.nn.Parameter(torch.tensor(START))
    optimizer = spec.build([w], rate, check_settings(spec, settings))
    for _ in range(STEPS):
        optimizer.zero_grad()
        (0.5 * torch.tensor(CURVATURE) * w**2).sum().backward()
        optimizer.step()
    return w.detach().numpy()


def by_rule(rule):
    w, memory = START.copy(), {}
    for t in range(1, STEPS + 1):
        w = rule(w, CURVATURE * w, t, memory)
    return w


def nesterov(w, g, _, memory):
    memory["v"] = 0.9 * memory.get("v", 0) + g
    return w - RATE * (g + 0.9 * memory["v"])


def moments(g, t, memory):
    memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    memory["v"] = 0.999 * memory.get("v", 0) + 0.001 * g**2
    return memory["m"] / (1 - 0.9**t), memory["v"] / (1 - 0.999**t)


def adam(w, g, t, memory):
    m, v = moments(g, t, memory)
    return w - RATE * m / (np.sqrt(v) + 1e-8)


def adamw(w, g, t, memory):
    return adam(w, g, t, memory) - RATE * 0.01 * w


def rmsprop(w, g, _, memory):
    memory["v"] = 0.99 * memory.get("v", 0) + 0.01 * g**2
    return w - RATE * g / (np.sqrt(memory["v"]) + 1e-8)


def adagrad(w, g, _, memory):
    memory["s"] = memory.get("s", 0) + g**2
    return w - RATE * g / (np.sqrt(memory["s"]) + 1e-10)


def nadam(w, g, t, memory):
    now, after = (0.9 * (1 - 0.5 * 0.96 ** (k * 0.004)) for k in (t, t + 1))
    memory["p"] = memory.get("p", 1.0) * now
    _, v = moments(g, t, memory)
    look_ahead = after * memory["m"] / (1 - memory["p"] * after) + (1 - now) * g / (1 - memory["p"])
    return w - RATE * look_ahead / (np.sqrt(v) + 1e-8)


def radam(w, g, t, memory):
    m, v = moments(g, t, memory)
    longest = 2 / (1 - 0.999) - 1
    length = longest - 2 * t * 0.999**t / (1 - 0.999**t)
    if length <= 5:
        return w - RATE * m
    top, bottom = (length - 4) * (length - 2) * longest, (longest - 4) * (longest - 2) * length
    return w - RATE * m * math.sqrt(top / bottom) / (np.sqrt(v) + 1e-8)


RULES = {
    "sgd": nesterov,
    "adam": adam,
    "adamw": adamw,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "nadam": nadam,
    "radam": radam,
}


@pytest.mark.parametrize("name", RULES)
def test_an_optimizer_takes_the_steps_of_its_paper(name):
    np.testing.assert_allclose(by_auditor(name), by_rule(RULES[name]), rtol=1e-6)


@pytest.mark.parametrize("name", RULES)
def test_ten_times_the_default_rate_gives_numbers(name):
    assert np.isfinite(by_auditor(name, rate=10 * resolve(name).default)).all()


@pytest.mark.parametrize("name", RULES)
def test_every_grid_has_four_rising_trials_around_the_default(name):
    spec = resolve(name)
    assert len(spec.grid) == 4
    assert list(spec.grid) == sorted(set(spec.grid))
    assert spec.grid[0] < spec.default < spec.grid[-1]


def test_momentum_can_be_taken_from_sgd():
    plain = START * (1 - RATE * CURVATURE) ** STEPS
    np.testing.assert_allclose(by_auditor("sgd", momentum=0.0, nesterov=False), plain, rtol=1e-12)


def test_an_alias_means_its_optimizer():
    assert resolve("nesterov") is resolve("sgd")


def test_an_unknown_optimizer_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"audit.yaml:3: unknown optimizer 'adamv'; did you mean 'adam"):
        resolve("adamv", where="audit.yaml:3")


def test_an_unknown_setting_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown setting of sgd 'momentun'; did you mean 'momentum'"):
        check_settings(resolve("sgd"), {"momentun": 0.5})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"nesterov": 1.0}, "nesterov is 1.0; it must be true or false"),
        ({"momentum": True}, "momentum is True; it must be a number"),
        ({"momentum": -0.1}, "momentum is -0.1; it must be finite and not negative"),
        ({"weight_decay": math.inf}, "weight_decay is inf"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        check_settings(resolve("sgd"), settings)
