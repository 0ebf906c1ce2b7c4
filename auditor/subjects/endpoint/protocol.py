"""The JSON of the Open Inference Protocol v2: addresses, a model's metadata, requests for answers, and the answers."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError

from auditor.dataset import Array
from auditor.errors import ModelError

Answers = npt.NDArray[np.generic]  # numbers of any type, or texts
NUMBERS: Mapping[str, type[np.generic]] = {
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BOOL": np.bool_,
    **{f"INT{bits}": np.dtype(f"int{bits}").type for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"uint{bits}").type for bits in (8, 16, 32, 64)},
}
ASKED_IN = ("FP16", "FP32", "FP64", "UINT8", "INT32", "INT64")
M = TypeVar("M", bound=BaseModel)
SHOWN = 200  # characters of a server's words that an error repeats


@dataclass(frozen=True)
class Address:
    """Where a server is, without a slash at the end, and which of its models is meant; None where it is not said."""

    base: str
    model: str | None = None
    version: str | None = None

    @classmethod
    def of(cls, url: str) -> "Address":
        """The address in http://host:port, .../v2, .../v2/models/NAME or .../v2/models/NAME/versions/V."""
        parts = urlsplit(url)
        if parts.query or parts.fragment:
            raise ModelError(f"load.url: {parts.netloc}{parts.path} is followed by a query or a fragment; remove it")
        try:
            assert parts.port is None or parts.port >= 0
        except ValueError:
            raise ModelError(f"load.url: {url} has no port from 0 to 65535") from None
        before, _, named = (parts.path.rstrip("/") + "/").partition("/v2/")
        base = f"{parts.scheme}://{parts.netloc}{before.rstrip('/')}"
        match [unquote(word) for word in named.split("/") if word]:
            case []:
                return cls(base)
            case ["models", model] | ["models", model, "infer"]:
                return cls(base, model)
            case ["models", model, "versions", version] | ["models", model, "versions", version, "infer"]:
                return cls(base, model, version)
            case _:
                raise ModelError(f"load.url: {url} names no model; write {base}/v2/models/NAME")

    @property
    def path(self) -> str:
        """The path of the model under the base."""
        assert self.model is not None, "the model was looked up"
        version = f"/versions/{quote(self.version, safe='')}" if self.version else ""
        return f"/v2/models/{quote(self.model, safe='')}{version}"


class Tensor(BaseModel, frozen=True):
    """What a server says of one input or output: -1 in a shape is any length."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Metadata(BaseModel, frozen=True):
    """What a server says of a model."""

    name: str
    versions: tuple[str, ...] | None = None
    platform: str | None = None
    inputs: tuple[Tensor, ...] | None = None
    outputs: tuple[Tensor, ...] | None = None


class Given(Tensor, frozen=True):
    """One tensor that a server answers."""

    data: list[Any]  # numbers or texts, flat or nested


class Answered(BaseModel, frozen=True):
    """What a server answers a request."""

    model_version: str | None = None
    outputs: tuple[Given, ...]


def metadata(body: bytes, where: str) -> Metadata:
    """A model's metadata. Raises ModelError for a body that is none."""
    return _read(Metadata, body, f"{where}: the model's metadata")


def answered(body: bytes, where: str) -> Answered:
    """A server's answer. Raises ModelError for a body that is none."""
    return _read(Answered, body, f"{where}: the answer")


def _read(kind: type[M], body: bytes, what: str) -> M:
    try:
        return kind.model_validate(json.loads(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        said = f"{place}: {first['msg']} in {words(body)}"
    except (ValueError, RecursionError):
        said = f"it is no JSON but {words(body)}"
    raise ModelError(f"{what} is not of the Open Inference Protocol v2 ({said}); is this the address of such a server?")


def words(body: bytes) -> str:
    """What a server said, for an error: its own message where it gives one, else the start of what came."""
    text = " ".join(body.decode("utf-8", "replace").split())
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        if text[:15].lower().startswith(("<!doctype", "<html")):
            return f"a web page: {text[:SHOWN]!r}"
        return repr(text[:SHOWN]) if text else "nothing"
    if isinstance(content, dict):
        said = content.get("error", content.get("detail", content.get("message")))
        if said is not None:
            return " ".join(str(said).split())[:SHOWN]
    return text[:SHOWN]


def request(x: Array, tensor: Tensor, output: str | None) -> bytes:
    """The body that asks for rows: numbers of the tensor's type, flat and whole, so that none is rounded on the way."""
    kind = np.dtype(NUMBERS[tensor.datatype])
    values = np.asarray(x)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        values = np.clip(np.rint(values.astype(np.float64)), limits.min, _largest(limits.max))
    sent = {"name": tensor.name, "shape": list(x.shape), "datatype": tensor.datatype}
    content: dict[str, Any] = {"inputs": [{**sent, "data": values.astype(kind).ravel().tolist()}]}  # JSON
    if output is not None:
        content["outputs"] = [{"name": output}]
    return json.dumps(content, separators=(",", ":")).encode()


def _largest(limit: int) -> float:
    """The largest float64 that is not above a whole number."""
    return float(limit) if int(float(limit)) <= limit else math.nextafter(float(limit), 0)


def values(found: Answered, output: str | None, where: str) -> Answers:
    """The values of the one output meant, in its shape. Raises ModelError for what is not all numbers or texts."""
    names = [given.name for given in found.outputs]
    wanted = [g for g in found.outputs if g.name == output] if output is not None else list(found.outputs)
    if len(wanted) != 1:
        listed = ", ".join(names) or "none"
        todo = "is the model's name right?" if not names else "say which one with load.output"
        missing = f"no output {output!r} but {listed}" if output is not None else f"{len(names)} outputs: {listed}"
        raise ModelError(f"{where} answers {missing}; {todo}")
    return _values(wanted[0], where)


def _values(given: Given, where: str) -> Answers:
    told = f"{where}: output {given.name!r}"
    texts = given.datatype == "BYTES"
    if not texts and given.datatype not in NUMBERS:
        raise ModelError(f"{told} is of the type {given.datatype}; an audit reads {', '.join(NUMBERS)} and BYTES")
    try:
        array = np.array(given.data, dtype=np.str_ if texts else np.float64)
    except (ValueError, TypeError):
        raise ModelError(f"{told} is {given.datatype}, and holds what is none") from None
    if array.size != math.prod(given.shape):
        raise ModelError(f"{told} says it has the shape {list(given.shape)}, and holds {array.size} values")
    if not texts and np.isnan(array).any():  # null, which is how JSON writes what is not a number, comes out as NaN
        raise ModelError(f"{told} holds {int(np.isnan(array).sum())} values that are not numbers; mend the model")
    kind = NUMBERS.get(given.datatype)
    return array.reshape(given.shape).astype(kind) if kind is not None else array.reshape(given.shape)
