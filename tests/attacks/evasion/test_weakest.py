"""Where attacks are spent: one step at first, long attacks on the rows that lead least, on more where need be."""

import numpy as np
import pytest
import torch

from auditor.attacks.evasion.across import across
from auditor.attacks.evasion.apgd import Task
from auditor.attacks.evasion.bench import Standing
from auditor.attacks.evasion.losses import cross_entropy
from auditor.attacks.evasion.norms import BY_NAME
from auditor.attacks.evasion.paths import press


def standing(rows: int) -> Standing:
    """Rows that all stand; row 0 leads most, the last least."""
    nothing = np.zeros(rows, bool)
    lead = torch.arange(rows, 0, -1, dtype=torch.float32)
    return Standing(
        nothing.copy(), torch.zeros(rows, 2), lead, np.zeros((rows, 2)), np.zeros(rows, int), nothing.copy()
    )


def pressed(rows: int, share: float, falls: set[int]) -> tuple[list[list[int]], int]:
    """Which rows were attacked, share by share, where those in `falls` break; and how many did."""
    state, seen = standing(rows), list[list[int]]()

    def attack(among: np.ndarray) -> None:
        seen.append(np.flatnonzero(among).tolist())
        state.broken |= among & np.isin(np.arange(rows), list(falls))

    return seen, press(state, share, attack)


def test_only_the_rows_that_lead_least_are_attacked_where_the_others_are_far_from_breaking():
    seen, fell = pressed(400, 1 / 4, falls={399, 398, 355})
    assert seen == [list(range(300, 400))]
    assert fell == 3


def test_the_next_share_is_attacked_where_rows_break_in_the_half_that_leads_more():
    seen, fell = pressed(400, 1 / 4, falls={399, 340, 280})
    assert seen == [list(range(300, 400)), list(range(200, 300))]
    assert fell == 3


def test_all_rows_are_attacked_where_leads_say_nothing_of_what_breaks():
    seen, fell = pressed(400, 1 / 4, falls=set(range(0, 400, 3)))
    assert sorted(row for part in seen for row in part) == list(range(400))
    assert fell == 134


def test_few_rows_are_not_chosen_among():
    seen, _ = pressed(20, 1 / 8, falls=set())
    assert seen == [list(range(20))]


@pytest.mark.parametrize("name", ["linf", "l2"])
def test_one_step_breaks_a_linear_model_exactly_where_its_margin_is_within_reach(name):
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(2, 30, generator=generator)
    x = 0.5 + 0.1 * torch.randn(300, 30, generator=generator).clamp(-2, 2)
    scores = (x - 0.5) @ weight.T
    y, lead = scores.argmax(1), (scores[:, 0] - scores[:, 1]).abs()
    away, epsilon = weight[0] - weight[1], 0.02 if name == "linf" else 0.1
    reach = epsilon * (away.abs().sum() if name == "linf" else away.norm())
    task = Task(x, y, 1 - y, x, torch.ones(30), epsilon, norm=BY_NAME[name])

    def model(u: torch.Tensor) -> torch.Tensor:
        return (u - 0.5) @ weight.T

    left = across(model, model, task, lambda s, y, _: cross_entropy(s, y), width=64)
    clear = (lead - reach).abs() > 1e-4
    assert 30 < int(left.broken.sum()) < 270
    assert torch.equal(left.broken[clear], (lead <= reach)[clear])
