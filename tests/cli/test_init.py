"""From an empty folder with a model and its data to a report by two commands, without an edit."""

import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

from auditor.record import Record

NETS = '''\
"""The network whose weights are audited."""

from torch import nn


class Net(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(30, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, x):
        return self.layers(x)
'''


class Net(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(30, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.layers(x)
        return answer


def rows(folder: Path) -> dict[str, np.ndarray]:
    x, y = load_breast_cancer(return_X_y=True)
    x = ((x - x.min(axis=0)) / (x.max(axis=0) - x.min(axis=0))).astype(np.float32)
    parts = {"x_train": x[:300], "y_train": y[:300], "x_test": x[300:], "y_test": y[300:]}
    np.savez(folder / "data.npz", **parts)
    return parts


def net(parts: dict[str, np.ndarray]) -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Net()
        optimizer = torch.optim.AdamW(made.parameters(), lr=0.01)
        x, y = torch.tensor(parts["x_train"]), torch.tensor(parts["y_train"])
        for _ in range(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(made(x), y).backward()
            optimizer.step()
    return made.eval()


def state_dict(folder: Path) -> None:
    (folder / "nets.py").write_text(NETS)
    torch.save(net(rows(folder)).state_dict(), folder / "model.pt")


def exported(folder: Path) -> None:
    shapes = ({0: torch.export.Dim("n")},)
    program = torch.export.export(net(rows(folder)), (torch.zeros(2, 30),), dynamic_shapes=shapes)
    torch.export.save(program, folder / "model.pt2")


def onnx(folder: Path) -> None:
    made = net(rows(folder))
    layers = [p.detach().numpy() for p in made.parameters()]
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w0", "b0"], ["h"], transB=1),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("Gemm", ["r", "w1", "b1"], ["z"], transB=1),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 30])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(a, n) for a, n in zip(layers, ("w0", "b0", "w1", "b1"), strict=True)],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "model.onnx"
    )


def skops(folder: Path) -> None:
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from skops.io import dump

    stored = load_breast_cancer()
    frame = pd.DataFrame(stored.data, columns=[str(n) for n in stored.feature_names])
    frame["diagnosis"] = stored.target_names[stored.target]
    frame.to_csv(folder / "tumours.csv", index=False)
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(stored.data, frame["diagnosis"])
    dump(estimator, folder / "model.skops")


@pytest.mark.parametrize(
    ("make", "form"),
    [(state_dict, "state-dict"), (exported, "exported"), (onnx, "onnx"), (skops, "sklearn")],
    ids=["state dict", "exported", "onnx", "skops and csv"],
)
def test_init_and_run_lead_to_a_report_without_an_edit(make: Callable[[Path], None], form: str, shell: Any) -> None:
    make(shell.folder)
    begun = shell("init", "--yes", "--name", "mine")
    assert (begun.code, begun.err) == (0, "")
    assert f"format: {form}" in (shell.folder / "audit.yaml").read_text()
    ended = shell("run", "--profile", "quick", "--quiet", "--skip", "ood.*", "audit.yaml")
    assert ended.code in (0, 1), ended.err
    bundle = shell.folder / "audits/mine"
    assert (bundle / "looks/report.html").is_file()
    record = Record.model_validate_json((bundle / "facts/record.json").read_bytes())
    preflight = record.result("preflight", "model")
    assert preflight is not None
    assert (preflight.outcome, preflight.caveats) == ("completed", ())


def test_init_overwrites_nothing(shell: Any) -> None:
    (shell.folder / "policy.yaml").write_text("mine")
    ended = shell("init", "--yes")
    assert ended.code == 2
    assert "policy.yaml exists and is not overwritten" in ended.err
    assert [p.name for p in shell.folder.iterdir()] == ["policy.yaml"]


def test_without_a_terminal_nothing_is_asked(shell: Any) -> None:
    ended = shell("init")
    assert ended.code == 0
    assert "source: digits" in (shell.folder / "audit.yaml").read_text()


def test_on_a_terminal_every_guess_is_asked_about(shell: Any) -> None:
    state_dict(shell.folder)
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        shell.line("init"), cwd=shell.folder, env=shell.environment, stdin=theirs, stdout=subprocess.PIPE, text=True
    )
    os.write(ours, b"\n\n\nasked\n")
    out, _ = running.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert running.returncode == 0
    assert [q for q in ("data set [data.npz]", "model [model.pt]", "factory [nets:Net]") if q not in out] == []
    assert 'name: "asked"' in (shell.folder / "audit.yaml").read_text()
