"""Masks that act on some rows or features only, or near the boundary alone, so that few rows give them away."""

import torch
from torch import nn

from .traps import NoPath, Step, Trap, around, lying, one_hot, wrong_places

PURIFIED = 5  # steps


class Somewhere(NoPath):
    """A net whose gradient is another where it answers these classes, or where its winner leads by little."""

    def __init__(self, net: nn.Module, change: Step, classes: tuple[int, ...] = (), lead: float = 0.0) -> None:
        super().__init__(net)
        self.change, self.classes, self.lead = lying(change), torch.tensor(classes), lead

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The net's scores."""
        with torch.no_grad():
            first, second = self.net(x).topk(2, dim=1).values.unbind(1)
            masked = torch.isin(self.net(x).argmax(1), self.classes) | (first - second < self.lead)
        return self.net(torch.where(masked.unsqueeze(1), self.change(x), x))


class Hashed(NoPath):
    """A net that adds noise of which the input itself is the seed: the same input gets the same answer."""

    def __init__(self, net: nn.Module, size: float) -> None:
        super().__init__(net)
        self.size, self.mixed = size, torch.randn(64, 64, generator=torch.Generator().manual_seed(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of the input and its noise."""
        return self.net(x + self.size * torch.sin(1e5 * x.detach() @ self.mixed))


class Purifying(NoPath):
    """A net that optimises while it answers: inputs are first moved to where it is surer, and no gradient says so."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of the purified inputs."""
        moved = torch.zeros_like(x)
        for _ in range(PURIFIED):
            with torch.enable_grad():
                here = (x.detach() + moved).requires_grad_()
                told = self.net(here).log_softmax(1)
                (slope,) = torch.autograd.grad((told.exp() * told).sum(), here)
            moved = (moved + 0.02 * slope.sign()).clamp(-0.06, 0.06)
        return self.net(x + moved)


def losers_turned_round(z: torch.Tensor) -> torch.Tensor:
    """Scores whose winner is true, and of whose others the least likely seems the nearest."""
    won, least = one_hot(z.detach()), z.detach().amin(1, keepdim=True)
    return won * z + (1 - won) * (2 * least - 5 - z)


MISLED = ("misleading_gradient",)

PARTIAL: dict[str, Trap] = {
    "gradient turned round at two classes": Trap(
        lambda net: Somewhere(net, torch.neg, classes=(3, 8)), verdicts=MISLED, near=0.02
    ),
    "gradient zero at two classes": Trap(
        lambda net: Somewhere(net, torch.zeros_like, classes=(3, 8)), verdicts=("zero_gradient",), near=0.02
    ),
    "gradient of other places at one class": Trap(
        lambda net: Somewhere(net, wrong_places, classes=(1,)), verdicts=MISLED, near=0.02
    ),
    "gradient turned round where the lead is small": Trap(lambda net: Somewhere(net, torch.neg, lead=2), near=0.02),
    "gradient zero where the lead is small": Trap(lambda net: Somewhere(net, torch.zeros_like, lead=2), near=0.02),
    "gradient of nine tenths of the inputs": Trap(
        around(lying(lambda g: g * (torch.arange(g.shape[-1]) % 10 != 0))), verdicts=("zero_gradient",), near=0.02
    ),
    "a few inputs in steps": Trap(
        around(lambda x: torch.where(torch.arange(64) % 10 == 4, (x * 16).round() / 16, x)), near=0.02
    ),
    "gradient a thousandfold at some places": Trap(around(lying(lambda g: g * torch.logspace(-3, 0, 64))), near=0.02),
    "noise by the input": Trap(lambda net: Hashed(net, 0.05), verdicts=MISLED),
    "purified while it answers": Trap(Purifying, near=0.05),
    "losers turned round": Trap(around(after=losers_turned_round)),
}
