"""Bad input from the shell: exit 2, one clear message with the place and what to do, nothing overwritten."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

RULE = "schema: auditor/policy/1\nid: p\nrules:\n  - {{id: A, {}, severity: high}}\n"
Contents = Callable[[Path], dict[str, bytes]]


def refused(shell: Any, contents: Contents, *args: object, left: tuple[str, ...] = (".auditor/",)) -> str:
    """The message of a command that must end with 2, say one thing, and leave all as it was but for the store."""
    before = contents(shell.folder)
    ended = shell(*args)
    assert ended.code == 2, (ended.code, ended.err)
    assert "Traceback" not in ended.err
    assert ended.out == ""
    after = {k: v for k, v in contents(shell.folder).items() if k in before or not k.startswith(left)}
    assert after == before
    message: str = ended.err
    assert len(message.strip().splitlines()) == 1, message
    return message.strip()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs: 20", "epoch: 20"), "audit.yaml:8: unknown key 'subjects.0.train.epoch'; did you mean 'epochs'?"),
        (("accuracy:", "acuracy:"), "audit.yaml:10: unknown probe 'acuracy'; did you mean 'accuracy'?"),
        (
            ("rates:", "rate:"),
            "audit.yaml:12: unknown parameter of poisoning.label_flips 'rate'; did you mean 'rates'?",
        ),
        (("[sgd, adamw]", "[sgd, rmsprp]"), "audit.yaml:8: unknown optimizer 'rmsprp'; did you mean 'rmsprop'?"),
        (
            ("[sgd, adamw]", "[sgd, rmsprp]"),
            "did you mean 'rmsprop'? rmsprop (RMSprop): alpha 0.99, eps 1e-08, momentum 0, weight_decay 0; rates ",
        ),
        (
            ("[sgd, adamw]", "[sgd, {name: adamw, settings: {beta_2: 0.9}}]"),
            "unknown setting of adamw 'beta_2'; did you mean 'beta2'? adamw (AdamW): beta1 0.9, beta2 0.999",
        ),
        (
            ("[sgd, adamw]", "[sgd, {name: adamw, settings: {beta2: 1}}]"),
            "audit.yaml:8: adamw: beta2 is 1; it must be 0 or more, below 1",
        ),
        (
            ("[sgd, adamw]", "[sgd, {name: adamw, learning_rate: .inf}]"),
            "learning_rate: Input should be a finite number",
        ),
        (("[sgd, adamw]", "[sgd, fromage]"), "fromage comes under CC-BY-NC-SA-4.0, which forbids commercial use"),
        (("[sgd, adamw]", "[sgd, adahessian]"), "'adahessian' of pytorch_optimizer is not used here: it needs second"),
        (
            ("[sgd, adamw]", "[{name: sam, learning_rate: 0.1}], objective: {name: dp, epsilon: 8}"),
            "dp: sam takes the gradient at about 2 points a step, and the guarantee counts one",
        ),
        (("architecture: mlp", "architecture: mpl"), "audit.yaml:8: unknown architecture 'mpl'; did you mean 'mlp'?"),
        (("profile: nothing.yaml", "profile: quik"), "audit.yaml:4: unknown profile 'quik'; did you mean 'quick'?"),
        (("source: wine", "source: wind"), "unknown dataset 'wind'; did you mean 'wine'?"),
        (("policy: policy.yaml", "policy: police.yaml"), "audit.yaml:13: policy: {folder}/police.yaml does not exist"),
        (
            ("seeds: 2", "seeds: 0"),
            "audit.yaml:8: subjects.0.train.seeds: Input should be greater than or equal to 1 (found 0)",
        ),
        (("name: tiny\n", ""), "name is missing"),
        (("seed: 7", "seed: 7\nseed: 8"), 'audit.yaml:4: found duplicate key "seed"'),
        (("[sgd, adamw]", "[sgd, sgd]"), "mlp/sgd is named twice"),
        (
            ("policy: policy.yaml", "contrasts: {metrics: [accuracy.acuracy]}"),
            "audit.yaml:13: unknown metric 'accuracy.acuracy'; did you mean 'accuracy.accuracy'?",
        ),
        (
            ("policy: policy.yaml", "contrasts: {reference: mlp/sgdd}"),
            "unknown group 'mlp/sgdd'; did you mean 'mlp/sgd'?",
        ),
    ],
)
def test_a_mistake_in_the_audit_file_is_named_with_its_line_and_the_nearest_right_name(
    shell: Any, write_audit: Any, contents: Contents, change: tuple[str, str], message: str
) -> None:
    write_audit(change)
    said = refused(shell, contents, "run", "audit.yaml")
    assert message.format(folder=shell.folder) in said


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("rnu", "audit.yaml"), "unknown command 'rnu'; did you mean 'run'?"),
        (("run", "nowhere.yaml"), "nowhere.yaml does not exist"),
        (("run", "audit.yaml", "--profile", "quik"), "unknown profile 'quik'; did you mean 'quick'?"),
        (("run", "audit.yaml", "--format", "htm"), "--format: unknown report 'htm'; did you mean 'html'?"),
        (("run", "audit.yaml", "--only", "acuracy"), "--only: unknown probe 'acuracy'; did you mean 'accuracy'?"),
        (("run", "audit.yaml", "--skip", "acuracy"), "--skip: unknown probe 'acuracy'; did you mean 'accuracy'?"),
        (("run", "audit.yaml", "--out", "audit.yaml"), "audit.yaml is a file; name a folder for the bundle with --out"),
        (("run", "audit.yaml", "--out", "/proc/nowhere/bundle"), "/proc/nowhere/bundle cannot be written"),
        (("gate", "nowhere"), "nowhere holds no sealed facts"),
        (("verify", "nowhere"), "nowhere holds no sealed facts"),
        (("report", "nowhere"), "nowhere holds no sealed facts"),
        (("explain", "acuracy"), "unknown name 'acuracy'; did you mean 'accuracy'?"),
        (("config", "show", "nowhere.yaml"), "nowhere.yaml does not exist"),
        (("init",), "audit.yaml exists and is not overwritten"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(
    shell: Any, write_audit: Any, contents: Contents, args: tuple[str, ...], message: str
) -> None:
    write_audit()
    assert message in refused(shell, contents, *args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("run", "--budget", "soon"), "'soon' is not a time such as 90s, 10m or 2h"),
        (("run", "--workers", "0"), "0 is not in the range x>=1"),
        (("run", "--wrokers", "2"), "No such option '--wrokers'"),
        (("gate",), "Missing argument 'BUNDLE'"),
        (("list", "probe"), "'probe' is not one of"),
        (("schema", "recrod"), "'recrod' is not one of"),
    ],
)
def test_what_click_refuses_ends_with_2_as_well(shell: Any, args: tuple[str, ...], message: str) -> None:
    ended = shell(*args)
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("schema: auditor/policy/1\nid: none\nrules: []\n", "policy.yaml:3: rules needs at least 1 entry"),
        (
            RULE.format("metric: accuracy.acuracy, at_least: 1"),
            "unknown metric 'accuracy.acuracy'; did you mean 'accuracy.accuracy'?",
        ),
        (RULE.format("metric: accuracy.accuracy"), "rule 'A' needs exactly one of at_least, at_most, regression"),
        (
            RULE.format("metric: accuracy.accuracy, at_leats: 1"),
            "policy.yaml:4: unknown key 'rules.0.at_leats'; did you mean 'at_least'?",
        ),
    ],
)
def test_a_mistake_in_the_policy_is_named_before_anything_runs(
    shell: Any, write_audit: Any, contents: Contents, policy: str, message: str
) -> None:
    write_audit(policy=policy)
    assert message in refused(shell, contents, "run", "audit.yaml")


def rows(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 4)).astype(np.float32)


def broken_arrays(how: str) -> dict[str, np.ndarray]:
    """Sound arrays of two classes, with one thing broken."""
    arrays = {"x_train": rows(20, 0), "y_train": np.arange(20) % 2, "x_test": rows(10, 1), "y_test": np.arange(10) % 2}
    match how:
        case "shape":
            arrays["x_test"] = arrays["x_test"][:, :3]
        case "length":
            arrays["y_train"] = arrays["y_train"][:-1]
        case "labels":
            arrays["y_test"][3] = 2
        case "nan":
            arrays["x_train"][7, 2] = np.nan
        case "empty":
            arrays["x_test"], arrays["y_test"] = arrays["x_test"][:0], arrays["y_test"][:0]
        case "missing":
            del arrays["y_test"]
        case "key":
            arrays["x_tset"] = arrays["x_test"]
    return arrays


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("shape", "x_train has rows of shape (4,)"),
        ("length", "rows.npz: y_train has shape (19,); expected (20,)"),
        ("labels", "y_test[3] is 2, outside the 2 classes 0 to 1"),
        ("nan", "x_train has 1 values that are not finite, the first at (7, 2); remove or impute them"),
        ("empty", "x_test is empty; an audit needs rows to train on and rows to test"),
        ("missing", "y_test is missing"),
        ("key", "unknown key 'x_tset'; did you mean 'x_test'?"),
    ],
)
def test_data_that_cannot_be_audited_is_refused_with_the_array_and_the_place(
    shell: Any, write_audit: Any, contents: Contents, how: str, message: str
) -> None:
    np.savez(shell.folder / "rows.npz", **broken_arrays(how))  # type: ignore[arg-type]  # numpy's stubs take no mapping
    write_audit(("{source: wine}", "{source: npz, path: rows.npz, classes: [no, yes]}"))
    said = refused(shell, contents, "run", "audit.yaml")
    assert message in said
    assert "rows" in said


def test_a_file_that_is_missing_is_named_with_its_path(shell: Any, write_audit: Any, contents: Contents) -> None:
    write_audit(("{source: wine}", "{source: npz, path: rows.npz}"))
    assert f"{shell.folder}/rows.npz does not exist" in refused(shell, contents, "run", "audit.yaml")
    write_audit(
        (
            "train: {architecture: mlp, kwargs: {hidden: [8]}, optimizers: [sgd, adamw], "
            "seeds: 2, epochs: 20, tune: off}",
            'load: {format: state-dict, path: net.pt, factory: "nets:make"}',
        )
    )
    assert f"audit.yaml:8: load.path: {shell.folder}/net.pt does not exist" in refused(
        shell, contents, "run", "audit.yaml"
    )


def test_an_output_folder_that_holds_another_audit_is_left_as_it_is(
    shell: Any, tiny: Any, write_audit: Any, contents: Contents
) -> None:
    write_audit(("seed: 7", "seed: 8"))
    before = contents(tiny.bundle)
    said = refused(shell, contents, "run", "audit.yaml", "--out", tiny.bundle, "--store", tiny.store)
    assert "holds another audit ('tiny', plan" in said
    assert "choose another folder with --out" in said
    assert contents(tiny.bundle) == before


def test_an_output_folder_that_holds_foreign_files_is_left_as_it_is(
    shell: Any, write_audit: Any, contents: Contents
) -> None:
    write_audit()
    (shell.folder / "mine").mkdir()
    (shell.folder / "mine/thesis.tex").write_text("years of work")
    assert "mine is not empty and holds no audit" in refused(shell, contents, "run", "audit.yaml", "--out", "mine")
    assert "mine is not empty and holds no audit" in refused(shell, contents, "train", "audit.yaml", "--out", "mine")


def test_a_folder_that_must_not_be_written_to_is_named(shell: Any, contents: Contents) -> None:
    """Nobody can make a folder there, whoever runs the tests."""
    assert refused(shell, contents, "init", "/sys/auditor").startswith("error: /sys/auditor: ")
