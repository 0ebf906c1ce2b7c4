"""The arms of a scikit-learn classifier: its solvers with their rates, and what they cannot have."""

from collections.abc import Callable
from typing import Any

import pytest

from auditor.auditing import Options, planned
from auditor.config import load_audit
from auditor.errors import AuditorError
from auditor.plan import Plan
from auditor.recipe import Recipe, Tuned

Make = Callable[..., Plan]
TRAIN = "{architecture: mlp, kwargs: {hidden: [8]}, optimizers: [sgd, adamw], seeds: 2, epochs: 20, tune: off}"
MLP = "{estimator: mlp-classifier, seeds: 2, epochs: 9, "
LOGISTIC = "{estimator: logistic-regression, seeds: 2, epochs: 9, "


@pytest.fixture
def make(write_audit: Any, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Plans the tiny audit with another train section."""
    store = tmp_path_factory.getbasetemp() / "estimators-store"
    return lambda train, *more: planned(load_audit(write_audit((TRAIN, train), *more)), Options(store=store))


def recipes(plan: Plan) -> dict[str, Recipe]:
    """The recipe of each group."""
    return {s.group: s.recipe for s in plan.subjects if s.recipe is not None}


def test_solvers_with_a_rate_get_as_many_trials_and_those_without_get_none(make: Make) -> None:
    plan = make(MLP + "optimizers: [sgd, adam, {name: adam, as: slow, learning_rate: 0.001}, lbfgs]}")
    rates = {group: recipe.learning_rate for group, recipe in recipes(plan).items()}
    tuned = {group: rate for group, rate in rates.items() if isinstance(rate, Tuned)}
    assert {group: len(rate.grid) for group, rate in tuned.items()} == {"mlp/sgd": 4, "mlp/adam": 4}
    assert (rates["mlp/slow"], rates["mlp/lbfgs"]) == (0.001, None)
    labels = {u.label for u in plan.units.values() if u.kind == "tune"}
    assert "tune mlp-classifier/sgd" in labels


def test_without_a_search_the_default_rate_is_that_of_scikit_learn(make: Make) -> None:
    found = recipes(make(MLP + "optimizers: [sgd, lbfgs], tune: off, batch_size: 16}"))
    assert found["mlp/sgd"].learning_rate == 0.001
    assert found["mlp/sgd"].batch_size == 16
    assert found["mlp/lbfgs"].learning_rate is None


def test_a_setting_a_rate_and_another_estimator_make_another_training(make: Make) -> None:
    plans = [
        make(text)
        for text in (
            LOGISTIC + "optimizers: [lbfgs]}",
            LOGISTIC + "optimizers: [{name: lbfgs, settings: {C: 2}}]}",
            MLP + "optimizers: [lbfgs]}",
            MLP + "optimizers: [{name: sgd, learning_rate: 0.1}]}",
            MLP + "optimizers: [{name: sgd, learning_rate: 0.2}]}",
        )
    ]
    assert len({plan.subjects[0].unit for plan in plans}) == 5


def test_what_only_a_learning_rate_makes_possible_is_not_asked_where_there_is_none(make: Make) -> None:
    plan = make(
        MLP + "optimizers: [{name: sgd, learning_rate: 0.1}, lbfgs]}",
        ("  calibration:\n", "  calibration:\n  evasion.learning_rates:\n"),
    )
    asked = {r.subject: r.reason for r in plan.results if r.probe == "evasion.learning_rates"}
    assert asked["mlp/sgd/0"] is None
    assert asked["mlp/lbfgs/0"] == "this training has no learning rate, or chooses its own, so no other can be tried"


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            "{estimator: mlpclassifier, optimizers: [adam]}",
            "audit.yaml:8: unknown estimator 'mlpclassifier'; did you mean 'mlp-classifier'? mlp-classifier (fully",
        ),
        ("{estimator: mlp-classifier}", "audit.yaml:8: the optimizers of an estimator are its solvers; name them"),
        (MLP + "optimizers: [adamw]}", "audit.yaml:8: unknown solver of mlp-classifier 'adamw'; did you mean 'adam'?"),
        (MLP + "optimizers: [qqq]}", "mlp-classifier (fully connected layers): sgd, adam, lbfgs"),
        (LOGISTIC + "optimizers: [liblinear]}", "liblinear cannot tell more than two classes apart"),
        (
            MLP + "optimizers: [{name: adam, settings: {momentum: 0.5}}]}",
            "audit.yaml:8: unknown setting of adam 'momentum'",
        ),
        (
            MLP + "optimizers: [{name: lbfgs, learning_rate: 0.1}]}",
            "audit.yaml:8: lbfgs has no learning rate: it finds the length of each step itself; remove",
        ),
        (MLP + "optimizers: [{name: lbfgs, batch_size: 9}]}", "audit.yaml:8: lbfgs takes no batches"),
        (MLP + "optimizers: [{name: adam, schedule: step}]}", "adam: schedule belongs to the built-in training loop"),
        (MLP + "optimizers: [adam], target: {accuracy: 0.9}}", "target does not go with `estimator`"),
        (MLP + "optimizers: [adam], start: {path: a.pt}}", "start does not go with `estimator`"),
        (MLP + "optimizers: [adam], objective: pgd}", "objective does not go with `estimator`"),
        (MLP + "optimizers: [adam], architecture: mlp}", "architecture does not go with `estimator`"),
        (MLP + "optimizers: [adam], ablations: [{name: a, batch_size: 8}]}", "ablations does not go with `estimator`"),
        (MLP + 'optimizers: [adam], function: "train:fit"}', "function"),
        (LOGISTIC + "optimizers: [lbfgs], batch_size: 8}", "batch_size acts on none of the solvers lbfgs"),
        (LOGISTIC + "optimizers: [lbfgs], tune: {trials: 3}}", "tune acts on none of the solvers lbfgs"),
        (LOGISTIC + "optimizers: [lbfgs], kwargs: {hidden_layer_sizes: [3]}}", "unknown keyword of logistic-regress"),
        (MLP + "optimizers: [adam, adam]}", "mlp/adam is named twice; give one of them a name of its own"),
    ],
)
def test_what_an_estimator_cannot_have_is_refused_with_its_place(make: Make, train: str, message: str) -> None:
    with pytest.raises(AuditorError) as refused:
        make(train)
    assert message in str(refused.value)
    assert "audit.yaml:8" in str(refused.value)
    assert refused.value.exit_code == 2
