"""Evasion from the shell: mistakes are refused at once, the same seed answers the same, what was saved holds."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

CHECKER = Path(__file__).parents[2] / "benchmarks" / "check_adversarials.py"
NORMS = ("linf", "l2", "l1")
NET = '''
import torch
from torch import nn


class Net(nn.Module):
    """A small net, which answers as it is told to."""

    def __init__(self, how="logits"):
        super().__init__()
        self.net, self.how = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)), how

    def forward(self, x):
        z = self.net(x)
        if self.how == "cut":
            return z.detach()
        return z.argmax(1) if self.how == "labels" else z
'''
PREDICT = """
from safetensors.numpy import load_file

w = {name: array.astype("float64") for name, array in load_file("w.safetensors").items()}


def predict(x):
    hidden = (x @ w["net.0.weight"].T + w["net.0.bias"]).clip(0)
    return hidden @ w["net.2.weight"].T + w["net.2.bias"]
"""
AUDIT = """\
schema: auditor/audit/1
name: evaded
seed: 5
profile: nothing.yaml
data: {source: npz, path: data.npz, range: [0, 1], licence: CC0}
subjects:
  - {id: white, load: {format: state-dict, path: w.safetensors, factory: "net:Net"}}
probes:
  evasion.linf: {samples: 40}
"""
BLIND = """\
  - {id: cut, load: {format: state-dict, path: w.safetensors, factory: "net:Net", kwargs: {how: cut}}}
  - {id: labels, load: {format: state-dict, path: w.safetensors, factory: "net:Net", kwargs: {how: labels},
                        outputs: labels}}
"""
PROBES = "".join(
    f"  evasion.{norm}: {{epsilons: [{far / 2}, {far}], samples: 30, label_rows: 20, queries: 20, blind_queries: 60, "
    "label_queries: 60, save: true}\n"
    for norm, far in (("linf", 0.1), ("l2", 0.15), ("l1", 0.2))
)


@pytest.fixture
def made(shell: Any) -> Callable[..., Path]:
    """Writes a trained net, its data and an audit of it into the test's folder."""

    def write(*changes: tuple[str, str]) -> Path:
        folder: Path = shell.folder
        x = np.random.default_rng(0).random((260, 4), dtype=np.float32)
        y = (x[:, 0] > 0.5).astype(np.int64) + (x[:, 1] > 0.66)
        np.savez(folder / "data.npz", x_train=x[:200], y_train=y[:200], x_test=x[200:], y_test=y[200:])
        save_file(trained(x, y), folder / "w.safetensors")
        (folder / "net.py").write_text(NET)
        (folder / "predict.py").write_text(PREDICT)
        (folder / "nothing.yaml").write_text("schema: auditor/audit/1\n")
        text = AUDIT
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        (folder / "audit.yaml").write_text(text)
        return folder

    return write


def trained(x: np.ndarray, y: np.ndarray) -> dict[str, torch.Tensor]:
    """The weights of the net after a short training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(torch.tensor(x)), torch.tensor(y)).backward()
        optimizer.step()
    return {f"net.{name}": value.detach() for name, value in net.state_dict().items()}


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ("{epsilons: [8]}", "audit.yaml:9: probes.evasion.linf: epsilon 8 is outside (0, 1]"),
        ("{epsilons: [[0.1]]}", "audit.yaml:9: probes.evasion.linf: epsilon [0.1] is no number; write 0.1 or 8/255"),
        ("{norm: l2}", "audit.yaml:9: unknown parameter of evasion.linf 'norm'"),
        ("{goal: hgih}", "evasion.linf: goal 'hgih' is no class; write any, or one of 0, 1, 2"),
    ],
)
def test_a_parameter_that_cannot_be_meant_is_refused_before_anything_runs(
    shell: Any, made: Any, parameters: str, told: str
) -> None:
    folder = made(("{samples: 40}", parameters))
    ended = shell("run", "audit.yaml", "--out", "out")
    assert ended.code == 2
    assert told in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not (folder / "out").exists()


def test_a_goal_that_every_test_row_has_already_is_refused_before_anything_runs(shell: Any, made: Any) -> None:
    folder = made(("{samples: 40}", "{goal: '1'}"))
    arrays = dict(np.load(folder / "data.npz"))
    some = arrays["y_test"] == 1
    np.savez(folder / "data.npz", **{**arrays, "x_test": arrays["x_test"][some], "y_test": arrays["y_test"][some]})
    ended = shell("run", "audit.yaml", "--out", "out")
    assert ended.code == 2
    assert ended.err.strip() == "error: evasion.linf: goal '1': every row that could be attacked is of that class"


def record(folder: Path, out: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / out / "facts/record.json").read_text())
    return found


@pytest.mark.slow
def test_every_norm_and_access_answers_the_same_twice_and_what_was_saved_holds(shell: Any, made: Any) -> None:
    folder = made(("probes:\n  evasion.linf: {samples: 40}\n", f"{BLIND}probes:\n{PROBES}"))
    for out in ("once", "twice"):
        ended = shell("run", "audit.yaml", "--out", out, "--fresh", "--workers", "1", "--no-gate", "--format", "md")
        assert ended.code == 0, ended.err
    assert record(folder, "once") == record(folder, "twice")
    results = record(folder, "once")["results"]
    assert sorted((r["subject"], r["reliability"]) for r in results if r["probe"] == "evasion.l2") == [
        ("cut", "suspicious"), ("labels", "suspicious"), ("white", "reliable"),
    ]  # fmt: skip
    flags = {r["subject"]: {c["flag"] for c in r["caveats"]} for r in results}
    assert "no_gradient_path" in flags["cut"]
    assert "labels_only" in flags["labels"]
    for found in results:
        assert saved(folder, found) == (0, "0")


def saved(folder: Path, found: dict[str, Any]) -> tuple[int, str]:
    """How the checker of saved inputs ends on one result, and the number of claims that it found not to hold."""
    line = [CHECKER, folder / "once/facts" / found["samples"], folder / "data.npz", "predict:predict"]
    done = subprocess.run(
        [sys.executable, *map(str, line), found["probe"].partition(".")[2]],
        cwd=folder, env={"PYTHONPATH": str(folder), "PATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.strip().splitlines()[-1].split()[0]


def test_a_saved_input_that_was_changed_is_caught_by_the_seal_and_by_the_checker(shell: Any, made: Any) -> None:
    folder = made(("{samples: 40}", "{epsilons: [0.2], samples: 40, save: true}"))
    ended = shell("run", "audit.yaml", "--out", "once", "--workers", "1", "--no-gate", "--format", "md")
    assert ended.code == 0, ended.err
    (found,) = record(folder, "once")["results"]
    assert saved(folder, found) == (0, "0")
    assert shell("verify", "once").code == 0
    path = folder / "once/facts" / found["samples"]
    arrays = dict(np.load(path))
    fell = np.flatnonzero(arrays["broken_at"][:, 0] == 0.2)
    arrays["broken_at"][fell[:2]] = 0.01
    np.savez(path, **arrays)
    assert saved(folder, found) == (1, "2")
    changed = shell("verify", "once")
    assert changed.code == 2
    assert found["samples"] in changed.err + changed.out
