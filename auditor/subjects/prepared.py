"""A torch module behind what its inputs need: gradients flow through all of it."""

import torch
from torch import nn

from auditor.subjects.preparation import Numbers


class Prepared(nn.Module):
    """A module that is given prepared inputs: `x * scale + shift` in float32 or finer, then in the type of x."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, net: nn.Module, scale: Numbers, shift: Numbers, example: torch.Tensor) -> None:
        super().__init__()
        self.net = net
        fine = torch.promote_types(example.dtype, torch.float32)
        self.register_buffer("scale", torch.tensor(scale, dtype=fine, device=example.device))
        self.register_buffer("shift", torch.tensor(shift, dtype=fine, device=example.device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the module answers to inputs (N, *shape) in the data's domain."""
        answer: torch.Tensor = self.net((x * self.scale + self.shift).to(x.dtype))
        return answer


class Chunked(nn.Module):
    """A module that takes from `fewest` to `most` rows at once, as one that takes any number.

    Rows beyond are asked in turns; the last turn is filled up with its last row, whose answers are dropped.
    """

    def __init__(self, net: nn.Module, fewest: int, most: int) -> None:
        super().__init__()
        self.net = net
        self.fewest, self.most = fewest, most

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Answers to inputs (N, *shape), N > 0."""
        answers = [self._asked(x[start : start + self.most]) for start in range(0, len(x), self.most)]
        return torch.cat(answers) if len(answers) > 1 else answers[0]

    def _asked(self, x: torch.Tensor) -> torch.Tensor:
        lacking = self.fewest - len(x)
        if lacking <= 0:
            whole: torch.Tensor = self.net(x)
            return whole
        answer = self.net(torch.cat([x, x[-1:].expand(lacking, *x.shape[1:])]))
        return answer[: len(x)] if isinstance(answer, torch.Tensor) else answer
