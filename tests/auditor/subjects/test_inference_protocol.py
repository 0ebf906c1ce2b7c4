"""The wire format: addresses are understood, floats travel whole, and what is no answer is said to be none."""

import json

import numpy as np
import pytest

from auditor.errors import ModelError
from auditor.subjects.endpoint import protocol
from auditor.subjects.endpoint.protocol import Address, Tensor

AWKWARD = np.array([[0.1, 1 / 3, 1e-45, 3.4028235e38, -0.0, np.nextafter(np.float32(1), np.float32(2))]], np.float32)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:80", Address("http://h:80")),
        ("http://h:80/", Address("http://h:80")),
        ("http://h/v2", Address("http://h")),
        ("https://h/gate/v2/models/a%20b", Address("https://h/gate", "a b")),
        ("http://h/v2/models/net/versions/3", Address("http://h", "net", "3")),
        ("http://h/v2/models/net/versions/3/infer", Address("http://h", "net", "3")),
        ("http://h/v2/models/net/infer/", Address("http://h", "net")),
    ],
)
def test_an_address_may_be_written_in_each_form_that_servers_document(url: str, expected: Address) -> None:
    assert Address.of(url) == expected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://h/v2/models/net/ready", "write http://h/v2/models/NAME"),
        ("http://h/v2/models/net?key=secret", "h/v2/models/net is followed by a query"),
        ("http://h:99999", "no port from 0 to 65535"),
    ],
)
def test_an_address_of_another_form_is_refused(url: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        Address.of(url)
    assert "secret" not in str(caught.value)


def test_a_model_is_asked_for_by_its_path() -> None:
    assert Address("http://h", "a b/c", "1").path == "/v2/models/a%20b%2Fc/versions/1"


def test_floats_travel_to_the_last_bit() -> None:
    body = json.loads(protocol.request(AWKWARD, Tensor(name="x", datatype="FP32", shape=(-1, 6)), None))
    assert body == {"inputs": [{"name": "x", "shape": [1, 6], "datatype": "FP32", "data": AWKWARD[0].tolist()}]}
    assert np.array(body["inputs"][0]["data"], np.float32).tobytes() == AWKWARD.tobytes()


@pytest.mark.parametrize(
    ("datatype", "expected"),
    [
        ("UINT8", [0, 2, 255, 255]),
        ("INT32", [-1, 2, 255, 2**31 - 1]),
        ("INT64", [-1, 2, 255, 3_000_000_000]),
        ("FP16", [-0.60009765625, 1.5, 254.625, None]),
    ],
)
def test_numbers_are_sent_in_the_servers_type(datatype: str, expected: list[float | None]) -> None:
    x = np.array([[-0.6, 1.5, 254.6, 3e9]], np.float32)[:, : 3 if datatype == "FP16" else 4]
    body = json.loads(protocol.request(x, Tensor(name="x", datatype=datatype, shape=(-1, 4)), "out"))
    assert body["inputs"][0]["data"] == [v for v in expected if v is not None]
    assert body["outputs"] == [{"name": "out"}]


def values(*outputs: object, name: str | None = None) -> np.ndarray:
    return protocol.values(protocol.answered(json.dumps({"outputs": outputs}).encode(), "S"), name, "S")


def given(shape: list[int], data: list[object], datatype: str = "FP32", name: str = "out") -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def test_values_come_flat_or_nested_and_in_their_type() -> None:
    assert values(given([2, 2], [1, 2, 3, 4.5])).tolist() == [[1, 2], [3, 4.5]]
    assert values(given([2, 2], [[1, 2], [3, 4.5]])).tolist() == [[1, 2], [3, 4.5]]
    assert values(given([2], [3, 1], "INT64")).dtype == np.int64
    assert values(given([2], ["cat", "dog"], "BYTES")).tolist() == ["cat", "dog"]
    assert values(given([1], [1]), given([1], [2], name="b"), name="b").tolist() == [2]


@pytest.mark.parametrize(
    ("outputs", "name", "said"),
    [
        ([], None, "S answers 0 outputs: none; is the model's name right"),
        ([given([1], [1]), given([1], [2], name="b")], None, "2 outputs: out, b; say which one with load.output"),
        ([given([1], [1])], "probs", "no output 'probs' but out; say which one with load.output"),
        ([given([2, 2], [1, 2, 3])], None, r"says it has the shape \[2, 2\], and holds 3 values"),
        ([given([1, 2], [1, None])], None, "holds 1 values that are not numbers"),
        ([given([2], [float("nan"), 1])], None, "holds 1 values that are not numbers"),
        ([given([1], ["a"])], None, "is FP32, and holds what is none"),
        ([given([2], [[1], [1, 2]])], None, "is FP32, and holds what is none"),
        ([given([1], [1], "FP8")], None, "is of the type FP8"),
    ],
)
def test_outputs_that_cannot_be_read_say_why(outputs: list[object], name: str | None, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        values(*outputs, name=name)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<!DOCTYPE html><p>Sign in</p>", "it is no JSON but a web page: '<!DOCTYPE html><p>Sign in</p>'"),
        (b"\xff\xfe\x00", "it is no JSON but"),
        (b"", "it is no JSON but nothing"),
        (b"[1]", "the whole: "),
        (b'{"error": "net is\\n asleep"}', "outputs: Field required in net is asleep"),
        (b'{"outputs": [{"name": "o", "shape": [1], "datatype": "FP32"}]}', "outputs.0.data: Field required"),
        (b"[" * 100_000, "it is no JSON but"),
    ],
)
def test_a_body_that_is_no_answer_is_shown(body: bytes, said: str) -> None:
    with pytest.raises(ModelError, match="is this the address of such a server") as caught:
        protocol.answered(body, "S")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 500
