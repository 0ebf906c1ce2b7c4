"""The arms of a comparison: one optimizer twice, ablations with their own searches, starts, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from auditor.ablations import parent_of
from auditor.auditing import Options, planned
from auditor.config import load_audit
from auditor.errors import AuditorError
from auditor.pairs import pairs
from auditor.plan import Plan
from auditor.recipe import Recipe, Tuned
from auditor.subjects.weights import save_state

Make = Callable[[str], Plan]
TRAIN = "{architecture: mlp, kwargs: {hidden: [8]}, optimizers: [sgd, adamw], seeds: 2, epochs: 20, tune: off}"
START = "{kwargs: {hidden: [8]}, optimizers: [sgd], seeds: 2, epochs: 20, tune: off, "


@pytest.fixture
def make(write_audit: Any, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Plans the tiny audit with another train section."""
    store = tmp_path_factory.getbasetemp() / "arms-store"
    return lambda train: planned(load_audit(write_audit((TRAIN, train))), Options(store=store))


def recipes(plan: Plan) -> dict[str, Recipe]:
    """The recipe of each group."""
    return {s.group: s.recipe for s in plan.subjects if s.recipe is not None}


def search(plan: Plan, group: str) -> str:
    """The identity of the search for a group's learning rate."""
    unit = next(plan.units[s.unit] for s in plan.subjects if s.group == group)
    return unit.inputs[0]


def test_one_optimizer_stands_twice_under_names_of_its_own(make: Make) -> None:
    plan = make(
        "{optimizers: [sgd, {name: sgd, as: sgd-flat, schedule: constant, batch_size: 16, warmup: 0.1}], seeds: 1}"
    )
    found = recipes(plan)
    assert list(found) == ["mlp/sgd", "mlp/sgd-flat"]
    assert {s.optimizer for s in plan.subjects} == {"sgd"}
    flat = found["mlp/sgd-flat"]
    assert (flat.schedule, flat.batch_size, flat.warmup) == ("constant", 16, 0.1)
    assert (found["mlp/sgd"].schedule, found["mlp/sgd"].batch_size, found["mlp/sgd"].warmup) == ("cosine", 64, 0.0)


def test_an_ablation_is_its_arm_but_for_what_it_names(make: Make) -> None:
    found = recipes(
        make(
            "{optimizers: [sgd, adamw], seeds: 1, clip: 2, augment: [{noise: 0.1}], ablations: ["
            "{name: constant, schedule: constant}, {name: bare, clip: off, augment: []}, {name: big, batch_size: 128}]}"
        )
    )
    assert list(found) == [
        *("mlp/sgd", "mlp/adamw", "mlp/sgd~constant", "mlp/adamw~constant"),
        *("mlp/sgd~bare", "mlp/adamw~bare", "mlp/sgd~big", "mlp/adamw~big"),
    ]
    plain = found["mlp/adamw"]
    assert found["mlp/adamw~constant"] == plain.model_copy(update={"schedule": "constant"})
    assert found["mlp/adamw~bare"] == plain.model_copy(update={"clip": None, "augment": ()})
    assert found["mlp/adamw~big"] == plain.model_copy(update={"batch_size": 128})


def test_an_ablation_of_settings_is_for_the_optimizers_that_have_them_and_change_by_it(make: Make) -> None:
    found = recipes(
        make(
            "{optimizers: [sgd, {name: sgd, as: still, settings: {momentum: 0, nesterov: false}}, adam], seeds: 1, "
            "ablations: [{name: no-momentum, settings: {momentum: 0, nesterov: false}}]}"
        )
    )
    assert [group for group in found if "~" in group] == ["mlp/sgd~no-momentum"]
    assert found["mlp/sgd~no-momentum"].settings == {"momentum": 0, "nesterov": False}


def test_an_ablation_is_tuned_anew_or_takes_over_the_rate_of_its_arm(make: Make) -> None:
    plan = make(
        "{optimizers: [sgd], seeds: 2, tune: {grid: [0.01, 0.1], extend: 0}, ablations: ["
        "{name: anew, schedule: constant}, {name: same, schedule: constant, tune: inherit}, "
        "{name: fixed, schedule: constant, learning_rate: 0.5}]}"
    )
    found = recipes(plan)
    assert search(plan, "mlp/sgd~same") == search(plan, "mlp/sgd")
    assert search(plan, "mlp/sgd~anew") != search(plan, "mlp/sgd")
    assert found["mlp/sgd~fixed"].learning_rate == 0.5
    assert isinstance(found["mlp/sgd~anew"].learning_rate, Tuned)
    trials = [plan.units[i].spec["fit"]["recipe"]["schedule"] for i in plan.units[search(plan, "mlp/sgd~anew")].inputs]
    assert trials == ["constant", "constant"]
    assert sum(u.kind == "tune" for u in plan.units.values()) == 2


def test_adding_an_ablation_changes_no_other_unit(make: Make) -> None:
    more = make(TRAIN.replace("tune: off", "tune: off, ablations: [{name: flat, schedule: constant}]"))
    assert set(make(TRAIN).units) < set(more.units)


def test_every_ablation_is_compared_with_its_own_arm_and_arms_with_the_reference(make: Make) -> None:
    plan = make(TRAIN.replace("tune: off", "tune: off, ablations: [{name: flat, schedule: constant}]"))
    found = pairs(plan.subjects, "mlp/adamw")
    assert found == [("mlp/adamw", "mlp/sgd"), ("mlp/sgd", "mlp/sgd~flat"), ("mlp/adamw", "mlp/adamw~flat")]


def test_the_parent_of_a_group_is_read_off_its_name() -> None:
    assert parent_of("cnn/sgd~flat") == "cnn/sgd"
    assert parent_of("cnn/sgd~flat@int8") == "cnn/sgd@int8"
    assert parent_of("cnn/sgd@int8") is None


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            "{optimizers: [sgd, sgd]}",
            "mlp/sgd is named twice; give one of them a name of its own: {name: sgd, as: sgd-2}",
        ),
        ("{optimizers: [adam, {name: sgd, as: adam}]}", "mlp/adam is named twice"),
        ("{optimizers: [{name: sgd, as: a/b}]}", "optimizers.0.as: String should match pattern"),
        ("{optimizers: [{name: sgd, as: a~b}]}", "optimizers.0.as: String should match pattern"),
        ("{warmup: 1}", "warmup: Input should be less than 1 (found 1)"),
        ("{clip: 0}", "clip: Input should be greater than 0 (found 0)"),
        ("{optimizers: [{name: sgd, clip: 0}]}", "a number above 0, or `off` for none (found 0)"),
        ("{optimizers: [{name: sgd, clip: none}]}", "a number above 0, or `off` for none (found 'none')"),
        ("{schedule: cosin}", "unknown value 'cosin'; did you mean 'cosine'?"),
        ("{augment: [flip]}", "augment: flip is for images"),
        ("{augment: [{nois: 0.1}]}", "unknown part of augment 'nois'; did you mean 'noise'?"),
        ("{ablations: [{name: a, sched: constant}]}", "ablations.0.sched'; did you mean 'schedule'?"),
        ("{ablations: [{name: a}]}", "the ablation 'a' changes nothing: name learning_rate, settings, schedule"),
        ("{ablations: [{name: a, clip: 1}, {name: a, clip: 2}]}", "two ablations are called 'a'"),
        ("{ablations: [{name: a, schedule: cosine}]}", "the ablation 'a' changes nothing for any optimizer"),
        (
            "{ablations: [{name: a, settings: {momentun: 0}}]}",
            "unknown setting of the ablation a, for any of sgd, adamw 'momentun'; did you mean 'momentum'?",
        ),
        (
            "{ablations: [{name: a, settings: {momentum: 0}, optimizers: [adamw]}]}",
            "unknown setting of adamw 'momentum'",
        ),
        (
            "{ablations: [{name: a, clip: 1, optimizers: [adamv]}]}",
            "unknown optimizer of the ablation a 'adamv'; did you mean 'adamw'?",
        ),
        ("{ablations: [{name: a, schedule: cosine, optimizers: [sgd]}]}", "changes nothing for sgd: leave sgd out"),
        ("{ablations: [{name: a, learning_rate: 1, tune: inherit}]}", "has a learning_rate and would inherit one"),
        ("{optimizers: [lbfgs], clip: 1}", "lbfgs searches along a line"),
        ("{start: {path: nowhere.safetensors}}", "nowhere.safetensors does not exist; name the checkpoint's file"),
        ("{function: 'train:fit', clip: 1}", "clip belongs to the built-in training loop"),
    ],
)
def test_a_mistake_is_named_with_its_place_before_anything_runs(make: Make, train: str, message: str) -> None:
    with pytest.raises(AuditorError) as caught:
        make(train)
    assert message in str(caught.value)
    assert "audit.yaml:8: " in str(caught.value)
    assert caught.value.exit_code == 2


def weights(folder: Path, classes: int = 3, *, value: float = 0.1) -> None:
    """A checkpoint of the tiny audit's network."""
    state = {
        "1.weight": torch.full((8, 13), value),
        "1.bias": torch.zeros(8),
        "3.weight": torch.full((classes, 8), value),
        "3.bias": torch.zeros(classes),
    }
    save_state(state, folder / "pre.safetensors", {})


def test_a_start_is_known_by_the_content_of_its_file(make: Make, tmp_path: Path) -> None:
    train = START + "start: {path: pre.safetensors}}"
    weights(tmp_path)
    first = set(make(train).units)
    assert set(make(train).units) == first
    weights(tmp_path, value=0.2)
    assert not set(make(train).units) & first


def test_probes_that_retrain_start_from_the_same_weights(make: Make, tmp_path: Path) -> None:
    weights(tmp_path)
    plan = make(START + "start: {path: pre.safetensors}}")
    starts = [u.spec["fit"]["recipe"]["start"] for u in plan.units.values() if u.kind == "fit"]
    assert len(starts) > 2
    assert all(start == starts[0] and start["sha256"] for start in starts)


def test_a_start_of_other_shapes_is_refused_while_planning_unless_its_head_may_be_new(
    make: Make, tmp_path: Path
) -> None:
    weights(tmp_path, classes=5)
    with pytest.raises(AuditorError) as caught:
        make(START + "start: {path: pre.safetensors}}")
    assert "audit.yaml:8: train.start: pre.safetensors: 3.weight is (5, 8), the architecture has (3, 8)" in str(
        caught.value
    )
    assert len(make(START + "start: {path: pre.safetensors, head: new}}").subjects) == 2


def test_a_record_names_the_file_of_a_start_alone(tmp_path: Path) -> None:
    recipe = Recipe(optimizer="sgd", epochs=1, start={"path": str(tmp_path / "pre.safetensors")})
    assert recipe.stated()["start"]["path"] == "pre.safetensors"
    assert "seed" not in recipe.stated()


def test_channels_last_is_for_images_and_is_part_of_the_recipe(write_audit: Any) -> None:
    train = "{architecture: strided-cnn, optimizers: [sgd], seeds: 1, tune: off, layout: channels-last}"
    plan = lambda *changes: planned(load_audit(write_audit((TRAIN, train), *changes)), Options())  # noqa: E731
    assert recipes(plan(("wine", "digits")))["mlp/sgd"].layout == "channels-last"
    private = ("tune: off, ", "tune: off, objective: {name: dp, epsilon: 3}, ")
    with pytest.raises(AuditorError, match=r"audit.yaml:\d+: the objective dp takes .* remove layout"):
        plan(("wine", "digits"), private)
    with pytest.raises(AuditorError, match=r"channels-last is for images.*\(13,\)"):
        plan(("strided-cnn", "mlp"))
