"""The random search's proposals in the L2 and L1 balls: a window is given the change that another one gives up."""

import torch

from .draws import uniform
from .seekers import PURPOSE, Seekers, again, some, window, within

_SMALL = 256  # numbers in an image up to which turns of the whole change find more than windows alone
_LEAST_TURN = 0.01  # of the radius
_TILES = 5  # along each side of an image, in the first pattern
_LEAST_SIDE = 3
_INSIDE = 1 - 1e-6  # of the radius, so that rounding leaves no point outside
_TINY = 1e-30


def mass_trial(lanes: Seekers, share: torch.Tensor, epsilon: float, power: int) -> torch.Tensor:
    """The next point to try (n, *shape) in the ball of the norm of this power, `share` (n,) of the coordinates changed.

    Andriushchenko et al. 2020, section 4.2: of two windows one gives up its change and the other is given it, with
    what the ball still has to spare, along its present change plus a pattern of two peaks of opposite sign. Mass is
    the sum of the powers of the changes. What the box cuts off is there to spare at the next step. Vectors and small
    images, which windows serve badly, have their whole change turned at every second step instead: towards a random
    direction, by an angle that is drawn from all orders of magnitude.
    """
    groups = lanes.x.shape[1] if lanes.x.dim() == 4 else 1
    x, best = (t.reshape(len(t), groups, -1) for t in (lanes.x, lanes.best))
    radius = epsilon * _INSIDE
    draw = _sets(lanes, share) if lanes.x.dim() == 2 else _windows(lanes, share)
    move = _moved(best - x, draw, radius**power, power)
    if lanes.x.dim() == 2 or lanes.x[0].numel() <= _SMALL:
        move = torch.where((lanes.step % 2 == 0).view(-1, 1, 1), radius * _turned(lanes, share, power), move)
    if 1 in lanes.ages:
        first = _everywhere(lanes) if lanes.x.dim() == 4 else _signs(lanes)
        first = radius * _unit(first.flatten(1), power).view_as(first)
        move = torch.where((lanes.step == 1).view(-1, 1, 1), first, move)
    return torch.clamp((x + move).view_as(lanes.x), lanes.lower, lanes.upper)


def _turned(lanes: Seekers, share: torch.Tensor, power: int) -> torch.Tensor:
    """The present change (n, c, d) turned towards a random direction, of length 1; in L1 that has few coordinates."""
    move = (lanes.best - lanes.x).flatten(1)
    draw = uniform(lanes.key, lanes.step, move.shape[1] + 1, purpose=PURPOSE)
    way = torch.erfinv((2 * draw[:, 1:] - 1).clamp(-0.999999, 0.999999)).to(move.dtype)
    if power == 1:
        way = way * some(again(draw[:, 1:]), share)
    angle = (_LEAST_TURN ** draw[:, :1]).to(move.dtype)
    turned = _unit(_unit(move, power) + angle * _unit(way, power), power)
    return turned.view(len(move), lanes.x.shape[1] if lanes.x.dim() == 4 else 1, -1)


def _moved(
    move: torch.Tensor, draw: tuple[torch.Tensor, torch.Tensor, torch.Tensor], budget: float, power: int
) -> torch.Tensor:
    """Changes (n, c, d) after one window (n, 1, d) gave up what another takes along a pattern (n, c, d).

    `draw` is the pattern, zero outside the taking window; that window; and the giving one.
    """
    pattern, taking, giving = draw
    held = move * taking
    mass = _mass(move, power)
    spare = (budget - mass.sum((1, 2), keepdim=True)) / move.shape[1]
    either = torch.maximum(taking, giving)
    room = (_mass(move * either, power) + spare).clamp_min(0)
    way = _unit(pattern, power) + _unit(held, power)
    return move * (1 - either) + _unit(way, power) * room.pow(1 / power)


def _mass(move: torch.Tensor, power: int) -> torch.Tensor:
    return (move.abs() if power == 1 else move * move).sum(2, keepdim=True)


def _length(move: torch.Tensor, power: int) -> torch.Tensor:
    length: torch.Tensor = torch.linalg.vector_norm(move, ord=power, dim=-1, keepdim=True)
    return length


def _unit(move: torch.Tensor, power: int) -> torch.Tensor:
    return move / _length(move, power).clamp_min(_TINY)


def _sets(lanes: Seekers, share: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """On vectors: a pattern of coin flips on one random set of coordinates, that set, and another."""
    size = lanes.x.shape[1]
    draw = uniform(lanes.key, lanes.step, 2 * size, purpose=PURPOSE)
    taking = some(draw[:, :size], share).to(lanes.x.dtype).unsqueeze(1)
    giving = some(draw[:, size:], share).to(lanes.x.dtype).unsqueeze(1)
    return _coins(again(draw[:, :size])).to(lanes.x.dtype).unsqueeze(1) * taking, taking, giving


def _signs(lanes: Seekers) -> torch.Tensor:
    draw = uniform(lanes.key, lanes.step, lanes.x.shape[1], purpose=PURPOSE)
    return _coins(again(draw)).to(lanes.x.dtype).unsqueeze(1)


def _windows(lanes: Seekers, share: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """On images: two peaks of opposite sign in a square window, a sign a channel; that window, and another."""
    channels, height, width = lanes.x.shape[1:]
    draw = uniform(lanes.key, lanes.step, 5 + channels, purpose=PURPOSE).to(lanes.x.dtype)
    least, most = min(_LEAST_SIDE, height, width), max(min(height, width) - 1, 1)
    side = (share * height * width).sqrt().round().clamp(min(least, most), most)
    down, across = window(draw[:, 0], side, height), window(draw[:, 1], side, width)
    taking = _rectangle(down, across, side)
    giving = _rectangle(window(draw[:, 2], side, height), window(draw[:, 3], side, width), side)
    peaks = _peaks(down, across, side, draw[:, 4] < 0.5).flatten(1).unsqueeze(1) * taking
    return _coins(draw[:, 5:]).unsqueeze(2) * peaks, taking, giving


def _everywhere(lanes: Seekers) -> torch.Tensor:
    """The first pattern on images (n, c, d): tiles of two peaks each, all over."""
    channels, height, width = lanes.x.shape[1:]
    side = max(min(height, width) // _TILES, 1)
    down, across = (torch.arange(n, device=lanes.x.device, dtype=lanes.x.dtype).unsqueeze(0) for n in (height, width))
    size, turned = lanes.x.new_full((1,), side), torch.zeros(1, dtype=torch.bool, device=lanes.x.device)
    peaks = _peaks(down % side, across % side, size, turned)
    high, wide = -(-height // side), -(-width // side)
    draw = uniform(lanes.key, lanes.step, channels * high * wide, purpose=PURPOSE)
    signs = _coins(draw).to(lanes.x.dtype).view(-1, channels, high, wide)
    tiled = signs.repeat_interleave(side, 2).repeat_interleave(side, 3)[:, :, :height, :width]
    return (tiled * peaks.unsqueeze(1)).flatten(2)


def _rectangle(down: torch.Tensor, across: torch.Tensor, side: torch.Tensor) -> torch.Tensor:
    inside = within(down, side).unsqueeze(2) & within(across, side).unsqueeze(1)
    return inside.flatten(1).unsqueeze(1).to(down.dtype)


def _peaks(down: torch.Tensor, across: torch.Tensor, side: torch.Tensor, turned: torch.Tensor) -> torch.Tensor:
    """Two peaks of opposite sign (n, h, w), a half of the window each, side by side where `turned` (n,).

    At a place m from its half's centre, in Chebyshev distance, the height is the sum of 1 / (k + 1)^2 over
    m <= k <= side / 2. `down` (n, h) and `across` (n, w) are offsets from the window's corner.
    """
    side, turned = side.unsqueeze(1), turned.unsqueeze(1)
    (far_down, sign_down), (far_across, sign_across) = _halves(down, side), _halves(across, side)
    middle = (side / 2).floor()
    far_down = torch.where(turned, (down - middle).abs(), far_down)
    far_across = torch.where(turned, far_across, (across - middle).abs())
    ring = torch.maximum(far_down.unsqueeze(2), far_across.unsqueeze(1)).minimum((middle + 1).unsqueeze(2))
    rungs = torch.arange(1, int(max(down.shape[1], across.shape[1])) // 2 + 2, device=down.device, dtype=down.dtype)
    reached = torch.cat([rungs.new_zeros(1), (1 / rungs**2).cumsum(0)])
    height = reached[(middle + 1).long()].unsqueeze(2) - reached[ring.long()]
    return height * torch.where(turned.unsqueeze(2), sign_across.unsqueeze(1), sign_down.unsqueeze(2))


def _halves(offset: torch.Tensor, side: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How far a place is from the centre of its half of the window, and +1 in the first half, -1 in the second."""
    half = (side / 2).floor()
    first = offset < half
    centre = torch.where(first, (half / 2).floor(), half + ((side - half) / 2).floor())
    return (offset - centre).abs(), torch.where(first, 1.0, -1.0).to(offset.dtype)


def _coins(draw: torch.Tensor) -> torch.Tensor:
    return torch.where(draw < 0.5, -1.0, 1.0)
