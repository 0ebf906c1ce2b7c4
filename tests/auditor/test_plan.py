"""The plan: every unit is identified by all that decides its result, and by nothing else, before anything runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditor import planner, sources
from auditor.auditing import Options, planned
from auditor.config import load_audit
from auditor.errors import AuditorError
from auditor.plan import Plan

Make = Callable[..., Plan]


@pytest.fixture
def make(write_audit: Any, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Plans the tiny audit with texts replaced."""
    store = tmp_path_factory.getbasetemp() / "plan-store"

    def made(*changes: tuple[str, str], **options: Any) -> Plan:
        flags = options.pop("flags", None)
        return planned(load_audit(write_audit(*changes), flags=flags), Options(store=store, **options))

    return made


def by_label(plan: Plan) -> dict[str, str]:
    return {u.label: u.identity for u in plan.units.values()}


def changed(one: Plan, other: Plan) -> set[str]:
    """Labels of units that are in both plans under another identity."""
    a, b = by_label(one), by_label(other)
    return {label for label in a.keys() & b.keys() if a[label] != b[label]}


def test_units_come_after_their_inputs_and_no_work_is_there_twice(make: Make) -> None:
    plan = make()
    order = {identity: i for i, identity in enumerate(plan.units)}
    assert all(order[needed] < order[u.identity] for u in plan.units.values() for needed in u.inputs)
    assert len(by_label(plan)) == len(plan.units) == 28


def test_the_same_audit_has_the_same_plan(make: Make) -> None:
    assert list(make().units) == list(make().units)
    assert make().sha256 == make().sha256


def test_adding_a_probe_changes_no_other_unit(make: Make) -> None:
    more = make(("  calibration:\n", "  calibration:\n  ood.scores:\n"))
    assert changed(make(), more) == set()
    assert set(make().units) < set(more.units)
    assert make().sha256 != more.sha256


def test_a_probes_parameter_changes_its_units_alone(make: Make) -> None:
    touched = changed(make(), make(("  calibration:\n", "  calibration: {bins: 4}\n")))
    assert touched == {f"calibration on mlp/{o}/{s}" for o in ("sgd", "adamw") for s in (0, 1)}


def test_adding_an_optimizer_or_a_seed_changes_no_other_unit(make: Make) -> None:
    assert changed(make(), make(("[sgd, adamw]", "[sgd, adamw, adam]"))) == set()
    assert changed(make(), make(("seeds: 2", "seeds: 3"))) == set()


def test_the_seed_the_epochs_and_the_data_change_every_unit(make: Make) -> None:
    everything = set(by_label(make()))
    assert changed(make(), make(("seed: 7", "seed: 8"))) == everything
    assert changed(make(), make(("epochs: 20", "epochs: 21"))) == everything
    assert changed(make(), make(("{source: wine}", "{source: wine, limit: {train: 90}}"))) == everything


def test_what_decides_no_number_changes_no_unit(make: Make) -> None:
    card = ("policy: policy.yaml", "card: {intended_use: none}\nunit_seconds: 60")
    assert changed(make(), make(card, ("name: tiny", "name: other"), workers=3)) == set()
    assert make().sha256 == make(card).sha256


def test_source_versions_and_a_third_partys_source_are_part_of_identities(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    third = ("  calibration:\n", "  trouble.brightness:\n")
    before, plain = make(third), make()
    monkeypatch.setattr(sources, "code_digest", lambda *_: "edited")
    assert changed(before, make(third)) == {
        f"trouble.brightness on mlp/{o}/{s}" for o in ("sgd", "adamw") for s in (0, 1)
    }
    environment = planner.environment()
    monkeypatch.setattr(planner, "environment", lambda: {**environment, "versions": {"torch": "0"}})
    assert changed(plain, make()) == set(by_label(plain))


def test_a_search_of_learning_rates_is_shared_by_all_seeds_and_of_equal_size_for_every_optimizer(make: Make) -> None:
    plan = make(("tune: off", "tune: auto"))
    tunes = [u for u in plan.units.values() if u.kind == "tune"]
    steps = [" with 2 to extend", " with 1 to extend", ""]
    assert [u.label for u in tunes] == [f"tune mlp/{o}{step}" for o in ("sgd", "adamw") for step in steps]
    assert [u.spec["rates"] for u in tunes] == [4, 1, 1] * 2
    assert [u.spec["final"] for u in tunes] == [False, False, True] * 2
    for unit in plan.units.values():
        if unit.kind == "fit" and unit.subject:
            assert [plan.units[i].label for i in unit.inputs] == [f"tune {'/'.join(unit.subject.split('/')[:2])}"]
    trials = [plan.units[i] for u in tunes for i in u.inputs if plan.units[i].kind == "fit"]
    assert {u.spec["fit"]["recipe"]["seed"] for u in trials} == {-1}
    assert len(trials) == 12


def test_a_halved_search_is_known_before_it_runs_and_its_seeds_are_no_subjects(make: Make) -> None:
    tune = "tune: {trials: 6, method: halving, seeds: 2, extend: 1}"
    plan = make(("tune: off", tune))
    of_sgd = [u for u in plan.units.values() if u.kind == "tune" and "sgd" in u.label]
    assert [(u.spec["rates"], u.spec["epochs"]) for u in of_sgd] == [(6, 5), (2, 20), (1, 20), (1, 20), (1, 20)]
    fits = [[plan.units[i].spec["fit"] for i in u.inputs if plan.units[i].kind == "fit"] for u in of_sgd]
    assert [[(f["recipe"]["learning_rate"], f["recipe"]["seed"]) for f in part] for part in fits[1:]] == [
        [({"rank": 0}, -1), ({"rank": 0}, -2), ({"rank": 1}, -1), ({"rank": 1}, -2)],
        *[[({"rank": None}, -1), ({"rank": None}, -2)]] * 3,
    ]
    assert [f["recipe"]["learning_rate"] for f in fits[0]][::2] == [0.01, 0.023, 0.0528, 0.121, 0.279, 0.64]
    assert set(make(("tune: off", tune)).units) == set(plan.units)


def test_only_and_skip_choose_probes_by_glob_and_keep_their_parameters(make: Make) -> None:
    assert {r.probe for r in make(only=("cal*", "accuracy")).results} == {"accuracy", "calibration"}
    assert {r.probe for r in make(skip=("poisoning.*",)).results} == {"accuracy", "calibration"}
    assert next(r for r in make(only=("poisoning.*",)).results).parameters == {"rates": [0.1, 0.2, 0.4]}
    assert changed(make(), make(only=("accuracy",))) == set()


def test_the_trainings_alone_are_the_subjects_and_their_searches(make: Make) -> None:
    plan = make(("tune: off", "tune: auto")).trainings()
    assert len(plan.units) == 4 + 6 + 12
    assert {u.kind for u in plan.units.values()} == {"fit", "tune"}


def test_the_trainings_that_are_watched_for_a_target_are_among_them(make: Make) -> None:
    plan = make(("tune: off", "tune: off, target: auto")).trainings()
    assert sorted(u.label for u in plan.units.values()) == [
        *(f"train mlp/{o}/{s}" for o in ("adamw", "sgd") for s in range(2)),
        *(f"watch mlp/{o}/{s}" for o in ("adamw", "sgd") for s in range(2)),
    ]


def test_a_probe_that_has_nothing_to_ask_of_the_data_is_planned_as_skipped_with_its_reason(make: Make) -> None:
    plan = make(("  calibration:\n", "  evasion.spatial:\n"))
    results = [r for r in plan.results if r.probe == "evasion.spatial"]
    assert len(results) == 4
    assert {(r.unit, r.errored) for r in results} == {(None, False)}
    assert {r.reason for r in results} == {"needs images; the rows of this data have the shape (13,)"}
    assert "evasion.spatial" not in {u.probe for u in plan.units.values()}


def test_a_probe_that_cannot_be_imported_is_planned_as_errored(make: Make) -> None:
    results = [r for r in make(("  calibration:\n", "  trouble.missing:\n")).results if r.probe == "trouble.missing"]
    assert [r.errored for r in results] == [True] * 4
    assert all("auditor_trouble_dependency" in (r.reason or "") for r in results)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("rates: [0.1, 0.2, 0.4]", "rates: [2]"), "poisoning.label_flips"),
        (("  calibration:\n", "  calibration: {bins: 0}\n"), "calibration: bins is 0"),
        (
            ("[sgd, adamw]", "[sgd, {name: adamw, settings: {weight_deca: 0.9}}]"),
            "audit.yaml:8: unknown setting of adamw 'weight_deca'; did you mean 'weight_decay'?",
        ),
        (("[sgd, adamw]", "[sgd, {name: sgd, settings: {momentum: 0}}]"), "mlp/sgd is named twice"),
        (
            ("architecture: mlp", "architecture: 'nowhere_at_all:make'"),
            "no module 'nowhere_at_all'; is it beside the audit file or installed?",
        ),
    ],
)
def test_what_can_be_known_to_be_wrong_is_refused_before_anything_runs(
    make: Make, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(AuditorError) as caught:
        make(change)
    assert message in str(caught.value)


def test_code_beside_the_audit_file_is_part_of_identities_in_folders_too(make: Make, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    change = ("architecture: mlp, kwargs: {hidden: [8]}", "architecture: 'own.nets:make'")
    (tmp_path / "own/nets.py").write_text("def make(shape, classes): ...\n")
    before = make(change)
    (tmp_path / "own/nets.py").write_text("def make(shape, classes): pass\n")
    assert changed(before, make(change)) == set(by_label(before))


def test_a_loaded_model_is_identified_by_the_content_of_its_files(make: Make, tmp_path: Path) -> None:
    subject = (
        "train: {architecture: mlp, kwargs: {hidden: [8]}, optimizers: [sgd, adamw], seeds: 2, epochs: 20, tune: off}",
        'load: {format: state-dict, path: w.safetensors, factory: "nets:make"}',
    )
    (tmp_path / "w.safetensors").write_bytes(b"one")
    (tmp_path / "nets.py").write_text("def make(): ...\n")
    first = make(subject)
    assert {r.reason for r in first.results if r.unit is None} == {
        "needs access: recipe (it retrains the model); "
        "a finished model has none unless `recipe` is stated beside `load`"
    }
    assert list(make(subject).units) == list(first.units)
    (tmp_path / "nets.py").write_text("def make(): pass\n")
    second = make(subject)
    (tmp_path / "w.safetensors").write_bytes(b"two")
    third = make(subject)
    assert len({*first.units} | {*second.units} | {*third.units}) == 3 * len(first.units)
    assert len({first.sha256, second.sha256, third.sha256}) == 3, "the lock of a plan is one of its models too"


def test_a_pickle_is_identified_by_the_modules_beside_it_which_it_may_import(make: Make, tmp_path: Path) -> None:
    subject = (
        "train: {architecture: mlp, kwargs: {hidden: [8]}, optimizers: [sgd, adamw], seeds: 2, epochs: 20, tune: off}",
        "load: {format: sklearn, path: m.joblib, trust: pickle}",
    )
    (tmp_path / "m.joblib").write_bytes(b"one")
    (tmp_path / "steps").mkdir()
    plans = []
    for content in ("A = 1\n", "A = 2\n"):
        for name in ("steps/__init__.py", "parts.py"):
            (tmp_path / name).write_text(content)
            plans.append(make(subject))
            assert list(make(subject).units) == list(plans[-1].units)
    assert len({plan.sha256 for plan in plans}) == 4
    assert len({unit for plan in plans for unit in plan.units}) == 4 * len(plans[0].units)


def test_an_own_trainings_code_is_part_of_the_plan(make: Make, tmp_path: Path) -> None:
    subject = (
        "architecture: mlp, kwargs: {hidden: [8]}, optimizers: [sgd, adamw], seeds: 2, epochs: 20, tune: off",
        'function: "own:fit", optimizers: [sgd, adamw], seeds: 2, epochs: 20',
    )
    (tmp_path / "own.py").write_text("from parts import A\ndef fit(x, y, optimizer, seed, epochs): ...\n")
    (tmp_path / "parts.py").write_text("A = 1\n")
    before = make(subject)
    (tmp_path / "parts.py").write_text("A = 2\n")
    assert make(subject).sha256 != before.sha256
    assert changed(before, make(subject)) == set(by_label(before))
