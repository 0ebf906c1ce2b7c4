"""An ONNX model in onnxruntime: opened with what is wrong named, and asked the same way every time."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from auditor.dataset import Array
from auditor.errors import ModelError
from auditor.extras import imported

Layout = Literal["as-is", "rows", "channels-last"]
NUMBERS: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    "tensor(float16)": np.dtype(np.float16),
    **{f"tensor({kind})": np.dtype(kind) for kind in ("uint8", "int8", "uint16", "int16", "int32", "int64")},
}
OWN_PLACES = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from \S+ failed:|"
    r"\S+\.(cc|h):\d+ [^()]*\(([^()]|\([^()]*\))*\)( const)? "  # a line of its source, and the function's signature
)
NEWER = re.compile(r"Opset \d+ is under development|Unsupported model IR version: \d+")
OUTSIDE = re.compile(r"External data path does not exist: \"?([^\"]+?)\"?$|External initializer: (\S+)")


@dataclass(frozen=True)
class Ending:
    """An input or output: its name, its type such as tensor(float), and its sizes, None where one is free."""

    name: str
    kind: str
    sizes: tuple[int | None, ...]

    def __str__(self) -> str:
        """As a message lists it."""
        return f"{self.name} {self.kind} ({', '.join('?' if s is None else str(s) for s in self.sizes)})"


@dataclass(frozen=True, eq=False)
class Session:
    """An opened model. `runtime` is an onnxruntime.InferenceSession."""

    path: Path
    runtime: Any
    inputs: tuple[Ending, ...]
    outputs: tuple[Ending, ...]

    def ask(self, given: Ending, wanted: Ending, rows: npt.NDArray[Any]) -> Any:  # an array, or a list of maps
        """What the model answers. Raises ModelError where it cannot take the rows."""
        try:
            return self.runtime.run([wanted.name], {given.name: rows})[0]
        except failures() as error:
            raise ModelError(
                f"{self.path} cannot answer {rows.dtype} inputs of shape {rows.shape}: {told(error)}"
            ) from None


def opened(path: Path) -> Session:
    """The model in a file, and in the files of weights beside it. Raises ModelError for what cannot be run."""
    runtime = imported("onnxruntime", "onnx", "an ONNX model")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what is wrong is raised as well
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED  # the same on every processor
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except failures() as error:
        raise _refusal(path, error, runtime.__version__) from None
    inputs, outputs = (tuple(map(_ending, found)) for found in (session.get_inputs(), session.get_outputs()))
    return Session(path, session, inputs, outputs)


def failures() -> tuple[type[Exception], ...]:
    """What onnxruntime raises: a dozen types without a common parent."""
    state = imported("onnxruntime.capi.onnxruntime_pybind11_state", "onnx", "an ONNX model")
    return tuple(v for v in vars(state).values() if isinstance(v, type) and issubclass(v, Exception))


def told(error: Exception) -> str:
    """What onnxruntime says of an error, without the places in its own source."""
    return OWN_PLACES.sub("", " ".join(str(error).split()))[:300]


def layout(given: Ending, shape: tuple[int, ...]) -> Layout | None:
    """How rows of this shape are laid out for an input: as they are, flattened, or (C, H, W) as (H, W, C); or None."""
    sizes = given.sizes[1:]
    if not given.sizes or _fits(sizes, shape):
        return "as-is"
    if len(sizes) == 1 and _fits(sizes, (int(np.prod(shape)),)):
        return "rows"
    if len(shape) == 3 and _fits(sizes, (*shape[1:], shape[0])):
        return "channels-last"
    return None


def laid_out(x: Array, how: Layout) -> Array:
    """Inputs (N, *shape) as the model takes them."""
    if how == "rows":
        return x.reshape(len(x), -1)
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if how == "channels-last" else x


def _fits(sizes: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    return len(sizes) == len(shape) and all(a is None or a == b for a, b in zip(sizes, shape, strict=True))


def _ending(found: Any) -> Ending:  # an onnxruntime.NodeArg
    sizes = tuple(s if isinstance(s, int) and s > 0 else None for s in found.shape or ())
    return Ending(found.name, found.type, sizes)


def _refusal(path: Path, error: Exception, version: str) -> ModelError:
    message = told(error)
    if type(error).__name__ == "InvalidProtobuf" or "No graph was found" in message:
        return ModelError(f"{path} is no whole ONNX file; save or fetch it again")
    if beside := OUTSIDE.search(str(error)):
        name = Path(beside[1]).name if beside[1] else f"the file of {beside[2]}"
        return ModelError(
            f"{path} keeps its weights in files beside it, and {name} is missing or cut short: fetch it too, or save "
            "the model as one file"
        )
    if NEWER.search(message):
        return ModelError(
            f"{path} is newer than onnxruntime {version} reads ({message}): install a newer onnxruntime, or export "
            "with a smaller opset"
        )
    return ModelError(f"{path} cannot be run by onnxruntime {version}: {message}")
