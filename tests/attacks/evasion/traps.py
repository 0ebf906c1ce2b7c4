"""Models whose robustness is an illusion, or that no gradient can follow: one undefended net, masked in many ways."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

Step = Callable[[torch.Tensor], torch.Tensor]
Build = Callable[[nn.Module], nn.Module]


def same(x: torch.Tensor) -> torch.Tensor:
    """Nothing done."""
    return x


class Around(nn.Module):
    """A net with something done to its inputs or outputs."""

    def __init__(self, net: nn.Module, before: Step = same, after: Step = same) -> None:
        super().__init__()
        self.net, self.before, self.after = net, before, after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (n, K)."""
        return self.after(self.net(self.before(x)))


class _Backward(torch.autograd.Function):
    """The identity, whose gradient is whatever a function makes of the true one."""

    @staticmethod
    def forward(ctx, x, change):
        ctx.change = change
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return ctx.change(gradient), None


def lying(change: Step) -> Step:
    """A step that leaves inputs alone and changes the gradient on its way back."""
    return lambda x: _Backward.apply(x, change)


@dataclass(frozen=True)
class Trap:
    """A masked model: how it is made of the net, what it answers, and the net an insider would take gradients of.

    `verdicts` are flags of which at least one must cast doubt on the result; without any, a reliable result within
    two points of the truth is as good as a doubted one. `near` says that the reported accuracy must be within so
    much of the best known, whatever the verdict.
    """

    build: Build
    outputs: str = "logits"
    insider: Build = field(default=same)  # type: ignore[arg-type]  # the net itself
    verdicts: tuple[str, ...] = ()
    near: float | None = None
    draws: int = 1


def around(before: Step = same, after: Step = same) -> Build:
    """The net with something done to its inputs or outputs."""
    return lambda net: Around(net, before, after)


def rounded(levels: int) -> Step:
    """Inputs on so many levels."""
    return lambda x: (x * (levels - 1)).round() / (levels - 1)


def one_hot(z: torch.Tensor) -> torch.Tensor:
    """The label, written as scores."""
    return nn.functional.one_hot(z.argmax(1), z.shape[1]).to(z.dtype)


class NoPath(nn.Module):
    """A net that leaves torch for numpy on the way."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (n, K) without a graph."""
        return self.net(torch.tensor(x.detach().numpy().copy()))


class NoGrad(NoPath):
    """A net that answers inside no_grad."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (n, K) without a graph."""
        with torch.no_grad():
            return self.net(x)


class Decoy(NoPath):
    """A net that answers as ever, and gives the gradient of something else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The net's scores, with the gradient of a few cosines."""
        z, decoy = self.net(x), x.flatten(1)[:, 20:30].cos()
        return z.detach() + decoy - decoy.detach()


class TwoFaced(NoPath):
    """A net that answers otherwise when somebody wants a gradient."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.other = nn.Linear(64, 10)
        with torch.no_grad():
            self.other.weight.copy_(torch.randn(10, 64, generator=torch.Generator().manual_seed(0)) / 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The net's scores; to those who ask for gradients, scores of the same winner that another model slopes."""
        z = self.net(x)
        if torch.is_grad_enabled() and x.requires_grad:
            return self.other(x) + 20 * one_hot(z.detach())
        return z


class NearlyTrue(NoPath):
    """A net whose gradient is right at inputs that are whole sixteenths, as clean ones are, and turned round beside."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores."""
        whole = ((x * 16 - (x * 16).round()).abs() < 1e-3).all(1, keepdim=True)
        return self.net(torch.where(whole, x, lying(torch.neg)(x)))


class Crowded(NoPath):
    """A net whose gradient is turned round where many are asked for at once."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores."""
        return self.net(lying(torch.neg)(x) if len(x) > 64 else x)


class Distilled(NoPath):
    """A net distilled at a temperature and used without: scores so far apart that softmax has no slope."""

    def __init__(self, net: nn.Module, temperature: float) -> None:
        super().__init__(net)
        self.temperature = temperature

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores, cooled in evaluation only."""
        return self.net(x) if self.training else self.net(x) * self.temperature


class Remembering(NoPath):
    """A net that answers by its memory where an input rounds to one that it has seen."""

    def __init__(self, net: nn.Module, levels: int) -> None:
        super().__init__(net)
        self.levels, self.seen = levels, {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The scores of the first input of this cell."""
        fresh = self.net(x)
        keys = [k.tobytes() for k in (x.detach().flatten(1) * self.levels).round().to(torch.int8).numpy()]
        for key, score in zip(keys, fresh.detach(), strict=True):
            self.seen.setdefault(key, score)
        known = torch.stack([self.seen[k] for k in keys]) if keys else fresh.detach()
        return known + fresh - fresh.detach()


class Weary(NoPath):
    """A net that stops answering to those who ask too much: after so many rows everything is as it was at first."""

    def __init__(self, net: nn.Module, patience: int) -> None:
        super().__init__(net)
        self.patience, self.asked = patience, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores; later, scores of inputs rounded to what an unchanged one would be."""
        self.asked += len(x)
        return self.net(x if self.asked <= self.patience else (x * 4).round() / 4)


class Winners(NoPath):
    """k winners take all: of a hidden layer only the largest activations pass, and which these are jumps about."""

    def __init__(self, net: nn.Module, lift: nn.Linear, kept: int) -> None:
        super().__init__(net)
        self.lift, self.kept = lift, kept
        self.back = nn.Linear(lift.out_features, lift.in_features)

    def winners(self, x: torch.Tensor) -> torch.Tensor:
        """Only the winners of the lifted inputs."""
        wide = self.lift(x.flatten(1))
        bar = wide.topk(self.kept, dim=1).values[:, -1:]
        return wide * (wide >= bar)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of inputs written anew from the winners."""
        return self.net(self.back(self.winners(x)).view_as(x))


def winners_take_all(net: nn.Module) -> nn.Module:
    """A wide random lift of which a share survives, and the linear map that best undoes it on random inputs."""
    generator = torch.Generator().manual_seed(0)
    lift = nn.Linear(64, 512)
    model = Winners(net, lift, 100)
    x = torch.rand(4000, 64, generator=generator) * (torch.rand(4000, 64, generator=generator) < 0.5)
    with torch.no_grad():
        lift.weight.copy_(torch.randn(512, 64, generator=generator))
        lift.bias.zero_()
        seen = torch.cat([model.winners(x), torch.ones(len(x), 1)], 1)
        found = torch.linalg.lstsq(seen.T @ seen + 1e-3 * torch.eye(513), seen.T @ x).solution
        model.back.weight.copy_(found[:-1].T)
        model.back.bias.copy_(found[-1])
    return model


def thermometer(levels: int) -> Step:
    """Inputs written as thermometers and read again: a sum of steps, whose gradient is zero."""
    bars = (torch.arange(levels) + 0.5) / levels
    return lambda x: (x.unsqueeze(-1) > bars).to(x.dtype).mean(-1)


def median_filtered(x: torch.Tensor) -> torch.Tensor:
    """Images (n, 1, 8, 8) as vectors, each pixel the median of a run of three."""
    wide = nn.functional.pad(x, (1, 1))
    return torch.stack([wide[..., :-2], wide[..., 1:-1], wide[..., 2:]]).median(0).values


def rippled(height: float, pitch: float) -> Step:
    """A ripple too low to matter and too steep to see past."""
    return lambda x: x + height * torch.sin(x * pitch)


def shuffled(z: torch.Tensor) -> torch.Tensor:
    """Scores whose smallest differences have a random sign."""
    lead = z.amax(1, keepdim=True) - z
    return torch.where((lead > 0) & (lead < 1), z.amax(1, keepdim=True) - lead * (torch.rand_like(z) < 0.5), z)


def noisy(size: float) -> Step:
    """Inputs with fresh noise."""
    return lambda x: x + size * torch.randn_like(x)


def resized(x: torch.Tensor) -> torch.Tensor:
    """Inputs shifted by a random number of places."""
    return torch.roll(x, int(torch.randint(-1, 2, ())), dims=-1)


class Ensemble(NoPath):
    """Several copies of the net, one of them asked each time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of the copy whose turn it is by lot."""
        tilt = torch.tensor([-1.0, 0.0, 1.0])[torch.randint(3, ())]
        return self.net(x * (1 + 0.1 * tilt))


def random_gradient(g: torch.Tensor) -> torch.Tensor:
    """A gradient that has nothing to do with the model."""
    return torch.randn_like(g)


def blurred_gradient(g: torch.Tensor) -> torch.Tensor:
    """The gradient under twenty times as much noise."""
    return g + 20 * g.flatten(1).std(1).view(-1, *[1] * (g.dim() - 1)) * torch.randn_like(g)


def wrong_places(g: torch.Tensor) -> torch.Tensor:
    """The gradient of other coordinates than it is said to be."""
    return g.roll(7, dims=-1)


STOCHASTIC = ("stochastic",)
ZERO = ("zero_gradient",)
LABELS = ("hard_label",)

TRAPS: dict[str, Trap] = {
    # 1, 2: scale
    "logits times 100": Trap(around(after=lambda z: z * 1e2), near=0.02),
    "logits times a million": Trap(around(after=lambda z: z * 1e6), near=0.02),
    "logits over a thousand": Trap(around(after=lambda z: z / 1e3), near=0.02),
    "float16 logits": Trap(around(after=lambda z: z.half().float()), near=0.02),
    "float16 logits that overflow": Trap(around(after=lambda z: (z * 1e4).half().float())),
    "logits far from zero": Trap(around(after=lambda z: z + 1e7)),
    "distilled, temperature 40": Trap(lambda net: Distilled(net, 40), near=0.02),
    "cooled to saturation in evaluation": Trap(lambda net: Distilled(net, 1e4), near=0.02),
    "winner a constant ahead": Trap(around(after=lambda z: one_hot(z) * 5 + 1e-4 * z)),
    "scores grown exponentially": Trap(around(after=lambda z: (z * 3).exp()), near=0.02),
    # 3: steps
    "five levels": Trap(around(rounded(5)), verdicts=ZERO, near=0.05),
    "sixteen levels": Trap(around(rounded(16)), verdicts=ZERO, near=0.05),
    "thermometer": Trap(around(thermometer(8)), verdicts=("no_gradient_path",), near=0.05),
    "outputs rounded": Trap(around(after=lambda z: (z * 2).round() / 2), verdicts=ZERO, near=0.20),
    # 4: no path
    "detached": Trap(around(torch.Tensor.detach), verdicts=("no_gradient_path",), near=0.05),
    "by way of numpy": Trap(NoPath, verdicts=("no_gradient_path",), near=0.05),
    "inside no_grad": Trap(NoGrad, verdicts=("no_gradient_path",), near=0.05),
    # 6: gradients that lie
    "zero gradient": Trap(around(lying(torch.zeros_like)), verdicts=ZERO, near=0.05),
    "gradient not a number": Trap(around(lying(lambda g: g * torch.nan)), verdicts=("non_finite",), near=0.05),
    "gradient turned round": Trap(around(lying(torch.neg)), verdicts=("misleading_gradient",), near=0.05),
    "random gradient": Trap(around(lying(random_gradient)), verdicts=("misleading_gradient",), near=0.05),
    "gradient under noise": Trap(around(lying(blurred_gradient)), near=0.05),
    "gradient of other places": Trap(around(lying(wrong_places)), verdicts=("misleading_gradient",), near=0.05),
    "gradient of half the inputs": Trap(around(lying(lambda g: g * (torch.arange(g.shape[-1]) % 2))), near=0.05),
    "gradient of a decoy": Trap(Decoy, verdicts=("misleading_gradient",), near=0.05),
    "gradient turned round in large batches": Trap(Crowded, verdicts=("misleading_gradient",), near=0.05),
    "gradient true at clean rows only": Trap(
        NearlyTrue, verdicts=("misleading_gradient", "one_step_beats_multi"), near=0.05
    ),
    "another face for those who want gradients": Trap(TwoFaced, verdicts=("two_faced",), near=0.05),
    # 7: outputs that say less
    "softmax": Trap(around(after=lambda z: z.softmax(1)), "probabilities", near=0.02),
    "softmax called logits": Trap(around(after=lambda z: z.softmax(1)), near=0.02),
    "log-softmax": Trap(around(after=lambda z: z.log_softmax(1)), near=0.02),
    "probabilities to two places": Trap(
        around(after=lambda z: (z.softmax(1) * 100).round() / 100), "probabilities", verdicts=ZERO
    ),
    "steep softmax": Trap(around(after=lambda z: (z * 50).softmax(1)), "probabilities"),
    "one-hot": Trap(around(after=one_hot), verdicts=LABELS),
    "one-hot with a straight-through gradient": Trap(
        around(after=lambda z: one_hot(z) + z.softmax(1) - z.softmax(1).detach()), near=0.02
    ),
    "label only": Trap(around(after=lambda z: z.argmax(1)), "labels", verdicts=("labels_only",)),
    "outputs clipped": Trap(around(after=lambda z: z.clamp(-1, 1))),
    "outputs through a steep tanh": Trap(around(after=lambda z: torch.tanh(z * 5))),
    # 8: chance
    "input noise": Trap(around(noisy(0.15)), verdicts=STOCHASTIC, draws=25),
    "a little input noise": Trap(around(noisy(0.01)), verdicts=STOCHASTIC, draws=25),
    "a hundredth dropped": Trap(around(lambda x: nn.functional.dropout(x, 0.01)), verdicts=STOCHASTIC, draws=25),
    "half dropped": Trap(around(lambda x: nn.functional.dropout(x, 0.5)), verdicts=STOCHASTIC, draws=25),
    "random shift": Trap(around(resized), verdicts=STOCHASTIC, draws=25),
    "random ensemble": Trap(Ensemble, verdicts=STOCHASTIC, draws=25),
    "close scores shuffled": Trap(around(after=shuffled), verdicts=STOCHASTIC, draws=25),
    "noise and steps": Trap(around(lambda x: rounded(5)(noisy(0.05)(x))), verdicts=STOCHASTIC, draws=25),
    # 9: company and memory
    "batch mean taken off": Trap(around(lambda x: x - 0.3 * x.mean(0, keepdim=True)), verdicts=("batch_dependent",)),
    "batch statistics": Trap(
        around(lambda x: (x - x.mean(0)) / (x.var(0, unbiased=False) + 0.1).sqrt()), verdicts=("batch_dependent",)
    ),
    "a memory of cells": Trap(lambda net: Remembering(net, 8)),
    "answers change after many questions": Trap(lambda net: Weary(net, 1500), verdicts=("stateful",)),
    # 12: numbers that are none
    "constant": Trap(around(after=lambda z: z * 0)),
    "not a number off the data": Trap(
        around(lambda x: torch.where((x * 16 - (x * 16).round()).abs().sum(1, keepdim=True) > 0.1, torch.nan, x))
    ),
    # shattered and walled
    "a steep ripple": Trap(around(rippled(0.01, 1e4))),
    "a low fast ripple": Trap(around(rippled(0.002, 2e5))),
    "winners take all": Trap(winners_take_all),
    "a wall at the edges": Trap(around(lambda x: x.clamp(0.1, 0.9))),
    "a thick wall": Trap(around(lambda x: (x * 3 - 1).clamp(0, 1))),
    "a steep sigmoid": Trap(around(lambda x: torch.sigmoid((x - 0.5) * 60))),
    "median of neighbours": Trap(around(median_filtered)),
    "scores under a ripple": Trap(around(after=lambda z: z + 0.02 * torch.sin(z * 1e4))),
    "black and white": Trap(around(lambda x: (x > 0.5).to(x.dtype)), verdicts=("no_gradient_path",)),
}
