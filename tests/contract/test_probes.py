"""What every built-in probe must keep to: its contract in words, and what it does on small real models."""

import copy
import json
import random
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from auditor import plugins
from auditor.dataset import Dataset
from auditor.datasets import load
from auditor.datasets.spec import DataConfig
from auditor.frameworks import load as framework
from auditor.probe import Case, Outcome, Probe, Setting
from auditor.recipe import Fit, Recipe
from auditor.record import Measurement
from auditor.seeds import Seeds
from auditor.subject import Access
from auditor.subjects.torch_subject import TorchSubject
from auditor.training.loop import fit
from auditor.variants.applying import applied
from auditor.variants.names import variant_of

BUILT_IN = [name for name, entry in plugins.names("auditor.probes").items() if plugins.owner(entry) == "auditor"]
SMALL: dict[str, dict[str, Any]] = {
    "evasion.learning_rates": {"rates": (0.01, 0.02), "epsilons": (0.02, 0.1), "samples": 40, "steps": 5},
    "evasion.linf": {"epsilons": (0.02, 0.1), "samples": 40, "queries": 20, "minimum_norm": 10},
    "evasion.l2": {"epsilons": (0.2, 0.5), "samples": 40, "queries": 20},
    "evasion.l1": {"epsilons": (0.5, 2), "samples": 40, "queries": 20},
    "evasion.spatial": {"samples": 40, "angles": 5, "shifts": 3},
    "evasion.patch": {"samples": 40, "places": 1, "steps": 5},
    "ood.scores": {"samples": 60},
}
KINDS = {
    "image": DataConfig(source="digits", limit={"train": 200, "test": 120}),
    "tabular": DataConfig(source="breast-cancer"),
}
NAMES = pytest.mark.parametrize("name", BUILT_IN)
IMAGES_ONLY = {"evasion.spatial", "evasion.patch"}
ASKED = pytest.mark.parametrize(
    ("name", "kind"), [(n, k) for n in BUILT_IN for k in KINDS if k == "image" or n not in IMAGES_ONLY]
)


@dataclass(frozen=True, eq=False)
class Table:
    """Data of ten classes of images, or of two classes of rows, with a small network that learned them."""

    data: Dataset
    recipe: Recipe
    module: torch.nn.Module


def loaded(name: str) -> type[Probe]:
    found: type[Probe] = plugins.load("auditor.probes", name)
    return found


@cache
def table(kind: str) -> Table:
    data = load(KINDS[kind], Path())
    recipe = Recipe(architecture="mlp", kwargs={"hidden": [16]}, optimizer="adamw", learning_rate=0.01, epochs=8)
    return Table(data, recipe, trained(kind, Fit(recipe=recipe), data))


@cache
def _state(kind: str, wanted: str) -> torch.nn.Module:
    data = load(KINDS[kind], Path())
    return fit(Fit.model_validate_json(wanted), data, seeds=Seeds(3), learning_rate=0.01).trained


def trained(kind: str, wanted: Fit, data: Dataset) -> torch.nn.Module:
    assert data.x_train.flags.writeable is False
    return _state(kind, wanted.model_dump_json())


def case_of(name: str, kind: str, module: torch.nn.Module | None = None) -> Case:
    on = table(kind)
    probe = loaded(name)(**SMALL.get(name, {}))
    wanted = probe.fits(Setting(on.data.facts(), on.recipe))
    if probe.of_variants:
        return variant_case(probe, kind, module)

    def subject(module: torch.nn.Module) -> TorchSubject:
        return TorchSubject(
            module, classes=len(on.data.classes), shape=on.data.shape, extra_access=frozenset({Access.RECIPE})
        )

    return Case(
        probe=probe,
        of="net/adamw/0",
        inner=subject(module or on.module),
        data=on.data,
        seeds=Seeds(3),
        recipe=on.recipe,
        fitted=lambda key: subject(trained(kind, wanted[key], on.data)),
    )


def variant_case(probe: Probe, kind: str, module: torch.nn.Module | None) -> Case:
    """The int8 variant of a network beside the network."""
    on = table(kind)
    original = TorchSubject(module or on.module, classes=len(on.data.classes), shape=on.data.shape)
    made = applied(original, variant_of("int8"), on.data, root=3)
    return Case(probe, "net@int8", made, on.data, Seeds(3), variant="int8", unchanged=lambda: original)


@cache
def outcome(name: str, kind: str) -> Outcome:
    case = case_of(name, kind)
    return case.probe.run(case)


@NAMES
def test_a_probe_has_the_id_of_its_entry_point(name: str) -> None:
    assert loaded(name).id == name


@NAMES
def test_a_probe_is_a_frozen_dataclass_whose_parameters_have_defaults(name: str) -> None:
    kind = loaded(name)
    assert is_dataclass(kind)
    assert issubclass(kind, Probe)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]  # dataclasses do not declare it
    assert all(f.kw_only and (f.default is not MISSING or f.default_factory is not MISSING) for f in fields(kind))


@NAMES
def test_a_probes_docstring_begins_with_its_question(name: str) -> None:
    question = (loaded(name).__doc__ or "").strip().partition("\n\n")[0]
    assert question.endswith("?"), question
    assert question[0].isupper()


@NAMES
def test_a_probe_declares_its_metrics_with_titles_and_what_it_does_not_see(name: str) -> None:
    kind = loaded(name)
    names = [m.name for m in kind.metrics]
    assert len(names) == len(set(names)) > 0
    assert all(m.title and m.title[0].isupper() for m in kind.metrics)
    assert sum(m.headline for m in kind.metrics) == (kind.family not in ("preflight", "efficiency"))  # no security
    assert kind.title
    assert kind.family
    assert kind.version >= 1
    assert kind.blind_spots
    assert all(spot.endswith(".") for spot in kind.blind_spots)


@NAMES
def test_a_probe_of_an_attack_has_a_threat_model(name: str) -> None:
    kind = loaded(name)
    if kind.family in ("evasion", "poisoning", "backdoor", "privacy"):
        assert kind.threat is not None
        assert kind.threat.goal
        assert kind.threat.knowledge
        assert kind.threat.capability


@NAMES
def test_a_probe_refers_only_to_what_its_frameworks_have(name: str) -> None:
    references = loaded(name).references
    assert "nist-ai-rmf" in references
    assert {
        (pack, item) for pack, items in references.items() for item in items if framework(pack).item(item) is None
    } == set()


@NAMES
def test_a_probes_parameters_survive_a_file(name: str) -> None:
    for probe in (loaded(name)(), loaded(name)(**SMALL.get(name, {}))):
        read = json.loads(json.dumps(probe.parameters()))
        again = loaded(name)(**{k: tuple(v) if isinstance(v, list) else v for k, v in read.items()})
        assert again == probe
        assert again.parameters() == probe.parameters()


@NAMES
def test_a_probe_plans_its_trainings_from_facts_alone_and_always_the_same(name: str) -> None:
    setting = Setting(table("tabular").data.facts(), table("tabular").recipe)
    first, second = loaded(name)().fits(setting), loaded(name)().fits(setting)
    assert first == second
    assert bool(first) == (Access.RECIPE in loaded(name).needs)


@ASKED
def test_a_probe_asked_twice_says_the_same(name: str, kind: str) -> None:
    case = case_of(name, kind)
    again, first = case.probe.run(case), outcome(name, kind)
    assert again.measurements == first.measurements
    assert again.caveats == first.caveats
    assert (again.samples is None) == (first.samples is None)
    if again.samples is not None and first.samples is not None:
        assert again.samples.prediction.tolist() == first.samples.prediction.tolist()
        for column, values in again.samples.columns.items():
            np.testing.assert_array_equal(values, first.samples.columns[column])


@ASKED
def test_a_probe_measures_every_headline_it_declares_with_an_interval(name: str, kind: str) -> None:
    declared = {m.name: m for m in loaded(name).metrics}
    measured = outcome(name, kind).measurements
    for m in measured:
        assert set(m.at) == set(declared[m.metric].at)
        assert (m.better, m.kind) == (declared[m.metric].better, declared[m.metric].kind)
        assert m.n > 0
    for headline in (m.name for m in declared.values() if m.headline):
        mine = [m for m in measured if m.metric == headline]
        assert mine
        assert all(m.low is not None and m.high is not None for m in mine)
    keys = [(m.metric, tuple(sorted(m.at.items()))) for m in measured]
    assert len(keys) == len(set(keys))


@ASKED
def test_a_number_lies_in_its_interval_and_a_share_between_0_and_1(name: str, kind: str) -> None:
    units = {m.name: m.unit for m in loaded(name).metrics}
    for m in outcome(name, kind).measurements:
        if m.low is not None and m.high is not None:
            assert m.low <= m.value <= m.high, m
        if units[m.metric] == "share":
            assert 0 <= m.value <= 1, m
        if units[m.metric] == "difference":
            assert -1 <= m.value <= 1, m


@ASKED
def test_the_mean_of_a_column_is_the_number_that_names_it(name: str, kind: str) -> None:
    found = outcome(name, kind)
    for m in found.measurements:
        if m.column is not None:
            values = column_of(found, m)
            assert values[~np.isnan(values)].mean() == pytest.approx(m.value, abs=1e-6), m
            assert (~np.isnan(values)).sum() == m.n, m


def column_of(found: Outcome, m: Measurement) -> np.ndarray:
    assert found.samples is not None
    assert m.column is not None
    array, _, index = m.column.partition(":")
    values: np.ndarray = found.samples.columns[array][:, int(index)].astype(np.float64)
    return values


@ASKED
def test_samples_are_rows_by_columns_and_no_row_comes_twice(name: str, kind: str) -> None:
    samples = outcome(name, kind).samples
    assert samples is not None
    count = len(samples.row)
    assert len(set(samples.row.tolist())) == count
    assert samples.label.shape == samples.prediction.shape == (count,)
    for values in samples.columns.values():
        assert values.ndim == 2
        assert len(values) == count
        assert values.dtype.kind in "bf"


@ASKED
def test_a_probe_changes_nothing_it_was_handed(name: str, kind: str, streams: Any) -> None:
    on = table(kind)
    module = copy.deepcopy(on.module)
    parts = list(module.modules())
    module.train()
    parts[-1].eval()
    flags = [part.training for part in parts]
    weights = {k: v.clone() for k, v in module.state_dict().items()}
    digest = Dataset.sha256.func(on.data)  # type: ignore[attr-defined]  # past the cache
    torch.manual_seed(5)
    random.seed(5)
    before = streams()

    case = case_of(name, kind, module)
    result = case.probe.run(case)

    assert [part.training for part in parts] == flags
    assert streams() == before
    assert all(torch.equal(v, weights[k]) for k, v in module.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in module.parameters())
    assert Dataset.sha256.func(on.data) == digest  # type: ignore[attr-defined]
    assert result.measurements == outcome(name, kind).measurements


@NAMES
def test_a_probe_counts_what_it_asks(name: str) -> None:
    case = case_of(name, "image" if name in IMAGES_ONLY else "tabular")
    case.probe.run(case)
    assert case.counts.forwards >= len(case.data.x_test) // 2


@NAMES
def test_a_probe_is_asked_of_tables_too_or_says_why_not(name: str) -> None:
    on = table("tabular")
    said = loaded(name)().unasked(Setting(on.data.facts(), on.recipe))
    assert (said is not None) == (name in IMAGES_ONLY)
    assert loaded(name)().unasked(Setting(table("image").data.facts(), on.recipe)) is None


def test_reading_all_probes_imports_nothing_heavy(shell: Any) -> None:
    code = (
        "import sys; from auditor import plugins\n"
        f"for name in {BUILT_IN!r}: plugins.load('auditor.probes', name)().parameters()\n"
        "print(sorted({'torch', 'sklearn', 'scipy.stats', 'art', 'matplotlib'} & set(sys.modules)))"
    )
    assert shell.python(code).out.strip() == "[]"
