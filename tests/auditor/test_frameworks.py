"""Framework packs, and what a record may say of their items."""

import json
from collections import Counter
from importlib.resources import files

import pytest

from auditor.catalogue import Catalogue, ProbeEntry
from auditor.errors import UnknownNameError
from auditor.frameworks import NAMES, Cell, coverage, load
from auditor.record import AuditRecord, Caveat, DatasetRecord, Record, Result

EVASION = ProbeEntry(
    id="evasion.linf", references={"nist-ai-rmf": ("MEASURE 2.7", "MAP 2.2"), "nist-aml": ("NISTAML.022",)}
)
PRIVACY = ProbeEntry(id="privacy.membership", references={"nist-ai-rmf": ("MEASURE 2.10",)})
CATALOGUE = Catalogue(version="0.1.0", probes=(EVASION, PRIVACY))


def result(probe: str = "evasion.linf", subject: str = "m", **more) -> Result:
    return Result(**{"probe": probe, "version": 1, "subject": subject, "outcome": "completed", **more})


def record(*results: Result, complete: bool = True) -> Record:
    return Record(
        audit=AuditRecord(name="a", seed=1, profile="quick", plan_sha256="p", complete=complete),
        dataset=DatasetRecord(
            id="d",
            sha256="s",
            rows={"train": 1, "test": 1},
            shape=(1,),
            classes=("a", "b"),
            range=(0, 1),
            licence="MIT",
        ),
        subjects=(),
        results=results,
        measurements=(),
    )


def cells(rec: Record, attestations: dict[str, str] | None = None) -> dict[str, Cell]:
    return {c.id: c for c in coverage(load("nist-ai-rmf"), rec, CATALOGUE, attestations)}


def test_the_rmf_has_its_72_subcategories_19_categories_and_4_functions() -> None:
    rmf = load("nist-ai-rmf")
    assert Counter(i.id.split()[0] for i in rmf.items) == {"GOVERN": 19, "MAP": 18, "MEASURE": 22, "MANAGE": 13}
    assert len({i.id for i in rmf.items}) == 72
    assert len([g for g in rmf.groups if g.parent]) == 19
    assert [g.id for g in rmf.groups if not g.parent] == ["GOVERN", "MAP", "MEASURE", "MANAGE"]
    assert {i.group for i in rmf.items} == {g.id for g in rmf.groups if g.parent}


def test_the_evidence_classes_are_8_measured_38_partial_26_by_people() -> None:
    assert Counter(i.evidence for i in load("nist-ai-rmf").items) == {"M": 8, "P": 38, "H": 26}


def test_statements_are_those_of_the_published_core() -> None:
    rmf = load("nist-ai-rmf")
    said = {i.id: i.statement for i in rmf.items}
    assert said["MEASURE 2.1"] == "Test sets, metrics, and details about the tools used during TEVV are documented."
    assert said["GOVERN 5.2"].startswith("Mechanisms are established to enable the team that developed or deployed")
    assert said["MAP 3.5"].endswith("in accordance with organizational policies from the GOVERN function.")
    assert (rmf.version, rmf.source["doi"]) == ("1.0", "10.6028/NIST.AI.100-1")


@pytest.mark.parametrize("name", NAMES)
def test_every_pack_is_named_versioned_dated_and_without_doubles(name: str) -> None:
    pack = load(name)
    assert pack.id == name
    assert pack.version
    assert pack.as_of == "2026-11-22"
    assert len({i.id for i in pack.items}) == len(pack.items) > 0
    assert all(i.group in {"", *(g.id for g in pack.groups)} for i in pack.items)


def test_every_json_file_of_the_folder_is_a_pack_that_loads() -> None:
    found = {json.loads(f.read_text())["id"] for f in files("auditor.frameworks").iterdir() if f.name.endswith(".json")}
    assert found == set(NAMES)


def test_an_unknown_framework_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'nist-ai-rmf'"):
        load("nist-ai-rfm")


def test_only_a_completed_reliable_result_that_maps_to_it_makes_a_cell_measured() -> None:
    found = cells(record(result()))
    assert found["MEASURE 2.7"].state == "measured"
    assert found["MEASURE 2.7"].evidence == ("evasion.linf",)
    assert [c.id for c in found.values() if c.state == "measured"] == ["MEASURE 2.7"]
    assert len(found) == 72


def test_a_cell_of_class_p_is_at_most_partly_supported() -> None:
    found = cells(record(result()))["MAP 2.2"]
    assert (found.state, found.evidence) == ("partly supported", ("evasion.linf",))


@pytest.mark.parametrize(
    "bad",
    [
        result(outcome="skipped", reason="needs gradients"),
        result(outcome="errored", reason="it raised"),
        result(reliability="suspicious"),
        result(reliability="invalid"),
        result(caveats=(Caveat(flag="zero_gradient", severity="suspicious", evidence="all"),)),
    ],
)
def test_a_result_that_is_not_sound_measures_nothing_and_the_reason_says_so(bad: Result) -> None:
    found = cells(record(bad))
    assert {c.state for c in found.values() if c.id in ("MEASURE 2.7", "MAP 2.2", "MEASURE 2.1")} == {"not assessed"}
    assert "evasion.linf: 0 of 1 results completed and reliable" in found["MEASURE 2.7"].reason


def test_a_probe_that_did_not_run_and_one_that_does_not_exist_are_told_apart() -> None:
    found = cells(record())
    assert found["MEASURE 2.10"].reason == "privacy.membership did not run"
    assert found["MEASURE 2.12"].reason == "no installed probe supplies evidence for it"


def test_one_bad_result_among_good_ones_is_counted_in_the_reason() -> None:
    found = cells(record(result(), result(subject="n", outcome="errored", reason="it raised")))["MEASURE 2.7"]
    assert found.state == "measured"
    assert found.reason == "evasion.linf: 1 of 2 results completed and reliable (errored: it raised)"


def test_the_record_of_a_complete_audit_supports_in_part_what_it_documents_and_measures_nothing() -> None:
    whole, broken = cells(record(result())), cells(record(result(), complete=False))
    by_record = [i.id for i in load("nist-ai-rmf").items if i.by == "record"]
    assert by_record == ["MAP 2.1", "MEASURE 1.1", "MEASURE 2.1"]
    assert {whole[i].state for i in by_record} == {"partly supported"}
    assert {broken[i].state for i in by_record} == {"not assessed"}
    assert {broken[i].reason for i in by_record} == {"the audit did not complete"}


def test_what_people_alone_can_say_is_attested_or_not_assessed() -> None:
    person = "A. Person, 2026-11-20: done"
    assert cells(record(result()))["GOVERN 2.2"].state == "not assessed"
    said = cells(
        record(result()), {"GOVERN 2.2": person, "MEASURE 2.7": person, "MAP 2.2": person, "MEASURE 2.10": person}
    )
    assert (said["GOVERN 2.2"].state, said["GOVERN 2.2"].reason) == ("attested", person)
    assert said["MEASURE 2.7"].state == "measured"
    assert (said["MAP 2.2"].state, said["MAP 2.2"].evidence) == ("attested", ("evasion.linf",))
    assert (said["MEASURE 2.10"].state, said["MEASURE 2.10"].evidence) == ("attested", ())


def test_an_attestation_of_an_unknown_item_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"attestations: unknown item of nist-ai-rmf 'GOVERN 2\.9'"):
        cells(record(), {"GOVERN 2.9": "x"})


def test_nothing_ever_says_that_a_system_complies() -> None:
    found = cells(record(result(), result("privacy.membership")))
    assert not any("complian" in c.reason.lower() or "complies" in c.reason.lower() for c in found.values())
    assert {c.state for c in found.values()} <= {"measured", "partly supported", "attested", "not assessed"}


def test_one_attack_never_exhausts_a_threat_of_another_framework() -> None:
    found = {c.id: c.state for c in coverage(load("nist-aml"), record(result()), CATALOGUE)}
    assert found["NISTAML.022"] == "partly supported"
    assert found["NISTAML.013"] == "not assessed"
