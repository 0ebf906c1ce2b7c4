"""One audit with an ablation, from the file to the report: what was taken away explains a gap of known making."""

import json
from typing import Any

import pytest

TRAIN = "{architecture: mlp, kwargs: {hidden: [8]}, optimizers: [sgd, adamw], seeds: 2, epochs: 20, tune: off}"
SLOW = """\
{kwargs: {hidden: [8]}, optimizers: [{name: sgd, learning_rate: 0.0001}, {name: adamw, learning_rate: 0.01}],
     seeds: 5, epochs: 15, batch_size: 16, clip: 0.001,
     ablations: [{name: faster, learning_rate: 0.1, optimizers: [sgd]},
     {name: free, clip: off}]}"""


@pytest.mark.slow
def test_a_rate_that_is_too_small_explains_the_gap_and_the_report_says_so(write_audit: Any, shell: Any) -> None:
    probes = ("  calibration:\n  poisoning.label_flips: {rates: [0.1, 0.2, 0.4]}\n", "")
    path = write_audit((TRAIN, SLOW), probes)
    done = shell("run", path, "--store", "store", "--out", "out", "--workers", 1, "--quiet", "--no-gate")
    assert done.code == 0, done.err
    record = json.loads((shell.folder / "out/facts/record.json").read_text())
    assert [s["id"] for s in record["subjects"] if s["seed"] == 0] == [
        *("mlp/sgd/0", "mlp/adamw/0", "mlp/sgd~faster/0", "mlp/sgd~free/0", "mlp/adamw~free/0")
    ]
    assert {s["optimizer"] for s in record["subjects"] if s["group"].startswith("mlp/sgd")} == {"sgd"}
    clipped = {s["group"]: s["training"]["clipped"] for s in record["subjects"]}
    assert clipped["mlp/sgd"] == 1
    assert clipped["mlp/sgd~free"] is None

    differences = {(c["a"], c["b"]): c["difference"] for c in record["contrasts"] if c["metric"] == "accuracy.accuracy"}
    assert set(differences) == {
        ("mlp/sgd", "mlp/adamw"),
        ("mlp/sgd", "mlp/sgd~faster"),
        ("mlp/sgd", "mlp/sgd~free"),
        ("mlp/adamw", "mlp/adamw~free"),
    }
    shares = {e["ablation"]: e for e in record["explained"] if e["metric"] == "accuracy.accuracy"}
    gap = differences["mlp/sgd", "mlp/adamw"]
    for ablation in ("mlp/sgd~faster", "mlp/sgd~free"):
        assert shares[ablation]["share"] == pytest.approx(differences["mlp/sgd", ablation] / gap, abs=1e-9)
        assert shares[ablation]["low"] < shares[ablation]["share"] < shares[ablation]["high"]
    report = (shell.folder / "out/looks/report.md").read_text()
    assert "What explains the gaps" in report
    assert "sgd~faster" in report
    page = (shell.folder / "out/looks/report.html").read_text()
    assert "gradients clipped at 0.001 (100.0" in page
