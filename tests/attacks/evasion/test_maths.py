"""Random draws, losses, Auto-PGD and the random search, each against an outside reference."""

import numpy as np
import pytest
import torch

from auditor.attacks.evasion.apgd import Task, _windows, apgd
from auditor.attacks.evasion.draws import mix, uniform
from auditor.attacks.evasion.losses import fitting_temperature, margin, runners_up, towards
from auditor.attacks.evasion.square import _shares, square
from auditor.subject import margins

GOLDEN = 0x9E3779B97F4A7C15


def signed(value):
    value %= 1 << 64
    return value - (1 << 64) if value >> 63 else value


def test_the_generator_gives_the_published_numbers_of_splitmix64_for_seed_1234567():
    states = torch.tensor([signed(1234567 + (i + 1) * GOLDEN) for i in range(5)])
    numbers = [int(n) % (1 << 64) for n in mix(states)]
    assert numbers == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_draws_belong_to_their_row_and_moment_alone():
    keys, moments = torch.tensor([5, 77, 123456789]), torch.tensor([0, 3, 900])
    together = uniform(keys, moments, 40)
    alone = torch.cat([uniform(keys[i : i + 1], moments[i : i + 1], 40) for i in range(3)])
    assert torch.equal(together, alone)
    assert not torch.equal(together, uniform(keys, moments + 1, 40))
    assert not torch.equal(together, uniform(keys, moments, 40, purpose=1))


def test_draws_are_evenly_spread():
    drawn = uniform(torch.arange(2000), torch.zeros(2000, dtype=torch.int64), 50).double().numpy()
    counts, _ = np.histogram(drawn, bins=100, range=(0, 1))
    expected = drawn.size / 100
    assert abs(((counts - expected) ** 2 / expected).sum() - 99) < 5 * np.sqrt(2 * 99)
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.1
    assert drawn.min() >= 0
    assert drawn.max() < 1


def test_margins_agree_with_the_judge_on_ties_and_on_what_is_no_number():
    scores = torch.tensor([[3.0, 1, 2], [1, 1, 0], [torch.nan, 0, 1], [torch.inf, torch.inf, 0], [0, 5, -1]])
    y = torch.tensor([0, 1, 1, 0, 0])
    assert margin(scores, y).tolist() == margins(scores.numpy(), y.numpy()).tolist()
    assert margin(scores, y).tolist() == [1, 0, -torch.inf, -torch.inf, -5]


def test_runners_up_come_in_order_and_leave_out_the_true_class():
    scores = torch.tensor([[5.0, 3, 4, 1], [0, 9, 2, 3]])
    assert runners_up(scores, torch.tensor([0, 2]), 3).tolist() == [[2, 1, 3], [1, 3, 0]]
    assert runners_up(scores, torch.tensor([0, 2]), 9).shape == (2, 3)
    assert towards(scores, torch.tensor([0, 2]), torch.tensor([2, 1])).tolist() == [-1, 7]


def test_the_temperature_leaves_ordinary_logits_and_brings_a_wide_gap_to_ten():
    assert fitting_temperature(torch.tensor([[9.0, 1, 0]])) == 1.0
    assert fitting_temperature(torch.tensor([[5000.0, 1000, 0]])) == 400.0


def test_checkpoints_of_a_hundred_steps_are_those_of_the_paper():
    ends = [i for i, length in enumerate(_windows(100)) if length]
    assert ends == [22, 41, 57, 70, 80, 87, 93, 99, 100]
    assert sum(_windows(100)) == 100


@pytest.mark.parametrize("steps", [1, 2, 5, 20, 75])
def test_windows_cover_every_step_once(steps):
    assert len(_windows(steps)) == steps + 1
    assert sum(_windows(steps)) == steps


def quadratic_task(count=40, epsilon=0.2):
    x = torch.rand(count, 6, generator=torch.Generator().manual_seed(0))
    y = torch.zeros(count, dtype=torch.int64)
    return Task(x, y, y + 1, x, torch.ones(6), epsilon)


def test_auto_pgd_reaches_the_maximum_of_a_concave_function_that_is_known():
    peak = torch.tensor([0.1, 0.9, 0.5, 0.5, 0.0, 1.0])

    def model(u):
        return torch.stack([torch.full((len(u),), 99.0), -((u - peak) ** 2).sum(1)], 1)

    task = quadratic_task()
    found = apgd(model, task, towards, steps=100, width=64)
    best = peak.maximum(task.lower).minimum(task.upper)
    assert not found.broken.any()
    assert (found.point - best).abs().max() < 0.02


def test_auto_pgd_stays_in_ball_and_box_and_stops_where_a_row_breaks():
    def model(u):
        return torch.stack([u.sum(1) - 2.5, torch.zeros(len(u))], 1)

    task = quadratic_task(epsilon=0.3)
    found = apgd(model, task, towards, steps=10, width=7)
    least = task.lower.sum(1) - 2.5
    assert torch.equal(found.broken, least <= 0)
    assert ((found.point - task.x).abs() <= 0.3 + 1e-6).all()
    assert ((found.point >= 0) & (found.point <= 1)).all()
    assert (model(found.point)[:, 0][found.broken] <= 0).all()


def test_random_search_finds_the_corner_that_breaks_a_linear_model():
    weight = torch.tensor([1.0, -2, 0.5, 1.5])
    x = torch.rand(60, 4, generator=torch.Generator().manual_seed(1)) * 0.4 + 0.3
    y = torch.zeros(60, dtype=torch.int64)

    def model(u):
        return torch.stack([(u - 0.5) @ weight + 0.6, torch.zeros(len(u))], 1)

    task = Task(x, y, y + 1, x, torch.ones(4), 0.1)
    found = square(model, task, torch.arange(60), queries=400, width=25)
    assert torch.equal(found.broken, (x - 0.5) @ weight + 0.6 - 0.1 * weight.abs().sum() <= 0)
    assert 0.1 < found.broken.float().mean() < 0.9


def test_random_search_on_images_keeps_to_the_ball_and_does_not_depend_on_the_width():
    x = torch.rand(30, 3, 5, 7, generator=torch.Generator().manual_seed(2))
    y = torch.zeros(30, dtype=torch.int64)
    mask = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(3)) - 0.5

    def model(u):
        lead = ((u.double() - x.double().mean(0)) * mask.double()).sum((1, 2, 3)) + 3.2
        return torch.stack([lead, torch.zeros(len(u), dtype=torch.float64)], 1).float()

    task = Task(x, y, y + 1, x, torch.ones(3, 5, 7), 0.15)
    wide, narrow = (square(model, task, torch.arange(30), queries=120, width=w) for w in (30, 4))
    assert torch.equal(wide.point, narrow.point)
    assert torch.equal(wide.broken, narrow.broken)
    assert ((wide.point - x).abs() <= 0.15 + 1e-6).all()
    assert 0.1 < wide.broken.float().mean() < 0.9


def test_patches_shrink_as_in_the_paper_rescaled_to_the_budget():
    shares = _shares(100)  # query i stands for query 100 i of 10,000, where the paper halves at 10, 50, 200, 500, ...
    assert [round(0.8 / shares[i]) for i in (0, 1, 3, 6, 11, 21, 41, 61, 81)] == [1, 4, 8, 16, 32, 64, 128, 256, 512]
    assert [round(0.8 / s) for s in _shares(10_000)[10:12]] == [1, 2]
