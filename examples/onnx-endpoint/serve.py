"""Serves model.onnx by MLServer while a command runs: python serve.py auditor run audit.yaml."""

import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ADDRESS = "http://127.0.0.1:8765/v2/models/digits"
SERVER = {"http_port": 8765, "grpc_port": 8766, "host": "127.0.0.1", "parallel_workers": 0, "metrics_endpoint": None}
MODEL = {
    "name": "digits",
    "implementation": "runtime.Onnx",
    "parameters": {"uri": str(Path("model.onnx").resolve())},
    "inputs": [{"name": "pixels", "datatype": "FP32", "shape": [-1, 1, 8, 8]}],
    "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}],
}


def ready(seconds=60):
    """Wait until the model answers."""
    for _ in range(seconds * 5):
        try:
            with urllib.request.urlopen(f"{ADDRESS}/ready", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    return False


def main():
    """Start the server, run the command, end the server; the exit code is the command's."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "settings.json").write_text(json.dumps(SERVER))
        (Path(folder) / "model-settings.json").write_text(json.dumps(MODEL))
        (Path(folder) / "runtime.py").write_text(Path("runtime.py").read_text())
        log = Path(folder) / "log"
        command = [sys.executable, "-c", "from mlserver.cli import main; main()", "start", folder]
        with log.open("wb") as stream:
            server = subprocess.Popen(command, stdout=stream, stderr=stream)
        try:
            if not ready():
                sys.exit(f"the server is not ready: {log.read_text()[-2000:]}")
            return subprocess.run(sys.argv[1:], check=False).returncode
        finally:
            server.terminate()
            server.wait(10)


if __name__ == "__main__":
    sys.exit(main())
