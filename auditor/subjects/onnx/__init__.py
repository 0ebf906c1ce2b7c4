"""Models in ONNX: run by onnxruntime, and rebuilt in torch where that answers the same."""
