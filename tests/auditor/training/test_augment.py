"""Changed rows: each part does what it says, inside the domain, and by draws that paired trainings share."""

import numpy as np
import pytest
import torch
from scipy.stats import beta, kstest

from auditor.augmentation import check_augment
from auditor.constraints import Constraints
from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError
from auditor.recipe import Fit, Recipe
from auditor.seeds import Seeds
from auditor.training.augment import augmenter, beta_quantile, covered, flipped, mixed, shifted
from auditor.training.loop import fit

IMAGE = torch.arange(1.0, 10).view(1, 1, 3, 3)


def made(*parts, shape=(1, 6, 6), domain=None, seed=3, classes=3):
    recipe = Recipe(optimizer="sgd", epochs=1, augment=parts)
    domain = Domain.unit(shape) if domain is None else domain
    return augmenter(recipe.augment, domain, torch.full((1, 1, 1), 0.5), classes, torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def patches():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = rng.uniform(0, 0.3, (90, 1, 6, 6)).astype(np.float32)
    x[np.arange(90), 0, 2 * y, :] = 1
    return Dataset("patches", x[:60], y[:60], x[60:], y[60:], ("a", "b", "c"), Domain.unit((1, 6, 6)))


def trained(data, *, seed=0, optimizer="sgd", holdout=None, **changes):
    given = {"architecture": "mlp", "optimizer": optimizer, "epochs": 3, "batch_size": 16, **changes}
    return fit(Fit(recipe=Recipe(**given), holdout=holdout), data, seeds=Seeds(7, seed), learning_rate=0.05)


def same(a, b):
    return all(torch.equal(a.state[k], b.state[k]) for k in a.state)


def test_a_mirrored_image_has_its_columns_in_reverse_and_the_others_are_left_alone():
    found = flipped(IMAGE.repeat(2, 1, 1, 1), torch.tensor([True, False]))
    assert found[0, 0].tolist() == [[3, 2, 1], [6, 5, 4], [9, 8, 7]]
    assert torch.equal(found[1], IMAGE[0])


def test_a_moved_image_leaves_the_lowest_value_behind():
    found = shifted(IMAGE.repeat(2, 1, 1, 1), torch.tensor([1, 0]), torch.tensor([0, -1]), torch.full((1, 3, 3), -1.0))
    assert found[0, 0].tolist() == [[-1, -1, -1], [1, 2, 3], [4, 5, 6]]
    assert found[1, 0].tolist() == [[2, 3, -1], [5, 6, -1], [8, 9, -1]]


def test_channels_move_together():
    image = torch.cat([IMAGE, 10 * IMAGE], dim=1)
    found = shifted(image, torch.tensor([1]), torch.tensor([1]), torch.zeros(2, 3, 3))
    assert torch.equal(found[0, 1], 10 * found[0, 0])
    assert found[0, 0].tolist() == [[0, 0, 0], [0, 1, 2], [0, 4, 5]]


def test_a_covered_square_is_cut_off_at_the_edge():
    found = covered(IMAGE.repeat(2, 1, 1, 1), torch.tensor([1, 0]), torch.tensor([1, 2]), 2, torch.zeros(1, 1, 1))
    assert found[0, 0].tolist() == [[0, 0, 3], [0, 0, 6], [7, 8, 9]]
    assert found[1, 0].tolist() == [[1, 0, 0], [4, 5, 6], [7, 8, 9]]


def test_mixed_rows_and_their_labels_are_the_same_weighted_means():
    x, shares = torch.tensor([[0.0], [1.0]]), torch.eye(2)
    found = mixed(x, shares, torch.tensor([1, 0]), torch.tensor(0.75))
    assert found.x.tolist() == [[0.25], [0.75]]
    assert found.y.tolist() == [[0.75, 0.25], [0.25, 0.75]]


def test_the_weights_of_mixup_follow_its_beta_distribution():
    drawn = beta_quantile(0.2, torch.rand(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    assert kstest(drawn.numpy(), beta(0.2, 0.2).cdf).pvalue > 0.01


def test_soft_labels_cost_the_weighted_mean_of_the_two_losses():
    logits, loss = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)), torch.nn.functional.cross_entropy
    y, other = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([1, 1, 0, 2, 0])
    batch = made({"mixup": 0.2}, shape=(3,))(torch.zeros(5, 3), y)
    assert batch.y.shape == (5, 3)
    assert batch.y.sum(1).tolist() == pytest.approx([1] * 5)
    shares = 0.3 * torch.eye(3)[y] + 0.7 * torch.eye(3)[other]
    assert float(loss(logits, shares)) == pytest.approx(float(0.3 * loss(logits, y) + 0.7 * loss(logits, other)))


def test_noise_has_its_deviation_in_units_of_the_range_and_keeps_to_the_domain():
    domain = Domain(np.zeros((2,), np.float32), np.array([1, 10], np.float32))
    augment = augmenter(
        Recipe(optimizer="sgd", epochs=1, augment=[{"noise": 0.02}]).augment,
        domain,
        torch.zeros(2),
        2,
        torch.Generator().manual_seed(0),
    )
    moved = augment(torch.tensor([0.5, 5.0]).repeat(20000, 1), torch.zeros(20000, dtype=torch.int64)).x
    assert (moved - torch.tensor([0.5, 5.0])).std(0).tolist() == pytest.approx([0.02, 0.2], rel=0.02)
    edge = augment(torch.zeros(1000, 2), torch.zeros(1000, dtype=torch.int64)).x
    assert float(edge.min()) == 0
    assert float((edge == 0).float().mean()) == pytest.approx(0.5, abs=0.05)


def test_noise_leaves_categories_and_constants_alone():
    domain = Domain(
        np.zeros((3,), np.float32), np.array([1, 4, 0], np.float32), constraints=Constraints(integer=frozenset({1}))
    )
    x = torch.tensor([[0.5, 2.0, 0.0]]).repeat(50, 1)
    moved = made({"noise": 0.1}, domain=domain)(x, torch.zeros(50, dtype=torch.int64)).x
    assert (moved != x).any(0).tolist() == [True, False, False]


def test_all_parts_together_stay_in_the_domain_and_leave_the_rows_given_alone():
    x = torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    parts = ("flip", {"shift": 2}, {"noise": 0.3}, {"cutout": 3}, {"mixup": 0.4})
    found = made(*parts)(x, torch.arange(40) % 3)
    assert torch.equal(x, before)
    assert found.x.shape == x.shape
    assert 0 <= float(found.x.min()) <= float(found.x.max()) <= 1
    assert not torch.equal(found.x, before)


def test_nothing_declared_changes_nothing_and_draws_nothing(patches):
    assert same(trained(patches), trained(patches, augment=[]))
    x, y = torch.rand(4, 1, 6, 6), torch.zeros(4, dtype=torch.int64)
    augment = made()
    assert augment(x, y).x is x
    assert torch.equal(augment.stream.get_state(), torch.Generator().manual_seed(3).get_state())


@pytest.mark.parametrize("objective", ["standard", "pgd", "trades"])
def test_a_training_with_changed_rows_repeats_itself_and_differs_from_one_without(patches, objective):
    parts = ["flip", {"shift": 1}, {"mixup": 0.2}]
    once = trained(patches, objective=objective, augment=parts)
    assert once.diverged_at is None
    assert same(once, trained(patches, objective=objective, augment=parts))
    assert not same(once, trained(patches, objective=objective))


def test_paired_trainings_see_the_same_changed_rows(patches):
    by_sgd = trained(patches, epochs=1, augment=[{"noise": 0.1}], batch_size=60)
    by_sam = trained(patches, epochs=1, augment=[{"noise": 0.1}], batch_size=60, optimizer="sam")
    by_adam = trained(patches, epochs=1, augment=[{"noise": 0.1}], batch_size=60, optimizer="adam")
    assert by_sgd.curve[0]["loss"] == by_sam.curve[0]["loss"] == by_adam.curve[0]["loss"]


def test_rows_held_back_are_never_changed(patches):
    """With a rate of next to nothing the network stays as it began, so what is held back costs the same."""
    recipe = Recipe(architecture="mlp", optimizer="sgd-plain", epochs=1, batch_size=16)
    noisy = recipe.model_copy(update={"augment": Recipe(optimizer="sgd", epochs=1, augment=[{"noise": 0.5}]).augment})
    found = [
        fit(Fit(recipe=r, holdout=0.25), patches, seeds=Seeds(7, 0), learning_rate=1e-30).curve[0]
        for r in (recipe, noisy)
    ]
    assert found[0]["holdout_loss"] == found[1]["holdout_loss"]
    assert found[0]["loss"] != found[1]["loss"]


@pytest.mark.parametrize(
    ("parts", "shape", "objective", "message"),
    [
        (["flip"], (13,), "standard", "flip is for images, and this data has 1 axis of features, (13,): take noise"),
        ([{"shift": 6}], (1, 6, 8), "standard", "shift 6 leaves nothing of an image of 6 by 8 pixels"),
        ([{"mixup": 0.2}], (13,), "dp", "remove mixup"),
    ],
)
def test_parts_that_the_data_cannot_have_are_refused(parts, shape, objective, message):
    recipe = Recipe(optimizer="sgd", epochs=1, augment=parts)
    with pytest.raises(ConfigError) as caught:
        check_augment(recipe.augment, shape, objective, where="audit.yaml:9")
    assert str(caught.value).startswith("audit.yaml:9: augment: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["flp"], "unknown part of augment 'flp'; did you mean 'flip'?"),
        (["shift"], "shift needs its amount"),
        ([{"shift": 1.5}], "shift: 1.5 cannot be"),
        ([{"noise": 2}], "noise: 2 cannot be"),
        ([{"noise": "much"}], "noise: 'much' is no number"),
        ([{"cutout": 0}], "cutout: 0 cannot be"),
        ([{"shift": 1, "flip": 0.5}], "one name with its amount"),
        (["flip", {"flip": 0.2}], "augment names flip twice"),
    ],
)
def test_a_mistaken_part_is_named(parts, message):
    with pytest.raises(ValueError, match=r"augment|part|amount|cannot|number") as caught:
        Recipe(optimizer="sgd", epochs=1, augment=parts)
    assert message in str(caught.value)


def test_a_recipe_reads_back_what_it_wrote():
    recipe = Recipe(optimizer="sgd", epochs=1, augment=["flip", {"noise": "8/255"}], clip=1.5, warmup=0.1)
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
    assert [p.amount for p in recipe.augment] == [0.5, pytest.approx(8 / 255)]


def test_clipping_is_told_as_the_share_of_gradients_that_were_shortened(patches):
    assert trained(patches).clipped is None
    assert trained(patches, clip=1e6).clipped == 0
    assert same(trained(patches, clip=1e6), trained(patches))
    always = trained(patches, clip=1e-6)
    assert always.clipped == 1
    assert not same(always, trained(patches))
