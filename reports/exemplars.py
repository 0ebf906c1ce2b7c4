"""Exemplars of an attack: small pictures of what was changed, or a table for data that has no picture."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.bundle import Arrays
from auditor.catalogue import ProbeEntry
from auditor.record import Result

from . import wording
from .material import Material
from .page import Cell, Column, Picture, Table

SHOWN = 8
SIDE = 84
MOST_CHANGES = 3
BETWEEN = (
    "Between them the change, made as strong as can be shown: grey where there is none, lighter where values rose, "
    "darker where they fell."
)
Values = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Exemplars:
    """Pictures, or a table in their stead, with a note that says of which model they are."""

    pictures: tuple[Picture, ...] = ()
    note: str = ""
    table: Table | None = None


def exemplars(material: Material, probe: ProbeEntry) -> Exemplars:
    """The exemplars of the first result that kept any."""
    for result in material.results(probe.id):
        arrays = material.facts.gallery(result)
        if {"before", "after", "label", "prediction"} <= set(arrays) and len(arrays["label"]):
            return _shown(material, result, arrays)
    return Exemplars()


def _shown(material: Material, result: Result, arrays: Arrays) -> Exemplars:
    note = f"From {result.subject}: at most {SHOWN} rows, before and after{radius(arrays)}."
    if arrays["before"].ndim == 4 and arrays["before"].shape[1] in {1, 3}:
        pictures = tuple(_picture(material, arrays, i) for i in range(min(SHOWN, len(arrays["label"]))))
        return Exemplars(pictures, f"{note} {BETWEEN}")
    return Exemplars(note=note, table=_table(material, result, arrays))


def radius(arrays: Arrays) -> str:
    """Within which epsilon they were changed, where there is one."""
    if "epsilon" not in arrays:
        return ""
    return f", at epsilon {wording.coordinate('epsilon', float(arrays['epsilon'][0]))}, the least at which any row fell"


def _picture(material: Material, arrays: Arrays, index: int) -> Picture:
    low, high = material.record.dataset.range
    label, prediction = (_class(material, int(arrays[name][index])) for name in ("label", "prediction"))
    before, after = arrays["before"][index], arrays["after"][index]
    return Picture(
        before=png(before, low, high),
        change=png(*moved(before, after)),
        after=png(after, low, high),
        alt=f"A row of class {label} before and after the change; afterwards read as {prediction}",
        caption=f"{label} → {prediction}",
    )


def moved(before: Values, after: Values) -> tuple[Values, float, float]:
    """The change of an input, with the ends of a scale on which no change lies in the middle."""
    move = np.asarray(after, np.float64) - before
    most = float(np.abs(move).max(initial=0.0)) or 1.0
    return move, -most, most


def _class(material: Material, label: int) -> str:
    classes = material.record.dataset.classes
    return classes[label] if 0 <= label < len(classes) else "no class"


def png(image: Values, low: float, high: float) -> str:
    """A (C, H, W) array as a small PNG in a data URI, enlarged by whole pixels."""
    from matplotlib.image import imsave

    scaled = np.clip((np.asarray(image, np.float64) - low) / (high - low or 1.0), 0, 1)
    pixels = np.round(255 * np.moveaxis(scaled, 0, -1)).astype(np.uint8)
    times = max(1, SIDE // max(pixels.shape[:2]))
    pixels = np.repeat(np.repeat(pixels, times, axis=0), times, axis=1)
    stream = io.BytesIO()
    imsave(
        stream,
        np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels,
        format="png",
        metadata={"Software": "auditor"},
    )
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _table(material: Material, result: Result, arrays: Arrays) -> Table:
    columns = (
        Column("Labelled"),
        Column("Read as, after"),
        Column("Features changed", "number"),
        Column("Largest changes"),
    )
    rows = tuple(
        (
            Cell(_class(material, int(arrays["label"][i])), head=True),
            Cell(_class(material, int(arrays["prediction"][i]))),
            *_changes(arrays["before"][i].reshape(-1), arrays["after"][i].reshape(-1)),
        )
        for i in range(min(SHOWN, len(arrays["label"])))
    )
    return Table(f"Exemplars from {result.subject}{radius(arrays)}", columns, rows)


def _changes(before: Values, after: Values) -> tuple[Cell, Cell]:
    moved = np.abs(after - before)
    largest = np.argsort(-moved, kind="stable")[:MOST_CHANGES]
    told = [f"feature {i}: {before[i]:.4g} → {after[i]:.4g}" for i in largest if moved[i]]
    return Cell(wording.whole(int((moved > 0).sum())), tone="number"), Cell("; ".join(told) or "none")
