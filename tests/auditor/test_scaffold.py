"""`auditor init` writes files that work as they are, and overwrites none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.auditing import Options, planned
from auditor.config import load_audit
from auditor.errors import AuditorError, ConfigError
from auditor.scaffold import write


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


def test_a_model_of_the_users_own_is_named_with_its_factory(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"weights")
    written(tmp_path / "new", model=tmp_path / "net.pt", factory="nets:make")
    load = load_audit(tmp_path / "new/audit.yaml").config.subjects[0].load
    assert load is not None
    assert (load.format, load.path, load.factory) == ("state-dict", "../net.pt", "nets:make")
    (tmp_path / "forest.skops").write_bytes(b"forest")
    written(tmp_path / "other", model=tmp_path / "forest.skops")
    load = load_audit(tmp_path / "other/audit.yaml").config.subjects[0].load
    assert load is not None
    assert (load.format, load.factory) == ("sklearn", None)


@pytest.mark.parametrize("name", ["audit.yaml", "policy.yaml"])
def test_a_file_that_exists_is_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match=f"{name} exists and is not overwritten"):
        written(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_what_is_wrong_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"weights")
    for given, message in (
        ({"data": tmp_path / "nowhere.npz"}, "--data: .*nowhere.npz does not exist"),
        ({"model": tmp_path / "nowhere.pt"}, "--model: .*nowhere.pt does not exist"),
        ({"model": tmp_path / "net.pt"}, "name what makes their module with --factory module:callable"),
        ({"data": tmp_path / "net.pt"}, "net.pt is no npz file"),
    ):
        with pytest.raises(AuditorError, match=message):
            written(tmp_path / "new", **given)
    assert not (tmp_path / "new").exists()


def test_a_folder_whose_name_is_no_audits_name_still_gets_a_file_that_loads(tmp_path: Path) -> None:
    written(tmp_path / "9: my #1 model & co")
    assert load_audit(tmp_path / "9: my #1 model & co/audit.yaml").config.name
