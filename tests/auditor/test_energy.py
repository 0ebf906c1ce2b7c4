"""Energy is read from the processor's counters where there are such, and never told without its method."""

import pytest

from auditor import energy
from auditor.energy import Meter, estimated


def package(root, number, at, most=262_143_328_850, name=None):
    zone = root / f"intel-rapl:{number}"
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "name").write_text(f"{name or f'package-{number}'}\n")
    (zone / "energy_uj").write_text(f"{at}\n")
    (zone / "max_energy_range_uj").write_text(f"{most}\n")


def test_the_packages_counters_are_added_up(tmp_path):
    package(tmp_path, 0, 1_000_000)
    package(tmp_path, 1, 5_000_000)
    package(tmp_path, "0:0", 77, name="core")  # a part of package 0
    meter = Meter(tmp_path)
    package(tmp_path, 0, 3_500_000)
    package(tmp_path, 1, 5_250_000)
    package(tmp_path, "0:0", 9_999_999, name="core")
    found = meter.spent()
    assert found is not None
    assert (found.method, found.joules) == ("rapl", pytest.approx(2.75))
    assert "2 processor packages" in found.assumption
    assert "other programs" in found.assumption


def test_a_counter_that_started_over_is_followed(tmp_path):
    package(tmp_path, 0, 262_143_000_000)
    meter = Meter(tmp_path)
    package(tmp_path, 0, 671_149)
    assert meter.spent().joules == pytest.approx(1.0)  # 328 851 to the end of its range, and 671 149 more


def test_a_counter_that_may_have_started_over_twice_tells_nothing(tmp_path, monkeypatch):
    package(tmp_path, 0, 0)
    meter = Meter(tmp_path)
    later = energy.time.monotonic() + 263
    monkeypatch.setattr(energy.time, "monotonic", lambda: later)
    assert meter.spent() is None


def test_where_no_counter_can_be_read_there_is_no_number(tmp_path):
    assert Meter(tmp_path / "none").spent() is None
    package(tmp_path, 0, 5)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("")
    assert Meter(tmp_path).spent() is None


def test_an_estimate_says_whose_watts_it_took():
    found = estimated(12.5, 8.0)
    assert (found.method, found.joules) == ("estimate", 100.0)
    assert found.assumption == "8 watts a core, as stated, for every second of processor time"
