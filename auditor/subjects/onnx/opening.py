"""An ONNX model as a subject: onnxruntime answers; torch does, with gradients, where it is found to answer the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from auditor.dataset import Array
from auditor.errors import ModelError, UnknownNameError
from auditor.record import DatasetRecord
from auditor.subject import Access
from auditor.subjects.answering import BATCH, Answering, Answers, BlackBoxSubject
from auditor.subjects.onnx.session import NUMBERS, Ending, Layout, Session, laid_out, layout, opened
from auditor.subjects.preparation import UNIT, preparation
from auditor.subjects.spec import Load

FILE = frozenset({Access.FILE})
MAPS = "seq(map("


def open_onnx(spec: Load, path: Path, facts: DatasetRecord) -> Answering:
    """What does an ONNX model answer, and can it be differentiated?

    onnxruntime is asked on one thread of the CPU. `load.input` and `load.output` name the tensors where there are
    several; else the output is the one that is (n, classes), labels where `outputs: labels`. Rows become the model's
    number type, flattened where it takes rows, (H, W, C) where it takes channels last. Maps from classes to
    probabilities (ZipMap) become columns. `module` is the same graph in torch, where it is found to answer the same and
    gradients flow. Raises ModelError for a file that cannot be run and for inputs and outputs that do not
    fit the data. Blind spot: a model of whole numbers is asked with rounded inputs.
    """
    session = opened(path)
    given, wanted = _input(spec, session), _output(spec, session, facts)
    how = _layout(session, given, facts)
    number = _number(spec, session, given, facts)
    names = spec.classes or facts.classes

    def answer(x: Array) -> Answers:
        return _columns(session.ask(given, wanted, _as_number(laid_out(x, how), number)), path, names)

    size = given.sizes[0] if given.sizes else None
    answering = Answering(answer, spec.outputs, path.name, FILE, size or BATCH, fixed=size is not None)
    if spec.outputs == "labels" or number.kind != "f":
        return answering
    from auditor.subjects.onnx.white_box import white_box

    box = BlackBoxSubject(
        answering, classes=len(facts.classes), shape=facts.shape, preparation=preparation(spec, facts)
    )
    module = white_box(path, (given.name, wanted.name), how, number, box, facts.range)
    return replace(answering, module=module)


def _input(spec: Load, session: Session) -> Ending:
    if spec.input is not None:
        _named(spec.input, session.inputs, "input", session)
    if len(session.inputs) != 1:
        raise ModelError(
            f"{session.path} takes {len(session.inputs)} inputs ({_listed(session.inputs)}), and an audit gives one: "
            "export the model with one, the others fixed inside"
        )
    return session.inputs[0]


def _output(spec: Load, session: Session, facts: DatasetRecord) -> Ending:
    """The output that holds the answers."""
    if spec.output is not None:
        return _named(spec.output, session.outputs, "output", session)
    if len(session.outputs) == 1:
        return session.outputs[0]
    fitting = [o for o in session.outputs if _is_answer(o, spec.outputs == "labels", len(facts.classes))]
    if len(fitting) != 1:
        raise ModelError(
            f"{session.path} has {len(session.outputs)} outputs ({_listed(session.outputs)}), and it is not clear "
            f"which holds the {spec.outputs} of {len(facts.classes)} classes: name it as load.output"
        )
    return fitting[0]


def _named(name: str, endings: tuple[Ending, ...], what: str, session: Session) -> Ending:
    found = next((e for e in endings if e.name == name), None)
    if found is None:
        raise UnknownNameError(f"{what} of {session.path.name}", name, [e.name for e in endings], where=f"load.{what}")
    return found


def _is_answer(output: Ending, labels: bool, classes: int) -> bool:
    """Whether an output among several is the one of labels, or the one of a column a class."""
    if labels:
        return output.kind in ("tensor(int64)", "tensor(int32)", "tensor(string)") and len(output.sizes) <= 1
    if output.kind.startswith(MAPS):
        return True
    floating = output.kind in NUMBERS and NUMBERS[output.kind].kind == "f"
    return floating and (not output.sizes or (len(output.sizes) == 2 and output.sizes[1] in (None, classes)))


def _listed(endings: tuple[Ending, ...]) -> str:
    return ", ".join(map(str, endings))


def _layout(session: Session, given: Ending, facts: DatasetRecord) -> Layout:
    how = layout(given, facts.shape)
    if how is None:
        raise ModelError(
            f"{session.path} takes {given}; the data has rows of shape {facts.shape}, N of them at a time: is it the "
            "model of this data?"
        )
    return how


def _number(spec: Load, session: Session, given: Ending, facts: DatasetRecord) -> np.dtype[Any]:
    """The number type of the input."""
    number = NUMBERS.get(given.kind)
    if number is None:
        raise ModelError(f"{session.path} takes {given}; an audit gives one tensor of numbers")
    if number.kind != "f" and spec.input_range is None and facts.range == UNIT:
        raise ModelError(
            f"{session.path} takes whole numbers ({given}) and the data lies in [0, 1]: declare what that becomes, "
            "such as load.input_range: [0, 255]"
        )
    return number


def _as_number(x: Array, number: np.dtype[Any]) -> npt.NDArray[Any]:
    if number.kind == "f":
        return x.astype(number, copy=False)
    limits = np.iinfo(number)
    return np.clip(np.rint(x.astype(np.float64)), limits.min, limits.max).astype(number)


def _columns(answers: Any, path: Path, names: tuple[str, ...]) -> Answers:  # an array, or a list of maps
    """Answers as numbers: maps as columns, texts as the label of the class they name."""
    if isinstance(answers, list):
        out = np.full((len(answers), len(names)), 0.0, np.float32)
        for row, scores in zip(out, answers, strict=True):
            row[[_label(key, path, names) for key in scores]] = list(scores.values())
        return out
    if answers.dtype.kind in "OU":
        return np.array([_label(text, path, names) for text in answers.ravel()], np.int64)
    found: Answers = answers
    return found


def _label(key: object, path: Path, names: tuple[str, ...]) -> int:
    label = names.index(key) if isinstance(key, str) and key in names else key
    if not isinstance(label, int) or not 0 <= label < len(names):
        raise ModelError(
            f"{path} answers the class {key!r}, which the data has not; its classes are {', '.join(names)}: name them "
            "in data.classes as the model does"
        )
    return label
