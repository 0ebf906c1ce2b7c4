"""Own trainings, and checkpoints that exist: both retrained by their recipe, and compared by optimizer and seed."""

import json
from typing import Any

import pytest

TRAIN = '''
"""A training loop of a user."""
import torch
from torch import nn
from nets import Net

def fit(x, y, optimizer, seed, epochs):
    torch.manual_seed(seed)
    net = Net(x.shape[1], int(y.max()) + 1)
    kind = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[optimizer]
    steps = kind(net.parameters(), lr={"sgd": 0.5, "adamw": 0.02}[optimizer])
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(epochs):
        steps.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        steps.step()
    return net
'''
NETS = """
from torch import nn

class Net(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(features, 16), nn.ReLU(), nn.Linear(16, classes))
    def forward(self, x):
        return self.net(x)
"""
AUDIT = """\
schema: auditor/audit/1
name: ours
profile: nothing.yaml
data: {source: wine}
subjects:
  - id: ours
    train: {function: "train:fit", optimizers: [sgd, adamw], seeds: 2, epochs: 60}
probes: {accuracy: on, poisoning.label_flips: {rates: [0.2]}, evasion.linf: {epsilons: [0.02], samples: 40}}
policy: policy.yaml
"""
CHECKPOINTS = """\
schema: auditor/audit/1
name: released
profile: nothing.yaml
data: {source: wine}
subjects:
%s
probes: {accuracy: on, poisoning.label_flips: {rates: [0.2]}, evasion.linf: {epsilons: [0.02], samples: 40}}
policy: policy.yaml
"""
ONE = """\
  - id: {optimizer}-{seed}
    load:
      format: state-dict
      path: bundle/artifacts/ours__{optimizer}__{seed}.safetensors
      factory: "nets:Net"
      kwargs: {{features: 13, classes: 3}}
    optimizer: {optimizer}
    seed: {seed}
    recipe: {{function: "train:fit", epochs: {epochs}}}
"""
POLICY = """\
schema: auditor/policy/1
id: own
rules:
  - {id: ACC, metric: accuracy.accuracy, at_least: 0.5, severity: high}
"""


@pytest.fixture
def own(shell: Any) -> Any:
    for name, text in {
        "train.py": TRAIN,
        "nets.py": NETS,
        "audit.yaml": AUDIT,
        "policy.yaml": POLICY,
        "nothing.yaml": "schema: auditor/audit/1\n",
    }.items():
        (shell.folder / name).write_text(text)
    return shell


def record(shell: Any, bundle: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((shell.folder / bundle / "facts" / "record.json").read_bytes())
    return loaded


def test_an_own_training_unlocks_every_probe_and_forms_contrasts(own: Any) -> None:
    ended = own("run", "audit.yaml", "--out", "bundle", "--quiet")
    assert ended.code == 0, ended.err
    seen = record(own, "bundle")
    assert {(r["probe"], r["outcome"]) for r in seen["results"]} == {
        ("accuracy", "completed"),
        ("poisoning.label_flips", "completed"),
        ("evasion.linf", "completed"),
    }
    first = seen["subjects"][0]
    assert first["training"]["learning_rate"] is None
    assert first["training"]["recipe"]["function"] == "train:fit"
    assert {"gradients", "recipe"} <= set(first["access"])
    assert {(c["a"], c["b"], c["pairs"]) for c in seen["contrasts"]} == {("ours/sgd", "ours/adamw", 2)}
    again = own("run", "audit.yaml", "--out", "again", "--store", "other", "--workers", "1", "--quiet")
    assert again.code == 0
    assert record(own, "again") == seen


def test_checkpoints_with_optimizer_and_seed_form_groups_and_with_their_recipe_are_retrained(own: Any) -> None:
    own("train", "audit.yaml", "--out", "bundle", "--quiet")
    entries = [ONE.format(optimizer=o, seed=s, epochs=60) for o in ("sgd", "adamw") for s in (0, 1)]
    (own.folder / "checkpoints.yaml").write_text(CHECKPOINTS % "".join(entries))
    ended = own("run", "checkpoints.yaml", "--out", "checked", "--quiet")
    assert ended.code == 0, ended.err
    seen = record(own, "checked")
    assert {s["group"] for s in seen["subjects"]} == {"sgd", "adamw"}
    assert {(c["a"], c["b"], c["pairs"]) for c in seen["contrasts"]} == {("sgd", "adamw", 2)}
    assert seen["subjects"][0]["loaded"]["recipe"]["function"] == "train:fit"
    assert {"recipe", "file", "gradients"} <= set(seen["subjects"][0]["access"])
    assert all(r["outcome"] == "completed" for r in seen["results"])


def test_a_recipe_that_makes_another_model_than_the_file_is_noticed(own: Any) -> None:
    own("train", "audit.yaml", "--out", "bundle", "--quiet")
    (own.folder / "one.yaml").write_text(CHECKPOINTS % ONE.format(optimizer="sgd", seed=0, epochs=1))
    own("run", "one.yaml", "--out", "checked", "--quiet")
    flips = next(r for r in record(own, "checked")["results"] if r["probe"] == "poisoning.label_flips")
    assert "recipe_mismatch" in {c["flag"] for c in flips["caveats"]}
    assert flips["reliability"] == "suspicious"


@pytest.mark.parametrize(
    ("changed", "to", "said"),
    [
        ("train:fit", "train:fitt", "unknown name in train.py 'fitt'; did you mean 'fit'?"),
        ("train:fit", "trian:fit", "no module 'trian'; is it beside the audit file or installed?"),
        ("train:fit", "train", 'is not of the form "module:callable"'),
        ("epochs: 60}", "epochs: 60, architecture: mlp}", "architecture belongs to the built-in training loop"),
        ("epochs: 60}", "epochs: 60, batch_size: 8}", "batch_size belongs to the built-in training loop"),
        ("[sgd, adamw]", "[{name: sgd, learning_rate: 0.1}]", "the function chooses the rate and settings of 'sgd'"),
        ("[sgd, adamw]", "[a/b]", "becomes part of file names"),
        ("[sgd, adamw]", "[sgd, sgd]", "is named twice"),
    ],
)
def test_an_own_training_that_cannot_be_is_refused_with_its_line(own: Any, changed: str, to: str, said: str) -> None:
    (own.folder / "audit.yaml").write_text(AUDIT.replace(changed, to))
    ended = own("run", "audit.yaml")
    if "unknown name" in said:  # the module is only read by a worker
        assert ended.code == 3
        assert said in json.dumps(record(own, "audits/ours")["subjects"]).replace("\\u2019", "'")
    else:
        assert ended.code == 2, ended.out
        assert said in ended.err


def test_a_training_that_raises_is_errored_with_what_it_said(own: Any) -> None:
    (own.folder / "train.py").write_text("def fit(x, y, optimizer, seed, epochs):\n    raise OSError('no disk')\n")
    ended = own("run", "audit.yaml", "--out", "bundle", "--quiet")
    assert ended.code == 3
    assert record(own, "bundle")["subjects"][0]["error"] == "OSError: no disk"


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ("    group: ours", "a group is made of seeds; say `seed: 0`"),
        ("    recipe: {function: 'train:fit'}", "the recipe needs its optimizer"),
        ("    recipe: {optimizers: [sgd, adamw]}", "recipe.optimizers names more"),
        ("    recipe: {optimizers: [sgd], seeds: 3}", "replace recipe.seeds by `seed` beside it"),
        ("    recipe: {optimizers: [sdg]}", "unknown optimizer 'sdg'; did you mean 'sgd'?"),
        ("    optimizer: sgd\n    seed: -1", "seed"),
    ],
)
def test_what_stands_beside_a_loaded_model_is_checked(own: Any, beside: str, said: str) -> None:
    (own.folder / "m.safetensors").write_bytes(b"x")
    entry = '  - id: a\n    load: {format: state-dict, path: m.safetensors, factory: "nets:Net"}\n' + beside + "\n"
    (own.folder / "audit.yaml").write_text(CHECKPOINTS % entry)
    ended = own("plan", "audit.yaml")
    assert ended.code == 2
    assert said in ended.err


def test_two_checkpoints_of_one_seed_in_one_group_are_refused(own: Any) -> None:
    entries = [ONE.format(optimizer="sgd", seed=0, epochs=1), ONE.format(optimizer="sgd", seed=0, epochs=2)]
    (own.folder / "audit.yaml").write_text(CHECKPOINTS % "".join(entries).replace("sgd-0", "other", 1))
    ended = own("plan", "audit.yaml")
    assert ended.code == 2
    assert "two loaded models are seed 0 of the group 'sgd'" in ended.err


def test_a_file_beside_the_audit_that_is_called_like_a_library_is_never_run(own: Any) -> None:
    trap = "import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\nraise ImportError('planted')\n"
    for name in ("skops", "joblib", "sklearn", "scipy", "safetensors", "sitecustomize", "usercustomize", "colorsys"):
        (own.folder / f"{name}.py").write_text(trap)
    ended = own("run", "audit.yaml", "--out", "bundle", "--quiet")
    assert not list(own.folder.glob("*.ran"))
    assert ended.code == 0, ended.err
