"""Each optimizer against its published update rule, written here in plain numpy."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from auditor.errors import ConfigError, UnknownNameError
from auditor.training.optimizers import check_licence, check_settings, every, non_commercial, resolve
from auditor.training.optimizers.spec import check_installed

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


@pytest.mark.parametrize("name", ["sgd", "sam"])
def test_without_momentum_nesterov_looks_nowhere(name):
    spec = resolve(name)
    made = spec.build([torch.nn.Parameter(torch.zeros(2))], 0.1, check_settings(spec, {"momentum": 0.0}))
    assert (made.param_groups[0]["momentum"], made.param_groups[0]["nesterov"]) == (0.0, False)


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


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("adam", {"beta1": 1.0}, "adam: beta1 is 1; it must be 0 or more, below 1"),
        ("lion", {"beta2": 1.5}, "lion: beta2 is 1.5; it must be 0 or more, below 1"),
        ("rprop", {"eta_plus": 1.0}, "rprop: eta_plus is 1; it must be above 1"),
        ("adafactor", {"clip": 0.5}, "adafactor: clip is 0.5; it must be 1 or more"),
        ("lbfgs", {"max_iter": 2.5}, "lbfgs: max_iter is 2.5; it must be a whole number, 1 or more"),
        ("lbfgs", {"history_size": 0}, "lbfgs: history_size is 0; it must be a whole number, 1 or more"),
        ("schedule-free-sgd", {"momentum": 0}, "momentum is 0; it must be above 0, below 1"),
        (
            "soap",
            {"precondition_frequency": 2.5},
            "precondition_frequency is 2.5; it must be a whole number, 0 or more",
        ),
    ],
)
def test_a_number_that_a_setting_cannot_be_is_refused_before_a_training(name, settings, said):
    with pytest.raises(ConfigError, match=said):
        check_settings(resolve(name), settings)


def test_every_default_lies_within_its_limits():
    for spec in every():
        assert check_settings(spec, spec.settings) == dict(spec.settings)


@pytest.mark.parametrize(
    ("licence", "forbids"),
    [
        ("CC-BY-NC-SA-4.0", True),
        ("CC BY-NC 4.0", True),
        ("PolyForm-Noncommercial-1.0.0", True),
        ("Non-Commercial", True),
        ("Apache-2.0", False),
        ("BSD-3-Clause", False),
        ("NCSA", False),
        ("unstated", False),
    ],
)
def test_licences_that_forbid_commercial_use_are_known_by_their_names(licence, forbids):
    assert non_commercial(licence) is forbids


def test_a_licence_without_commercial_use_is_refused_unless_it_is_allowed_by_name():
    spec = resolve("fromage")
    with pytest.raises(ConfigError, match=r"fromage comes under CC-BY-NC-SA-4.0.*train.allow_licences: \[CC-BY-NC-SA"):
        check_licence(spec, ["MIT"])
    check_licence(spec, ["cc-by-nc-sa-4.0"])
    check_licence(resolve("soap"), [])


def test_an_extra_that_is_not_there_is_named_with_what_to_install():
    absent = replace(resolve("soap"), provider="no_such_package")
    with pytest.raises(ConfigError, match=r'soap needs the package no_such_package: pip install "auditor\[optim\]"'):
        check_installed(absent)


def test_settings_of_the_package_reach_its_optimizer():
    spec = resolve("soap")
    given = check_settings(spec, {"beta1": 0.8, "precondition_frequency": 3.0, "correct_bias": False})
    made = spec.build([torch.nn.Parameter(torch.zeros(2, 2))], 0.5, given)
    group = made.param_groups[0]
    assert (group["lr"], group["betas"], group["precondition_frequency"]) == (0.5, (0.8, 0.95), 3)
    assert group["correct_bias"] is False


def test_the_nearest_name_comes_with_its_specification():
    with pytest.raises(UnknownNameError, match=r"did you mean 'muon'\? muon \(Muon on hidden .* rates 0.004 0.016"):
        resolve("moun")
