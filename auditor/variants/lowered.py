"""A network in bfloat16: weights and everything in between in 16 bits, inputs and answers in float32."""

import torch
from torch import nn


class Lowered(nn.Module):
    """A module in bfloat16 for inputs of any number type; gradients flow through both casts.

    Blind spot: bfloat16 keeps 8 bits of a number, so two classes may tie exactly; a tie counts as broken.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.to(torch.bfloat16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Answers in the number type of x (N, *shape); whole numbers stay whole."""
        answer: torch.Tensor = self.net(x.to(torch.bfloat16))
        return answer.to(x.dtype) if answer.is_floating_point() else answer
