"""Trains a small network on handwritten digits and saves it as ONNX, with its data as npz."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn


def main():
    """Write data.npz and model.onnx."""
    torch.manual_seed(0)
    digits = load_digits()
    x = (digits.images[:, None] / 16).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(x, digits.target, test_size=0.3, random_state=0)
    np.savez("data.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    rows, labels = torch.tensor(x_train), torch.tensor(y_train)
    steps = torch.optim.AdamW(net.parameters(), lr=0.01)
    for _ in range(60):
        steps.zero_grad()
        nn.functional.cross_entropy(net(rows), labels).backward()
        steps.step()
    torch.onnx.export(
        net.eval(),
        (rows[:2].clone(),),
        "model.onnx",
        input_names=["pixels"],
        output_names=["logits"],
        dynamic_shapes=({0: "rows"},),
        verbose=False,
    )


if __name__ == "__main__":
    main()
