"""Trains a small network on part of Fashion-MNIST, and saves it with its data as another team would hand it over."""

import gzip
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn

# Debian's package dataset-fashion-mnist puts the four files here; they are also on the data set's page.
FOLDER = Path(os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))


def content(name, start):
    """The bytes of an IDX file behind its header."""
    return np.frombuffer(gzip.decompress((FOLDER / name).read_bytes()), np.uint8, offset=start)


def images(name, count):
    """The first images of an IDX file, bytes (count, 1, 28, 28)."""
    return content(name, 16).reshape(-1, 1, 28, 28)[:count]


def labels(name, count):
    """The first labels of an IDX file, (count,)."""
    return content(name, 8)[:count].astype(np.int64)


def network():
    """Logits of ten classes from images in [0, 1]; the normalisation is inside."""
    return nn.Sequential(
        nn.BatchNorm2d(1, affine=False),
        nn.Conv2d(1, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 10),
    )


def main():
    """Write data.npz and model.pt2."""
    torch.manual_seed(0)
    x_train, y_train = images("train-images-idx3-ubyte.gz", 6000), labels("train-labels-idx1-ubyte.gz", 6000)
    x_test, y_test = images("t10k-images-idx3-ubyte.gz", 1000), labels("t10k-labels-idx1-ubyte.gz", 1000)
    np.savez("data.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    net, x, y = network(), torch.tensor(x_train) / 255, torch.tensor(y_train)
    steps = torch.optim.AdamW(net.parameters(), lr=0.003)
    for _ in range(4):
        for rows in torch.randperm(len(x)).split(64):
            steps.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            steps.step()
    any_number = ({0: torch.export.Dim("n")},)  # of images
    program = torch.export.export(net.eval(), (torch.zeros(2, 1, 28, 28),), dynamic_shapes=any_number)
    torch.export.save(program, "model.pt2")
    accuracy = (net(torch.tensor(x_test) / 255).argmax(1) == torch.tensor(y_test)).float().mean()
    print(f"accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
