"""A model behind an HTTP address that speaks the Open Inference Protocol v2, as a function from inputs to answers."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from auditor.dataset import Array
from auditor.errors import ModelError, UnitError, UnknownNameError
from auditor.record import DatasetRecord, digest
from auditor.subjects.answering import Answering
from auditor.subjects.endpoint import protocol
from auditor.subjects.endpoint.protocol import Address, Answered, Answers, Metadata
from auditor.subjects.endpoint.remote import Remote
from auditor.subjects.endpoint.rows import layout_for, tensor_for, usual_rows
from auditor.subjects.spec import Load

IDENTIFYING = 64  # rows whose answers are part of a fingerprint
AT_ONCE = 16  # of them
TOO_LARGE, MISSING = 413, (404, 405)


def open_endpoint(spec: Load, path: Path | None, facts: DatasetRecord) -> Answering:  # noqa: ARG001  # as all openers
    """A server's model as a black box that answers the data's rows.

    A request holds as many rows as the metadata fixes, else 64 to 256 by their size, and half as many from when the
    server finds one too large. Texts that a model answers are looked up among the classes. Raises ModelError for a
    server that cannot be reached, is not ready, has no such model, or has one that takes other rows; ConfigError for a
    missing token; UnitError when the budget of rows is spent. The budget counts every row asked through one subject,
    the few that are asked to check it included.
    """
    endpoint = _Endpoint(spec, facts.shape)
    fixed = endpoint.layout.rows
    asked = _Asked(endpoint, spec.classes or facts.classes, spec.budget, fixed or usual_rows(facts.shape))
    return Answering(
        answer=asked.answer,
        outputs=spec.outputs,
        name=f"the endpoint {endpoint.where}",
        batch_size=asked.most,
        fixed=fixed is not None,
    )


def fingerprint(spec: Load, x: Array) -> str:
    """Which model an address stands for now: sha256 of the address, the metadata and the answers to rows (N, *shape).

    At most 64 rows are asked, a few at once. Scores count to three decimals, beside the class they name. Raises as
    `open_endpoint` does. Blind spots: a model whose answers to the same rows vary by more than that looks replaced each
    time; one that is replaced by another of the same answers to these rows, or while an audit runs, is not noticed.
    """
    endpoint = _Endpoint(spec, x.shape[1:])
    rows = x[:IDENTIFYING]
    size = endpoint.layout.rows or min(len(rows), AT_ONCE)
    found = [
        endpoint.infer(np.resize(rows[start : start + size], (size, *x.shape[1:])))
        for start in range(0, len(rows), size)
    ]
    facts = {"address": endpoint.where, "metadata": endpoint.metadata.model_dump(mode="json")}
    answers = [text for inferred in found for text in _rough(inferred.values)]
    return digest({**facts, "version": found[0].version, "answers": answers})


def _rough(answers: Answers) -> list[str]:
    """Answers as texts in which the last digits, and the sign of zero, do not count."""
    if answers.dtype.kind == "U":
        return [str(text) for text in answers.ravel()]
    scores = answers.astype(np.float64)
    labels = scores.argmax(axis=1) if scores.ndim == 2 and scores.shape[1] > 1 else np.zeros(0, np.int64)
    return [f"{value:.3f}" for value in np.round(scores, 3).ravel() + 0.0] + [str(label) for label in labels]


@dataclass(frozen=True, eq=False)
class _Inferred:
    """The values of the one output meant, and the version of the model that gave them."""

    values: Answers
    version: str | None


class _Endpoint:
    """One model of one server, found and ready, and how it wants the data's rows."""

    def __init__(self, spec: Load, row: tuple[int, ...]) -> None:
        assert spec.address is not None, "the spec asks for one"
        address = Address.of(spec.address)
        if spec.model is not None and address.model not in (None, spec.model):
            raise ModelError(f"load.url names the model {address.model}, and load.model {spec.model}: remove one")
        self.output = spec.output
        self.remote = Remote(address.base, spec)
        with self.remote.hiding():
            self._check_ready()
            named = replace(address, model=address.model or spec.model or self._only_model())
            self.path, self.where = named.path, f"{named.base}{named.path}"
            self.metadata = self._metadata()
            self.tensor = tensor_for(self.metadata, spec.input, row, self.where)
            self.layout = layout_for(self.tensor, row, self.where)

    def infer(self, x: Array) -> _Inferred:
        """What the server answers rows (N, *shape of the data). Raises _TooLargeError where it wants fewer at once."""
        with self.remote.hiding():
            found = self._infer(x)
            return _Inferred(protocol.values(found, self.output, self.where), found.model_version)

    def _infer(self, x: Array) -> Answered:
        body = protocol.request(self.layout.of(x), self.tensor, self.output)
        reply = self.remote.ask("POST", f"{self.path}/infer", body)
        if reply.status == TOO_LARGE:
            raise _TooLargeError(
                f"{self.where} finds a request of {len(x)} rows ({len(body)} bytes) too large; raise the server's limit"
            )
        if reply.status != 200:
            raise self.remote.refused(reply, f"a request of {len(x)} rows to {self.path}/infer")
        return protocol.answered(reply.body, self.where)

    def _check_ready(self) -> None:
        reply = self.remote.ask("GET", "/v2/health/ready")
        if reply.status != 200 and reply.status not in MISSING:  # a gateway may pass on the models alone
            raise self.remote.refused(reply, "whether the server is ready")

    def _metadata(self) -> Metadata:
        reply = self.remote.ask("GET", self.path)
        if reply.status == 200:
            return protocol.metadata(reply.body, self.where)
        error = self.remote.refused(reply, f"what the model {self.path} is")
        if reply.status in MISSING and (known := self._models()):
            raise ModelError(f"{error}; the server has the models {', '.join(known)}")
        raise error

    def _only_model(self) -> str:
        """The one model that the server lists."""
        known = self._models()
        if len(known) == 1:
            return known[0]
        listed = f"lists {', '.join(known)}" if known else "does not list its models"
        raise ModelError(f"{self.remote.base} names no model, and the server {listed}: name one with load.model")

    def _models(self) -> list[str]:
        """The models that the server lists, which is an extension of the protocol; none where it does not."""
        reply = self.remote.ask("POST", "/v2/repository/index", b"{}")
        try:
            listed = json.loads(reply.body) if reply.status == 200 else []
            return sorted({str(entry["name"]) for entry in listed})
        except (ValueError, TypeError, KeyError):
            return []


class _TooLargeError(ModelError):
    """A server wants fewer rows a request."""


@dataclass(eq=False)
class _Asked:
    """An endpoint that is asked within a budget of rows, and with fewer rows at once when it wants that."""

    endpoint: _Endpoint
    classes: tuple[str, ...]
    budget: int | None
    most: int
    spent: int = 0

    def answer(self, x: Array) -> Answers:
        """Scores (n, classes) or labels (n,) of rows (n, *shape)."""
        self._spend(len(x))
        parts: list[Answers] = []
        start = 0
        while start < len(x):
            batch = x[start : start + self.most]
            try:
                parts.append(self._shaped(self.endpoint.infer(batch).values, len(batch)))
            except _TooLargeError:
                if len(batch) == 1 or self.endpoint.layout.rows is not None:
                    raise
                self.most = len(batch) // 2
            else:
                start += len(batch)
        return np.concatenate(parts)

    def _spend(self, rows: int) -> None:
        if self.budget is not None and self.spent + rows > self.budget:
            raise UnitError(
                f"the budget of {self.budget} rows of {self.endpoint.where} is spent: {self.spent} were asked, and "
                f"{rows} more are wanted; raise load.budget, or give the probe fewer rows or queries"
            )
        self.spent += rows

    def _shaped(self, values: Answers, rows: int) -> Answers:
        """The one output as (rows, classes) or (rows,)."""
        where, classes = self.endpoint.where, len(self.classes)
        if values.shape not in ((rows, classes), (rows * classes,), (rows,), (rows, 1)):
            raise ModelError(
                f"{where} answers {rows} rows with the shape {list(values.shape)}; expected {[rows, classes]}, one "
                f"column a class of the data, or labels {[rows]}"
            )
        if values.dtype.kind == "U":
            return self._indices(values.ravel())
        return values.reshape(rows, classes) if values.size == rows * classes else values.reshape(rows)

    def _indices(self, texts: Answers) -> Answers:
        """Names of classes as their places among the model's."""
        unknown = [str(text) for text in texts if text not in self.classes]
        if unknown:
            raise UnknownNameError("class", unknown[0], self.classes, where=f"an answer of {self.endpoint.where}")
        return np.array([self.classes.index(str(text)) for text in texts], np.int64)
