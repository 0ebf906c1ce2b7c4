"""Boosted trees as subjects: their own probabilities, on one thread, and what is no classifier of the data is named."""

import joblib
import lightgbm
import numpy as np
import pytest
import xgboost

from auditor import extras
from auditor.datasets import from_arrays
from auditor.errors import ConfigError, ModelError
from auditor.record import DatasetRecord
from auditor.subject import Access, predicted_labels
from auditor.subjects import wrap
from auditor.subjects.answering import BlackBoxSubject
from auditor.subjects.boosters import open_lightgbm, open_xgboost
from auditor.subjects.loading import load
from auditor.subjects.sklearn_subject import SklearnSubject
from auditor.subjects.spec import Load

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(120, 4)).astype(np.float32)
Y = (X[:, 0] * 3).astype(int)
BINARY = (Y > 0).astype(int)


def facts(classes=3, shape=(4,)):
    names = tuple("abcdefg"[:classes])
    return DatasetRecord(
        id="d", sha256="", rows={"train": 1, "test": 1}, shape=shape, classes=names, range=(0, 1), licence=""
    )


def asked(opener, path, record, **more):
    spec = Load(format=opener.__name__.removeprefix("open_"), path=path.name, **more)
    return BlackBoxSubject(opener(spec, path, record), classes=len(record.classes), shape=record.shape)


def xgboost_classifier(y, **settings):
    return xgboost.XGBClassifier(n_estimators=4, max_depth=2, n_jobs=1, **settings).fit(X, y)


def xgboost_trained(y, **settings):
    return xgboost.train({"nthread": 1, "max_depth": 2, **settings}, xgboost.DMatrix(X, label=y, nthread=1), 4)


def lightgbm_classifier(y, **settings):
    return lightgbm.LGBMClassifier(n_estimators=4, n_jobs=1, verbose=-1, **settings).fit(X.astype(np.float64), y)


@pytest.mark.parametrize("name", ["m.json", "m.ubj"])
@pytest.mark.parametrize("y", [Y, BINARY])
def test_an_xgboost_file_gives_the_classifiers_probabilities(tmp_path, name, y):
    model = xgboost_classifier(y)
    model.save_model(tmp_path / name)
    subject = asked(open_xgboost, tmp_path / name, facts(int(y.max()) + 1))
    np.testing.assert_allclose(subject.predict(X), model.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(subject.bare_labels(X), model.predict(X))
    assert subject.outputs == "probabilities"
    assert subject.access == {Access.LABELS, Access.PROBABILITIES, Access.FILE}


def test_an_xgboost_file_is_known_by_its_content_under_any_name(tmp_path):
    model = xgboost_classifier(Y)
    model.save_model(tmp_path / "m.ubj")
    renamed = (tmp_path / "m.ubj").rename(tmp_path / "model.bst")
    np.testing.assert_allclose(asked(open_xgboost, renamed, facts()).predict(X), model.predict_proba(X), atol=1e-6)


def test_images_are_rows_of_features_to_trees(tmp_path):
    model = xgboost_classifier(Y)
    model.save_model(tmp_path / "m.json")
    subject = asked(open_xgboost, tmp_path / "m.json", facts(shape=(1, 2, 2)))
    np.testing.assert_allclose(subject.predict(X.reshape(-1, 1, 2, 2)), model.predict_proba(X), atol=1e-6)


def test_after_early_stopping_the_trees_up_to_the_best_round_answer(tmp_path):
    noise = RNG.permutation(BINARY)
    model = xgboost.XGBClassifier(n_estimators=40, early_stopping_rounds=5, n_jobs=1, learning_rate=1.0)
    model.fit(X[:80], noise[:80], eval_set=[(X[80:], noise[80:])], verbose=False)
    model.save_model(tmp_path / "m.json")
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    subject = asked(open_xgboost, tmp_path / "m.json", facts(2))
    np.testing.assert_allclose(subject.predict(X), model.predict_proba(X), atol=1e-6)


def test_margins_of_labels_and_logits_are_probabilities_all_the_same(tmp_path):
    soft = xgboost_trained(Y, objective="multi:softmax", num_class=3)
    soft.save_model(tmp_path / "soft.json")
    subject = asked(open_xgboost, tmp_path / "soft.json", facts())
    np.testing.assert_array_equal(predicted_labels(subject.predict(X)), soft.inplace_predict(X))
    np.testing.assert_allclose(subject.predict(X).sum(1), 1, atol=1e-6)
    raw = xgboost_trained(BINARY, objective="binary:logitraw")
    raw.save_model(tmp_path / "raw.json")
    expected = 1 / (1 + np.exp(-raw.inplace_predict(X)))
    np.testing.assert_allclose(
        asked(open_xgboost, tmp_path / "raw.json", facts(2)).predict(X)[:, 1], expected, atol=1e-6
    )


def test_a_hinge_gives_labels_and_says_so(tmp_path):
    hinge = xgboost_trained(BINARY, objective="binary:hinge")
    hinge.save_model(tmp_path / "m.json")
    subject = asked(open_xgboost, tmp_path / "m.json", facts(2))
    assert subject.access == {Access.LABELS, Access.FILE}
    np.testing.assert_array_equal(subject.predict(X), np.eye(2)[hinge.inplace_predict(X).astype(int)])
    with pytest.raises(ModelError, match="binary:hinge, which answers labels: remove outputs: probabilities"):
        asked(open_xgboost, tmp_path / "m.json", facts(2), outputs="probabilities")


@pytest.mark.parametrize("y", [Y, BINARY])
def test_a_lightgbm_file_gives_the_classifiers_probabilities(tmp_path, y):
    model = lightgbm_classifier(y)
    model.booster_.save_model(tmp_path / "m.txt")
    subject = asked(open_lightgbm, tmp_path / "m.txt", facts(int(y.max()) + 1))
    np.testing.assert_allclose(subject.predict(X), model.predict_proba(X.astype(np.float64)), atol=1e-6)
    assert subject.outputs == "probabilities"
    assert subject.access == {Access.LABELS, Access.PROBABILITIES, Access.FILE}


def test_one_classifier_a_class_is_made_to_sum_to_one(tmp_path):
    model = lightgbm_classifier(Y, objective="multiclassova")
    model.booster_.save_model(tmp_path / "m.txt")
    raw = model.booster_.predict(X)
    assert abs(raw.sum(1) - 1).max() > 0.01
    out = asked(open_lightgbm, tmp_path / "m.txt", facts()).predict(X)
    np.testing.assert_allclose(out, raw / raw.sum(1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("part", [0.02, 0.2, 0.5, 0.9])
def test_a_file_cut_short_is_named(tmp_path, part):
    xgboost_classifier(Y).save_model(tmp_path / "m.ubj")
    xgboost_classifier(Y).save_model(tmp_path / "m.json")
    for name in ("m.ubj", "m.json"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: int(part * len(content))])
        with pytest.raises(ModelError, match=f"{name} is no whole XGBoost file: .*; save it again with save_model"):
            asked(open_xgboost, tmp_path / name, facts())


def test_a_lightgbm_file_cut_anywhere_in_its_trees_is_named(tmp_path):
    path = tmp_path / "m.txt"
    text = lightgbm_classifier(Y).booster_.model_to_string()
    trees = text.index("end of trees")
    for length in range(5, trees, trees // 40):
        path.write_text(text[:length])
        with pytest.raises(ModelError, match="is no whole LightGBM file: its trees end early or were edited"):
            asked(open_lightgbm, path, facts())
    path.write_text(text.replace("num_leaves=", "num_leaves=1", 1))
    with pytest.raises(ModelError, match="end early or were edited"):
        asked(open_lightgbm, path, facts())


@pytest.mark.parametrize("content", [b"hello", b"{}", b'{"learner": {}}', b"\x80\x04\x95junk", b"\x00" * 40])
def test_what_is_no_model_of_the_library_is_named(tmp_path, content):
    path = tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="model is no whole XGBoost file"):
        asked(open_xgboost, path, facts())
    with pytest.raises(ModelError, match="model is no LightGBM text file"):
        asked(open_lightgbm, path, facts())


def test_a_regressor_is_named_with_the_objectives_that_classify(tmp_path):
    xgboost.XGBRegressor(n_estimators=2, n_jobs=1).fit(X, X[:, 1]).save_model(tmp_path / "m.json")
    with pytest.raises(ModelError, match=r"objective reg:squarederror, which is no classification .* binary:logistic"):
        asked(open_xgboost, tmp_path / "m.json", facts(2))
    trees = lightgbm.LGBMRegressor(n_estimators=2, verbose=-1, n_jobs=1).fit(X.astype(np.float64), Y)
    trees.booster_.save_model(tmp_path / "m.txt")
    with pytest.raises(ModelError, match=r"objective regression, which is no classification .* multiclassova"):
        asked(open_lightgbm, tmp_path / "m.txt", facts(2))


def test_an_objective_of_ones_own_is_named(tmp_path):
    def logistic(raw, data):
        p = 1 / (1 + np.exp(-raw))
        return p - data.get_label(), p * (1 - p)

    data = lightgbm.Dataset(X.astype(np.float64), label=BINARY)
    lightgbm.train({"objective": logistic, "verbose": -1, "num_threads": 1}, data, 3).save_model(tmp_path / "m.txt")
    with pytest.raises(ModelError, match=r"objective custom, which is no classification"):
        asked(open_lightgbm, tmp_path / "m.txt", facts(2))


def test_other_features_and_classes_than_the_datas_are_named(tmp_path):
    xgboost_classifier(Y).save_model(tmp_path / "m.json")
    lightgbm_classifier(BINARY).booster_.save_model(tmp_path / "m.txt")
    with pytest.raises(ModelError, match=r"XGBoost of 4 features; the data has 6 \(rows of shape \(6,\)\)"):
        asked(open_xgboost, tmp_path / "m.json", facts(shape=(6,)))
    with pytest.raises(ModelError, match="XGBoost of 3 classes; the data has 5"):
        asked(open_xgboost, tmp_path / "m.json", facts(5))
    with pytest.raises(ModelError, match="LightGBM of 4 features; the data has 3"):
        asked(open_lightgbm, tmp_path / "m.txt", facts(2, shape=(3,)))
    with pytest.raises(ModelError, match="LightGBM of 2 classes; the data has 3"):
        asked(open_lightgbm, tmp_path / "m.txt", facts(3))


@pytest.mark.parametrize("make", [xgboost_classifier, lightgbm_classifier])
def test_the_estimators_work_as_objects_and_as_pickles(tmp_path, make):
    model = make(Y)
    data = from_arrays({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y})
    subject = wrap(model, data)
    assert isinstance(subject, SklearnSubject)
    expected = np.asarray(model.predict_proba(X), np.float32)
    np.testing.assert_array_equal(subject.predict(X), expected)
    joblib.dump(model, tmp_path / "m.joblib")
    spec = Load(format="sklearn", path="m.joblib", trust="pickle", outputs="probabilities")
    again = load(spec, data.facts(), tmp_path)
    np.testing.assert_array_equal(again.predict(X), expected)


def test_the_door_opens_them_and_prepares_their_inputs(tmp_path):
    xgboost_classifier(Y).save_model(tmp_path / "m.json")
    model = lightgbm_classifier(Y)
    model.booster_.save_model(tmp_path / "m.txt")
    shifted = {"input_range": (0, 0.5)}
    xgb = load(Load(format="xgboost", path="m.json", **shifted), facts(), tmp_path)
    lgb = load(Load(format="lightgbm", path="m.txt", classes=("b", "c", "a"), **shifted), facts(), tmp_path)
    np.testing.assert_allclose(xgb.predict(X), xgboost_classifier(Y).predict_proba(X * 0.5), atol=1e-6)
    np.testing.assert_allclose(lgb.predict(X), model.booster_.predict(X * 0.5)[:, [2, 0, 1]], atol=1e-6)


def test_a_package_that_is_absent_is_said_with_what_to_install():
    with pytest.raises(ConfigError, match=r'needs the package no_such_library: pip install "auditor\[boost\]"'):
        extras.imported("no_such_library.basic", "boost", "a model of it")
