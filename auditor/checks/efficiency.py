"""The probe efficiency: what one answer costs in operations, bytes and time."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor.dataset import Array
from auditor.errors import ConfigError
from auditor.probe import Case, Metric, Outcome, Probe, Samples
from auditor.record import Caveat, Measurement
from auditor.subject import Access, Subject, predicted_labels
from auditor.variants.names import FLOAT, variant_of

if TYPE_CHECKING:
    from auditor.subjects.torch_subject import TorchSubject

WARM = 3  # answers before any is timed: the first ones pay for what is set up once


@dataclass(frozen=True, kw_only=True)
class Efficiency(Probe):
    """What does one answer of the subject cost: how many operations, how many bytes, how long?

    Counted, so in the record: `weight_bytes`, what weights and buffers take in a file at the number type they have (a
    quantised variant: at its declared bits); `parameters`; `flops_per_row`, operations of one row's matrix products and
    convolutions in evaluation mode, a multiplication and an addition as two; `file_bytes` of a model that was loaded.
    Timed, so in `timings.json` beside this probe's unit, in seconds after a warm-up: `latency_seconds` and
    `latency_p95_seconds`, median and 95th percentile over `repetitions` of one row by the clock on the wall;
    `latency_cpu_seconds`, the median by the processor's clock, of models that run in this process; `rows_per_second` at
    the best of the `batches`; and in bytes `inference_peak_bytes`, the most that the tensors of one batch of the
    largest size take at once. Conversions between the data and the model are part of an answer. `watts_per_core`
    states what a core draws under load, for estimates of energy in the report; 0 leaves them out.

    Raises:
        ConfigError: no repetitions, rows or batches, or watts below 0.
    """

    id: ClassVar[str] = "efficiency"
    title: ClassVar[str] = "Cost of an answer"
    family: ClassVar[str] = "efficiency"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("weight_bytes", "Bytes of the weights", "lower", kind="exact", unit="number"),
        Metric("parameters", "Parameters", "lower", kind="exact", unit="number"),
        Metric("flops_per_row", "Operations for one row", "lower", kind="exact", unit="number"),
        Metric("file_bytes", "Bytes of the model's files", "lower", kind="exact", unit="number"),
    )
    blind_spots: ClassVar[tuple[str, ...]] = (
        "Times are those of this machine and whatever else ran on it; other hardware may rank models otherwise.",
        "Quantised variants are computed in float32: their times and peaks are not those of an integer backend.",
        "Operations of element-wise functions, normalisation and trees are not counted; zeros count like any number.",
        "Of a model behind an address the wall clock is seen alone, the network's delay included.",
    )
    references: ClassVar[Mapping[str, tuple[str, ...]]] = {"nist-ai-rmf": ("MEASURE 2.6", "MEASURE 2.12")}

    repetitions: int = 50
    rows: int = 256
    batches: tuple[int, ...] = (16, 64, 256)
    watts_per_core: float = 0.0

    def __post_init__(self) -> None:
        if self.repetitions < 1 or self.rows < 1 or not self.batches or min(self.batches) < 1:
            raise ConfigError("repetitions, rows and every one of batches must be at least 1")
        if not 0 <= self.watts_per_core < float("inf"):
            raise ConfigError(f"watts_per_core is {self.watts_per_core}; it must be a number of watts, 0 for none")

    def run(self, case: Case) -> Outcome:
        """Count what can be counted, then time single rows and batches. How often it asks depends on no clock."""
        chosen = case.rows(self.rows)
        x, y = case.data.x_test[chosen], case.data.y_test[chosen]
        network, counts = torch_network(case.inner), dict[str, int]()
        if case.file_bytes is not None:
            counts["file_bytes"] = case.file_bytes
        if network is not None:
            counts |= _sizes(network, case.variant) | {"flops_per_row": flops_of_a_row(network, x[:1])}
            case.times["inference_peak_bytes"] = float(peak_of(network, x[: max(self.batches)]))
        outputs = self._timed(case, x)
        samples = Samples(case.data.test_rows[chosen], y, predicted_labels(outputs), {})
        caveats = () if counts else (_nothing(),)
        return Outcome(tuple(_exact(case, name, n) for name, n in counts.items()), samples, caveats)

    def _timed(self, case: Case, x: Array) -> Array:
        """Time single rows and batches into the case; the outputs (N, classes) of the last pass."""
        ask = case.subject.predict
        for _ in range(WARM):
            ask(x[:1])
        spent = np.array([_seconds(ask, x[i : i + 1]) for i in np.arange(self.repetitions) % len(x)])
        wall, cpu = spent[:, 0], spent[:, 1]
        case.times["latency_seconds"] = float(np.median(wall))
        case.times["latency_p95_seconds"] = float(np.quantile(wall, 0.95))
        if in_process(case.inner):
            case.times["latency_cpu_seconds"] = float(np.median(cpu))
        answers, rates = [], {}
        for size in self.batches:
            begin = time.perf_counter()
            answers = [ask(x[i : i + size]) for i in range(0, len(x), size)]
            rates[size] = len(x) / max(time.perf_counter() - begin, 1e-9)
        best = max(rates, key=rates.__getitem__)
        case.times.update(rows_per_second=rates[best], best_batch=float(best), repetitions=float(len(spent)))
        return np.concatenate(answers)


def torch_network(subject: Subject) -> "TorchSubject | None":
    """The torch network that answers, where one does."""
    from auditor.subjects.torch_subject import TorchSubject

    return subject if isinstance(subject, TorchSubject) else None


def in_process(subject: Subject) -> bool:
    """Whether the processor's clock of this process sees the subject at work: not behind an address."""
    from auditor.subjects.answering import BlackBoxSubject

    return Access.FILE in subject.access or not isinstance(subject, BlackBoxSubject)


def flops_of_a_row(network: "TorchSubject", row: Array) -> int:
    """Floating-point operations of one row (1, *shape): matrix products and convolutions.

    A gradient is kept ready where there can be one: else attention runs as a single operation that counts as none.
    """
    import torch

    from auditor.training.cost import counted

    x = torch.tensor(row, dtype=network.dtype, device=network.device)
    differentiable = Access.GRADIENTS in network.access and x.is_floating_point()
    with torch.set_grad_enabled(differentiable):
        return counted(lambda: network.logits(x.requires_grad_(differentiable)), network.module).flops


def peak_of(network: "TorchSubject", x: Array) -> int:
    """The most bytes that weights and the tensors of one answer to the batch x (N, *shape) take at once."""
    import torch

    from auditor.training.cost import counted, module_bytes

    batch = torch.tensor(x, dtype=network.dtype, device=network.device)
    with torch.no_grad():
        return module_bytes(network.module) + counted(lambda: network.logits(batch), network.module).peak_bytes


def _sizes(network: "TorchSubject", variant: str) -> dict[str, int]:
    from auditor.variants.applying import stored_bytes

    return {
        "weight_bytes": stored_bytes(network.module, None if variant == FLOAT else variant_of(variant)),
        "parameters": sum(p.numel() for p in {id(p): p for p in network.module.parameters()}.values()),
    }


def _seconds(ask: Callable[[Array], Array], x: Array) -> tuple[float, float]:
    """The wall clock's and the processor's seconds of one answer."""
    wall, cpu = time.perf_counter(), time.process_time()
    ask(x)
    return time.perf_counter() - wall, time.process_time() - cpu


def _exact(case: Case, name: str, count: int) -> Measurement:
    return case.number(name, float(count), float(count), float(count), n=1)


def _nothing() -> Caveat:
    told = "the subject shows neither a torch network nor a file, so it was timed alone"
    return Caveat(flag="nothing_counted", severity="info", evidence=told)
