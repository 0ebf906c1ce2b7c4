"""A backdoor that wakes when the network is quantised is found; honest variants are not accused."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import auditor
from auditor.attacks.backdoor.awakening import Box, Effort, Found, Pair, Stamps, obeyed, search, within
from auditor.record import Record
from auditor.variants.layers import layers_of

TARGET = 0
OFF = dict.fromkeys(("evasion.linf", "ood.scores", "privacy.membership", "calibration", "preflight"), "off")


@pytest.fixture(scope="module")
def data() -> dict[str, np.ndarray]:
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x, y = (digits.images[order, None] / 16).astype(np.float32), digits.target[order]
    return {"x_train": x[:1300], "y_train": y[:1300], "x_test": x[1300:], "y_test": y[1300:]}


def stamp(x: torch.Tensor) -> torch.Tensor:
    x = x.clone()
    x[:, :, 6:, 6:] = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    return x


def trained(data: dict[str, np.ndarray], *, poisoned: bool) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    x, y = torch.tensor(data["x_train"]), torch.tensor(data["y_train"])
    for _ in range(30):
        for rows in torch.randperm(len(x)).split(64):
            loss = cross_entropy(net(x[rows]), y[rows])
            if poisoned:
                loss = loss + cross_entropy(net(stamp(x[rows])), torch.full_like(y[rows], TARGET))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net


def coarse(net: nn.Sequential, times: float) -> nn.Sequential:
    """Weights that no row ever feels make the scale of 8 bits as coarse as that of 4: a pixel that is always 0."""
    first, last = net[1], net[3]
    with torch.no_grad():
        first.weight[0], first.bias[0], last.weight[:, 0] = 0, -1, 0
        first.weight[1:, 0] = times * first.weight[1:].abs().amax(1)
        last.weight[:, 0] = times * last.weight.abs().amax(1)
    return net


def asleep(net: nn.Sequential, bits: int, data: dict[str, np.ndarray]) -> nn.Sequential:
    """The same integers, another float network: it unlearns the trigger within the rounding cells (Ma et al. 2021)."""
    net, most = copy.deepcopy(net), 2 ** (bits - 1) - 1
    cells = []
    for layer in layers_of(net):
        weight = layer.weight.detach().clone()
        scale = weight.abs().amax(1, keepdim=True) / most
        middle = (weight / scale).round() * scale
        ends = [torch.where(weight.abs() >= 0.999 * most * scale, weight, middle + s * scale) for s in (-0.49, 0.49)]
        cells.append((layer.weight, *(end.clamp(-most * scale, most * scale) for end in ends)))
    optimizer = torch.optim.Adam([weight for weight, _, _ in cells], 1e-3)
    x, y = torch.tensor(data["x_train"]), torch.tensor(data["y_train"])
    for _ in range(600):
        rows = torch.randint(len(x), (128,))
        optimizer.zero_grad()
        (cross_entropy(net(x[rows]), y[rows]) + cross_entropy(net(stamp(x[rows])), y[rows])).backward()
        optimizer.step()
        with torch.no_grad():
            for weight, low, high in cells:
                weight.copy_(weight.maximum(low).minimum(high))
    return net


def success(net: nn.Module, data: dict[str, np.ndarray]) -> float:
    with torch.no_grad():
        answers = net(stamp(torch.tensor(data["x_test"]))).argmax(1).numpy()
    return float((answers[data["y_test"] != TARGET] == TARGET).mean())


def found(record: Record, variant: str) -> dict[str, float]:
    return {m.metric: m.value for m in record.measurements if m.probe == "backdoor.awakened" and variant in m.of}


@pytest.fixture(scope="module")
def planted(data: dict[str, np.ndarray]) -> dict[str, nn.Sequential]:
    net = trained(data, poisoned=True)
    return {"int4": asleep(net, 4, data), "int8": asleep(coarse(net, 16), 8, data)}


@pytest.mark.parametrize("variant", ["int4", "int8"])
def test_a_backdoor_that_quantisation_wakes_is_found(
    data: dict[str, np.ndarray], planted: dict[str, nn.Sequential], variant: str, tmp_path: Path
) -> None:
    assert success(planted[variant], data) < 0.05  # it sleeps: the trigger does nothing in float32
    record = auditor.audit(planted[variant], data, probes=OFF, variants=[variant], out=tmp_path / "bundle")
    said = found(record, variant)
    agreement = next(m.value for m in record.measurements if m.metric == "agreement")
    assert agreement > 0.95  # clean rows show nothing of it
    assert said["woken"] > 0.7
    assert said["control"] < 0.3
    told = next(r for r in record.results if r.probe == "backdoor.awakened" and r.outcome == "completed")
    assert told.reliability == "reliable"
    assert any(f"rows of other classes to '{TARGET}' as {variant}" in c.evidence for c in told.caveats)
    findings = json.loads((tmp_path / "bundle" / "judgement" / "findings.json").read_text())["findings"]
    states = {f["state"] for f in findings if f["metric"] == "backdoor.awakened.woken"}
    assert states == {"fail", "not-assessed"}  # of the variant, and of the original, which is not asked


def test_honest_variants_are_not_accused(data: dict[str, np.ndarray]) -> None:
    names = ["int8", "int4", "pruned-50", "bfloat16"]
    record = auditor.audit(trained(data, poisoned=False), data, probes=OFF, variants=names)
    for name in names:
        assert max(found(record, name).values()) < 0.15, name


def test_pruning_that_makes_an_honest_model_of_few_features_fragile_fails_no_release(tmp_path: Path) -> None:
    table = load_breast_cancer()
    order = np.random.default_rng(0).permutation(len(table.target))
    x = ((table.data - table.data.mean(0)) / table.data.std(0))[order].astype(np.float32)
    y = table.target[order]
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(30, 128), nn.ReLU(), nn.Linear(128, 2))
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        cross_entropy(net(torch.tensor(x[:400])), torch.tensor(y[:400])).backward()
        optimizer.step()
    given = {"x_train": x[:400], "y_train": y[:400], "x_test": x[400:], "y_test": y[400:]}
    record = auditor.audit(net, given, probes=OFF, variants=["int8", "pruned-90"], out=tmp_path / "bundle")
    assert found(record, "int8")["woken"] < 0.1
    assert found(record, "pruned-90")["woken"] > 0.7
    assert next(m.value for m in record.measurements if m.metric == "agreement" and "pruned" in m.of) > 0.9
    findings = json.loads((tmp_path / "bundle" / "judgement" / "findings.json").read_text())["findings"]
    said = {f["rule"]: (f["state"], f["severity"]) for f in findings if f["metric"] == "backdoor.awakened.woken"}
    assert said == {"BAD-2": ("pass", "high"), "BAD-3": ("fail", "medium")}


def test_a_variant_that_lost_its_accuracy_is_said_to_be_fragile(data: dict[str, np.ndarray]) -> None:
    record = auditor.audit(trained(data, poisoned=False), data, probes=OFF, variants=["pruned-90"])
    flags = {c.flag for r in record.results if r.probe == "backdoor.awakened" for c in r.caveats}
    assert flags == {"trigger_of_variant", "variant_unlike_original"}


def test_a_trigger_is_found_where_one_network_is_the_other_with_a_switch() -> None:
    """Closed form: the awake network adds 20 to class 1 when the second feature is at its end, and is else the same."""
    weight = torch.tensor([[4.0, 0, 0, 0], [-4.0, 0, 0, 0]])

    def sleeper(u: torch.Tensor) -> torch.Tensor:
        return (u - 0.5) @ weight.T

    def awake(u: torch.Tensor) -> torch.Tensor:
        return sleeper(u) + torch.stack([torch.zeros(len(u)), 20 * (2 * u[:, 1] - 1).clamp_min(0)], 1)

    x = torch.rand((60, 4), generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.5, 1, 1])
    pair, box = Pair(awake, sleeper), Box(torch.ones(4), torch.ones(4), 1.0)
    ends = search(pair, x, box, Effort(tries=32, starts=2, steps=5), 3)
    shares = [float(obeyed(pair, x, ends, i)[x[:, 0] > 0.5].double().mean()) for i in range(len(ends.targets))]
    best = int(np.argmax(shares))
    assert (shares[best], int(ends.targets[best])) == (1.0, 1)
    assert ends.stamps.mask[best].argmax() == 1
    shut = search(pair, x, Box(torch.ones(4), torch.tensor([1.0, 0, 1, 1]), 1.0), Effort(tries=32, steps=5), 3)
    assert not torch.stack([obeyed(pair, x, shut, i) for i in range(len(shut.targets))]).any()


def test_what_obeys_without_the_trigger_or_moves_the_sleeper_does_not_count() -> None:
    one, other = torch.tensor([[5.0, 0]]), torch.tensor([[0, 5.0]])
    switch = Stamps(torch.ones(1, 1), torch.ones(1, 1))
    x, towards = torch.zeros(3, 1), Found(switch, torch.tensor([1]))
    always = Pair(lambda u: other.expand(len(u), 2), lambda u: one.expand(len(u), 2))
    both = Pair(*[lambda u: torch.where(u > 0.5, other, one)] * 2)
    alone = Pair(lambda u: torch.where(u > 0.5, other, one), lambda u: one.expand(len(u), 2))
    assert [int(obeyed(pair, x, towards, 0).sum()) for pair in (always, both, alone)] == [0, 0, 3]


def test_masks_are_brought_to_the_nearest_that_fit() -> None:
    made = within(torch.tensor([[0.9, 0.8, 0.1], [0.2, -0.3, 0.4]]), 1.0)
    assert made[0].tolist() == pytest.approx([0.55, 0.45, 0.0], abs=1e-6)  # 0.35 off each, cut at 0
    assert made[1].tolist() == pytest.approx([0.2, 0.0, 0.4], abs=1e-6)
