"""Runtimes for MLServer: a perceptron of arrays that answers scores, labels or names of classes, and an ONNX file."""

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import MLServerError
from mlserver.types import InferenceRequest, InferenceResponse


class Perceptron(MLModel):
    """Layers w0, b0, w1, b1, ... with ReLU between them; `extra.answers` says what is answered."""

    async def load(self) -> bool:
        """Read the file that the settings name."""
        with np.load(self.settings.parameters.uri) as arrays:
            self.layers = [(arrays[f"w{i}"], arrays[f"b{i}"]) for i in range(len(arrays.files) // 2)]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer rows of any shape, each read as a row of features."""
        rows = NumpyCodec.decode_input(payload.inputs[0])
        hidden = rows.reshape(len(rows), -1)
        if hidden.shape[1] != len(self.layers[0][0]):
            raise MLServerError(f"this net takes {len(self.layers[0][0])} features, not {hidden.shape[1]}", 400)
        for i, (weights, bias) in enumerate(self.layers):
            hidden = (np.maximum(hidden, 0) if i else hidden) @ weights + bias
        match self.settings.parameters.extra["answers"]:
            case "labels":
                output = NumpyCodec.encode_output("label", hidden.argmax(axis=1))
            case "names":
                output = StringCodec.encode_output("name", [f"class {i}" for i in hidden.argmax(axis=1)])
            case _:
                output = NumpyCodec.encode_output("scores", hidden.astype(np.float32))
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])


class Onnx(MLModel):
    """A net of one input and one output in an ONNX file."""

    async def load(self) -> bool:
        """Read the file that the settings name."""
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer rows as the net does."""
        rows = NumpyCodec.decode_input(payload.inputs[0])
        (scores,) = self.session.run(None, {self.session.get_inputs()[0].name: rows})
        output = NumpyCodec.encode_output("scores", scores)
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])
