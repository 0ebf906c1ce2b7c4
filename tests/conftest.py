"""What many tests share: a tiny audit that was really run once, and the command line as a shell sees it."""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as every worker has; must stand before torch is imported

NOTHING = "schema: auditor/audit/1\n"
AUDIT = """\
schema: auditor/audit/1
name: tiny
seed: 7
profile: nothing.yaml
data: {source: wine}
subjects:
  - id: mlp
    train: {architecture: mlp, kwargs: {hidden: [8]}, optimizers: [sgd, adamw], seeds: 2, epochs: 20, tune: off}
probes:
  accuracy:
  calibration:
  poisoning.label_flips: {rates: [0.1, 0.2, 0.4]}
policy: policy.yaml
"""
POLICY = """\
schema: auditor/policy/1
id: tiny
rules:
  - {id: ACC, metric: accuracy.accuracy, at_least: 0.1, severity: high}
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Shell:
    """Runs `python -m auditor` as a shell would, one thread, in a folder."""

    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment a command gets."""
        return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **self.env}

    def __call__(self, *args: object) -> Ended:
        """Run a command to its end."""
        done = subprocess.run(
            self.line(*args),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def start(self, *args: object) -> "subprocess.Popen[str]":
        """Start a command in a session of its own, as a terminal would."""
        return subprocess.Popen(
            self.line(*args),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def python(self, code: str) -> Ended:
        """Run some Python in the same surroundings."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def line(self, *args: object) -> Sequence[str]:
        """The words of a command."""
        return [sys.executable, "-m", "auditor", *map(str, args)]


@dataclass(frozen=True)
class Tiny:
    """A finished audit: its folder with audit.yaml, and the store and bundle that it was run into."""

    folder: Path
    store: Path
    bundle: Path
    sha256: str  # of the record


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def shell_at() -> Callable[[Path], Shell]:
    """Makes a shell in a folder."""
    return Shell


@pytest.fixture
def write_audit(tmp_path: Path) -> Callable[..., Path]:
    """Writes the tiny audit, with texts replaced, into the test's folder."""

    def write(*changes: tuple[str, str], policy: str = POLICY, folder: Path = tmp_path) -> Path:
        return written(folder, *changes, policy=policy)

    return write


def written(folder: Path, *changes: tuple[str, str], policy: str = POLICY) -> Path:
    """The tiny audit in a folder; each change must find its text."""
    text = AUDIT
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nothing.yaml").write_text(NOTHING)
    (folder / "policy.yaml").write_text(policy)
    (folder / "audit.yaml").write_text(text)
    return folder / "audit.yaml"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The tiny audit, run once in this process, one unit after the other. Tests must not change it."""
    from auditor.auditing import Options, run
    from auditor.config import load_audit

    folder = tmp_path_factory.mktemp("tiny")
    audited = run(
        load_audit(written(folder)),
        Options(store=folder / "store", out=folder / "bundle", inline=True, formats=("html",)),
    )
    assert not audited.failures
    return Tiny(folder, folder / "store", folder / "bundle", audited.facts.record.sha256)


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Reads every file under a folder, so that before and after can be compared."""

    def read(folder: Path) -> dict[str, bytes]:
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    return read


@pytest.fixture(scope="session")
def streams() -> Callable[[], list[object]]:
    """Looks at the state of every global random stream, and the number of threads."""
    import numpy as np
    import torch

    def look() -> list[object]:
        kind, keys, *rest = np.random.get_state()  # noqa: NPY002  # what must not be touched is looked at
        states = [torch.get_rng_state().tolist(), kind, np.asarray(keys).tolist(), rest, random.getstate()]
        return [*states, torch.get_num_threads()]

    return look
