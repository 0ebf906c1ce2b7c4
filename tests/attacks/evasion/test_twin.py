"""What fools the model that a variant was made of is tried on the variant: hidden slopes do not make it robust."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from auditor.attacks.evasion.linf import Linf
from auditor.dataset import Dataset
from auditor.datasets import from_arrays
from auditor.probe import Case, Outcome
from auditor.record import reliability
from auditor.seeds import Seeds
from auditor.subjects.torch_subject import TorchSubject
from auditor.variants.applying import applied
from auditor.variants.names import variant_of

EPSILON = 0.1


@pytest.fixture(scope="module")
def data() -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x, y = (digits.images[order, None] / 16).astype(np.float32), digits.target[order]
    return from_arrays({"x_train": x[:1300], "y_train": y[:1300], "x_test": x[1300:], "y_test": y[1300:]})


@pytest.fixture(scope="module")
def original(data: Dataset) -> TorchSubject:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    x, y = torch.tensor(data.x_train), torch.tensor(data.y_train)
    for _ in range(15):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return TorchSubject(net, classes=10, shape=data.shape)


class Masked(nn.Module):
    """Inputs in 4 bits, with a slope that is not that of the step: one that leads nowhere."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = (x.detach() * 15).round() / 15
        return self.net(kept) + 1e-3 * (x.flatten(1)[:, :10] - x.detach().flatten(1)[:, :10])


def asked(original: TorchSubject, variant: TorchSubject, data: Dataset) -> Outcome:
    probe = Linf(epsilons=(EPSILON,), samples=150, queries=0, blind_queries=1)
    seeds = Seeds(3)
    return probe.run(Case(probe, "m@v", variant, data, seeds, variant="int8", unchanged=lambda: original))


def transferred(original: TorchSubject, variant: TorchSubject, data: Dataset, rows: np.ndarray) -> float:
    """Robust accuracy under the fast gradient sign method on the original, by hand."""
    x = torch.tensor(data.x_test[rows], requires_grad=True)
    (slope,) = torch.autograd.grad(cross_entropy(original.logits(x), torch.tensor(data.y_test[rows])), x)
    moved = (x.detach() + EPSILON * slope.sign()).clamp(0, 1).numpy()
    return float((variant.predict(moved).argmax(1) == data.y_test[rows]).mean())


def robust(outcome: Outcome) -> float:
    return next(m.value for m in outcome.measurements if m.metric == "robust_accuracy")


def rows_of(data: Dataset) -> np.ndarray:
    return Case(Linf(), "m", None, data, Seeds(3)).rows(150)  # type: ignore[arg-type]  # no subject is asked


def test_a_variant_that_hides_its_slopes_is_no_more_robust(original: TorchSubject, data: Dataset) -> None:
    variant = TorchSubject(Masked(original.module), classes=10, shape=data.shape)
    outcome = asked(original, variant, data)
    assert robust(outcome) <= transferred(original, variant, data, rows_of(data))
    assert robust(outcome) <= robust(asked(original, original, data)) + 0.1
    assert reliability(outcome.caveats) == "suspicious"
    assert "original_beats_whitebox" in {c.flag for c in outcome.caveats}


MAKERS: dict[str, Callable[[TorchSubject, Dataset], TorchSubject]] = {
    name: lambda subject, data, name=name: applied(subject, variant_of(name), data, 0)  # type: ignore[misc]
    for name in ("int8", "int4", "pruned-50", "bfloat16")
}


@pytest.mark.parametrize("name", list(MAKERS))
def test_honest_variants_lose_nothing_to_their_original(original: TorchSubject, data: Dataset, name: str) -> None:
    variant = MAKERS[name](original, data)
    outcome = asked(original, variant, data)
    lent = [c.evidence for c in outcome.caveats if c.flag == "original_lent"]
    assert len(lent) == 1
    assert int(lent[0].split(" broke ")[1].split(" of ")[0]) <= 1
    assert reliability(outcome.caveats) == "reliable"
    assert robust(outcome) <= transferred(original, variant, data, rows_of(data))


def test_a_model_that_is_no_variant_has_no_twin(original: TorchSubject, data: Dataset) -> None:
    probe = Linf(epsilons=(EPSILON,), samples=40, queries=0)
    outcome = probe.run(Case(probe, "m", original, data, Seeds(3)))
    assert not any(c.flag.startswith("original") for c in outcome.caveats)
