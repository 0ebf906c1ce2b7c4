"""What a format costs and hides: one net in every format, its predictions, its robust accuracy, queries and time.

Run: OMP_NUM_THREADS=1 python benchmarks/formats.py

It starts MLServer for the endpoint, whose own time is not counted.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

EPSILONS = (0.05, 0.1)
PORT = 8767
SERVER = Path(__file__).parents[1] / "tests" / "server"
NETS = """from torch import nn


def make():
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Dropout(0.3), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10))
"""
FORMATS: dict[str, dict[str, Any]] = {
    "state-dict": {"format": "state-dict", "path": "net.safetensors", "factory": "nets:make"},
    "exported": {"format": "exported", "path": "net.pt2"},
    "torchscript": {"format": "torchscript", "path": "net.pt"},
    "onnx": {"format": "onnx", "path": "net.onnx"},
    "endpoint": {"format": "endpoint", "url": f"http://127.0.0.1:{PORT}/v2/models/net"},
}


@dataclass(frozen=True)
class Line:
    """One format: how far its predictions are from the net's, and what the attack found and took."""

    name: str
    difference: float
    access: str
    robust: tuple[float, ...]
    forwards: int
    backwards: int
    cpu_seconds: float
    wall_seconds: float


def trained(folder: Path) -> nn.Module:
    """A net of digits, beside the data and the factory it was made by."""
    digits = load_digits()
    x = (digits.images[:, None] / 16).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(x, digits.target, test_size=0.3, random_state=0)
    np.savez(folder / "data.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    (folder / "nets.py").write_text(NETS)
    sys.path.insert(0, str(folder))
    import nets  # written above

    torch.manual_seed(0)
    net: nn.Module = nets.make()
    steps = torch.optim.AdamW(net.parameters(), lr=0.003)
    for _ in range(12):
        for rows in torch.randperm(len(x_train)).split(64):
            steps.zero_grad()
            nn.functional.cross_entropy(net(torch.tensor(x_train[rows])), torch.tensor(y_train[rows])).backward()
            steps.step()
    return net.eval()


def save(net: nn.Module, folder: Path) -> None:
    """The net in every format."""
    from safetensors.torch import save_file

    x, rows = torch.rand(2, 1, 8, 8), torch.export.Dim("rows")
    save_file(net.state_dict(), folder / "net.safetensors")
    torch.export.save(torch.export.export(net, (x,), dynamic_shapes=({0: rows},)), folder / "net.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters' own
        torch.jit.save(torch.jit.script(net), folder / "net.pt")
        torch.onnx.export(net, (x,), folder / "net.onnx", dynamic_shapes=({0: rows},), verbose=False)


def served(folder: Path) -> "subprocess.Popen[bytes]":
    """MLServer with the ONNX file, ready to answer."""
    home = folder / "server"
    home.mkdir()
    settings = {"host": "127.0.0.1", "http_port": PORT, "grpc_port": PORT + 1, "metrics_endpoint": None}
    (home / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0}))
    model = {
        "name": "net",
        "implementation": "runtimes.Onnx",
        "parameters": {"uri": str(folder / "net.onnx")},
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1, 8, 8]}],
    }
    (home / "model-settings.json").write_text(json.dumps(model))
    command = [sys.executable, str(SERVER / "start.py"), "start", str(home)]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{FORMATS['endpoint']['url']}/ready", timeout=2).close()
            return process
        except OSError:
            time.sleep(0.2)
    process.kill()
    raise SystemExit(f"MLServer did not get ready: {(home / 'log').read_text()}")


def audit(folder: Path) -> None:
    """One audit of all formats through the command line, on one worker."""
    config = {
        "schema": "auditor/audit/1",
        "name": "formats",
        "seed": 1,
        "profile": "quick",
        "data": {"source": "npz", "path": "data.npz", "licence": "CC BY 4.0"},
        "subjects": [{"id": name, "load": load} for name, load in FORMATS.items()],
        "probes": {"evasion.linf": {"epsilons": EPSILONS}},
    }
    (folder / "audit.yaml").write_text(json.dumps(config))
    options = ["--only", "evasion.linf", "--out", "out", "--workers", "1", "--quiet"]
    command = [sys.executable, "-m", "auditor", "run", "audit.yaml", *options]
    subprocess.run(command, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)


def differences(net: nn.Module, folder: Path) -> dict[str, float]:
    """The largest difference of a format's logits from the net's own, on all test rows."""
    from auditor.config import load_audit
    from auditor.datasets import load as data_of
    from auditor.subjects.loading import load

    loaded = load_audit(folder / "audit.yaml")
    data = data_of(loaded.config.data, folder)
    with torch.no_grad():
        wanted = net(torch.tensor(data.x_test)).numpy()
    opened = {s.id: load(s.load, data.facts(), folder) for s in loaded.config.subjects if s.load is not None}
    return {name: float(np.abs(subject.predict(data.x_test) - wanted).max()) for name, subject in opened.items()}


def lines(folder: Path, far: dict[str, float]) -> list[Line]:
    """What the bundle says of each format."""
    record = json.loads((folder / "out/facts/record.json").read_bytes())
    units = json.loads((folder / "out/facts/timings.json").read_bytes())["units"]
    found = []
    for subject in record["subjects"]:
        name = subject["id"]
        counts = next(r["counts"] for r in record["results"] if r["subject"] == name)
        robust = {
            m["at"]["epsilon"]: m["value"]
            for m in record["measurements"]
            if m["of"] == name and m["metric"] == "robust_accuracy"
        }
        unit = next(u for u in units if u["subject"] == name and u["probe"])
        access = "white box" if "gradients" in subject["access"] else "black box"
        values = tuple(robust[e] for e in EPSILONS)
        cost = (counts["forwards"], counts["backwards"], unit["cpu_seconds"], unit["wall_seconds"])
        found.append(Line(name, far[name], access, values, *cost))
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        net = trained(folder)
        save(net, folder)
        server = served(folder)
        try:
            audit(folder)
            far = differences(net, folder)
        finally:
            server.kill()
            server.wait()
        at = " ".join(f"robust at {e:g}" for e in EPSILONS)
        print(f"{'format':12} {'access':10} largest difference {at} forwards backwards  CPU s  wall s")
        for line in lines(folder, far):
            pairs = zip(EPSILONS, line.robust, strict=True)
            robust = " ".join(f"{value:{len(f'robust at {e:g}')}.4f}" for e, value in pairs)
            print(
                f"{line.name:12} {line.access:10} {line.difference:18.1e} {robust} {line.forwards:8} "
                f"{line.backwards:9} {line.cpu_seconds:6.2f} {line.wall_seconds:7.2f}"
            )


if __name__ == "__main__":
    main()
