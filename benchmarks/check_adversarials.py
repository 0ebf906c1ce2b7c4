"""Do saved adversarial examples keep to norm and range, and are they misclassified? Checked with numpy alone.

python benchmarks/check_adversarials.py SAMPLES.npz DATA.npz MODULE:PREDICT NORM [LOW HIGH]

SAMPLES is what evasion.linf, .l2 or .l1 wrote with `save: true`; DATA holds x_test and y_test as the subject sees them;
PREDICT maps inputs to outputs (N, K). Exit code 0: every claim holds.
"""

import hashlib
import importlib
import sys
from collections import Counter

import numpy as np


def check(samples, x, y, predict, norm, low=0.0, high=1.0, tolerance=2e-6):
    """The claims that do not hold, a sentence each; `samples` maps names to arrays, `x` and `y` are the test rows."""
    seen, place = Counter(), {}
    for i, (row, label) in enumerate(zip(x.astype(np.float32), y, strict=True)):
        key = hashlib.sha256(row.tobytes() + int(label).to_bytes(8, "little", signed=True)).hexdigest()[:16]
        place[f"{key}.{seen[key]}" if seen[key] else key] = i
        seen[key] += 1
    rows = np.array([place[name] for name in samples["row"].tolist()])
    at, changed = samples["broken_at"][:, 0], samples["adversarial"].reshape(-1, *x.shape[1:])
    span = np.where(np.subtract(high, low) > 0, np.subtract(high, low), 1.0)
    move = np.abs((changed.astype(np.float64) - x[rows]) / span).reshape(len(rows), -1)
    far = {"linf": move.max(1), "l2": np.sqrt((move**2).sum(1)), "l1": move.sum(1)}[norm]
    outputs, ranks = np.asarray(predict(changed), np.float64), np.arange(len(rows))
    own, others = outputs[ranks, y[rows]], outputs.copy()
    others[ranks, y[rows]] = -np.inf
    right, fell = own > others.max(1), np.isfinite(at)  # a tie, or no number, is not right
    wrong = {
        "moved farther than the epsilon it claims": fell & (far > at * (1 + tolerance) + tolerance),
        "outside the range": ((changed < low) | (changed > high)).reshape(len(rows), -1).any(1),
        "claimed to be broken and classified rightly": fell & right,
        "has another label than the data": samples["label"] != y[rows],
    }
    return [f"{name}: {said}" for said, mask in wrong.items() for name in samples["row"][mask].tolist()]


if __name__ == "__main__":
    given, data = dict(np.load(sys.argv[1])), np.load(sys.argv[2])
    module, _, name = sys.argv[3].partition(":")
    ends = [float(end) for end in sys.argv[5:7]] or [0.0, 1.0]
    predict = getattr(importlib.import_module(module), name)
    found = check(given, data["x_test"], data["y_test"], predict, sys.argv[4], *ends)
    print(*found, f"{len(found)} of {np.isfinite(given['broken_at']).sum()} claims do not hold", sep="\n")
    sys.exit(bool(found))
