"""The selector: coordinates as numbers or text, and globs over groups and subjects."""

import pytest

from auditor.policy import Where
from auditor.record import AuditRecord, DatasetRecord, Record, SubjectRecord
from auditor.selector import Target, coordinate, matches_at, matches_subject, targets


def subject(name: str, group: str, seed: int | None, optimizer: str | None = None, variant: str = "float32"):
    return SubjectRecord(
        id=name,
        group=group,
        config=name.split("/")[0],
        optimizer=optimizer,
        seed=seed,
        variant=variant,
        access=("labels",),
    )


def record(*subjects: SubjectRecord) -> Record:
    return Record(
        audit=AuditRecord(name="a", seed=1, profile="quick", plan_sha256="p", complete=True),
        dataset=DatasetRecord(
            id="d",
            sha256="s",
            rows={"train": 1, "test": 1},
            shape=(1,),
            classes=("a", "b"),
            range=(0, 1),
            licence="MIT",
        ),
        subjects=subjects,
        results=(),
        measurements=(),
    )


ADAMW = Target("mlp/adamw", tuple(subject(f"mlp/adamw/{i}", "mlp/adamw", i, "adamw") for i in range(3)), grouped=True)
INT8 = Target("mlp/adamw@int8", (subject("mlp/adamw/0@int8", "mlp/adamw@int8", 0, "adamw", "int8"),), grouped=True)
LOADED = Target("released", (subject("released", "released", None),), grouped=False)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/255", 8 / 255),
        ("0.1", 0.1),
        ("1e-3", 0.001),
        (" 1/4 ", 0.25),
        (3, 3.0),
        (0.5, 0.5),
        ("msp", "msp"),
        ("1/0", "1/0"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("1e999999999", "1e999999999"),
        ("", ""),
        ("8/255/2", "8/255/2"),
    ],
)
def test_a_coordinate_is_a_finite_number_where_it_can_be_one_and_else_text(
    text: float | str, value: float | str
) -> None:
    assert coordinate(text) == value


def test_a_fraction_is_the_float_that_a_probe_computed_from_it() -> None:
    assert matches_at({"epsilon": "8/255"}, {"epsilon": 8 / 255})
    assert matches_at({"epsilon": "0.1"}, {"epsilon": 0.1})


def test_numbers_match_within_one_billionth_and_not_beyond() -> None:
    assert matches_at({"epsilon": 0.1}, {"epsilon": 0.1 * (1 + 0.9e-9)})
    assert not matches_at({"epsilon": 0.1}, {"epsilon": 0.1 * (1 + 1.1e-9)})
    assert not matches_at({"epsilon": 0.0}, {"epsilon": 1e-12})


def test_every_named_key_must_match_and_the_others_are_free() -> None:
    assert matches_at({}, {"score": "msp", "set": "noise"})
    assert matches_at({"score": "msp"}, {"score": "msp", "set": "noise"})
    assert not matches_at({"score": "msp", "set": "far"}, {"score": "msp", "set": "noise"})
    assert not matches_at({"epsilon": 0.1}, {})


def test_a_class_that_is_named_like_a_number_matches_as_text_and_as_number() -> None:
    assert matches_at({"class": 8}, {"class": "8"})
    assert matches_at({"class": "8"}, {"class": "8"})
    assert not matches_at({"class": 8}, {"class": "eight"})


def test_seeded_subjects_are_one_target_and_a_subject_without_seed_is_its_own() -> None:
    found = targets(record(*ADAMW.members, *LOADED.members, *INT8.members))
    assert found == (ADAMW, LOADED, INT8)


def test_an_unseeded_subject_does_not_join_the_group_whose_name_it_bears() -> None:
    loaded = subject("released", "mlp/adamw", None)
    found = targets(record(*ADAMW.members, loaded))
    assert [(t.id, t.grouped, len(t.members)) for t in found] == [("mlp/adamw", True, 3), ("released", False, 1)]


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ({}, [ADAMW, INT8, LOADED]),
        ({"group": "mlp/*"}, [ADAMW, INT8]),
        ({"group": "mlp/adamw"}, [ADAMW]),
        ({"subject": "mlp/adamw"}, [ADAMW]),
        ({"subject": "mlp/adamw/?"}, [ADAMW]),
        ({"subject": "released"}, [LOADED]),
        ({"optimizer": "adam*"}, [ADAMW, INT8]),
        ({"optimizer": "*"}, [ADAMW, INT8]),
        ({"variant": "int8"}, [INT8]),
        ({"variant": "float32", "optimizer": "adamw"}, [ADAMW]),
        ({"optimizer": "AdamW"}, []),
    ],
)
def test_globs_choose_targets_and_all_that_are_given_must_match(where: dict[str, str], chosen: list[Target]) -> None:
    assert [t for t in (ADAMW, INT8, LOADED) if matches_subject(Where(**where), t)] == chosen


def test_naming_one_seed_does_not_choose_its_whole_group() -> None:
    assert not matches_subject(Where(subject="mlp/adamw/1"), ADAMW)
