"""One step across the ball along the slope at clean rows: what most rows of a model that was never hardened fall to."""

import torch

from .apgd import Model, RowLoss, Task
from .losses import margin
from .survivors import Attacked


def across(model: Model, scores: Model, task: Task, loss: RowLoss, *, width: int) -> Attacked:
    """Which rows break where the slope at their start leads to, at the edge of the ball.

    The fast gradient sign method (Goodfellow, Shlens and Szegedy 2015) in the task's norm, with a step of 2 epsilon
    that is then brought into ball and box. `model` carries gradients, `scores` need not. Costs two forward passes and
    one backward pass a row: a row that falls here is never differentiated again.
    """
    point, broken = task.start.clone(), torch.zeros(len(task.x), dtype=torch.bool, device=task.x.device)
    for at in range(0, len(task.x), width):
        rows = slice(at, at + width)
        start = task.start[rows].detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss(model(start), task.y[rows], task.target[rows]).sum(), start)
        step = 2 * task.epsilon * task.norm.direction_(slope.flatten(1).contiguous())
        ends = (task.lower[rows].flatten(1), task.upper[rows].flatten(1))
        moved = task.norm.project_(step.add_(start.detach().flatten(1)), task.x[rows].flatten(1), task.epsilon, *ends)
        point[rows] = moved.view_as(point[rows])
        with torch.no_grad():
            broken[rows] = margin(scores(point[rows]), task.y[rows]) <= 0
    return Attacked(point, broken)
