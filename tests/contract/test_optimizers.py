"""Every registered optimizer: held against its published update and its own specification."""

from importlib.metadata import version

import pytest
from pytorch_optimizer import get_supported_optimizers

from auditor.training.conformance import conformance
from auditor.training.optimizers import every, names, resolve
from auditor.training.optimizers.extra import refused, table, usable

OURS = {spec.name: spec for spec in every() if spec.provider != "plugin"}


def outcomes(spec):
    return {check.name: (check.outcome, check.evidence) for check in conformance(spec).checks}


@pytest.mark.parametrize("name", OURS)
def test_an_optimizer_stands_every_check_and_takes_the_steps_of_its_paper(name):
    found = outcomes(OURS[name])
    assert [(k, v) for k, v in found.items() if v[0] == "fail"] == []
    assert found["reference"][0] == "pass"


@pytest.mark.parametrize("name", OURS)
def test_a_specification_says_whose_it_is_and_where_its_rates_lie(name):
    spec = OURS[name]
    assert spec.provider in ("torch", "auditor", "schedulefree")
    assert spec.licence in ("BSD-3-Clause", "Apache-2.0")
    assert spec.decay != "unstated"
    assert len(spec.grid) == 4
    assert list(spec.grid) == sorted(set(spec.grid))
    assert spec.grid[0] < spec.default < spec.grid[-1]
    assert 3.9 < spec.grid[1] / spec.grid[0] < 4.3


def test_the_set_that_is_promised_is_there():
    promised = (
        "sgd momentum sgd-plain nesterov adam adamw nadam radam adagrad adadelta adamax rmsprop rprop asgd adafactor "
        "lbfgs muon sam lion schedule-free-adamw schedule-free-sgd"
    )
    assert [resolve(name).name for name in promised.split() if name != "nesterov"] == [
        name for name in promised.split() if name != "nesterov"
    ]
    assert resolve("nesterov").name == "sgd"


def test_the_shipped_table_speaks_of_every_name_of_the_installed_package():
    assert table()["version"] == version("pytorch_optimizer")
    assert {*usable(), *refused()} == set(get_supported_optimizers())
    assert not {*usable()} & {*refused()}
    assert all(len(why) > 10 for why in refused().values())


def test_no_name_of_the_table_hides_one_of_ours():
    aliases = {alias for spec in OURS.values() for alias in spec.aliases}
    assert not {*usable()} & {*OURS, *aliases}
    assert {*usable(), *OURS} <= {*names()}


@pytest.mark.slow
@pytest.mark.parametrize("name", usable())
def test_what_the_table_says_of_an_optimizer_holds(name):
    failed = [check.name for check in conformance(resolve(name)).failed]
    assert failed == usable()[name]["fails"]


@pytest.mark.parametrize("name", ["soap", "adan", "shampoo", "prodigy"])
def test_a_sample_of_the_table_holds(name):
    assert [check.name for check in conformance(resolve(name)).failed] == usable()[name]["fails"]
