"""An endpoint through small real servers: what it is sent, how its answers are read, its budget and its fingerprint."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.auditing import Options, planned
from auditor.config import load_audit
from auditor.errors import AuditorError, ModelError, UnitError
from auditor.subjects.endpoint.opening import fingerprint
from auditor.subjects.spec import Load

X = np.random.default_rng(5).random((40, 2), np.float32)
EXPECTED = np.stack([X[:, 0], X[:, 1], X[:, 0] - X[:, 1]], 1)
Serve = Callable[..., Any]  # gives a SmallServer; its class and Says live in conftest.py
Opened = Callable[..., Any]  # gives a BlackBoxSubject


def spec(server: Any) -> Load:
    return Load(format="endpoint", url=f"{server.url}/v2/models/net")


def output(shape: list[int], data: list[Any], name: str = "scores", datatype: str = "FP32") -> dict[str, Any]:
    return {"outputs": [{"name": name, "datatype": datatype, "shape": shape, "data": data}]}


def test_an_endpoint_answers_as_the_model_behind_it(serve: Serve, opened: Opened) -> None:
    served = opened(serve())
    assert served.predict(X) == pytest.approx(EXPECTED, abs=1e-7)
    assert served.bare_labels(X).tolist() == EXPECTED.argmax(1).tolist()
    assert served.access == {"labels", "probabilities", "logits"}


def test_rows_are_halved_until_the_server_takes_them(serve: Serve, says: Any, opened: Opened) -> None:
    server = serve(lambda a: says({"error": "too large"}, 413) if a.rows > 6 else None)
    served = opened(server)
    assert served.predict(X) == pytest.approx(EXPECTED, abs=1e-7)
    assert [a.rows for a in server.inferences] == [40, 20, 10, 5, 5, 5, 5, 5, 5, 5, 5]
    served.predict(X[:7])
    assert [a.rows for a in server.inferences[11:]] == [5, 2]


def test_one_row_that_is_too_large_is_an_error(serve: Serve, says: Any, opened: Opened) -> None:
    with pytest.raises(ModelError, match=r"finds a request of 1 rows \(\d+ bytes\) too large"):
        opened(serve(lambda _: says({}, 413))).predict(X)


def test_a_server_that_fixes_the_rows_gets_exactly_so_many(serve: Serve, opened: Opened) -> None:
    server = serve(metadata={"inputs": [{"name": "x", "datatype": "FP32", "shape": [16, 2]}]})
    assert opened(server).predict(X) == pytest.approx(EXPECTED, abs=1e-7)
    assert [a.rows for a in server.inferences] == [16, 16, 16]
    assert fingerprint(spec(server), X[:3]) != fingerprint(spec(server), X[1:4])
    assert {a.rows for a in server.inferences} == {16}


def test_images_go_with_their_channels_last_where_the_server_wants_that(
    serve: Serve, says: Any, opened: Opened
) -> None:
    x = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [-1, 4, 5, 3]}
    server = serve(lambda _: says(output([2, 3], [0, 1, 2, 5, 4, 3])), metadata={"inputs": [tensor]})
    assert opened(server, shape=(3, 4, 5)).predict(x).tolist() == [[0, 1, 2], [5, 4, 3]]
    sent = server.inferences[0].content["inputs"][0]
    assert (sent["name"], sent["datatype"], sent["shape"]) == ("pixels", "UINT8", [2, 4, 5, 3])
    assert sent["data"][:4] == [0, 20, 40, 1]  # pixel (0, 0) in three channels, then the first of pixel (0, 1)


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        ([("x", "FP32", [-1, 7])], {}, r"takes inputs of shape \[-1, 7\] as 'x'; the data's rows are \[2\]"),
        ([("x", "BYTES", [-1, 2])], {}, "takes 'x' as BYTES; an audit sends FP16, FP32, FP64, UINT8"),
        ([("a", "FP32", [-1, 1]), ("b", "FP32", [-1, 1])], {}, "takes 2 inputs: a, b; an audit sends one"),
        ([("x", "FP32", [-1, 2])], {"input": "X"}, "unknown input 'X'; did you mean 'x'?"),
    ],
)
def test_a_model_of_other_inputs_is_refused(
    serve: Serve, inputs: Any, options: dict[str, Any], said: str, opened: Opened
) -> None:
    tensors = [dict(zip(("name", "datatype", "shape"), t, strict=True)) for t in inputs]
    with pytest.raises(AuditorError, match=said):
        opened(serve(metadata={"inputs": tensors}), **options)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (output([2, 3], [1, 2, 3, 4, 5, 6]), r"answers 4 rows with the shape \[2, 3\]; expected \[4, 3\]"),
        (output([4, 2], [0] * 8), r"answers 4 rows with the shape \[4, 2\]"),
        (output([3, 4], [0] * 12), r"answers 4 rows with the shape \[3, 4\]"),
        (output([4, 3], [0] * 11 + [None]), "holds 1 values that are not numbers"),
        (output([4], [0, 1, 2, 1], datatype="INT64"), "declare outputs: labels"),
        (output([4], ["cat", "dog", "eel", "fox"], datatype="BYTES"), "unknown class 'fox'; known: cat, dog, eel"),
        ({"outputs": []}, "answers 0 outputs: none"),
        ({"error": "asleep"}, "outputs: Field required in asleep"),
        (b"<html><body>Sign in</body></html>", "it is no JSON but a web page: '<html><body>Sign in"),
        (b"", "it is no JSON but nothing"),
    ],
)
def test_a_wrong_answer_is_said_with_what_came(serve: Serve, says: Any, answer: Any, said: str, opened: Opened) -> None:
    with pytest.raises(AuditorError, match=said):
        opened(serve(lambda _: says(answer))).predict(X[:4])


def test_flat_scores_are_read_row_by_row(serve: Serve, says: Any, opened: Opened) -> None:
    flat = serve(lambda _: says(output([6], [0, 1, 2, 5, 4, 3])))
    assert opened(flat).predict(X[:2]).tolist() == [[0, 1, 2], [5, 4, 3]]


@pytest.mark.parametrize(
    ("answer", "datatype"), [([2, 0, 1], "INT64"), ([2.0, 0.0, 1.0], "FP32"), (["eel", "cat", "dog"], "BYTES")]
)
def test_labels_may_be_numbers_or_names(
    serve: Serve, says: Any, answer: list[Any], datatype: str, opened: Opened
) -> None:
    server = serve(lambda _: says(output([3, 1], answer, datatype=datatype)))
    assert opened(server, outputs="labels").predict(X[:3]).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


def test_the_output_that_is_named_is_the_one_that_is_read(serve: Serve, says: Any, opened: Opened) -> None:
    two = {"outputs": output([1, 3], [1, 2, 3])["outputs"] + output([1, 3], [9, 8, 7], "other")["outputs"]}
    server = serve(lambda _: says(two))
    assert opened(server, output="other").predict(X[:1]).tolist() == [[9, 8, 7]]
    assert server.inferences[0].content["outputs"] == [{"name": "other"}]
    with pytest.raises(ModelError, match=r"answers 2 outputs: scores, other; say which one with load.output"):
        opened(server).predict(X[:1])


def test_a_spent_budget_ends_the_unit_before_the_server_is_asked(serve: Serve, opened: Opened) -> None:
    server = serve()
    served = opened(server, budget=50)
    served.predict(X)
    with pytest.raises(
        UnitError, match=r"budget of 50 rows of .* is spent: 40 were asked, and 11 more are wanted; raise"
    ):
        served.predict(X[:11])
    assert served.predict(X[:10]) == pytest.approx(EXPECTED[:10], abs=1e-7)
    assert sum(a.rows for a in server.inferences) == 50
    assert len(opened(server, budget=50).predict(X)) == 40  # each subject has a budget of its own


def test_an_unknown_model_is_said_with_those_the_server_has(serve: Serve, says: Any, opened: Opened) -> None:
    index = says([{"name": "net"}, {"name": "mesh"}])
    server = serve(first=lambda a: index if a.path == "/v2/repository/index" else None)
    with pytest.raises(ModelError, match="status 404: no /v2/models/nut; the server has the models mesh, net"):
        opened(f"{server.url}/v2/models/nut")
    with pytest.raises(ModelError, match=r"names no model, and the server lists mesh, net: name one with load.model"):
        opened(server.url)
    assert opened(server.url, model="net").predict(X) == pytest.approx(EXPECTED, abs=1e-7)
    with pytest.raises(ModelError, match=r"names the model net, and load.model mesh: remove one"):
        opened(server, model="mesh")


def test_a_server_that_lists_nothing_needs_the_name_of_the_model(serve: Serve, opened: Opened) -> None:
    with pytest.raises(ModelError, match=r"the server does not list its models: name one with load.model"):
        opened(serve().url)


def test_a_fingerprint_tells_whether_another_model_answers(serve: Serve, says: Any) -> None:
    shift = [0.0]
    server = serve(lambda a: says(output([a.rows, 3], [i + shift[0] for i in range(3 * a.rows)])))
    first = fingerprint(spec(server), X[:4])
    assert re.fullmatch("[0-9a-f]{64}", first)
    shift[0] = 1e-5
    assert fingerprint(spec(server), X[:4]) == first
    shift[0] = 0.01
    assert fingerprint(spec(server), X[:4]) != first


def test_a_model_replaced_by_one_that_only_differs_on_the_data_is_another_in_the_plan(
    serve: Serve, says: Any, tmp_path: Path
) -> None:
    """Models of labels may say the same of noise: here of all rows whose first feature is above 0.01."""
    shift = [0]

    def answer(asked: Any) -> Any:
        first = np.array(asked.content["inputs"][0]["data"]).reshape(-1, 2)[:, 0]
        labels = np.where(first > 0.01, 1, shift[0]).tolist()
        return says(output([asked.rows], labels, datatype="INT64"))

    server = serve(answer)
    x, y = np.random.default_rng(0).random((60, 2), np.float32) / 100, np.arange(60) % 2
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    (tmp_path / "audit.yaml").write_text(
        "{schema: auditor/audit/1, name: a, data: {source: npz, path: data.npz, range: [0, 1], licence: CC0}, "
        f"subjects: [{{id: s, load: {{format: endpoint, url: '{spec(server).url}', outputs: labels}}}}]}}"
    )
    plans = []
    for shift[0] in (0, 1, 0):
        plans.append(planned(load_audit(tmp_path / "audit.yaml"), Options(store=tmp_path / "store")))
    first, other, again = (plan.subjects[0].unit for plan in plans)
    assert first == again != other
