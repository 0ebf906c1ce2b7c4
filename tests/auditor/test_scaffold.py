"""`auditor init` writes files that work as they are, and overwrites none."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from auditor.auditing import Options, planned
from auditor.config import load_audit
from auditor.datasets import load
from auditor.datasets.spec import DataConfig
from auditor.errors import AuditorError, ConfigError
from auditor.recipe import Fit, Recipe
from auditor.scaffold import write
from auditor.scaffold.data import stored_range
from auditor.seeds import Seeds
from auditor.subjects.spec import Load
from auditor.training.loop import fit


def written(folder: Path, **given: Any) -> list[str]:
    return write(folder, **{"data": None, "model": None, "factory": None, "name": None, **given})


def arrays(folder: Path, shape: tuple[int, ...]) -> Path:
    rng = np.random.default_rng(0)
    path = folder / "rows.npz"
    np.savez(
        path,
        x_train=rng.random((20, *shape)),
        y_train=np.arange(20) % 2,
        x_test=rng.random((10, *shape)),
        y_test=np.arange(10) % 2,
    )
    return path


def test_the_written_files_plan_as_they_are(tmp_path: Path) -> None:
    said = written(tmp_path / "new", name="first")
    assert said[-1] == f"next     auditor run {tmp_path / 'new/audit.yaml'}"
    loaded = load_audit(tmp_path / "new/audit.yaml")
    plan = planned(loaded, Options(store=tmp_path / "store"))
    assert (loaded.config.name, plan.data.id, len(plan.subjects)) == ("first", "digits", 10)
    assert "first-release" in loaded.policy_text


def test_data_of_the_users_own_is_looked_at_and_named_relative_to_the_file(tmp_path: Path) -> None:
    said = written(tmp_path / "new", data=arrays(tmp_path, (5,)))
    assert "20 training and 10 test rows of shape (5,), 2 classes" in said[0]
    loaded = load_audit(tmp_path / "new/audit.yaml")
    assert loaded.config.data.path == "../rows.npz"
    train = loaded.config.subjects[0].train
    assert train is not None
    assert train.architecture == "mlp"
    assert planned(loaded, Options(store=tmp_path / "store")).data.shape == (5,)


def test_larger_images_get_a_convolutional_network(tmp_path: Path) -> None:
    written(tmp_path / "new", data=arrays(tmp_path, (1, 16, 16)))
    train = load_audit(tmp_path / "new/audit.yaml").config.subjects[0].train
    assert train is not None
    assert train.architecture == "strided-cnn"


def linear() -> nn.Module:
    return nn.Linear(5, 2)


def weights(path: Path) -> Path:
    torch.save(linear().state_dict(), path)
    return path


def loaded(folder: Path) -> Load:
    load = load_audit(folder / "audit.yaml").config.subjects[0].load
    assert load is not None
    return load


NETS = "from torch import nn\n\n\ndef make(width: int = 4) -> nn.Module:\n    return nn.Linear(5, 2)\n"


def test_a_model_of_the_users_own_is_named_with_its_factory(tmp_path: Path) -> None:
    data, model = arrays(tmp_path, (5,)), weights(tmp_path / "net.pt")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "nets.py").write_text(NETS)
    said = written(tmp_path / "new", data=data, model=model, factory="nets:make")
    load = loaded(tmp_path / "new")
    assert (load.format, load.path, load.factory, load.outputs) == ("state-dict", "../net.pt", "nets:make", "logits")
    assert "asked    nothing yet: making its module runs your code, which is left to the audit" in said


def test_the_only_factory_in_the_folder_is_taken_without_being_run(tmp_path: Path) -> None:
    arrays(tmp_path, (5,))
    weights(tmp_path / "net.pt")
    (tmp_path / "nets.py").write_text(
        "from pathlib import Path\nRAN = Path(__file__).with_name('ran').touch()\n" + NETS
    )
    said = written(tmp_path)
    assert loaded(tmp_path).factory == "nets:make"
    assert "guessed  factory: nets:make" in said
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("factory", "message"),
    [("nets", "'nets' is not of the form module:callable"), ("gone:make", "'gone:make': no module 'gone'")],
)
def test_a_factory_that_no_audit_could_call_is_refused(tmp_path: Path, factory: str, message: str) -> None:
    data, model = arrays(tmp_path, (5,)), weights(tmp_path / "net.pt")
    with pytest.raises(ConfigError, match=message):
        written(tmp_path, data=data, model=model, factory=factory)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", r"net.pt is a git-LFS pointer, not the model; run `git lfs"),
        (b"PK\x03\x04cut short", "net.pt is no model that is known, or was cut short"),
        (b"", "net.pt is no model that is known, or was cut short"),
    ],
)
def test_a_broken_model_in_the_folder_is_named_and_no_other_is_trained_for_it(
    tmp_path: Path, content: bytes, message: str
) -> None:
    arrays(tmp_path, (5,))
    (tmp_path / "net.pt").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        written(tmp_path)
    weights(tmp_path / "other.pt")
    with pytest.raises(ConfigError, match=r"2 models are here: .*net\.pt, .*other\.pt; say which with --model"):
        written(tmp_path)


def test_a_folder_without_a_model_says_that_models_are_trained(tmp_path: Path) -> None:
    arrays(tmp_path, (5,))
    assert "model    none: models are trained here; name one of yours with --model" in written(tmp_path)


def test_several_factories_are_listed_and_none_is_guessed(tmp_path: Path) -> None:
    arrays(tmp_path, (5,))
    weights(tmp_path / "net.pt")
    (tmp_path / "nets.py").write_text(NETS + NETS.replace("make", "wide"))
    with pytest.raises(ConfigError, match=r"2 factories are here: nets:make, nets:wide; say which with --factory"):
        written(tmp_path)
    assert not (tmp_path / "audit.yaml").exists()


def test_what_lies_in_the_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "data").mkdir()
    arrays(tmp_path / "data", (5,))
    save_file(linear().state_dict(), tmp_path / "weights" / "any.name")
    (tmp_path / "nets.py").write_text(NETS)
    written(tmp_path)
    assert load_audit(tmp_path / "audit.yaml").config.data.path == "data/rows.npz"
    assert (loaded(tmp_path).path, loaded(tmp_path).factory) == ("weights/any.name", "nets:make")


def test_two_data_sets_are_listed_and_none_is_guessed(tmp_path: Path) -> None:
    arrays(tmp_path, (5,)).rename(tmp_path / "one.npz")
    arrays(tmp_path, (5,)).rename(tmp_path / "two.npz")
    with pytest.raises(ConfigError, match=r"2 data sets are here: .*one.npz, .*two.npz; say which with --data"):
        written(tmp_path)


def test_a_person_is_asked_with_the_guess_and_may_answer_otherwise(tmp_path: Path) -> None:
    arrays(tmp_path, (5,)).rename(tmp_path / "one.npz")
    two = arrays(tmp_path, (5,)).rename(tmp_path / "two.npz")
    weights(tmp_path / "net.pt")
    (tmp_path / "nets.py").write_text(NETS + NETS.replace("make", "wide"))
    answers = {"data set": str(two), "factory": "nets:wide", "name of the audit": "asked"}
    asked: list[tuple[str, str | None]] = []

    def ask(question: str, choices: Sequence[str], guess: str | None) -> str:
        asked.append((question, guess))
        return answers.get(question, guess or "")

    written(tmp_path, ask=ask)
    assert [question for question, _ in asked] == ["data set", "model", "factory", "name of the audit"]
    assert [guess for _, guess in asked][:3] == [str(tmp_path / "one.npz"), str(tmp_path / "net.pt"), "nets:make"]
    config = load_audit(tmp_path / "audit.yaml").config
    assert (config.name, config.data.path, loaded(tmp_path).factory) == ("asked", "two.npz", "nets:wide")


def test_pixels_as_stored_get_their_range_and_the_model_the_same_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = np.round(rng.random((30, 4, 4)) * 255).astype(np.float32)
    np.savez(tmp_path / "rows.npz", x_train=x[:20], y_train=np.arange(20) % 2, x_test=x[20:], y_test=np.arange(10) % 2)
    weights(tmp_path / "net.pt")
    (tmp_path / "nets.py").write_text(NETS)
    written(tmp_path)
    assert load_audit(tmp_path / "audit.yaml").config.data.range == (0, 255)
    assert loaded(tmp_path).input_range == (0, 255)


@pytest.mark.parametrize(
    ("low", "high", "kind", "expected"),
    [
        (0, 1, np.float32, None),
        (-1, 1, np.float32, (-1, 1)),
        (0, 16, np.float64, (0, 16)),
        (0, 200, np.int64, (0, 255)),
        (0, 200, np.uint8, None),
        (0, 40000, np.uint16, (0, 65535)),
        (-2.1, 2.6, np.float32, (-3, 3)),
    ],
)
def test_a_stored_range_is_the_narrowest_usual_one(low: float, high: float, kind: Any, expected: Any) -> None:
    assert stored_range([np.array([[low, high]]).astype(kind)]) == expected


def test_arrays_without_test_rows_are_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x_train=np.random.default_rng(0).random((40, 3)), y_train=np.arange(40) % 2)
    said = written(tmp_path)
    assert "30 training and 10 test rows" in said[0]


def table(folder: Path, name: str, labels: Sequence[object], column: str = "outcome", gap: bool = False) -> None:
    rows = [f"{i},{'' if gap and i == 3 else i * i},{label}" for i, label in enumerate(labels)]
    (folder / name).write_text("\n".join([f"a,b,{column}", *rows]) + "\n")


def test_the_target_of_a_table_is_its_last_column_or_one_with_a_telling_name(tmp_path: Path) -> None:
    table(tmp_path, "rows.csv", [i % 2 for i in range(20)])
    written(tmp_path)
    config = load_audit(tmp_path / "audit.yaml").config.data
    assert config.table is not None
    assert (config.source, config.table.target) == ("csv", "outcome")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/rows.csv").write_text("Label,b\n" + "\n".join(f"{i % 2},{i}" for i in range(20)) + "\n")
    written(tmp_path / "other")
    other = load_audit(tmp_path / "other/audit.yaml").config.data.table
    assert other is not None
    assert other.target == "Label"


def test_labels_from_1_and_empty_cells_get_what_makes_them_load(tmp_path: Path) -> None:
    table(tmp_path, "rows.csv", [1 + i % 3 for i in range(30)], gap=True)
    said = written(tmp_path)
    config = load_audit(tmp_path / "audit.yaml").config.data
    assert config.table is not None
    assert (config.classes, config.table.missing) == (("1", "2", "3"), "fill")
    assert "guessed  empty cells: fill" in said


def test_two_tables_called_train_and_test_are_one_data_set(tmp_path: Path) -> None:
    table(tmp_path, "train.csv", [i % 2 for i in range(20)])
    table(tmp_path, "test.csv", [i % 2 for i in range(10)])
    said = written(tmp_path)
    assert "20 training and 10 test rows" in said[0]
    config = load_audit(tmp_path / "audit.yaml").config.data
    assert config.table is not None
    assert (config.path, config.table.test) == ("train.csv", "test.csv")


def test_folders_of_images_are_found_with_and_without_a_test_part(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for part in ("whole/cat", "whole/dog"):
        (tmp_path / part).mkdir(parents=True)
        for i in range(8):
            Image.fromarray(rng.integers(0, 255, (5, 5)).astype(np.uint8)).save(tmp_path / part / f"{i}.png")
    said = written(tmp_path)
    config = load_audit(tmp_path / "audit.yaml").config.data
    assert (config.source, config.path, config.test_share) == ("images", "whole", 0.25)
    assert "12 training and 4 test rows of shape (1, 5, 5), 2 classes" in said[0]


def test_an_exported_model_tells_its_outputs_and_its_range(tmp_path: Path) -> None:
    data = load(DataConfig(source="digits"), tmp_path)
    np.savez(tmp_path / "rows.npz", **{k: getattr(data, k) for k in ("x_train", "y_train", "x_test", "y_test")})
    recipe = Recipe(architecture="mlp", kwargs={"hidden": [16]}, optimizer="adamw", learning_rate=0.01, epochs=8)
    net = fit(Fit(recipe=recipe), data, seeds=Seeds(3), learning_rate=0.01).trained

    class Bytes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.net(x / 255).roll(1, 1).softmax(1)
            return answer

    example = (torch.zeros(2, 1, 8, 8),)
    torch.export.save(
        torch.export.export(Bytes().eval(), example, dynamic_shapes=({0: torch.export.Dim("n")},)), tmp_path / "net.pt2"
    )
    said = written(tmp_path)
    found = loaded(tmp_path)
    assert (found.format, found.outputs, found.input_range) == ("exported", "probabilities", (0, 255))
    assert found.classes == tuple("9012345678")
    assert any(line.startswith("asked    right on 9") for line in said)


@pytest.mark.parametrize("name", ["audit.yaml", "policy.yaml"])
def test_a_file_that_exists_is_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match=f"{name} exists and is not overwritten"):
        written(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_what_is_wrong_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    data, model = arrays(tmp_path, (5,)), weights(tmp_path / "net.pt")
    (tmp_path / "text.pt").write_text("weights")
    (tmp_path / "lfs.pt").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "page.pt").write_text("<!DOCTYPE html><html></html>")
    (tmp_path / "net.pkl").write_bytes(pickle.dumps({1: 2}))
    for given, message in (
        ({"data": tmp_path / "nowhere.npz"}, "--data: .*nowhere.npz does not exist"),
        ({"data": data, "model": tmp_path / "nowhere.pt"}, "--model: .*nowhere.pt does not exist"),
        ({"data": data, "model": model}, "name what makes their module with --factory module:callable"),
        ({"data": data, "model": tmp_path / "text.pt"}, "text.pt is no model that is known"),
        (
            {"data": data, "model": tmp_path / "lfs.pt"},
            "lfs.pt is a git-LFS pointer, not the model; run `git lfs pull`",
        ),
        ({"data": data, "model": tmp_path / "page.pt"}, "page.pt is a web page, no model"),
        ({"data": data, "model": tmp_path / "net.pkl"}, "net.pkl is a pickle, which runs code on loading"),
        ({"data": model}, "net.pt is no data that is known"),
        (
            {"model": model, "factory": "nets:make"},
            "no data is here for the model to be asked about; name it with --data",
        ),
    ):
        with pytest.raises(AuditorError, match=message):
            written(tmp_path / "new", **given)
    assert not (tmp_path / "new").exists()


def test_a_folder_whose_name_is_no_audits_name_still_gets_a_file_that_loads(tmp_path: Path) -> None:
    written(tmp_path / "9: my #1 model & co")
    assert load_audit(tmp_path / "9: my #1 model & co/audit.yaml").config.name
