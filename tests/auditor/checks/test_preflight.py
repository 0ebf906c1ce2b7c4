"""Preflight catches each way to audit another model than the one that is meant, and accuses no sound one."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from auditor.checks import feeding, plausibility
from auditor.checks.examination import Asked
from auditor.checks.preflight import FLAGS, Preflight
from auditor.checks.steadiness import gradient
from auditor.dataset import Dataset, Domain
from auditor.datasets import load
from auditor.datasets.spec import DataConfig
from auditor.errors import ConfigError
from auditor.probe import Case, Outcome
from auditor.recipe import Fit, Recipe
from auditor.record import DatasetRecord
from auditor.seeds import Seeds
from auditor.statistics import clopper_pearson
from auditor.subject import Access, Outputs
from auditor.subjects.preparation import preparation
from auditor.subjects.sklearn_subject import SklearnSubject
from auditor.subjects.spec import Load
from auditor.subjects.torch_subject import TorchSubject
from auditor.training.loop import fit


@cache
def data(name: str = "digits") -> Dataset:
    return load(DataConfig(source=name), Path())


@cache
def net(name: str = "digits", optimizer: str = "adamw", epochs: int = 8) -> nn.Module:
    recipe = Recipe(architecture="mlp", kwargs={"hidden": [32]}, optimizer=optimizer, learning_rate=0.01, epochs=epochs)
    return fit(Fit(recipe=recipe), data(name), seeds=Seeds(3), learning_rate=0.01).trained


class Behind(nn.Module):
    """A network behind a function of its inputs, or before one of its outputs."""

    def __init__(self, inner: nn.Module, function: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inner = inner
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self.inner, x)


def preflight(
    function: Callable[[nn.Module, torch.Tensor], torch.Tensor] = lambda m, x: m(x),
    name: str = "digits",
    outputs: Outputs = "logits",
    declared: dict[str, Any] | None = None,
    expected: float | None = None,
    **parameters: int,
) -> Outcome:
    on = data(name)
    spec = Load(format="torchscript", path="net.pt", **(declared or {}))
    subject = TorchSubject(
        Behind(net(name), function),
        classes=len(on.classes),
        shape=on.shape,
        outputs=outputs,
        preparation=preparation(spec, facts(name)),
    )
    return asked(subject, on, expected, **parameters)


def facts(name: str) -> DatasetRecord:
    return data(name).facts()


def asked(subject: Any, on: Dataset, expected: float | None = None, **parameters: int) -> Outcome:
    probe = Preflight(**parameters)
    return probe.run(Case(probe, "net", subject, on, Seeds(3), expected_accuracy=expected))


def flags(outcome: Outcome) -> dict[str, str]:
    return {c.flag: c.severity for c in outcome.caveats}


def evidence(outcome: Outcome, flag: str) -> str:
    return next(c.evidence for c in outcome.caveats if c.flag == flag)


def shares(outcome: Outcome) -> dict[str, float]:
    return {m.metric: m.value for m in outcome.measurements}


@pytest.mark.parametrize("name", ["digits", "breast-cancer", "wine"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_sound_network_is_not_accused(name: str, optimizer: str) -> None:
    on = data(name)
    found = asked(TorchSubject(net(name, optimizer, 20), classes=len(on.classes), shape=on.shape), on)
    assert flags(found) == {}
    assert shares(found) == {"repeatable": 1.0, "alone_equals_batch": 1.0, "agreement": 1.0}


@pytest.mark.parametrize("name", ["digits", "breast-cancer", "wine"])
def test_sound_classifiers_of_scikit_learn_are_not_accused(name: str) -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeClassifier

    on = data(name)
    flat = on.x_train.reshape(len(on.x_train), -1)
    for made in (
        LogisticRegression(max_iter=2000),
        RandomForestClassifier(20, random_state=0),
        DecisionTreeClassifier(),
    ):
        subject = SklearnSubject(made.fit(flat, on.y_train), classes=len(on.classes), shape=on.shape)
        assert flags(asked(subject, on)) == {}, type(made).__name__


def test_shares_are_of_the_rows_asked_with_exact_intervals() -> None:
    found = preflight(samples=100, alone=7)
    whole, single, _ = found.measurements
    assert (whole.n, single.n) == (100, 7)
    assert (single.low, single.high) == clopper_pearson(7, 7)
    assert found.samples is not None
    assert np.isnan(found.samples.columns["held"][:, 1]).sum() == 93


def test_a_model_that_takes_bytes_is_told_to_declare_its_range() -> None:
    found = preflight(lambda m, x: m(x / 255))
    assert flags(found)["range_mismatch"] == "invalid"
    assert evidence(found, "range_mismatch").endswith(": declare load.input_range: [0, 255]")
    assert "range_mismatch" not in flags(preflight(lambda m, x: m(x / 255), declared={"input_range": [0, 255]}))


def test_a_model_that_takes_minus_one_to_one_is_told_to_declare_its_range() -> None:
    found = preflight(lambda m, x: m((x + 1) / 2), name="breast-cancer")
    assert evidence(found, "range_mismatch").endswith(": declare load.input_range: [-1, 1]")


def test_a_model_fitted_on_standardised_rows_is_told_their_mean_and_deviation() -> None:
    on = data("breast-cancer")
    mean, deviation = on.x_train.mean(axis=0), on.x_train.std(axis=0)
    m, s = torch.tensor(mean), torch.tensor(deviation)
    found = preflight(lambda net, x: net(x * s + m), name="breast-cancer")
    told = evidence(found, "range_mismatch")
    assert f"declare load.normalisation: {{mean: [{float(f'{mean[0]:.6g}'):g}, " in told
    assert f"std: [{float(f'{deviation[0]:.6g}'):g}, " in told


def test_a_preparation_that_should_not_be_declared_is_to_be_removed() -> None:
    found = preflight(name="breast-cancer", declared={"normalisation": {"mean": [3.0], "std": [0.02]}})
    told = evidence(found, "range_mismatch")
    assert told.endswith(": remove load.input_range and load.normalisation")


def test_a_network_for_photographs_is_told_their_usual_mean_and_deviation() -> None:
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    on = data()
    x = [np.repeat(part, 3, axis=1) for part in (on.x_train, on.x_test)]
    rgb = Dataset("rgb", x[0], on.y_train, x[1], on.y_test, on.classes, Domain.unit((3, 8, 8)))

    def photographs(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        grey = x * std + mean  # all channels are alike, where they are fed as they should be
        odd = (grey.amax(dim=1) - grey.amin(dim=1)).amax(dim=(1, 2)) > 1e-3
        return torch.where(odd[:, None], m(1 - grey[:, :1]), m(grey[:, :1]))

    found = asked(TorchSubject(Behind(net(), photographs), classes=10, shape=(3, 8, 8)), rgb)
    declared = "declare load.normalisation: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}"
    assert evidence(found, "range_mismatch").endswith(declared)


@pytest.mark.parametrize("seed", [36, 38, 42])
def test_a_poor_model_that_does_better_when_fed_otherwise_is_not_void(seed: int) -> None:
    from sklearn.linear_model import SGDClassifier

    on = data("breast-cancer")
    poor = SGDClassifier(random_state=seed, max_iter=3, tol=None).fit(on.x_train, on.y_train)
    assert flags(asked(SklearnSubject(poor, classes=2, shape=on.shape), on)) == {"range_mismatch": "suspicious"}


def test_a_model_that_finds_a_rare_class_is_not_accused_of_chance() -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(600) % 20 == 0).astype(np.int64)
    for asked_right, told in ((0.8, True), (0.5, False)):
        right = rng.random(600) < asked_right
        assert plausibility.tells_classes_apart(y, right) is told
    assert not plausibility.tells_classes_apart(y, y == 0)


def test_classes_in_another_order_are_found_and_named_as_they_are_to_be_declared() -> None:
    order = torch.tensor([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    found = preflight(lambda m, x: m(x)[:, order])
    assert flags(found)["class_order"] == "invalid"
    assert evidence(found, "class_order").endswith("declare load.classes: [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]")
    declared = {"classes": [str(k) for k in order.tolist()]}
    assert "class_order" not in flags(preflight(lambda m, x: m(x)[:, order], declared=declared))


def test_a_wrong_order_on_top_of_another_is_named_as_a_whole() -> None:
    order = torch.tensor([2, 0, 1])
    right = preflight(lambda m, x: m(x)[:, order], name="wine", declared={"classes": ["class_1", "class_0", "class_2"]})
    assert "declare load.classes: [class_2, class_0, class_1]" in evidence(right, "class_order")
    needless = preflight(name="wine", declared={"classes": ["class_1", "class_0", "class_2"]})
    assert "remove load.classes" in evidence(needless, "class_order")


def test_two_swapped_classes_of_ten_are_found() -> None:
    y = np.arange(250) % 10
    for swapped, right in (([1, 0, *range(2, 10)], 230), (list(range(10)), 200)):
        labels = np.where(np.arange(250) < right, np.array(swapped)[y], (y + 3) % 10)
        order = plausibility.believed_order(y, labels, 10)
        assert (order is None) if swapped == sorted(swapped) else (order is not None and list(order) == swapped)


def test_an_order_in_which_most_is_still_wrong_is_not_believed() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(400) % 10
    labels = np.where(rng.random(400) < 0.35, (y + 1) % 10, rng.integers(0, 10, 400))
    assert plausibility.believed_order(y, labels, 10) is None


def test_labels_that_start_at_one_are_suspected() -> None:
    found = preflight(lambda m, x: m(x).roll(1, dims=1))
    assert evidence(found, "class_order").endswith("[9, 0, 1, 2, 3, 4, 5, 6, 7, 8] (labels that start at 1?)")


def test_an_order_that_only_fits_the_noise_is_not_believed() -> None:
    rng = np.random.default_rng(0)
    for classes in (2, 3, 10):
        for _ in range(200):
            y, labels = rng.integers(0, classes, 60), rng.integers(0, classes, 60)
            assert plausibility.believed_order(y, labels, classes) is None


def test_dropout_at_evaluation_is_randomness_and_nothing_else() -> None:
    found = preflight(lambda m, x: nn.functional.dropout(m(x), 0.3, training=True))
    assert flags(found)["stochastic"] == "suspicious"
    assert {"batch_dependent", "parity"}.isdisjoint(flags(found))
    assert shares(found)["repeatable"] < 0.1


def test_an_answer_that_depends_on_its_batch_is_invalid() -> None:
    found = preflight(lambda m, x: m(x) - m(x).mean(dim=0))
    assert flags(found)["batch_dependent"] == "invalid"
    assert shares(found)["alone_equals_batch"] == 0
    assert shares(found)["repeatable"] == 1


def test_gradients_that_are_zero_are_told() -> None:
    assert flags(preflight(lambda m, x: m(torch.round(x * 4) / 4))) == {"gradient_path": "suspicious"}


def test_gradients_that_are_cut_off_are_told_where_they_were_promised() -> None:
    on = data()
    module = Behind(net(), lambda m, x: torch.tensor(m(x.detach()).detach().numpy()))
    promised = TorchSubject(module, classes=10, shape=on.shape, extra_access=frozenset({Access.GRADIENTS}))
    check = gradient(Asked.of(promised, on, np.arange(50)))
    assert (check.verdict, check.severity, check.found) == (
        "problem",
        "info",
        "the outputs are cut off from the inputs",
    )


def test_a_model_that_shows_no_gradients_is_not_accused_of_it() -> None:
    from sklearn.linear_model import LogisticRegression

    on = data("wine")
    subject = SklearnSubject(LogisticRegression().fit(on.x_train, on.y_train), classes=3, shape=on.shape)
    assert gradient(Asked.of(subject, on, np.arange(50))).verdict == "unknown"


def test_large_logits_saturate_nothing() -> None:
    assert flags(preflight(lambda m, x: 1000 * m(x))) == {}


def test_outputs_that_are_no_numbers_are_told() -> None:
    found = preflight(lambda m, x: torch.where(m(x) > 0, m(x), torch.nan))
    assert flags(found)["non_finite"] == "suspicious"
    assert shares(found)["repeatable"] == 1


def test_outputs_of_another_type_than_declared_are_told() -> None:
    found = preflight(lambda m, x: m(x).softmax(1))
    assert "declare outputs: probabilities" in evidence(found, "output_type")


def test_the_same_answer_to_everything_is_told() -> None:
    found = flags(preflight(lambda m, x: m(0 * x)))
    assert {"constant_outputs", "class_never_named", "accuracy_unexpected"} <= found.keys()


def test_an_adapter_that_names_other_classes_than_the_model_is_invalid() -> None:
    class Mistaken(TorchSubject):
        def bare_labels(self, x: np.ndarray) -> np.ndarray:
            return (super().bare_labels(x) + (np.arange(len(x)) % 10 == 0)) % 10

    on = data()
    found = asked(Mistaken(net(), classes=10, shape=on.shape), on, samples=100)
    assert flags(found) == {"parity": "invalid"}
    assert shares(found)["agreement"] == 0.9


def test_an_expected_accuracy_is_held_against_all_test_rows() -> None:
    on = data()
    right = float((TorchSubject(net(), classes=10, shape=on.shape).predict(on.x_test).argmax(1) == on.y_test).mean())
    low, _ = clopper_pearson(round(right * len(on.y_test)), len(on.y_test))
    assert flags(preflight(expected=right)) == flags(preflight(expected=low + 1e-6)) == {}
    found = preflight(expected=low - 0.001)
    assert flags(found) == {"accuracy_unexpected": "suspicious"}
    assert f"{right:.3f} [{low:.3f}, " in evidence(found, "accuracy_unexpected")
    assert f"on {len(on.y_test)} rows, expected {low - 0.001:.3f}" in evidence(found, "accuracy_unexpected")


def test_labels_that_leave_class_0_out_are_told() -> None:
    on = data("wine")
    shifted = Dataset("shifted", on.x_train, on.y_train + 1, on.x_test, on.y_test + 1, ("none", *on.classes), on.domain)
    check = plausibility.numbering(shifted)
    assert (check.verdict, check.found) == ("problem", "no row has label 0 (none)")
    assert plausibility.numbering(on).verdict == "ok"


def test_a_model_that_refuses_other_inputs_is_not_accused_of_it() -> None:
    def strict(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if bool((x.detach() > 1).any() or (x.detach() < 0).any()):
            raise ValueError("inputs are within [0, 1]")
        return m(x * 0.02)

    on = data()
    found = feeding.best(Asked.of(TorchSubject(Behind(net(), strict), classes=10, shape=on.shape), on, np.arange(100)))
    assert found is None


def test_every_check_has_the_name_of_a_caveat() -> None:
    found = preflight(lambda m, x: nn.functional.dropout(m(0 * x), 0.5, training=True).softmax(1), outputs="labels")
    assert {c.flag for c in found.caveats} <= set(FLAGS.values())


@pytest.mark.parametrize("name", ["samples", "alone"])
def test_a_preflight_of_no_rows_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"preflight: {name} is 0; it must be at least 1"):
        Preflight(**{name: 0})
