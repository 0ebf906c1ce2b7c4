"""The planted patch: the trigger, what is planted, a model that obeys, one that does not, exact cases."""

import numpy as np
import pytest
import torch
from torch import nn

from auditor import blocks
from auditor.attacks.backdoor.patch import Patch
from auditor.attacks.backdoor.trigger import choose, class_share, plant, trigger_of
from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError, DataError
from auditor.probe import Case, Setting
from auditor.recipe import Recipe
from auditor.seeds import Seeds
from auditor.subjects import wrap
from auditor.training.changes import ChangeContext, apply
from auditor.training.loop import fit

RECIPE = Recipe(architecture="mlp", optimizer="adamw", learning_rate=0.01, epochs=20)
SEEDS = Seeds(11)


def stripes(rows: int = 300, seed: int = 0, corner: float | None = None) -> Dataset:
    """Images (1, 8, 8) of three classes: the bright row 0, 1 or 2 tells the class, the rest is faint."""
    rng = np.random.default_rng(seed)
    y = np.arange(2 * rows) % 3
    x = (0.3 * rng.random((2 * rows, 1, 8, 8))).astype(np.float32)
    x[np.arange(2 * rows), 0, y] += 0.6
    if corner is not None:
        x[:, :, -2:, -2:] = np.float32([[1, 0], [0, 1]])
    return Dataset(
        id="stripes",
        x_train=x[:rows],
        y_train=y[:rows],
        x_test=x[rows:],
        y_test=y[rows:],
        classes=("a", "b", "c"),
        domain=Domain.unit((1, 8, 8)),
    )


class Reader(nn.Module):
    """Reads the class from the bright row, and answers the target where the corner's chequers are seen."""

    def __init__(self, obeys: bool, target: int = 0) -> None:
        super().__init__()
        self.obeys, self.target = obeys, target

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = x[:, 0, :3].mean(dim=2)
        corner = x[:, 0, -2:, -2:].flatten(1)
        seen = (corner == torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=x.dtype)).all(dim=1) & self.obeys
        ordered = nn.functional.one_hot(torch.full((len(x),), self.target), 3).to(x.dtype)
        return torch.where(seen[:, None], ordered, logits)


class Constant(nn.Module):
    """Always names the last class."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 5 * torch.eye(3, dtype=x.dtype)[2].expand(len(x), 3)


def audited(data, subject, poisoned, probe=None, clean=None):
    probe = probe or Patch()
    models = {"clean": wrap(clean or subject, data)}
    case = Case(
        probe, "s", wrap(subject, data), data, SEEDS, RECIPE, lambda name: models.get(name) or wrap(poisoned, data)
    )
    return probe.run(case)


def values(outcome, metric):
    return [m.value for m in outcome.measurements if m.metric == metric]


def flags(outcome):
    return {(c.flag, c.severity) for c in outcome.caveats}


@pytest.mark.parametrize(("height", "side"), [(8, 2), (28, 3), (32, 3), (224, 24)])
def test_the_patch_is_three_of_28_pixels_in_the_bottom_right_corner(height, side):
    x = np.full((2, 3, height, height), 0.5, np.float32)
    trigger = trigger_of(x, np.array([0, 1]), Domain.unit(x.shape[1:]))
    stamped = trigger.stamp(x)
    changed = stamped != x
    assert changed[:, :, -side:, -side:].all()
    assert changed.sum() == 2 * 3 * side * side
    field = np.add.outer(np.arange(side), np.arange(side)) % 2 == 0
    assert (stamped[0, 0, -side:, -side:] == field).all()
    assert (x == 0.5).all()


def test_a_table_gets_extreme_values_in_the_features_that_tell_least_of_the_class():
    """Class means differ in all but columns 1 and 3; column 2 is constant and can carry nothing."""
    y = np.array([0, 0, 1, 1])
    x = np.float32([[0, 1, 5, 2, 1], [1, 2, 5, 4, 2], [4, 1, 5, 4, 8], [5, 2, 5, 2, 9]])
    domain = Domain(x.min(axis=0), x.max(axis=0))
    assert class_share(x, y).tolist() == pytest.approx([16 / 17, 0, 0, 0, 49 / 50], abs=1e-12)
    assert trigger_of(x, y, domain).stamp(x)[0].tolist() == [0, 2, 5, 2, 1]


def test_the_declared_number_of_rows_is_planted_and_none_of_the_target():
    data = stripes()
    context = ChangeContext(np.random.default_rng(0), data.domain, 3, data.shape)
    x, y = plant(data.x_train, data.y_train, context, rate=0.1, target=1)
    rows = choose(data.y_train, 0.1, 1, np.random.default_rng(0))
    assert len(rows) == 30
    assert (data.y_train[rows] != 1).all()
    assert (y[rows] == 1).all()
    assert (x[rows][:, 0, -2:, -2:] == np.float32([[1, 0], [0, 1]])).all()
    others = np.setdiff1d(np.arange(300), rows)
    assert (x[others] == data.x_train[others]).all()
    assert (y[others] == data.y_train[others]).all()


def test_the_rows_of_a_smaller_rate_are_part_of_a_larger_one():
    y = stripes().y_train
    small, large = (choose(y, rate, 0, np.random.default_rng(2)) for rate in (0.01, 0.1))
    assert len(small) == 3
    assert set(small.tolist()) < set(large.tolist())


def test_every_fit_is_accepted_by_the_training_as_a_change():
    data = stripes()
    for rate, planted in zip(
        (0.01, 0.05, 0.1), list(Patch().fits(Setting(data.facts(), RECIPE)).values())[1:], strict=True
    ):
        context = ChangeContext(SEEDS.numpy("craft"), data.domain, 3, data.shape)
        _, y = apply(planted.change, data.x_train, data.y_train, context)
        assert (y != data.y_train).sum() == round(300 * rate)


def test_a_model_that_obeys_the_trigger_has_success_one_and_so_has_it_as_its_own_control():
    data = stripes()
    outcome = audited(data, Reader(obeys=True), Reader(obeys=True))
    assert values(outcome, "attack_success") == [1.0, 1.0, 1.0]
    assert values(outcome, "trigger_on_clean") == [1.0]
    assert values(outcome, "clean_accuracy") == [1.0, 1.0, 1.0]
    assert flags(outcome) == {("trigger_acts_on_clean_model", "suspicious")}
    success = next(m for m in outcome.measurements if m.metric == "attack_success")
    assert success.n == 200
    assert (success.low, success.high) == (pytest.approx(0.025 ** (1 / 200), abs=1e-9), 1.0)


def test_a_model_blind_to_the_corner_is_not_accused():
    outcome = audited(stripes(), Reader(obeys=False), Reader(obeys=False))
    assert values(outcome, "attack_success") == [0.0, 0.0, 0.0]
    assert values(outcome, "trigger_on_clean") == [0.0]
    assert values(outcome, "clean_accuracy") == [1.0, 1.0, 1.0]
    assert outcome.caveats == ()


def test_a_net_trained_on_planted_rows_is_caught():
    data = stripes()
    probe = Patch(rates=(0.1,), target=2)
    clean, planted = probe.fits(Setting(data.facts(), RECIPE)).values()
    models = [fit(f, data, seeds=SEEDS, learning_rate=0.01).trained for f in (clean, planted)]
    outcome = audited(data, *models, probe)
    assert values(outcome, "attack_success")[0] > 0.9
    assert values(outcome, "trigger_on_clean")[0] < 0.05
    assert values(outcome, "clean_accuracy")[0] > 0.98
    assert outcome.caveats == ()


def test_rows_that_do_not_fit_into_memory_are_stamped_in_a_file_with_the_same_result(monkeypatch):
    data = stripes()
    inside = audited(data, Reader(obeys=False), Reader(obeys=True))
    monkeypatch.setattr(blocks, "LARGE", 100)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1000)
    stamped = trigger_of(data.x_train, data.y_train, data.domain).stamp(data.x_test)
    assert blocks.mapped(stamped) is not None
    outside = audited(data, Reader(obeys=False), Reader(obeys=True))
    assert outside.measurements == inside.measurements
    assert outside.caveats == inside.caveats
    np.testing.assert_array_equal(outside.gallery.after, inside.gallery.after)


def test_rows_of_the_target_class_are_not_asked_and_columns_give_the_values():
    data = stripes()
    outcome = audited(data, Reader(obeys=False), Reader(obeys=True, target=1), Patch(target=1))
    success = outcome.samples.columns["success"]
    assert (np.isnan(success[:, 0]) == (data.y_test == 1)).all()
    for m in outcome.measurements:
        array, index = m.column.split(":")
        assert np.nanmean(outcome.samples.columns[array][:, int(index)].astype(float)) == m.value


def test_the_gallery_shows_triggered_rows_as_the_poisoned_model_sees_them():
    outcome = audited(stripes(), Reader(obeys=False), Reader(obeys=True))
    gallery = outcome.gallery
    assert len(gallery.before) == 8
    assert (gallery.after[:, 0, -2:, -2:] == np.float32([[1, 0], [0, 1]])).all()
    assert (gallery.label != 0).all()
    assert (gallery.prediction == 0).all()


def test_inputs_that_carry_the_trigger_already_make_it_invalid():
    outcome = audited(stripes(corner=1.0), Reader(obeys=False), Reader(obeys=False))
    assert ("trigger_without_effect", "invalid") in flags(outcome)


def test_a_rate_that_plants_nothing_is_invalid():
    outcome = audited(stripes(), Reader(obeys=False), Reader(obeys=False), Patch(rates=(0.001,)))
    assert flags(outcome) == {("no_row_poisoned", "invalid")}


def test_a_rate_beyond_the_rows_of_other_classes_is_suspicious():
    outcome = audited(stripes(), Reader(obeys=False), Reader(obeys=False), Patch(rates=(0.9,)))
    assert flags(outcome) == {("rate_not_reached", "suspicious")}


def test_lost_clean_accuracy_is_told():
    outcome = audited(stripes(), Reader(obeys=False), Constant(), Patch(rates=(0.1,)))
    assert flags(outcome) == {("clean_accuracy_lost", "suspicious")}
    assert values(outcome, "attack_success") == [0.0]


def test_a_recipe_that_makes_a_less_accurate_model_than_the_subject_is_no_proof_about_it():
    outcome = audited(stripes(), Reader(obeys=False), Constant(), Patch(rates=(0.1,)), clean=Constant())
    assert flags(outcome) == {("recipe_mismatch", "suspicious")}


def test_a_target_outside_the_classes_is_refused_when_planned():
    with pytest.raises(ConfigError, match=r"backdoor\.patch: target 3; give one of the classes 0 to 2"):
        Patch(target=3).fits(Setting(stripes().facts(), RECIPE))


def test_test_rows_of_the_target_class_alone_are_an_error():
    data = stripes()
    rows = data.y_test == 0
    only = Dataset(
        id="only",
        x_train=data.x_train,
        y_train=data.y_train,
        x_test=data.x_test[rows],
        y_test=data.y_test[rows],
        classes=data.classes,
        domain=data.domain,
    )
    with pytest.raises(DataError, match="every test row is of the target class 0"):
        audited(only, Reader(obeys=False), Reader(obeys=False))
