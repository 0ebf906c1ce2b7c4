"""Trains six networks on the breast-cancer data, three by SGD and three by AdamW, and saves data and weights."""

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import nn


def make(width=32):
    """The network of every checkpoint: 30 features, 2 classes."""
    return nn.Sequential(nn.Linear(30, width), nn.ReLU(), nn.Linear(width, 2))


def fit(x, y, optimizer, seed, epochs):
    """How every checkpoint was made; the audit retrains by it."""
    torch.manual_seed(seed)
    net = make()
    kind, rate = {"sgd": (torch.optim.SGD, 0.5), "adamw": (torch.optim.AdamW, 0.01)}[optimizer]
    steps = kind(net.parameters(), lr=rate)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(32):
            steps.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            steps.step()
    return net


def main():
    """Write data.npz and OPTIMIZER-SEED.safetensors."""
    x, y = load_breast_cancer(return_X_y=True)
    x = ((x - x.min(axis=0)) / (x.max(axis=0) - x.min(axis=0))).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.4, stratify=y, random_state=0)
    np.savez("data.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    for optimizer in ("sgd", "adamw"):
        for seed in range(3):
            save_file(fit(x_train, y_train, optimizer, seed, 20).state_dict(), f"{optimizer}-{seed}.safetensors")


if __name__ == "__main__":
    main()
