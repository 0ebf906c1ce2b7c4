"""Images turned and moved: bilinear, exact wherever pixels fall on pixels; torch only."""

from typing import Literal

import torch

Padding = Literal["zeros", "border"]

_GRAIN = 2.0**20  # places are rounded to this share of a pixel, so that 90 degrees is a quarter turn and no blur


def turned(u: torch.Tensor, degrees: torch.Tensor, shift: torch.Tensor, padding: Padding) -> torch.Tensor:
    """Images u (n, C, H, W), first turned anticlockwise about their middle, then moved by pixels down and right.

    `degrees` (m,) and `shift` (m, 2) are one for all images or one for each. What comes from outside is zero, or with
    `border` the nearest pixel's value. Values in between are bilinear, places are found in float64.
    """
    height, width = u.shape[2:]
    y, x = _sources(height, width, degrees.double(), shift.double())
    top, left = y.floor(), x.floor()
    down, right = y - top, x - left
    out = torch.zeros_like(u).flatten(2)
    for row, share in ((top, 1 - down), (top + 1, down)):
        for column, part in ((left, 1 - right), (left + 1, right)):
            weight = share * part
            if padding == "zeros":
                weight = weight * _inside(row, height) * _inside(column, width)
            index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            out += weight.to(u.dtype).unsqueeze(1) * _picked(u.flatten(2), index.long())
    return out.view_as(u)


def _sources(height: int, width: int, degrees: torch.Tensor, shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """From which row and column each pixel of the new image comes (m, H * W)."""
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    rows = torch.arange(height, dtype=torch.float64, device=degrees.device) - middle_y
    columns = torch.arange(width, dtype=torch.float64, device=degrees.device) - middle_x
    y = rows.repeat_interleave(width) - shift[:, :1]
    x = columns.repeat(height) - shift[:, 1:]
    angle = torch.deg2rad(degrees).unsqueeze(1)
    cos, sin = angle.cos(), angle.sin()
    source_y, source_x = cos * y + sin * x + middle_y, cos * x - sin * y + middle_x
    return (source_y * _GRAIN).round() / _GRAIN, (source_x * _GRAIN).round() / _GRAIN


def _inside(place: torch.Tensor, size: int) -> torch.Tensor:
    return (place >= 0) & (place < size)


def _picked(flat: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Pixels (n, C, P) of images (n, C, H * W) at places (m, P)."""
    if len(index) == 1:
        return flat[:, :, index[0]]
    return flat.gather(2, index.unsqueeze(1).expand(-1, flat.shape[1], -1))
