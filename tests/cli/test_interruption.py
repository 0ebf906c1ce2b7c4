"""An audit that is interrupted or killed at any moment: nothing is lost, nothing done twice, the record is the same."""

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from auditor.bundle import file_sha256

RUN = ("run", "audit.yaml", "--out", "bundle", "--format", "html", "--workers", "2")
UNITS = 28


def finished(folder: Path) -> dict[str, int]:
    """Units in the store by identity, with when and as which file they were written."""
    return {
        p.parent.name: p.stat().st_mtime_ns + p.stat().st_ino for p in (folder / ".auditor/units").glob("*/*/unit.json")
    }


def wait_for(folder: Path, units: int, process: Any) -> None:
    while len(finished(folder)) < units:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


def descendants(pid: int) -> set[int]:
    """Processes below one, found as the kernel knows them."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, queue = set(), [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found.update(below)
        queue += below
    return found


def alive(pids: set[int]) -> set[int]:
    """Those that still run; a zombie whose new parent has not looked is dead."""
    running = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            running.add(pid)
    return running


def kill(process: Any) -> None:
    process.kill()
    process.communicate(timeout=30)


def test_ctrl_c_leaves_a_readable_bundle_and_the_same_command_completes_it(
    shell: Any, tiny: Any, write_audit: Any
) -> None:
    write_audit()
    process = shell.start(*RUN)
    wait_for(shell.folder, 3, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "the same command goes on from here" in out

    record = json.loads((shell.folder / "bundle/facts/record.json").read_bytes())
    assert record["audit"]["complete"] is False
    unrun = [r for r in record["results"] if r["reason"] == "not run: the audit was interrupted"]
    assert unrun
    assert all(r["outcome"] == "errored" for r in unrun)
    assert shell("verify", "bundle").code == 0
    assert shell("gate", "bundle").code == 4
    assert shell("report", "bundle", "--format", "html").code == 0

    before = finished(shell.folder)
    again = shell(*RUN)
    assert again.code == 0, again.err
    assert file_sha256(shell.folder / "bundle/facts/record.json") == tiny.sha256
    assert before.items() <= finished(shell.folder).items()
    assert shell("gate", "bundle").code == 0


def test_a_killed_audit_goes_on_where_it_stopped_and_its_workers_end(shell: Any, tiny: Any, write_audit: Any) -> None:
    write_audit()
    process = shell.start(*RUN)
    wait_for(shell.folder, 5, process)
    workers = descendants(process.pid)
    assert len(workers) >= 2
    kill(process)
    deadline = time.monotonic() + 20
    while alive(workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert alive(workers) == set()

    before = finished(shell.folder)
    assert 5 <= len(before) < UNITS
    again = shell(*RUN)
    assert again.code == 0, again.err
    assert file_sha256(shell.folder / "bundle/facts/record.json") == tiny.sha256
    assert before.items() <= finished(shell.folder).items()
    assert len(finished(shell.folder)) == UNITS
    assert not list((shell.folder / "bundle").glob(".*"))


@pytest.mark.slow
def test_sample_ten_kills_at_random_moments_change_no_number_and_redo_no_finished_unit(
    shell: Any, tiny: Any, write_audit: Any
) -> None:
    write_audit()
    moments = random.Random(20261122)
    seen: dict[str, int] = {}
    for _ in range(10):
        process = shell.start(*RUN)
        time.sleep(moments.uniform(0.5, 8.0))
        kill(process)
        time.sleep(1.5)  # workers see within half a second that their parent is gone
        now = finished(shell.folder)
        assert seen.items() <= now.items()
        seen = now
    again = shell(*RUN)
    assert again.code == 0, again.err
    assert seen.items() <= finished(shell.folder).items()
    assert file_sha256(shell.folder / "bundle/facts/record.json") == tiny.sha256
    assert shell("verify", "bundle").code == 0
