"""How much memory an audit takes whose training rows are a file of 5 GB: every process, and all of them together.

Run: python benchmarks/large_data.py [--gigabytes 5] [--workers 2]

It needs twice the file's size on the disk of the temporary folder (TMPDIR), for the file and its copy in the store.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

SHAPE = (3, 32, 32)
CLASSES, TEST_ROWS, BLOCK = 10, 10_000, 2000
AUDIT = """schema: auditor/audit/1
name: large
seed: 1
profile: quick
data: {source: npy, path: data, licence: CC0}
subjects:
  - id: trained
    train:
      architecture: strided-cnn
      kwargs: {width: 8}
      optimizers: [sgd]
      seeds: 1
      epochs: 1
      batch_size: 256
      tune: off
  - id: loaded
    load: {format: state-dict, path: net.safetensors, factory: "net:make"}
"""
NET = """from torch import nn


def make():
    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 10))
"""
PROBES = ("accuracy", "calibration", "evasion.linf", "ood.scores", "privacy.membership")


@dataclass
class Memory:
    """The most that each process, and all of them together, were seen to hold; bytes."""

    each: dict[int, int] = field(default_factory=dict)
    together: int = 0
    over: bool = False

    def watch(self, root: int) -> None:
        """Look at a process and its descendants every tenth of a second."""
        while not self.over:
            pids = [root, *descendants(root)]
            now = [self._seen(pid) for pid in pids]
            self.together = max(self.together, sum(now))
            time.sleep(0.1)

    def _seen(self, pid: int) -> int:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:  # it ended
            return 0
        values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmHWM", "VmRSS"))}
        self.each[pid] = max(self.each.get(pid, 0), int(values.get("VmHWM", 0)) * 1024)
        return int(values.get("VmRSS", 0)) * 1024


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:  # it ended
            continue
        found += [grandchild for child in children for grandchild in (child, *descendants(child))]
    return found


def write_rows(folder: Path, part: str, rows: int, rng: np.random.Generator, patterns: np.ndarray) -> int:
    """Noisy patterns, one a class, as float32 in [0, 1]; the size of the file."""
    x = open_memmap(folder / f"x_{part}.npy", "w+", np.float32, (rows, *SHAPE))
    y = rng.integers(0, CLASSES, rows)
    for start in range(0, rows, BLOCK):
        labels = y[start : start + BLOCK]
        noise = rng.random((len(labels), *SHAPE), dtype=np.float32)
        x[start : start + BLOCK] = 0.25 * patterns[labels] + 0.75 * noise
    x.flush()
    del x
    np.save(folder / f"y_{part}.npy", y)
    return (folder / f"x_{part}.npy").stat().st_size


def prepare(root: Path, gigabytes: float) -> int:
    """The data, the loaded net and the audit file; bytes of x_train.npy."""
    (root / "data").mkdir()
    rng = np.random.default_rng(0)
    patterns = rng.random((CLASSES, *SHAPE), dtype=np.float32)
    write_rows(root / "data", "test", TEST_ROWS, rng, patterns)
    size = write_rows(root / "data", "train", round(gigabytes * 1e9 / (4 * np.prod(SHAPE))), rng, patterns)
    (root / "net.py").write_text(NET)
    (root / "audit.yaml").write_text(AUDIT)
    making = (
        "import torch, net; from safetensors.torch import save_file; torch.manual_seed(0); "
        "save_file(net.make().state_dict(), 'net.safetensors')"
    )
    subprocess.run([sys.executable, "-c", making], cwd=root, check=True)
    return size


def run(root: Path, workers: int) -> Memory:
    """The audit through the command line, watched."""
    only = [option for probe in PROBES for option in ("--only", probe)]
    command = [sys.executable, "-m", "auditor", "run", "audit.yaml", "--out", "out", "--workers", str(workers)]
    process = subprocess.Popen([*command, *only, "--quiet"], cwd=root, env=os.environ | {"OMP_NUM_THREADS": "1"})
    memory = Memory()
    watcher = threading.Thread(target=memory.watch, args=(process.pid,))
    watcher.start()
    code = process.wait()
    memory.over = True
    watcher.join()
    print(f"exit code {code}, parent {memory.each[process.pid] / 1e9:.2f} GB")
    return memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        size = prepare(root, options.gigabytes)
        start = time.perf_counter()
        memory = run(root, options.workers)
        wall = time.perf_counter() - start
        record = json.loads((root / "out/facts/record.json").read_bytes())
        timings = json.loads((root / "out/facts/timings.json").read_bytes())["units"]
        outcomes = [result["outcome"] for result in record["results"]]
        print(f"x_train.npy {size / 1e9:.2f} GB, {record['dataset']['rows']['train']} rows; {wall:.0f} s wall")
        for unit in timings:
            peak = (unit["peak_bytes"] or 0) / 1e9
            print(f"  {unit['label']:32} {unit['wall_seconds']:6.1f} s, its process {peak:.2f} GB so far")
        print(f"{outcomes.count('completed')} of {len(outcomes)} results completed")
        print(f"largest process {max(memory.each.values()) / 1e9:.2f} GB, all together {memory.together / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
