"""Random numbers that belong to a row and a moment: the same whatever batch, device or neighbours it has."""

import torch

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_PLACES = 1 << 24  # numbers a row may draw at one moment before the next moment's begin


def uniform(keys: torch.Tensor, moment: torch.Tensor, count: int, *, purpose: int = 0) -> torch.Tensor:
    """Which numbers do these rows draw at this moment: float32 (n, count) in [0, 1).

    `keys` and `moment` are int64 (n,); `purpose` parts the streams of different uses. The generator is
    SplitMix64 (Steele, Lea and Flood 2014) read at position `moment * 2**24 + j` of the stream that starts at
    the key. Streams are independent as far as 64 bits of key allow; nothing here is fit for cryptography.
    """
    places = torch.arange(1, count + 1, dtype=torch.int64, device=keys.device)
    position = (moment + (purpose << 20)).unsqueeze(1) * _PLACES + places
    bits = mix(keys.unsqueeze(1) + position * _signed(_GOLDEN))
    return _shifted(bits, 40).to(torch.float32) / _PLACES


def mix(state: torch.Tensor) -> torch.Tensor:
    """The output function of SplitMix64 on int64 states, whose bits are read as unsigned."""
    state = (state ^ _shifted(state, 30)) * _signed(_FIRST)
    state = (state ^ _shifted(state, 27)) * _signed(_SECOND)
    return state ^ _shifted(state, 31)


def _shifted(bits: torch.Tensor, places: int) -> torch.Tensor:
    # torch shifts int64 with its sign; the mask makes it the unsigned shift the generator is defined by
    return (bits >> places) & ((1 << (64 - places)) - 1)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
