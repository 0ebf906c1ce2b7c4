"""Rotations and translations: exact turns and shifts, models that must break and models that cannot."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from auditor.attacks.evasion.spatial import Spatial
from auditor.attacks.evasion.spatial_search import grid
from auditor.attacks.evasion.turning import turned
from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError, DataError
from auditor.probe import Case, Setting
from auditor.seeds import Seeds
from auditor.subject import Access
from auditor.subjects.sklearn_subject import SklearnSubject

NOWHERE = torch.zeros(1, 2)
SIZES = pytest.mark.parametrize("size", [(2, 7, 7), (1, 8, 8), (3, 5, 5)])


def images(count, *shape):
    return torch.tensor(np.random.default_rng(0).uniform(size=(count, *shape)).astype(np.float32))


@SIZES
@pytest.mark.parametrize("quarters", [1, 2, 3, -1, 0])
@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_quarter_turns_move_pixels_and_change_none(size, quarters, padding):
    u = images(3, *size)
    found = turned(u, torch.tensor([90.0 * quarters]), NOWHERE, padding)
    assert torch.equal(found, torch.rot90(u, quarters, (2, 3)))


@SIZES
def test_whole_pixels_are_a_roll_with_zeros_or_the_border_behind_it(size):
    u = images(3, *size)
    moved = turned(u, torch.zeros(1), torch.tensor([[2.0, -1.0]]), "zeros")
    expected = torch.roll(u, (2, -1), (2, 3))
    expected[:, :, :2] = 0
    expected[:, :, :, -1] = 0
    assert torch.equal(moved, expected)
    held = turned(u, torch.zeros(1), torch.tensor([[2.0, 0.0]]), "border")
    assert torch.equal(held[:, :, 2:], u[:, :, :-2])
    assert torch.equal(held[:, :, :2], u[:, :, :1].expand(-1, -1, 2, -1))


def test_half_a_pixel_is_the_mean_of_two():
    u = images(2, 1, 6, 6)
    found = turned(u, torch.zeros(1), torch.tensor([[0.0, 0.5]]), "border")
    torch.testing.assert_close(found[:, :, :, 1:], (u[:, :, :, 1:] + u[:, :, :, :-1]) / 2)


def test_other_angles_are_those_of_torchs_own_sampling():
    u, degrees = images(4, 2, 9, 9), torch.tensor([17.0])
    cos, sin = torch.deg2rad(degrees).cos(), torch.deg2rad(degrees).sin()
    theta = torch.stack([torch.cat([cos, -sin, torch.zeros(1)]), torch.cat([sin, cos, torch.zeros(1)])])
    where = nn.functional.affine_grid(theta.expand(4, 2, 3), list(u.shape), align_corners=False)
    expected = nn.functional.grid_sample(u, where, padding_mode="zeros", align_corners=False)
    torch.testing.assert_close(turned(u, degrees, NOWHERE, "zeros"), expected, atol=1e-5, rtol=0)


def test_a_turn_for_each_image_is_what_each_would_get_alone():
    u = images(3, 1, 6, 5)
    degrees, shift = torch.tensor([10.0, -80.0, 3.0]), torch.tensor([[1.0, 0.5], [0.0, 0.0], [-2.2, 1.0]])
    together = turned(u, degrees, shift, "zeros")
    for i in range(3):
        alone = turned(u[i : i + 1], degrees[i : i + 1], shift[i : i + 1], "zeros")
        assert torch.equal(together[i : i + 1], alone)


def outcome(subject, data, seed=3, **parameters):
    case = Case(Spatial(**parameters), "toy", subject, data, Seeds(seed))
    return case.probe.run(case), case.counts


def robust(found):
    return {m.at["level"]: m.value for m in found.measurements if m.metric == "robust_accuracy"}


def spots(size, count=40):
    """One bright pixel an image, left of the middle in class 0 and right of it in class 1, 1 to 4 columns off."""
    x = np.zeros((count, 1, size, size), np.float32)
    y = (np.arange(count) % 2).astype(np.int64)
    off = 1 + np.arange(count) // 2 % 4
    x[np.arange(count), 0, size // 2, np.where(y == 0, size // 2 - off, size // 2 - 1 + off)] = 1
    return Dataset("spots", x, y, x, y, ("left", "right"), Domain.unit((1, size, size))), off


class Halves(nn.Module):
    """Is there more light in the left half or in the right."""

    def forward(self, x):
        half = x.shape[3] // 2
        return torch.stack([x[..., :half].sum((1, 2, 3)), x[..., half:].sum((1, 2, 3))], 1)


def test_a_model_that_asks_which_half_is_bright_breaks_just_where_the_light_can_be_moved_over(torch_subject):
    data, off = spots(16)
    limits = {"rotation": 0.0, "translation": 0.125, "shifts": 5, "levels": (0.5, 1.0)}  # up to 1 pixel, up to 2
    found, counts = outcome(torch_subject(Halves(), data), data, **limits)
    held = found.samples.columns["correct"]
    assert np.array_equal(held[:, 0], off > 1)
    assert np.array_equal(held[:, 1], off > 2)
    assert robust(found) == {0.5: 0.75, 1.0: 0.5}
    by = found.samples.columns["broken_by"]
    assert np.isnan(by[held[:, 1]]).all()
    assert (np.abs(by[~held[:, 1]]) <= [0, 0.125, 0.125]).all()
    side = np.where(found.samples.label == 0, 1, -1)
    assert (by[~held[:, 1], 2] * side[~held[:, 1]] > 0).all()
    assert counts.backwards == 0


def test_light_that_is_moved_out_of_the_image_leaves_a_tie_and_a_tie_is_broken(torch_subject):
    data, off = spots(8)
    found, _ = outcome(torch_subject(Halves(), data), data, rotation=0.0, translation=0.125, shifts=3, levels=(1.0,))
    assert np.array_equal(found.samples.columns["correct"][:, 0], (off > 1) & (off < 4))


def test_a_model_that_does_not_look_where_is_not_moved(torch_subject):
    class Level(nn.Module):
        def forward(self, x):
            return torch.stack([0.5 - x.mean((1, 2, 3)), x.mean((1, 2, 3)) - 0.5], 1)

    y = (np.arange(60) % 2).astype(np.int64)
    x = np.broadcast_to(np.where(y == 0, 0.1, 0.9)[:, None, None, None], (60, 1, 8, 8)).astype(np.float32)
    data = Dataset("even", x, y, x, y, ("dark", "light"), Domain.unit((1, 8, 8)))
    found, _ = outcome(torch_subject(Level(), data), data, padding="border", angles=9, shifts=3)
    assert robust(found) == {0.5: 1.0, 1.0: 1.0}
    assert next(m.value for m in found.measurements if m.metric == "random_accuracy") == 1.0
    assert found.gallery is None


def test_a_trained_network_loses_more_to_the_worst_change_than_to_a_random_one_and_more_as_limits_grow(
    convolution, images, torch_subject
):
    found, _ = outcome(torch_subject(convolution, images), images, samples=100, angles=9, shifts=3)
    value = {m.metric: m.value for m in found.measurements}
    assert value["clean_accuracy"] > value["random_accuracy"] > robust(found)[0.5] > robust(found)[1.0]
    assert found.gallery is not None
    assert (found.gallery.after >= 0).all()
    assert (found.gallery.after <= 1).all()
    assert not [c for c in found.caveats if c.severity != "info"]


def test_what_broke_a_row_breaks_it_again(convolution, images, torch_subject):
    subject = torch_subject(convolution, images)
    found, _ = outcome(subject, images, samples=60, angles=5, shifts=3, levels=(1.0,))
    by, held = found.samples.columns["broken_by"], found.samples.columns["correct"][:, 0]
    fell = ~held & ~np.isnan(by[:, 0])
    place = {row: i for i, row in enumerate(images.test_rows.tolist())}
    x = torch.tensor(images.x_test[[place[row] for row in found.samples.row[fell].tolist()]])
    moved = turned(x, torch.tensor(by[fell, 0]), torch.tensor(by[fell, 1:] * 8), "zeros")
    assert fell.sum() > 5
    assert (subject.predict(moved.numpy()).argmax(1) != found.samples.label[fell]).all()


def test_batch_size_changes_nothing_and_the_same_seed_gives_the_same_rows(convolution, images, torch_subject):
    subject = torch_subject(convolution, images)
    runs = [
        outcome(subject, images, samples=50, angles=5, shifts=3, batch_size=size)[0].samples.columns
        for size in (512, 512, 16, 1)
    ]
    for other in runs[1:]:
        assert np.array_equal(runs[0]["correct"], other["correct"])
        assert np.array_equal(runs[0]["broken_by"], other["broken_by"], equal_nan=True)


def test_labels_are_enough(images):
    rows = images.x_train.reshape(len(images.x_train), -1)
    flat = SklearnSubject(LogisticRegression(max_iter=200).fit(rows, images.y_train), shape=images.shape, classes=10)
    found, counts = outcome(flat, images, samples=60, angles=3, shifts=3)
    assert robust(found)[1.0] < robust(found)[0.5] < 0.9
    assert counts.backwards == 0


def test_with_a_goal_only_that_answer_counts(convolution, images, torch_subject):
    subject = torch_subject(convolution, images)
    found, _ = outcome(subject, images, samples=100, angles=9, shifts=3, goal="3")
    resisted = {m.at["level"]: m.value for m in found.measurements if m.metric == "targeted_robust_accuracy"}
    assert (found.samples.label != 3).all()
    assert not robust(found)
    any_goal, _ = outcome(subject, images, samples=100, angles=9, shifts=3)
    assert resisted[1.0] > robust(any_goal)[1.0]
    with pytest.raises(ConfigError, match="goal 'cat' is no class"):
        outcome(subject, images, goal="cat")


def test_a_goal_that_is_no_class_is_refused_before_anything_runs(images):
    assert Spatial(goal="3").fits(Setting(images.facts(), None)) == {}
    with pytest.raises(ConfigError, match="goal 'cat' is no class"):
        Spatial(goal="cat").fits(Setting(images.facts(), None))


def test_answers_that_are_no_numbers_count_as_broken(images, torch_subject):
    class Lost(nn.Module):
        def forward(self, x):
            own = nn.functional.one_hot((x.flatten(1) * 0).sum(1).long(), 10).float()
            return torch.where(x[:, 0, 0].sum(1, keepdim=True) > 1e9, own, torch.nan * own)

    found, _ = outcome(torch_subject(Lost(), images), images, samples=20, angles=1, shifts=1)
    assert set(robust(found).values()) == {0.0}


def test_the_grid_holds_every_angle_with_every_shift_once_and_the_ends():
    turns = grid(Spatial(rotation=20, translation=0.2, angles=5, shifts=3), 0.5, np.random.default_rng(0))
    assert turns.shape == (45, 3)
    assert len(np.unique(turns, axis=0)) == 45
    assert sorted(set(turns[:, 0])) == [-10, -5, 0, 5, 10]
    assert sorted(set(turns[:, 1])) == pytest.approx([-0.1, 0, 0.1])
    assert [0, 0, 0] in turns.tolist()


def test_rows_that_are_no_images_are_not_asked_and_said_why(digits, linear, torch_subject):
    said = Spatial().unasked(Setting(digits.facts(), None))
    assert said == "needs images; the rows of this data have the shape (64,)"
    with pytest.raises(DataError, match=r"turns images; these rows have the shape \(64,\)"):
        outcome(torch_subject(linear, digits), digits)


def test_images_are_asked(images):
    assert Spatial().unasked(Setting(images.facts(), None)) is None
    assert Spatial.needs == {Access.LABELS}


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"rotation": 200.0}, "rotation 200.0 is outside"),
        ({"rotation": float("nan")}, "rotation nan is outside"),
        ({"translation": 1.5}, "translation 1.5 is outside"),
        ({"rotation": 0.0, "translation": 0.0}, "nothing would change"),
        ({"levels": ()}, "give shares of the limits"),
        ({"levels": (0.5, 2.0)}, "give shares of the limits"),
        ({"padding": "mirror"}, "write zeros or border"),
        ({"angles": 0}, "angles is 0"),
    ],
)
def test_limits_that_make_no_sense_are_refused(parameters, said):
    with pytest.raises(ConfigError, match=said):
        Spatial(**parameters)
