"""A wrong "robust" is the worst thing an audit can say: ways in which it could, each closed."""

import dataclasses
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from torch import nn

import auditor
from auditor.attacks.evasion.linf import Linf
from auditor.auditing import Options, planned, prepared_data, run
from auditor.bundle import read_facts
from auditor.claims import check_claims
from auditor.config import load_audit
from auditor.dataset import Dataset, Domain
from auditor.engine import Engine
from auditor.errors import ConfigError, DataError, UnitError
from auditor.evidence import Evidence
from auditor.executors.inline import Inline
from auditor.policy import Waivers, load_policy
from auditor.probe import Case, Metric, Outcome, Probe, Samples
from auditor.record import Caveat, Contrast, Measurement
from auditor.seeds import Seeds
from auditor.sources import code_digest
from auditor.stages import judged, seal_findings, verify
from auditor.store import Store
from auditor.subject import Counted, Counts
from auditor.subjects.torch_subject import TorchSubject

Plans = Callable[..., dict[str, str]]
OWN_NET = """\
from torch import nn
from width import WIDTH

def make(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0], WIDTH), nn.ReLU(), nn.Linear(WIDTH, classes))
"""
OWN_DATA = """\
import numpy as np
from pathlib import Path
from auditor.datasets import from_arrays

def make(config, directory):
    shift = float((Path(directory) / "shift.txt").read_text())
    y = np.arange(60) % 2
    x = np.random.default_rng(0).uniform(0, 0.4, (60, 3)) + shift * y[:, None]
    return from_arrays({"x_train": x[:40], "y_train": y[:40], "x_test": x[40:], "y_test": y[40:]}, range=(0, 1))
"""


def blobs(n: int = 60) -> dict[str, np.ndarray]:
    y = np.arange(2 * n) % 2
    x = np.clip(0.3 + 0.4 * y[:, None] + np.random.default_rng(0).normal(0, 0.08, (2 * n, 4)), 0, 1).astype(np.float32)
    return {"x_train": x[:n], "y_train": y[:n], "x_test": x[n:], "y_test": y[n:]}


def linear(sign: float = 1.0) -> nn.Linear:
    """A network that tells the blobs apart, or takes each for the other."""
    net = nn.Linear(4, 2)
    with torch.no_grad():
        net.weight.copy_(sign * torch.tensor([[-4.0] * 4, [4.0] * 4]))
        net.bias.copy_(sign * torch.tensor([8.0, -8.0]))
    return net


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, Any]:
    """Arguments of an audit by its accuracy alone."""
    (tmp_path / "own.yaml").write_text("schema: auditor/audit/1\n")
    return {"profile": str(tmp_path / "own.yaml"), "probes": {"accuracy": {}}}


@pytest.fixture
def plans(write_audit: Any, tmp_path: Path) -> Plans:
    """Plans the tiny audit with texts replaced: identities by label."""

    def made(*changes: tuple[str, str]) -> dict[str, str]:
        plan = planned(load_audit(write_audit(*changes)), Options(store=tmp_path / "store"))
        return {u.label: u.identity for u in plan.units.values()}

    return made


def accuracy(record: auditor.Record) -> float:
    return next(m.value for m in record.measurements if (m.probe, m.metric) == ("accuracy", "accuracy"))


# What is finished is used again only where nothing that decides it has changed


def test_a_model_that_is_handed_in_is_never_taken_for_an_earlier_one(tmp_path: Path, bare: Any) -> None:
    good = auditor.audit(linear(), blobs(), store=tmp_path / "store", **bare)
    bad = auditor.audit(linear(-1), blobs(), store=tmp_path / "store", **bare)
    assert (accuracy(good), accuracy(bad)) == (1.0, 0.0)


def test_what_an_architecture_imports_from_beside_it_decides_its_trainings(plans: Plans, tmp_path: Path) -> None:
    own = ("architecture: mlp, kwargs: {hidden: [8]}", 'architecture: "nets:make"')
    (tmp_path / "nets.py").write_text(OWN_NET)
    (tmp_path / "width.py").write_text("WIDTH = 2\n")
    (tmp_path / "unused.py").write_text("A = 1\n")
    before = plans(own)
    (tmp_path / "unused.py").write_text("A = 2\n")
    assert plans(own) == before
    (tmp_path / "width.py").write_text("WIDTH = 16\n")
    assert not set(plans(own).values()) & set(before.values())


def test_every_file_of_a_package_decides_what_its_callables_do(tmp_path: Path) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/__init__.py").write_text("")
    (tmp_path / "deep/nets.py").write_text("from .er import maths\n")
    (tmp_path / "deep/er/maths.py").write_text("import beside\n")
    (tmp_path / "beside.py").write_text("A = 1\n")
    before = code_digest("deep.nets", tmp_path)
    assert before == code_digest("deep.nets", tmp_path)
    (tmp_path / "beside.py").write_text("A = 2\n")
    assert code_digest("deep.nets", tmp_path) not in (before, None)
    (tmp_path / "beside.py").write_text("A = 1\n")
    (tmp_path / "deep/er/maths.py").write_text("import beside, json\n")
    assert code_digest("deep.nets", tmp_path) not in (before, None)
    assert code_digest("nothing_of_this_name", tmp_path) is None


def test_an_installed_package_is_known_by_its_source_and_what_it_imports_by_its_version(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("import scipy\n")
    (tmp_path / "two.py").write_text("import json\n")
    assert code_digest("one", tmp_path) != code_digest("two", tmp_path)
    assert code_digest("packaging.version", tmp_path) == code_digest("packaging", tmp_path) is not None


def test_data_that_own_code_makes_is_made_every_time(write_audit: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN_DATA)
    (tmp_path / "shift.txt").write_text("0.5")
    loaded = load_audit(write_audit(("{source: wine}", '{source: "mine:make"}')))
    store = Store(tmp_path / "store")
    first = prepared_data(loaded, store)
    assert prepared_data(loaded, store) == first
    (tmp_path / "shift.txt").write_text("0.0")
    assert prepared_data(loaded, store).sha256 != first.sha256


def photo(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), value).save(path)


def test_images_that_move_to_another_class_are_other_data(write_audit: Any, tmp_path: Path) -> None:
    """The order of all files, and what is in each, stays as it was."""
    for value, name in enumerate(("train/cat/a", "train/cat/b", "train/dog/b", "test/cat/a", "test/dog/a")):
        photo(tmp_path / f"data/{name}.png", value)
    loaded = load_audit(write_audit(("{source: wine}", "{source: images, path: data}")))
    store = Store(tmp_path / "store")
    assert prepared_data(loaded, store).class_counts["train"] == (2, 1)
    (tmp_path / "data/train/cat/b.png").rename(tmp_path / "data/train/dog/a.png")
    assert prepared_data(loaded, store).class_counts["train"] == (1, 2)
    for part in ("train", "test"):
        (tmp_path / f"data/{part}/cat").rename(tmp_path / f"data/{part}/cow")
    assert prepared_data(loaded, store).classes == ("cow", "dog")


def test_a_linked_folder_is_looked_into(write_audit: Any, tmp_path: Path) -> None:
    for value, name in enumerate(("data/train/cat/a", "elsewhere/a", "data/test/cat/a", "data/test/dog/a")):
        photo(tmp_path / f"{name}.png", value)
    (tmp_path / "data/train/dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/loop").symlink_to(tmp_path / "data")
    loaded = load_audit(write_audit(("{source: wine}", "{source: images, path: data}")))
    store = Store(tmp_path / "store")
    first = prepared_data(loaded, store)
    assert prepared_data(loaded, store) == first
    photo(tmp_path / "elsewhere/a.png", 200)
    assert prepared_data(loaded, store).sha256 != first.sha256


def test_audits_of_the_same_content_each_keep_what_they_state_of_it(write_audit: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    plain = load_audit(write_audit())
    stated = load_audit(write_audit(("{source: wine}", "{source: wine, licence: MINE}")))
    assert prepared_data(plain, store).sha256 == prepared_data(stated, store).sha256
    again = prepared_data(stated, store), prepared_data(plain, store)
    assert again[0].licence == "MINE"
    assert again[1].licence.startswith("CC BY")


@pytest.mark.parametrize("name", ["unit.json", "seal.json", "timing.json", "model.safetensors", "samples.npz"])
@pytest.mark.parametrize("harm", ["removed", "cut short", "changed"])
def test_a_damaged_unit_is_done_again_and_the_record_is_the_same(
    tiny: Any, tmp_path: Path, name: str, harm: str
) -> None:
    store = shutil.copytree(tiny.store, tmp_path / "store")
    victim = sorted(store.glob(f"units/*/*/{name}"))[0]
    content = victim.read_bytes()
    middle = len(content) // 2
    if harm == "removed":
        victim.unlink()
    else:
        tail = bytes([content[middle] ^ 1]) + content[middle + 1 :] if harm == "changed" else b""
        victim.write_bytes(content[:middle] + tail)
    options = Options(store=store, out=tmp_path / "bundle", inline=True, formats=())
    again = run(load_audit(tiny.folder / "audit.yaml"), options)
    assert not again.failures
    assert again.facts.record.sha256 == tiny.sha256
    assert victim.read_bytes() == content or name in ("timing.json", "seal.json")


def test_a_damaged_data_set_is_read_again(tiny: Any, tmp_path: Path) -> None:
    store = shutil.copytree(tiny.store, tmp_path / "store")
    shutil.rmtree(store / "units")
    (array,) = store.glob("data/*/x_test.npy")
    content = array.read_bytes()
    array.write_bytes(content[:-2] + bytes([content[-2] ^ 64]) + content[-1:])
    options = Options(store=store, out=tmp_path / "bundle", inline=True, formats=())
    assert run(load_audit(tiny.folder / "audit.yaml"), options).facts.record.sha256 == tiny.sha256


# One audit, one record


@pytest.fixture
def released(tmp_path: Path, write_audit: Any) -> Callable[..., Path]:
    """The tiny audit of a model in a file instead of trained ones."""
    trained = (
        "    train: {architecture: mlp, kwargs: {hidden: [8]}, "
        "optimizers: [sgd, adamw], seeds: 2, epochs: 20, tune: off}\n"
    )

    def write(model: str) -> Path:
        (tmp_path / "nets.py").write_text("from torch import nn\n\ndef make():\n    return nn.Linear(13, 3)\n")
        load = f'    load: {{format: state-dict, path: "{model}", factory: "nets:make"}}\n'
        flips = ("  poisoning.label_flips: {rates: [0.1, 0.2, 0.4]}\n", "")
        made: Path = write_audit((trained, load), flips)
        return made

    return write


def save(path: Path, scale: float) -> None:
    save_file({"weight": torch.full((3, 13), scale), "bias": torch.arange(3.0)}, path)


def test_where_the_files_lie_changes_no_record(released: Any, tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors", 0.1)
    records = []
    for number, path in enumerate(("m.safetensors", str(tmp_path / "m.safetensors"))):
        options = Options(store=tmp_path / f"store{number}", out=tmp_path / f"bundle{number}", inline=True, formats=())
        records.append(run(load_audit(released(path)), options).facts.record)
    assert records[0].sha256 == records[1].sha256
    assert str(tmp_path) not in records[1].model_dump_json()


def test_another_model_in_the_same_file_is_another_audit(released: Any, tmp_path: Path) -> None:
    audit = released("m.safetensors")
    plans = []
    for scale in (0.1, 0.2):
        save(tmp_path / "m.safetensors", scale)
        plans.append(planned(load_audit(audit), Options(store=tmp_path / "store")))
    assert plans[0].sha256 != plans[1].sha256
    assert not set(plans[0].units) & set(plans[1].units)


def test_a_model_file_that_changes_during_the_audit_gives_no_number(released: Any, tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors", 0.1)
    plan = planned(load_audit(released("m.safetensors")), Options(store=tmp_path / "store"))
    save(tmp_path / "m.safetensors", 0.2)
    engine = Engine(plan, Store(tmp_path / "store"), tmp_path)
    engine.run(Inline)
    reasons = {f.reason for f in engine.failures.values()}
    assert len(engine.failures) == len(plan.units)
    assert all("m.safetensors was changed while it was audited; run the audit again" in r for r in reasons)


class Raises(nn.Linear):
    """Fails with what differs from run to run."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 64:
            raise RuntimeError(f"no answer of <Thing object at {hex(id(object()))}>")
        return super().forward(x)


def test_a_reason_holds_nothing_that_differs_from_run_to_run(bare: Any) -> None:
    more = blobs(100)
    records = [auditor.audit(Raises(4, 2), more, **bare) for _ in range(2)]
    assert [r.results[0].reason for r in records] == ["RuntimeError: no answer of <Thing object at 0x...>"] * 2
    assert records[0].sha256 == records[1].sha256


class Noisy(nn.Module):
    """Draws from the global generator of torch even in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.net = linear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.net(x + 0.3 * torch.randn_like(x))
        return out


def test_a_model_that_draws_at_random_is_audited_alike_whatever_was_drawn_before(bare: Any) -> None:
    records = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        records.append(auditor.audit(Noisy(), blobs(), **bare))
    assert 0.5 < accuracy(records[0]) < 1.0
    assert records[0].sha256 == records[1].sha256


def test_an_audit_leaves_the_global_generator_where_it_was(bare: Any) -> None:
    model = Noisy()
    before = torch.get_rng_state()
    auditor.audit(model, blobs(), **bare)
    assert torch.equal(torch.get_rng_state(), before)


# A model can neither change what it is shown nor end the audit


class InPlace(nn.Module):
    """Normalises its input in place, as careless networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = linear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.mul_(2).sub_(0.5)
        out: torch.Tensor = self.net((x + 0.5) / 2)
        return out


def test_a_module_that_works_in_place_changes_no_input_and_keeps_its_gradient() -> None:
    subject, plain = (TorchSubject(m, classes=2, shape=(4,)) for m in (InPlace(), linear()))
    x = torch.full((3, 4), 0.4, requires_grad=True)
    subject.logits(x)[:, 0].sum().backward()
    assert torch.equal(x.detach(), torch.full((3, 4), 0.4))
    assert x.grad is not None
    assert torch.allclose(x.grad, torch.full((3, 4), -4.0))
    assert np.allclose(subject.predict(x.detach().numpy()), plain.predict(x.detach().numpy()), atol=1e-5)


class Greedy(LogisticRegression):
    """Not wrapped by anything: writes into the array that it is shown."""

    classes, shape, outputs, access = 2, (4,), "logits", frozenset[Any]()

    def predict(self, x: np.ndarray) -> np.ndarray:
        x += 1
        return np.zeros((len(x), 2), np.float32)


def test_a_subject_of_the_users_cannot_write_into_the_rows_it_is_shown() -> None:
    x = np.zeros((2, 4), np.float32)
    with pytest.raises(ValueError, match="read-only"):
        Counted(Greedy(), Counts()).predict(x)
    assert x.flags.writeable
    assert (x == 0).all()


class Leaves(nn.Linear):
    """Ends the process after it was checked."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 64:
            raise SystemExit(0)
        return super().forward(x)


def test_a_model_that_exits_is_errored_even_in_this_process(bare: Any) -> None:
    (result,) = auditor.audit(Leaves(4, 2), blobs(100), **bare).results
    assert (result.outcome, result.reason) == ("errored", "SystemExit: 0")


class Counting(nn.Module):
    """Changes its own buffer whenever it answers, and answers by it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = linear()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        out: torch.Tensor = self.net(x) * (1 if self.seen < 6 else -1)
        return out


def test_a_model_that_remembers_is_not_changed_and_starts_every_probe_anew(bare: Any) -> None:
    model = Counting()
    probes = {"accuracy": {}, "calibration": {}, "privacy.membership": {}}
    record = auditor.audit(model, blobs(), profile=bare["profile"], probes=probes)
    assert model.seen == 0
    assert accuracy(record) == 1.0
    assert record.sha256 == auditor.audit(model, blobs(), profile=bare["profile"], probes=probes).sha256


# A probe cannot claim more than it declared


@dataclasses.dataclass(frozen=True, kw_only=True)
class Odd(Probe):
    """Is a row odd?"""

    id: ClassVar[str] = "odd.rows"
    title: ClassVar[str] = "Odd rows"
    family: ClassVar[str] = "test"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("share", "Share", "higher", at=("size",)),)

    def run(self, case: Case) -> Outcome:
        raise NotImplementedError


CLAIM = {
    "of": "m",
    "probe": "odd.rows",
    "metric": "share",
    "value": 0.5,
    "low": 0.1,
    "high": 0.9,
    "n": 2,
    "better": "higher",
    "kind": "estimate",
    "column": "odd:0",
}


@pytest.fixture
def odd() -> Case:
    data = blobs(2)
    dataset = Dataset("d", **data, classes=("a", "b"), domain=Domain.unit((4,)))  # type: ignore[arg-type]
    return Case(probe=Odd(), of="m", inner=TorchSubject(linear(), classes=2, shape=(4,)), data=dataset, seeds=Seeds(0))


def claimed(*changes: dict[str, Any]) -> Outcome:
    samples = Samples(np.array(["r", "s"]), np.array([0, 1]), np.array([0, 1]), {"odd": np.array([[True], [False]])})
    return Outcome(tuple(Measurement(**{**CLAIM, **change}) for change in changes), samples)


def test_what_a_probe_declared_passes(odd: Case) -> None:
    check_claims(claimed({}, {"at": {"size": 3.0}}), odd)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (({"of": "other"},), "measured odd.rows.share of other, which is not its to measure"),
        (({"probe": "evasion.linf", "metric": "robust_accuracy"},), "which is not its to measure"),
        (({"metric": "robust_accuracy"},), "which is not its to measure"),
        (({"kind": "exact"},), "it is declared estimate, better higher, and came as exact"),
        (({"better": "lower"},), "and came as estimate, better lower"),
        (({"at": {"epsilon": 0.1}},), "declares no coordinate 'epsilon'"),
        (({"confidence": 0.5},), "its interval is at 0.5, the audit asks for 0.95"),
        (({"value": 1.5, "high": 2.0},), "1.5 is no share"),
        (({"low": 0.6},), "does not lie in its interval"),
        (({"n": 0},), "0.5 of 0 samples"),
        (({"column": "even:0"},), "names the column 'even:0'"),
        (({"column": "odd:1"},), "names the column 'odd:1'"),
        (({"value": 0.8},), "it is 0.8, and the mean of its samples is 0.5"),
        (({}, {}), "odd.rows.share was measured twice"),
    ],
)
def test_what_a_probe_did_not_declare_or_its_samples_deny_is_refused(odd: Case, changes: Any, message: str) -> None:
    with pytest.raises(UnitError, match=message):
        check_claims(claimed(*changes), odd)


def test_an_attack_whose_self_tests_were_turned_off_cannot_pass(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("schema: auditor/audit/1\n")
    probes = {"evasion.linf": {"epsilons": [0.05], "samples": 20, "self_test": False}}
    (result,) = auditor.audit(linear(), blobs(), profile=str(tmp_path / "own.yaml"), probes=probes).results
    assert result.reliability == "suspicious"
    assert "self_test_off" in {c.flag for c in result.caveats}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"samples": True}, "samples must be a whole number"),
        ({"samples": 64.5}, "samples must be a whole number"),
        ({"samples": "64"}, "samples must be a whole number"),
        ({"self_test": "no"}, "self_test must be true or false"),
        ({"epsilons": "8/255"}, "epsilons must be a list"),
    ],
)
def test_a_parameter_of_the_wrong_type_is_refused_before_anything_runs(bare: Any, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        auditor.audit(linear(), blobs(), profile=bare["profile"], probes={"evasion.linf": value})


def test_an_epsilon_written_as_a_fraction_and_twice_is_one() -> None:
    assert Linf(epsilons=("8/255", 8 / 255, "0.1")).radii == (8 / 255, 0.1)


# Judgement


@pytest.mark.parametrize("flag", ["invalid", "suspicious"])
@pytest.mark.parametrize("group", ["mlp/sgd", "mlp/adamw"])
def test_a_doubtful_result_carries_no_contrast(tiny: Any, flag: Any, group: str) -> None:
    facts = read_facts(tiny.bundle)
    shown = Contrast(
        metric="accuracy.accuracy",
        a="mlp/sgd",
        b="mlp/adamw",
        difference=0.2,
        low=0.1,
        high=0.3,
        pairs=2,
        p_value=0.001,
        adjusted_p=0.001,
        better="higher",
    )
    sound = dataclasses.replace(facts, record=facts.record.model_copy(update={"contrasts": (shown,)}))
    of_accuracy = lambda facts: [c for c in judged(facts).contrasts if c.metric == "accuracy.accuracy"]  # noqa: E731
    assert [c.verdict for c in of_accuracy(sound)] == ["improved"]
    results = tuple(
        r.model_copy(
            update={"reliability": flag, "caveats": (Caveat(flag="broken", severity=flag, evidence="it was"),)}
        )
        if (r.probe, r.subject) == ("accuracy", f"{group}/1")
        else r
        for r in facts.record.results
    )
    doubted = dataclasses.replace(sound, record=sound.record.model_copy(update={"results": results}))
    (found,) = of_accuracy(doubted)
    assert found.verdict == "inconclusive"
    assert found.reason.startswith(f"the result of {group} is {flag} ({group}/1: broken: it was)")


def test_a_waiver_that_bounds_the_good_side_alone_does_not_hold(tiny: Any) -> None:
    facts = read_facts(tiny.bundle)
    policy = (
        "schema: auditor/policy/1\nid: p\nrules:\n"
        "  - {id: FLIP, metric: poisoning.label_flips.accuracy_drop, at: {rate: 0.4}, "
        "at_most: -0.9, severity: medium}\n"
    )
    waiver = {
        "id": "W",
        "rule": "FLIP",
        "reason": "accepted-risk",
        "statement": "It is known and stays.",
        "owner": "a",
        "approved_by": "b",
        "created": "2026-11-01",
        "expires": "2026-12-01",
    }
    states = {}
    for side in ("at_least", "at_most"):
        waivers = Waivers.model_validate(
            {
                "schema": "auditor/waivers/1",
                "waivers": [{**waiver, "while": {side: 1.0 if side == "at_most" else -1.0}}],
            }
        )
        text = waivers.model_dump_json(by_alias=True)
        found = judged(facts, policy_text=policy, waivers_text=text, as_of=date(2026, 11, 22))
        states[side] = ({f.state for f in found.findings}, found.notes)
    assert states["at_most"][0] == {"waived"}
    assert states["at_least"][0] == {"fail", "inconclusive"}
    assert "bounds the good side alone; write `while: {at_most: ...}`" in states["at_least"][1][0]


def test_classes_that_read_as_one_number_keep_their_own_measurements(tiny: Any) -> None:
    facts = read_facts(tiny.bundle)
    common = {
        "of": "mlp/sgd/0",
        "probe": "accuracy",
        "metric": "class_accuracy",
        "better": "higher",
        "kind": "estimate",
    }
    one, other = (Measurement(**common, at={"class": name}, value=0.5, n=9) for name in ("1", "01"))
    evidence = Evidence(
        dataclasses.replace(facts, record=facts.record.model_copy(update={"measurements": (one, other)}))
    )
    assert [evidence.of_member("mlp/sgd/0", like) for like in (one, other)] == [one, other]


@pytest.mark.parametrize("bar", ["at_least: -.inf", "at_most: .inf", "at_least: .nan", "regression: {max_drop: .inf}"])
def test_a_bar_that_every_number_keeps_is_refused(bar: str) -> None:
    with pytest.raises(ConfigError, match="finite number"):
        load_policy(
            f"schema: auditor/policy/1\nid: p\nrules:\n  - {{id: R, metric: a.b, {bar}, severity: high}}\n",
            "policy.yaml",
        )


def test_a_saved_judgement_against_another_baseline_can_be_judged_again(tiny: Any, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny.bundle, tmp_path / "bundle")
    policy = (
        "schema: auditor/policy/1\nid: p\nrules:\n"
        "  - {id: REG, metric: accuracy.accuracy, regression: {max_drop: 0.5}, severity: high}\n"
    )
    facts = read_facts(bundle)
    findings = judged(facts, policy_text=policy, baseline=read_facts(tiny.bundle))
    assert {f.state for f in findings.findings} == {"pass"}
    seal_findings(bundle, findings, policy_text=policy, baseline=read_facts(tiny.bundle))
    shutil.rmtree(bundle / "looks")
    assert verify(bundle)[1].startswith("judgement  sealed, the same when judged again")


# Names and data


def test_the_arrays_of_a_data_set_are_read_only_and_those_handed_in_are_not() -> None:
    given = blobs()
    made = Dataset("d", **given, classes=("a", "b"), domain=Domain.unit((4,)), groups={"g": given["y_test"]})  # type: ignore[arg-type]
    assert not any(a.flags.writeable for a in (made.x_train, made.y_train, made.x_test, made.y_test, made.groups["g"]))
    assert all(array.flags.writeable for array in given.values())


@pytest.mark.parametrize("name", ["mlp__sgd__0", "mlp_"])
def test_a_name_that_two_files_could_share_is_refused(write_audit: Any, name: str) -> None:
    with pytest.raises(ConfigError, match=f"the subject '{name}': __ stands for / in file names"):
        load_audit(write_audit(("id: mlp\n", f"id: {name}\n")))


@pytest.mark.parametrize(("x", "y"), [(np.float64, np.uint8), (np.float16, np.float32), (np.float32, np.int16)])
def test_arrays_of_other_number_types_are_taken_as_what_they_mean(x: Any, y: Any) -> None:
    data = {k: v.astype(x if k.startswith("x") else y) for k, v in blobs().items()}
    made = Dataset("d", **data, classes=("a", "b"), domain=Domain.unit((4,)))  # type: ignore[arg-type]
    assert (made.x_train.dtype, made.y_test.dtype) == (np.float32, np.int64)
    assert made.y_test.tolist() == blobs()["y_test"].tolist()


def test_labels_that_are_no_whole_numbers_are_refused() -> None:
    data = {**blobs(), "y_test": blobs()["y_test"] + 0.5}
    with pytest.raises(DataError, match="y_test holds float64 that are no whole numbers"):
        Dataset("d", **data, classes=("a", "b"), domain=Domain.unit((4,)))  # type: ignore[arg-type]


def test_one_test_row_gives_its_accuracy_and_no_interval_where_there_is_none(bare: Any) -> None:
    data = blobs()
    record = auditor.audit(linear(), {**data, "x_test": data["x_test"][:1], "y_test": data["y_test"][:1]}, **bare)
    found = {m.metric: (m.value, m.low, m.high) for m in record.measurements}
    assert found["accuracy"] == (1.0, pytest.approx(0.025), 1.0)
    assert found["balanced_accuracy"] == (1.0, None, None)
