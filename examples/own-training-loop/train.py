"""A training loop as people write them: auditor calls `fit` and knows nothing else of it."""

import torch
from torch import nn


class Net(nn.Module):
    """A small convolutional network for one-channel images of 8 x 8 pixels."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, classes),
        )

    def forward(self, x):
        """Logits (N, classes) of images (N, 1, 8, 8)."""
        return self.layers(x)


def fit(x, y, optimizer, seed, epochs):
    """Train on float32 rows x (N, 1, 8, 8) and integer labels y (N,); answers the trained network."""
    torch.manual_seed(seed)
    net = Net()
    steps = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.003),
    }[optimizer](net.parameters())
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            steps.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            steps.step()
    return net
