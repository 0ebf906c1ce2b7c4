"""The store holds whole units or none, whoever writes and whenever they die."""

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.bundle import UnitTiming
from auditor.dataset import Dataset, Domain
from auditor.errors import IntegrityError
from auditor.store import Store, put

TIMING = UnitTiming(unit="ab12", kind="probe", label="p", wall_seconds=1, cpu_seconds=1)


def write(store: Store, value: int, *, replace: bool = False) -> None:
    store.write("ab12", {"value": value}, TIMING, replace=replace)


def write_often(root: Path, value: int) -> None:
    for _ in range(500):
        write(Store(root), value, replace=True)


def test_a_unit_is_read_as_it_was_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not store.has("ab12")
    write(store, 3)
    assert store.has("ab12")
    assert store.read("ab12") == {"value": 3}
    assert store.timing("ab12") == TIMING
    assert store.path("ab12", "unit.json") == tmp_path / "units/ab/ab12/unit.json"


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    writing = store.writing("ab12")
    put(writing.__enter__(), {"value": 1}, TIMING)
    assert writing.__exit__(ZeroDivisionError, ZeroDivisionError(), None) is False
    assert not store.has("ab12")
    assert not list((tmp_path / "scratch").iterdir())
    assert not (tmp_path / "units").exists()


def test_the_first_writer_of_a_unit_wins_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write(store, 1)
    write(store, 2)
    assert store.read("ab12") == {"value": 1}
    write(store, 3, replace=True)
    assert store.read("ab12") == {"value": 3}
    assert not list((tmp_path / "scratch").iterdir())


def test_a_unit_that_is_half_there_is_not_finished(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.path("ab12", "timing.json").parent.mkdir(parents=True)
    store.path("ab12", "timing.json").write_text("{}")
    assert not store.has("ab12")
    write(store, 4)
    assert store.read("ab12") == {"value": 4}


def test_a_damaged_unit_is_named_with_what_to_do(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write(store, 1)
    store.path("ab12", "unit.json").write_text('{"val')
    with pytest.raises(IntegrityError, match=r"unit\.json is damaged; remove .*ab12, and the unit is done again"):
        store.read("ab12")


def test_writers_at_the_same_time_leave_one_whole_unit(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_often, args=(tmp_path, value)) for value in (1, 2, 3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [w.exitcode for w in writers] == [0, 0, 0]
    assert Store(tmp_path).read("ab12")["value"] in (1, 2, 3)


def test_a_sweep_removes_what_dead_writers_left(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write(store, 1)
    for name, age in (("dead", 2 * 24 * 3600), ("at-work", 60)):
        folder = tmp_path / "scratch" / name
        folder.mkdir()
        os.utime(folder, (time.time() - age, time.time() - age))
    store.sweep()
    assert [p.name for p in (tmp_path / "scratch").iterdir()] == ["at-work"]
    assert store.has("ab12")


def data(**more: Any) -> Dataset:
    x = np.arange(12, dtype=np.float32).reshape(6, 2) / 12
    return Dataset(
        "d",
        x,
        np.arange(6) % 2,
        x[:4] * 0.5,
        np.arange(4) % 2,
        ("a", "b"),
        Domain(np.zeros(2, np.float32), np.ones(2, np.float32), ("width", "height")),
        licence="MIT",
        ood={"far": x[:3] * 0.1},
        groups={"site": np.arange(4)},
        description="words",
        **more,
    )


def test_a_data_set_comes_back_equal_and_read_only(tmp_path: Path) -> None:
    store, kept = Store(tmp_path), data()
    store.write_dataset(kept)
    store.write_dataset(kept)
    again = store.dataset(kept.sha256)
    assert again.facts() == kept.facts()
    assert again.sha256 == kept.sha256
    assert again.domain.feature_names == ("width", "height")
    assert again.groups["site"].tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        again.x_train[0] = 0


def test_what_a_unit_says_is_canonical_json(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write("ab12", {"b": 1, "a": [0.1, None]}, TIMING)
    raw = store.path("ab12", "unit.json").read_bytes()
    assert raw == b'{"a":[0.1,null],"b":1}'
    assert json.loads(raw) == store.read("ab12")


def test_a_number_that_is_not_finite_never_reaches_the_store(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Store(tmp_path).write("ab12", {"value": float("nan")}, TIMING)
    assert not Store(tmp_path).has("ab12")
