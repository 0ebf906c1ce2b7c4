"""Classifiers of scikit-learn by each of their solvers: how well they learn, and what stands for them as a network."""

import importlib
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError, DataError, ModelError, UnknownNameError
from auditor.recipe import Change, Fit, Recipe
from auditor.seeds import Seeds
from auditor.training import estimating
from auditor.training.architectures import build
from auditor.training.estimating import fit_estimator, made_by
from auditor.training.estimators import ESTIMATORS, check_kwargs, check_settings, estimator, solver
from auditor.training.loop import parts
from auditor.training.rebuilt import FAR_BELOW, check_same, network

RATES = {"sgd": 0.05, "adam": 0.016, "constant": 0.032, "invscaling": 1.6, "adaptive": 0.032}
WAYS = [(e.name, s) for e in ESTIMATORS.values() for s in e.solvers]


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    x, names = (x / 16).astype(np.float32), tuple(map(str, range(10)))
    return Dataset("digits", x[:1200], y[:1200], x[1200:], y[1200:], names, Domain.unit((64,)))


def of(data, keep):
    """The same data with the training rows of some classes alone."""
    kept = np.isin(data.y_train, keep)
    return Dataset(
        "few", data.x_train[kept], data.y_train[kept], data.x_test, data.y_test, data.classes, Domain.unit((64,))
    )


def trained(data, name, solver_name, *, seed=0, epochs=60, rate=None, change=None, holdout=None, **more):
    recipe = Recipe(estimator=name, optimizer=solver_name, epochs=epochs, seed=seed, **more)
    rate = RATES.get(solver_name) if rate is None else rate
    fit = Fit(recipe=recipe, change=change, holdout=holdout)
    return fit_estimator(fit, data, seeds=Seeds(5, seed), learning_rate=rate)


def predicted(fitted, x):
    with torch.no_grad():
        return fitted.module(torch.from_numpy(np.array(x))).argmax(1).numpy()


def rows_of(fitted, x):
    """Rows as the estimator got them."""
    with torch.no_grad():
        normal = (torch.from_numpy(np.array(x)) - fitted.module.mean) / fitted.module.deviation
    return normal.flatten(1).double().numpy()


@pytest.mark.parametrize(("name", "solver_name"), WAYS)
def test_every_solver_learns_digits(name, solver_name, digits):
    fitted = trained(digits, name, solver_name, epochs=100)
    accuracy = (predicted(fitted, digits.x_test) == digits.y_test).mean()
    assert accuracy > (0.91 if name == "mlp-classifier" else 0.86)
    assert fitted.diverged_at is None
    assert fitted.curve[-1]["loss"] < (3 if name == "sgd-classifier" else 0.3)  # decisions are no log-odds


@pytest.mark.parametrize(("name", "solver_name"), WAYS)
@pytest.mark.parametrize("classes", [range(10), (3, 7), (0, 4, 8)])
def test_the_network_answers_what_the_estimator_answers(name, solver_name, classes, digits):
    data = of(digits, classes)
    fitted = trained(data, name, solver_name, epochs=20)
    again = made_by(
        Recipe(estimator=name, optimizer=solver_name, epochs=20),
        fitted.learning_rate,
        Seeds(5, 0).integer("init") % 2**31,
        len(data.y_train),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again.fit(rows_of(fitted, data.x_train), data.y_train)
    rows = rows_of(fitted, digits.x_test)
    with torch.no_grad():
        logits = fitted.module(torch.from_numpy(np.array(digits.x_test)))
    answers = torch.softmax(logits.double(), 1).numpy()
    own = again.predict_proba(rows)
    if name == "sgd-classifier" and len(classes) > 2:  # the decisions as they are: see Rebuilt
        own = torch.softmax(torch.from_numpy(again.decision_function(rows)), 1).numpy()
    np.testing.assert_allclose(answers[:, list(classes)], own, atol=1e-4)
    assert answers.sum(1) == pytest.approx(1)
    assert (np.delete(answers, list(classes), axis=1) < np.exp(-FAR_BELOW) * 1.001).all()
    assert (again.predict(rows) == logits.argmax(1).numpy()).all()


def test_a_network_that_does_not_answer_as_the_estimator_is_refused(digits):
    fitted = trained(digits, "logistic-regression", "lbfgs")
    rows = rows_of(fitted, digits.x_train)
    other = SGDClassifier(loss="log_loss", random_state=0).fit(rows, digits.y_train)
    with torch.no_grad():
        logits = fitted.module(torch.from_numpy(np.array(digits.x_train)))
    with pytest.raises(ModelError, match="rebuilt from SGDClassifier answers otherwise"):
        check_same(logits, other, rows, against_rest=False)


def test_a_kept_state_gives_the_same_network_back(digits):
    fitted = trained(
        digits, "mlp-classifier", "adam", epochs=5, kwargs={"hidden_layer_sizes": [7, 5], "activation": "tanh"}
    )
    recipe = Recipe(
        estimator="mlp-classifier",
        optimizer="adam",
        epochs=5,
        kwargs={"hidden_layer_sizes": [7, 5], "activation": "tanh"},
    )
    again = build(recipe, digits.facts())
    again.load_state_dict(fitted.state)
    x = torch.from_numpy(np.array(digits.x_test))
    assert torch.equal(again.eval()(x), fitted.module(x))


def test_no_margin_of_one_against_the_rest_is_flat_where_two_classes_are_certain(digits):
    fitted = trained(digits, "sgd-classifier", "optimal", epochs=10)
    x = torch.from_numpy(np.array(digits.x_test)).requires_grad_()
    best = fitted.module(x).topk(2).values
    assert bool((best > 20).all(1).any())  # both sigmoids are 1 in float32, and the slopes of their logarithms tiny
    (best[:, 0] - best[:, 1]).sum().backward()
    assert float(x.grad.abs().sum(1).min()) > 1


@pytest.mark.parametrize(("name", "solver_name"), WAYS)
def test_the_same_seed_gives_the_same_bits_on_any_number_of_threads(name, solver_name, digits):
    one = trained(digits, name, solver_name, epochs=4)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    np.random.seed(3)  # noqa: NPY002  # whatever the global generator holds
    try:
        two = trained(digits, name, solver_name, epochs=4)
    finally:
        torch.set_num_threads(threads)
    assert one.state.keys() == two.state.keys()
    assert all(torch.equal(one.state[k], two.state[k]) for k in one.state)
    assert one.curve == two.curve


def test_paired_solvers_start_from_the_same_seed_and_other_seeds_from_others(digits):
    recipes = [Recipe(estimator="mlp-classifier", optimizer=s, epochs=1) for s in ("sgd", "adam")]
    assert {made_by(r, 0.01, 11, 100).random_state for r in recipes} == {11}
    first, other = (trained(digits, "mlp-classifier", "adam", seed=s, epochs=2) for s in (0, 1))
    assert not torch.equal(first.state["net.layers.1.weight"], other.state["net.layers.1.weight"])


def test_settings_rate_batches_and_epochs_reach_the_estimator():
    recipe = Recipe(
        estimator="mlp-classifier",
        optimizer="sgd",
        epochs=17,
        batch_size=32,
        settings={"alpha": 0.5, "momentum": 0, "n_iter_no_change": 3},
        kwargs={"hidden_layer_sizes": [9]},
    )
    said = made_by(recipe, 0.25, 4, 1000).get_params()
    told = {"solver": "sgd", "alpha": 0.5, "momentum": 0, "n_iter_no_change": 3, "learning_rate_init": 0.25}
    told |= {"batch_size": 32, "max_iter": 17, "random_state": 4, "hidden_layer_sizes": (9,), "early_stopping": False}
    assert {k: said[k] for k in told} == told
    steps = made_by(Recipe(estimator="sgd-classifier", optimizer="constant", epochs=3), 0.5, 4, 9).get_params()
    assert (steps["loss"], steps["learning_rate"], steps["eta0"]) == ("log_loss", "constant", 0.5)


def test_iterations_and_steps_are_counted_and_what_was_warned_of_is_kept(digits):
    short = trained(digits, "mlp-classifier", "adam", epochs=3, batch_size=100)
    assert (short.epochs, short.steps) == (3, 36)
    assert short.curve[0]["samples"] == 3600
    assert "Maximum iterations (3) reached" in short.said[0]
    newton = trained(digits, "logistic-regression", "newton-cholesky", epochs=50)
    assert newton.epochs < 50
    assert (newton.steps, newton.learning_rate, newton.said) == (None, None, ())


@pytest.mark.filterwarnings("error")
def test_nothing_that_scikit_learn_warns_of_reaches_the_console(digits):
    assert trained(digits, "logistic-regression", "lbfgs", epochs=2).said


@pytest.mark.parametrize(("name", "solver_name"), [("mlp-classifier", "sgd"), ("sgd-classifier", "constant")])
def test_a_training_whose_numbers_are_no_longer_finite_is_kept_as_diverged(name, solver_name, digits):
    fitted = trained(digits, name, solver_name, epochs=4, rate=1e200)
    assert fitted.module is None
    assert fitted.state == {}
    assert fitted.curve == ()
    assert fitted.holdout_loss is None
    assert fitted.diverged_at >= 1


def test_the_loss_of_rows_held_back_is_that_of_the_network(digits):
    fitted = trained(digits, "logistic-regression", "lbfgs", holdout=0.25)
    rows = parts(Fit(recipe=Recipe(estimator="x", optimizer="x", epochs=1), holdout=0.25), digits, Seeds(5, 0))
    x, y = (np.array(part) for part in (rows.x_holdout[:], rows.y_holdout))
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(fitted.module(torch.from_numpy(x)).double(), torch.from_numpy(y))
    assert fitted.holdout_loss == pytest.approx(float(loss), rel=1e-9)
    assert len(y) == 300


def test_a_declared_change_of_the_data_reaches_the_estimator(digits):
    change = Change(function="auditor.attacks.poisoning.flips:flip_labels", parameters={"rate": 0.4})
    flipped = trained(digits, "logistic-regression", "newton-cg", change=change)
    clean = trained(digits, "logistic-regression", "newton-cg")
    accuracies = [(predicted(f, digits.x_test) == digits.y_test).mean() for f in (clean, flipped)]
    assert accuracies[0] - accuracies[1] > 0.05


def test_rows_of_a_single_class_are_no_task(digits):
    with pytest.raises(DataError, match="are of one class: a classifier needs two"):
        trained(of(digits, (3,)), "logistic-regression", "lbfgs")


def test_a_solver_that_gave_up_for_another_is_not_called_by_its_own_name():
    rng = np.random.default_rng(0)
    column = rng.uniform(0, 1, (60, 1)).astype(np.float32)
    x, y = np.repeat(column, 2, axis=1), (np.arange(60) % 2)
    data = Dataset("twice", x, y, x, y, ("a", "b"), Domain.unit((2,)))
    with pytest.raises(ModelError, match=r"newton-cholesky gave up and scikit-learn went on by lbfgs, .* smaller C"):
        trained(data, "logistic-regression", "newton-cholesky", settings={"C": 1e300})
    assert estimating._check_kept_to(Recipe(optimizer="lbfgs", epochs=1), ("it will resort to lbfgs",)) is None


def test_images_are_normalised_by_channel_as_for_networks_trained_here(digits):
    x = np.array(digits.x_train).reshape(-1, 1, 8, 8)
    data = Dataset("images", x, digits.y_train, x[:10], digits.y_train[:10], digits.classes, Domain.unit((1, 8, 8)))
    fitted = trained(data, "logistic-regression", "newton-cg", epochs=20)
    assert float(fitted.module.mean) == pytest.approx(float(x.mean()), rel=1e-5)
    assert float(fitted.module.deviation) == pytest.approx(float(x.std()), rel=1e-5)
    assert (predicted(fitted, x) == digits.y_train).mean() > 0.98


def test_names_nobody_knows_are_told_with_the_nearest_and_what_it_is():
    with pytest.raises(UnknownNameError, match=r"'mlp'; did you mean 'mlp-classifier'\? .*: sgd, adam, lbfgs"):
        estimator("mlp")
    with pytest.raises(UnknownNameError, match=r"solver of mlp-classifier 'adamw'; did you mean 'adam'\? adam: alpha"):
        solver(estimator("mlp-classifier"), "adamw")
    with pytest.raises(ConfigError, match="liblinear cannot tell more than two classes apart"):
        solver(estimator("logistic-regression"), "liblinear")


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("sgd", {"beta_1": 0.9}, r"unknown setting of sgd 'beta_1'"),
        ("sgd", {"momentum": 1.5}, r"sgd: momentum is 1.5; it must be a number from 0 to 1"),
        ("adam", {"beta_2": 1.0}, r"beta_2 is 1; it must be a number from 0 to below 1"),
        ("adam", {"epsilon": 0}, r"epsilon is 0; it must be a number above 0"),
        ("adam", {"n_iter_no_change": 2.5}, r"n_iter_no_change is 2.5; it must be a whole number from 1 on"),
        ("sgd", {"nesterovs_momentum": 1.0}, r"nesterovs_momentum is 1.0; it must be true or false"),
        ("sgd", {"alpha": -1}, r"alpha is -1; it must be finite and not negative"),
        ("adam", {"learning_rate_init": 0.1}, r"learning_rate_init is no setting .*: say `learning_rate` beside"),
        ("adam", {"max_iter": 10}, r"max_iter is no setting of the solver adam: say `epochs`"),
    ],
)
def test_settings_that_a_solver_cannot_have_are_refused(name, given, message):
    with pytest.raises((UnknownNameError, ConfigError), match=message):
        check_settings(solver(estimator("mlp-classifier"), name), given)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("mlp-classifier", {"hidden": [3]}, r"unknown keyword of mlp-classifier 'hidden'; did you mean 'hidden_layer"),
        ("mlp-classifier", {"hidden_layer_sizes": [0]}, r"hidden_layer_sizes is \[0\]; it must be a list of whole"),
        ("mlp-classifier", {"activation": "rleu"}, r"unknown activation 'rleu'; did you mean 'relu'"),
        ("logistic-regression", {"hidden_layer_sizes": [3]}, r"unknown keyword of logistic-regression"),
    ],
)
def test_shapes_that_an_estimator_cannot_have_are_refused(name, given, message):
    with pytest.raises((UnknownNameError, ConfigError), match=message):
        check_kwargs(estimator(name), given)


def test_a_rate_where_none_acts_and_none_where_one_is_needed_are_refused(digits):
    with pytest.raises(ConfigError, match=r"lbfgs: .*no learning rate; the learning rate given is 0.1"):
        trained(digits, "logistic-regression", "lbfgs", rate=0.1)
    recipe = Recipe(estimator="mlp-classifier", optimizer="adam", epochs=1)
    with pytest.raises(ConfigError, match="the learning rate given is None"):
        made_by(recipe, None, 0, 10)


def test_the_defaults_written_here_are_those_of_scikit_learn():
    for kind in ESTIMATORS.values():
        module, _, name = kind.path.partition(":")
        own = getattr(importlib.import_module(module), name)().get_params()
        for one in kind.solvers.values():
            assert {k: own[k] for k in one.settings} == dict(one.settings), one.name
        assert {k: own[k] for k in kind.kwargs} == dict(kind.kwargs)


def test_a_network_of_an_estimator_has_the_shape_of_its_keywords():
    made = network("mlp-classifier", {"hidden_layer_sizes": [4, 3]}, (2, 5, 5), 6)
    assert [tuple(p.shape) for p in made.parameters() if p.ndim == 2] == [(4, 50), (3, 4), (6, 3)]


def test_training_and_building_leave_the_global_random_state_as_it_was(digits):
    before = torch.get_rng_state()
    build(Recipe(estimator="mlp-classifier", optimizer="adam", epochs=1), digits.facts())
    trained(digits, "mlp-classifier", "adam", epochs=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_was_warned_of_is_kept_without_advice_that_is_longer_than_it(digits):
    fitted = trained(digits, "logistic-regression", "lbfgs", epochs=2)
    assert fitted.said == (
        "lbfgs failed to converge after 2 iteration(s) (status=1): STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT",
    )
    assert trained(digits, "logistic-regression", "newton-cholesky").said == ()


def test_a_root_seed_of_any_length_gives_a_seed_that_scikit_learn_takes(digits):
    recipe = Recipe(estimator="mlp-classifier", optimizer="adam", epochs=1)
    for root in (0, 2**32, 2**61 + 1):
        assert fit_estimator(Fit(recipe=recipe), digits, seeds=Seeds(root, 3), learning_rate=0.01).module is not None
