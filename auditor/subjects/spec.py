"""What the load section of a subject in audit.yaml may say."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from auditor.record import Frozen
from auditor.subject import Outputs

Format = Literal["state-dict", "sklearn", "object"]  # an object is one handed in through the Python API


class Load(Frozen):
    """A model that exists as a file: its format, and what is needed to open it.

    `factory` is "module:callable", also found as a .py file beside the audit file; it is called with `kwargs` and
    returns the module that the weights of a state dict belong to. `trust: pickle` allows files that run code on
    loading.
    """

    format: Format
    path: str
    factory: str | None = None
    kwargs: dict[str, Any] = Field(default_factory=dict)  # any JSON value
    outputs: Outputs = "logits"
    trust: Literal["none", "pickle"] = "none"

    @model_validator(mode="after")
    def _fits_the_format(self) -> Self:
        if self.format == "state-dict" and self.factory is None:
            raise ValueError(
                "a state dict needs `factory: module:callable`, which makes the module its weights belong to"
            )
        if self.format == "sklearn" and (self.factory is not None or self.kwargs):
            raise ValueError("a scikit-learn file brings its own model: remove factory and kwargs")
        if self.format == "state-dict" and self.trust == "pickle":
            raise ValueError("a state dict is read weights-only and needs no trust: remove `trust: pickle`")
        return self
