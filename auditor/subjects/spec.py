"""What the load section of a subject in audit.yaml may say."""

from collections.abc import Mapping
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from auditor.datasets.spec import Classes, Range
from auditor.record import Frozen
from auditor.subject import Outputs

Format = Literal[
    "state-dict", "exported", "torchscript", "onnx", "sklearn", "xgboost", "lightgbm", "endpoint", "object"
]  # an object is one handed in through the Python API

# The keys that only some formats understand; every other key is for all.
OWN_KEYS: Mapping[str, frozenset[Format]] = {
    "factory": frozenset({"state-dict"}),
    "kwargs": frozenset({"state-dict"}),
    "trust": frozenset({"sklearn"}),
    "input": frozenset({"onnx", "endpoint"}),
    "output": frozenset({"onnx", "endpoint"}),
    **dict.fromkeys(("url", "model", "timeout", "retries", "rate", "budget", "token_env"), frozenset({"endpoint"})),
}


class Normalisation(Frozen):
    """What is subtracted from inputs and what they are then divided by: a number a channel or feature, or one for all.

    Both are in units of what the model takes (`input_range`), as is usual.
    """

    mean: tuple[float, ...] = Field(min_length=1)
    std: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError(f"{len(self.mean)} means and {len(self.std)} deviations; give as many of each")
        if not all(s > 0 for s in self.std):
            raise ValueError("a deviation is not above 0, and inputs are divided by it")
        return self


class Load(Frozen):
    """A model that exists: its format, where it is, and what is needed to open it and to ask it.

    `path` is relative to the audit file. `factory` is "module:callable", also found beside the audit file; it is called
    with `kwargs` and returns the module that the weights of a state dict belong to. `trust: pickle` allows files that
    run code on loading. An endpoint has a `url` (a `path` that is one is understood) and speaks the Open Inference
    Protocol v2; `timeout` is in seconds, `rate` in requests a second over all workers, `budget` in rows that one probe
    may ask, and `token_env` names the environment variable that holds its bearer token.

    What the model takes: `input_range` is what the data's range becomes for it, where it is not [0, 1], and
    `normalisation` happens after that, unless it is inside the model. `classes` names the classes in the order of the
    model's outputs, where it is not that of the data. `expected_accuracy` is what its owner measured on the test rows.
    """

    format: Format
    path: str | None = None
    factory: str | None = None
    kwargs: dict[str, Any] = Field(default_factory=dict)  # any JSON value
    outputs: Outputs = "logits"
    trust: Literal["none", "pickle"] = "none"
    normalisation: Literal["inside-model"] | Normalisation = "inside-model"
    input_range: Range | None = None
    classes: Classes | None = None
    expected_accuracy: float | None = Field(None, ge=0, le=1)
    input: str | None = None
    output: str | None = None
    url: str | None = None
    model: str | None = None
    timeout: float = Field(10.0, gt=0)
    retries: int = Field(3, ge=0)
    rate: float | None = Field(None, gt=0)
    budget: int | None = Field(None, ge=1)
    token_env: str | None = None

    @property
    def place(self) -> str:
        """The file or the address."""
        found = self.address or self.path
        assert found is not None, "the spec asks for one"
        return found

    @property
    def address(self) -> str | None:
        """The address of an endpoint."""
        if self.format != "endpoint":
            return None
        return self.url or self.path

    @model_validator(mode="after")
    def _fits_the_format(self) -> Self:
        for key in sorted(OWN_KEYS):
            default = type(self).model_fields[key].get_default(call_default_factory=True)
            if self.format not in OWN_KEYS[key] and getattr(self, key) != default:
                wanted = ", ".join(sorted(OWN_KEYS[key]))
                raise ValueError(f"{key} belongs to the format {wanted}; this is {self.format}: remove it")
        if self.format == "endpoint":
            self._check_address()
        elif self.path is None:
            raise ValueError(f"the format {self.format} needs `path`, the model's file, relative to the audit file")
        if self.format == "state-dict" and self.factory is None:
            raise ValueError(
                "a state dict needs `factory: module:callable`, which makes the module its weights belong to"
            )
        return self

    def _check_address(self) -> None:
        parts = urlsplit(self.address or "")
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(
                f"an endpoint needs `url`, such as http://127.0.0.1:8080/v2/models/NAME (found {self.address!r})"
            )
        if parts.username or parts.password:
            raise ValueError("an address must hold no password: put a token in a variable that `token_env` names")
