"""In which order a search goes through coordinates: near ones one after the other in images, any in vectors."""

import torch

_MANY = 64  # orders of a vector, one of which a row follows for a round
_SEED = 20200623


def orders(shape: tuple[int, ...]) -> torch.Tensor:
    """The place of each of the d coordinates of a shape in some orders: int32 (k, d), each row a permutation.

    Images (C, H, W) have one, the Z-order curve (Morton 1966) with channels innermost, where a run of places is a
    patch of pixels. Other inputs have many random ones, the same everywhere.
    """
    if len(shape) == 3:
        return _curve(*shape).unsqueeze(0)
    size = int(torch.Size(shape).numel())
    generator = torch.Generator().manual_seed(_SEED)
    return torch.stack([torch.randperm(size, generator=generator) for _ in range(_MANY)]).to(torch.int32)


def _curve(channels: int, height: int, width: int) -> torch.Tensor:
    down, across = torch.arange(height).unsqueeze(1), torch.arange(width).unsqueeze(0)
    code = torch.zeros(height, width, dtype=torch.int64)
    for bit in range(max(height, width).bit_length()):
        code |= ((across >> bit & 1) << (2 * bit)) | ((down >> bit & 1) << (2 * bit + 1))
    pixel = code.flatten().argsort().argsort()
    return (pixel * channels + torch.arange(channels).unsqueeze(1)).flatten().to(torch.int32)
