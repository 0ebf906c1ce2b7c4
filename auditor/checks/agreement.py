"""The probe variant.agreement: whether a deployment variant answers like the model it was made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from auditor.dataset import Array
from auditor.probe import Case, Metric, Outcome, Probe, Samples
from auditor.record import Caveat, Measurement
from auditor.subject import predicted_labels

UNLIKE = 0.9  # of the rows: a fake int8 network that agrees with the real one on fewer does not stand for it


@dataclass(frozen=True, kw_only=True)
class Agreement(Probe):
    """Does a deployment variant answer like the model that it was made of?

    Over all test rows: `agreement` is the share to which both give the same class, `lost` the share that the variant
    gets wrong and the original right, `gained` the reverse (accuracy changes by gained - lost), `output_difference` the
    mean absolute difference of their outputs, in the outputs' own unit. Shares have exact Clopper-Pearson intervals.
    `stored_bytes` and `stored_share` say what the weights take in a file at the declared bits, in bytes and as a share
    of the original's. Where torch.ao is there, `int8_parity` is the share of rows to which an int8 variant gives the
    same class as a real integer network made of the same model.
    """

    id: ClassVar[str] = "variant.agreement"
    title: ClassVar[str] = "Agreement of a variant with its original"
    family: ClassVar[str] = "performance"
    of_variants: ClassVar[bool] = True
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("agreement", "Rows answered as the original answers them", "higher", headline=True),
        Metric("lost", "Rows right in the original and wrong in the variant", "lower"),
        Metric("gained", "Rows wrong in the original and right in the variant", "neither"),
        Metric("output_difference", "Mean absolute difference of outputs", "lower", unit="number"),
        Metric("stored_bytes", "Bytes of the stored weights", "lower", kind="exact", unit="number"),
        Metric("stored_share", "Stored weights as a share of the original's", "lower", kind="exact", unit="number"),
        Metric("int8_parity", "Rows answered as a real int8 network answers them", "higher"),
    )
    blind_spots: ClassVar[tuple[str, ...]] = (
        "Quantised variants are computed in float32: another backend may round, fold or saturate differently.",
        "Agreement on test rows says nothing of inputs that were made to tell the two apart.",
        "Bytes are those of the declared bits; zeros of a pruned network are stored as any other number.",
    )
    references: ClassVar[Mapping[str, tuple[str, ...]]] = {"nist-ai-rmf": ("MEASURE 2.5", "MEASURE 2.6")}

    def run(self, case: Case) -> Outcome:
        """Ask both models every test row once, and int8 its integer counterpart."""
        data, original = case.data, case.original()
        before, after = original.predict(data.x_test), case.subject.predict(data.x_test)
        was, now = predicted_labels(before), predicted_labels(after)
        same, right, still = was == now, was == data.y_test, now == data.y_test
        difference = _difference(before, after)
        columns: dict[str, npt.NDArray[np.generic]] = {
            "agrees": np.column_stack([same, right & ~still, ~right & still]),
            "difference": difference[:, None],
        }
        measured = [
            *(case.proportion(name, columns["agrees"][:, j], column=f"agrees:{j}") for j, name in enumerate(SHARES)),
            case.mean("output_difference", difference, column="difference:0"),
            *_sizes(case),
        ]
        caveats: tuple[Caveat, ...] = ()
        if case.variant == "int8":
            held, caveats = _parity(case, now)
            if held is not None:
                columns["parity"] = held[:, None]
                measured.append(case.proportion("int8_parity", held, column="parity:0"))
        samples = Samples(data.test_rows, data.y_test, now, columns)
        return Outcome(tuple(measured), samples, caveats)


SHARES = ("agreement", "lost", "gained")


def _difference(before: Array, after: Array) -> npt.NDArray[np.float64]:
    """Mean absolute difference of the outputs of each row (N,); where one is not finite the row is not asked."""
    gap = np.abs(after.astype(np.float64) - before).mean(axis=1)
    return np.where(np.isfinite(gap), gap, np.nan)


def _sizes(case: Case) -> list[Measurement]:
    from auditor.variants.applying import network_of, stored_bytes
    from auditor.variants.names import variant_of

    size = stored_bytes(network_of(case.subject).module, variant_of(case.variant))
    whole = stored_bytes(network_of(case.original()).module)
    return [
        case.number("stored_bytes", size, None, None, n=1),
        case.number("stored_share", size / whole, None, None, n=1),
    ]


def _parity(case: Case, labels: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.bool_] | None, tuple[Caveat, ...]]:
    """For which rows a real integer network names the same class, and what is to be said of it."""
    from auditor.variants.applying import network_of
    from auditor.variants.native import native_int8

    found = native_int8(network_of(case.original()), case.data.x_test, case.data, case.seeds.root)
    if found.labels is None:
        return None, (Caveat(flag="no_int8_parity", severity="info", evidence=found.how),)
    held = labels == found.labels
    told = f"compared with {found.how}: the same class on {held.mean():.1%} of {len(held)} rows"
    if held.mean() < UNLIKE:
        return held, (Caveat(flag="int8_unlike_native", severity="suspicious", evidence=told),)
    return held, (Caveat(flag="int8_parity", severity="info", evidence=told),)
