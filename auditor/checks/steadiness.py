"""Whether a subject answers so that it can be measured: numbers, the same twice, alone and bare, with a slope."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.checks.examination import Asked, Check, Mask, ok, unknown
from auditor.errors import AuditorError, ModelError
from auditor.record import Severity
from auditor.subject import Access, Bare, Subject, WhiteBox

if TYPE_CHECKING:
    import torch

DRIFT = 1e-4  # of the outputs' spread: more, and the same input gives different answers
MATES = 0.05  # of the outputs' spread: arithmetic in batches moves less, batch statistics move more
SELDOM = 0.01  # of the rows: ties and rounding explain so many disagreements between a model and its adapter
OFTEN = 0.05  # of the rows: more, and it is another model; up to it, one whose predict is no argmax of its scores
SLOPES = 32  # rows whose gradient is looked at
FLAT = 0.05  # of the rows without any gradient: more, and attacks that follow gradients are blind
RANDOM = "answers change from one time to the next anyway"
REFUSED = (AuditorError, RuntimeError, ValueError, TypeError, IndexError, ArithmeticError)  # a model's ways to say no


@dataclass(frozen=True, eq=False)
class Steady:
    """A check by row: the rows that held (n,), None where it could not be made, and what is said of them."""

    held: Mask | None
    check: Check


def output_type(asked: Asked) -> Check:
    """Are the outputs what they are declared to be?"""
    from auditor.subjects import answers

    kind = asked.subject.outputs
    try:
        answers.check(asked.subject, asked.x[:SLOPES])
    except ModelError as error:
        found, _, advice = str(error).partition(": ")
        return Check("output type", "problem", found, advice, "suspicious")
    return ok("output type", kind)


def finite(asked: Asked) -> Check:
    """Are all outputs numbers?"""
    bad = int((~np.isfinite(asked.outputs)).any(axis=1).sum())
    if not bad:
        return ok("finite outputs", f"all {len(asked.outputs)} rows")
    return Check(
        "finite outputs",
        "problem",
        f"{bad} of {len(asked.outputs)} rows have outputs that are infinite or no number",
        "look for a logarithm of 0, a division by 0 or an overflow in the model; such rows count as wrong",
        "suspicious",
    )


def repeatable(asked: Asked) -> Steady:
    """Does the same input get the same answer twice?"""
    moved = asked.moved(asked.subject.predict(asked.x))
    held = moved <= DRIFT * asked.spread
    if held.all():
        return Steady(held, ok("repeatable", f"{len(held)} rows answered the same twice"))
    found = f"{int((~held).sum())} of {len(held)} rows were answered otherwise the second time"
    advice = "is dropout, noise or sampling on at evaluation (functional.dropout without training=self.training)?"
    return Steady(held, Check("repeatable", "problem", found, advice, "suspicious"))


def alone(asked: Asked, count: int, *, steady: bool) -> Steady:
    """Does an input get the same answer alone as among others? Asks the first `count` rows one by one.

    A subject whose answers are not `steady` cannot be accused of it.
    """
    rows = range(min(count, len(asked.x)))
    held, refusal = np.zeros(len(rows), bool), ""
    for row in rows:
        try:
            answer = asked.subject.predict(asked.x[row : row + 1])
        except REFUSED as error:
            refusal = refusal or f" ({_first(error)})"
            continue
        held[row] = asked.moved(answer, row)[0] <= MATES * asked.spread
    name = "alone as in a batch"
    if held.all():
        return Steady(held, ok(name, f"{len(held)} rows answered the same alone"))
    if not steady:
        return Steady(held, unknown(name, RANDOM))
    found = f"{int((~held).sum())} of {len(held)} rows are answered otherwise alone than among {len(asked.x)}{refusal}"
    advice = "is batch normalisation in training mode? call model.eval() before saving; use no batch statistics"
    return Steady(held, Check(name, "problem", found, advice, "invalid"))


def agreement(asked: Asked, subject: Subject, *, steady: bool) -> Steady:
    """Does the adapter name the classes that the model names when its owner asks it?

    A subject whose answers are not `steady` cannot be accused of it.
    """
    name = "raw and wrapped agree"
    if not isinstance(subject, Bare):
        return Steady(None, unknown(name, f"a {type(subject).__name__} cannot be asked around its adapter"))
    bare = subject.bare_labels(asked.x)
    held = np.asarray(bare == asked.labels)
    if held.all():
        return Steady(held, ok(name, f"{len(held)} rows named alike"))
    if not steady:
        return Steady(held, unknown(name, RANDOM))
    wrong, first = int((~held).sum()), int(np.flatnonzero(~held)[0])
    doubt: Severity = "invalid" if wrong > OFTEN * len(held) else "suspicious"
    severity: Severity = doubt if wrong > max(2, SELDOM * len(held)) else "info"
    found = (
        f"{wrong} of {len(held)} rows: the model names {_class(asked, bare[first])}, its wrapped outputs "
        f"{_class(asked, asked.labels[first])}"
    )
    advice = "check load.classes and load.outputs; a model whose predict is no argmax of its scores is audited by these"
    return Steady(held, Check(name, "problem", found, advice, severity))


def _class(asked: Asked, label: int) -> str:
    return asked.data.classes[label] if 0 <= label < len(asked.data.classes) else f"{label}, which is no class"


def gradient(asked: Asked) -> Check:
    """Do gradients reach the input, and are they other than zero?

    Of the lead of the best output over the second, which does not saturate as cross-entropy does.
    """
    name = "gradient path"
    if Access.GRADIENTS not in asked.subject.access or not isinstance(asked.subject, WhiteBox):
        return unknown(name, "this subject shows no gradients; attacks search by its answers alone")
    import torch

    subject = asked.subject
    x = torch.tensor(asked.x[:SLOPES], dtype=subject.dtype, device=subject.device).requires_grad_()
    advice = "does the model leave torch (numpy, detach, no_grad)? attacks fall back to a search without gradients"
    try:
        lead = _lead(subject.logits(x), subject.outputs)
        slope = torch.autograd.grad(lead.sum(), x, allow_unused=True)[0] if lead.requires_grad else None
    except RuntimeError as error:
        return Check(name, "problem", f"no gradient: {_first(error)}", advice, "info")
    if slope is None:
        return Check(name, "problem", "the outputs are cut off from the inputs", advice, "info")
    flat = slope.flatten(1)
    zero, broken = (flat == 0).all(1), (~flat.isfinite()).any(1)
    if float(zero.double().mean()) <= FLAT and not broken.any():
        return ok(name, f"gradients at {len(flat)} rows, {int(zero.sum())} of them zero")
    found = f"the gradient is zero at {int(zero.sum())} and no number at {int(broken.sum())} of {len(flat)} rows"
    advice = "rounding, saturated outputs or a custom backward hide the slope; robust accuracy may look too good"
    return Check(name, "problem", found, advice, "suspicious")


def _lead(outputs: "torch.Tensor", kind: str) -> "torch.Tensor":
    """Lead (n,) of the best output over the second, in logits or logarithms of probabilities."""
    scores = outputs if kind == "logits" else outputs.clamp_min(1e-30).log()
    best = scores.topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
