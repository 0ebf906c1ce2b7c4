"""Whether a subject's accuracy is believable: as expected, above chance, on classes in their order."""

import numpy as np

from auditor.checks.examination import Asked, Check, Mask, ok
from auditor.dataset import Dataset, Labels
from auditor.statistics import clopper_pearson, mcnemar_exact

ORDER_GAIN = 0.20  # how much more must be right before another order of the classes is believed,
MENDED = 3  # or half of that where errors become fewer by this factor: two classes of many are swapped
SURPRISE = 1e-3  # of McNemar's test
POINT = 0.01  # a difference from the expected accuracy that nobody minds
SHOWN_CLASSES = 10  # rows that a class needs before its absence among the answers means something


def response(asked: Asked) -> Check:
    """Do the outputs depend on the input at all?"""
    name = "outputs change"
    if len(asked.outputs) < 2 or not (asked.outputs == asked.outputs[0]).all():
        return ok(name, f"{len(np.unique(asked.outputs, axis=0))} different answers to {len(asked.x)} rows")
    found = f"all {len(asked.x)} rows get the same outputs"
    advice = "are the weights loaded, and is load.input_range or load.normalisation right?"
    return Check(name, "problem", found, advice, "suspicious")


def class_order(
    data: Dataset, y: Labels, labels: Labels, declared: tuple[int, ...] | None = None, fed: str = "as declared"
) -> Check:
    """Would the answers labels (n,) be right if the model's outputs stood for the classes in another order?

    `declared` is, for each class of the data, the model's output that stands for it (`load.classes`), `fed` says how
    the model was fed when it answered so.
    """
    name, classes = "class order", len(data.classes)
    order = believed_order(y, labels, classes)
    if order is None:
        return ok(name, "no other order of the classes fits the answers better")
    whole, right = float((labels == y).mean()), float((renamed(order, labels) == y).mean())
    found = f"accuracy is {whole:.2f} {fed} and {right:.2f} with the classes in another order"
    outputs = np.asarray(order)[np.argsort(declared)] if declared else order
    if list(outputs) == list(range(classes)):
        return Check(name, "problem", found, "remove load.classes: the model has the data's order", "invalid")
    shift = " (labels that start at 1?)" if classes > 2 and list(outputs) == _shifted(classes) else ""
    named = ", ".join(data.classes[k] for k in outputs)
    return Check(name, "problem", found, f"declare load.classes: [{named}]{shift}", "invalid")


def _shifted(classes: int) -> list[int]:
    return [(k - 1) % classes for k in range(classes)]


def believed_order(y: Labels, labels: Labels, classes: int) -> Labels | None:
    """The order of the classes (classes,) in which far more answers are right; None where the declared one does.

    The order that fits best is found on every other row of each class and believed only if it holds on the rest.
    """
    by_class = np.argsort(y, kind="stable")
    found, held = by_class[::2], by_class[1::2]
    order = best_order(y[found], labels[found], classes)
    before, after = labels[held] == y[held], renamed(order, labels[held]) == y[held]
    return best_order(y, labels, classes) if len(before) and _much_better(before, after, classes) else None


def explained(y: Labels, labels: Labels, classes: int) -> Mask:
    """Which answers labels (n,) are right, in the order of the classes that is believed (n,)."""
    order = believed_order(y, labels, classes)
    return np.asarray((labels if order is None else renamed(order, labels)) == y)


def best_order(y: Labels, labels: Labels, classes: int) -> Labels:
    """For each output of the model the class (classes,) that it stands for, so that most rows (n,) are right."""
    from scipy.optimize import linear_sum_assignment

    named = labels >= 0
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels[named], y[named]), 1)
    return np.asarray(linear_sum_assignment(confusion, maximize=True)[1], np.int64)


def renamed(order: Labels, labels: Labels) -> Labels:
    """Answers (n,) whose outputs stand for the classes in another order (classes,); no class stays none."""
    return np.where(labels < 0, -1, order[labels])


def _much_better(before: Mask, after: Mask, classes: int) -> bool:
    """By far, to over a half (with two or three classes, over half way from chance to 1)."""
    needed, gain = max(0.5, min(2 / classes, (1 + 1 / classes) / 2)), float(after.mean() - before.mean())
    mended = gain > ORDER_GAIN / 2 and MENDED * (~after).sum() <= (~before).sum()
    if after.mean() <= needed or not (gain > ORDER_GAIN or mended):
        return False
    return mcnemar_exact(int((after & ~before).sum()), int((before & ~after).sum())) < SURPRISE


def numbering(data: Dataset) -> Check:
    """Do the labels use every class from 0?"""
    name = "labels"
    count = np.bincount(np.concatenate([data.y_train, data.y_test]), minlength=len(data.classes))
    empty = np.flatnonzero(count == 0)
    if not len(empty):
        return ok(name, f"all {len(count)} classes have rows")
    missing = ", ".join(data.classes[k] for k in empty[:5]) + (" and more" if len(empty) > 5 else "")
    if list(empty) == [0]:
        found, advice = f"no row has label 0 ({missing})", "do labels start at 1? subtract 1, and name one class fewer"
        return Check(name, "problem", found, advice, "suspicious")
    return Check(name, "problem", f"no rows of {missing}", "name only classes that the data has", "info")


def never_named(data: Dataset, y: Labels, labels: Labels) -> Check:
    """Is there a class with many rows (n,) that the answers labels (n,) never name?"""
    name = "classes named"
    count = np.bincount(y, minlength=len(data.classes))
    silent = [k for k in np.flatnonzero(count >= SHOWN_CLASSES) if not (labels == k).any()]
    if not silent:
        return ok(name, "every class with rows enough is named")
    named = ", ".join(data.classes[k] for k in silent[:5]) + (" and more" if len(silent) > 5 else "")
    found = f"never named, of {len(data.classes)} classes: {named}"
    return Check(name, "problem", found, "was the model trained on these classes, in this order?", "suspicious")


def accuracy(asked: Asked, expected: float | None, confidence: float = 0.95) -> Check:
    """Is the subject right as often as its owner says, or at least more often than chance?

    A problem where the expected accuracy lies outside the interval (Clopper-Pearson) and over one point away, or where
    naming the largest class would be right as often and the classes are not told apart either.
    """
    name, right = "accuracy", asked.accuracy
    low, high = clopper_pearson(int(asked.correct.sum()), len(asked.correct), confidence)
    told = f"{right:.3f} [{low:.3f}, {high:.3f}] on {len(asked.y)} rows"
    if expected is not None and not low <= expected <= high and abs(expected - right) > POINT:
        advice = (
            "are these the rows it was measured on, prepared as in training? check range, normalisation and classes"
        )
        return Check(name, "problem", f"{told}, expected {expected:.3f}", advice, "suspicious")
    if right <= asked.majority and not tells_classes_apart(asked.y, asked.correct):
        found = f"{told}; always naming the largest class would give {asked.majority:.3f}"
        return Check(name, "problem", found, "is this the trained model, fed as in its training?", "suspicious")
    return ok(name, told if expected is None else f"{told}, expected {expected:.3f}")


def tells_classes_apart(y: Labels, correct: Mask) -> bool:
    """Is the mean over the classes in y (n,) of the share of their rows that is `correct` (n,) above chance?

    By more than two standard errors. Where one class has nearly all rows, a model that finds the others is right less
    often than one that always names the largest, and better.
    """
    rows = np.bincount(y)
    rows, hits = rows[rows > 0], np.bincount(y, weights=correct)[rows > 0]
    smooth = (hits + 0.5) / (rows + 1)
    error = float(np.sqrt((smooth * (1 - smooth) / rows).sum())) / len(rows)
    return float((hits / rows).mean()) > 1 / len(rows) + 2 * error
