"""Models whose code does to its process what nobody asked for: nothing else is lost, and no other number changes."""

import json
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

NETS = '''
import os
import torch
from torch import nn


class Unruly(nn.Module):
    """Changes the process it runs in, from the tenth time on that it is asked."""

    def __init__(self, how):
        super().__init__()
        self.last, self.how, self.asked = nn.Linear(4, 2), how, 0

    def forward(self, x):
        self.asked += 1
        if self.asked > 10 and self.how == "interrupts":
            raise KeyboardInterrupt
        if self.asked > 10 and self.how == "leaves":
            os._exit(0)
        if self.asked > 10 and self.how == "changes":
            os.chdir("/")
            os.environ.clear()
            torch.set_default_dtype(torch.float64)
        return self.last(x)
'''
AUDIT = """
schema: auditor/audit/1
name: unruly
profile: quick
data: {source: npz, path: data.npz, licence: CC0}
subjects:
"""
HOW = ("interrupts", "leaves", "changes", "behaves")


def test_a_model_that_changes_its_process_changes_nothing_for_others(shell: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((300, 4), dtype=np.float32)
    y = (x[:, 0] > 0.5).astype(np.int64)
    np.savez(shell.folder / "data.npz", x_train=x[:200], y_train=y[:200], x_test=x[200:], y_test=y[200:])
    weights = {"last.weight": torch.tensor([[-5.0, 0, 0, 0], [5.0, 0, 0, 0]]), "last.bias": torch.tensor([2.5, -2.5])}
    save_file(weights, shell.folder / "w.safetensors")
    (shell.folder / "nets.py").write_text(NETS)
    subjects = (
        f"  - id: {how}\n    load: {{format: state-dict, path: w.safetensors, factory: 'nets:Unruly', "
        f"kwargs: {{how: {how}}}}}\n"
        for how in HOW
    )
    (shell.folder / "audit.yaml").write_text(AUDIT + "".join(subjects))
    ran = shell("run", "audit.yaml", "--only", "evasion.linf", "--out", "out", "--workers", "1", "--no-gate")
    record = json.loads((shell.folder / "out/facts/record.json").read_text())
    assert {r["subject"]: r["reason"] for r in record["results"]} == {
        "interrupts": "KeyboardInterrupt: ",
        "leaves": "its process died (exit code 1)",
        "changes": None,
        "behaves": None,
    }, ran
    robust = [m["value"] for m in record["measurements"] if m["metric"] == "robust_accuracy"]
    assert len(robust) == 2
    assert robust[0] == robust[1]
