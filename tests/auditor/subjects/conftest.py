"""Real servers that tests ask: MLServer with perceptrons, and small ones that answer as a test says."""

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from torch import nn

    from auditor.subjects.answering import BlackBoxSubject

SERVER = Path(__file__).parents[2] / "server"


def _saved(net: "nn.Module | Path", folder: Path) -> Path:
    """An ONNX file, or a new one with the arrays of a net's linear layers, all that it has beside ReLU between them."""
    from torch import nn

    if isinstance(net, Path):
        return net
    arrays = {}
    for i, layer in enumerate(m for m in net.modules() if isinstance(m, nn.Linear)):
        arrays |= {f"w{i}": layer.weight.detach().numpy().T, f"b{i}": layer.bias.detach().numpy()}
    np.savez(folder / "net.npz", **arrays)
    return folder / "net.npz"


def _settings(name: str, file: Path, answers: str, shape: Sequence[int] | None) -> dict[str, Any]:
    """What MLServer wants to know of a model."""
    return {
        "name": name,
        "platform": "test",
        "implementation": "runtimes.Onnx" if file.suffix == ".onnx" else "runtimes.Perceptron",
        "parameters": {"uri": str(file), "version": "v1", "extra": {"answers": answers}},
        "inputs": [{"name": "x", "datatype": "FP32", "shape": list(shape)}] if shape else [],
    }


@dataclass(frozen=True)
class ModelServer:
    """A running MLServer: its address, its folder and its process."""

    url: str
    folder: Path
    process: "subprocess.Popen[bytes]"

    def replace(self, name: str, net: "nn.Module") -> None:
        """Put another net behind the same name."""
        _saved(net, self.folder / name)
        for verb in ("unload", "load"):
            url = f"{self.url}/v2/repository/models/{name}/{verb}"
            urllib.request.urlopen(urllib.request.Request(url, b"", method="POST"), timeout=20).close()


@pytest.fixture(scope="session")
def serve_nets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ModelServer]]:
    """Starts MLServer with a net, a perceptron or an ONNX file, under some names; all are ended with the tests.

    Under each name stands what it answers (scores, labels or names of classes) and the shape of input that its metadata
    declares, or None for none.
    """
    started: list[ModelServer] = []

    def start(net: "nn.Module | Path", models: Mapping[str, tuple[str, Sequence[int] | None]]) -> ModelServer:
        root = tmp_path_factory.mktemp("models")
        for name, (answers, shape) in models.items():
            (root / name).mkdir()
            settings = _settings(name, _saved(net, root / name), answers, shape)
            (root / name / "model-settings.json").write_text(json.dumps(settings))
        started.append(_started(root))
        for name in models:
            _until_ready(started[-1], name)
        return started[-1]

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()


def _started(folder: Path) -> ModelServer:
    http, grpc = _free_ports()
    settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_endpoint": None}
    (folder / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0, "debug": False}))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, SERVER / "start.py", "start", folder], cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
    return ModelServer(f"http://127.0.0.1:{http}", folder, process)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as a, socket.socket() as b:
        for s in (a, b):
            s.bind(("127.0.0.1", 0))
        return a.getsockname()[1], b.getsockname()[1]


def _until_ready(server: ModelServer, model: str) -> None:
    ends = time.monotonic() + 60
    while server.process.poll() is None and time.monotonic() < ends:
        try:
            urllib.request.urlopen(f"{server.url}/v2/models/{model}/ready", timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"MLServer did not get ready: {(server.folder / 'log').read_text()}")


@dataclass(frozen=True)
class Asked:
    """A request as a small server got it."""

    method: str
    path: str
    headers: Mapping[str, str]
    port: int  # of who asks
    content: Any  # JSON
    at: float = field(default_factory=time.monotonic)

    @property
    def rows(self) -> int:
        """How many rows it asks for; 0 where it asks for something else."""
        return int(self.content["inputs"][0]["shape"][0]) if self.path.endswith("/infer") else 0


@dataclass(frozen=True)
class Says:
    """What a small server answers: `content` as JSON, or as it is where it is bytes. It may say part of it, or late."""

    content: Any = None  # JSON, or bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs_up_after: int | None = None  # bytes
    seconds_a_byte: float = 0.0

    @property
    def body(self) -> bytes:
        """The bytes of the answer."""
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


@dataclass(frozen=True)
class SmallServer:
    """A running server: its address, and what it was asked."""

    url: str
    asked: list[Asked]

    @property
    def inferences(self) -> list[Asked]:
        """The requests for answers alone."""
        return [a for a in self.asked if a.rows]


METADATA = {"name": "net", "versions": ["1"], "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]}


def scores(asked: Asked) -> Says:
    """Three scores for rows of features a and b: a, b and a - b."""
    given = asked.content["inputs"][0]
    x = np.array(given["data"], np.float64).reshape(given["shape"][0], -1)
    out = np.stack([x[:, 0], x[:, 1], x[:, 0] - x[:, 1]], 1)
    return Says(
        {"outputs": [{"name": "scores", "datatype": "FP64", "shape": list(out.shape), "data": out.ravel().tolist()}]}
    )


def usual(asked: Asked, metadata: Mapping[str, Any]) -> Says:
    """What a server of the model `net` answers."""
    if asked.rows:
        return scores(asked)
    known = {"/v2/health/ready": {}, "/v2/models/net": {**METADATA, **metadata}}
    return Says(known[asked.path]) if asked.path in known else Says({"error": f"no {asked.path}"}, 404)


@pytest.fixture
def says() -> type[Says]:
    """What a small server may answer."""
    return Says


@pytest.fixture
def serve() -> Iterator[Callable[..., SmallServer]]:
    """Starts small servers of a model `net`: three scores of two features.

    `first` may answer any request, `infer` those for answers; where they give None, the server answers as usual. The
    folder `certificate` holds cert.pem and key.pem of a server that speaks TLS.
    """
    started: list[ThreadingHTTPServer] = []

    def start(
        infer: Callable[[Asked], Says | None] = lambda _: None,
        *,
        first: Callable[[Asked], Says | None] = lambda _: None,
        metadata: Mapping[str, Any] = {},
        certificate: Path | None = None,
    ) -> SmallServer:
        def answer(asked: Asked) -> Says:
            return first(asked) or (infer(asked) if asked.rows else None) or usual(asked, metadata)

        log: list[Asked] = []
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(answer, log))
        server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        started.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return SmallServer(f"{'https://localhost' if certificate else 'http://127.0.0.1'}:{server.server_port}", log)

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def _handler(answer: Callable[[Asked], Says], log: list[Asked]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer's head and body travel together

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {k.lower(): v for k, v in self.headers.items()}
            log.append(
                Asked(self.command, self.path, headers, self.client_address[1], json.loads(body) if body else None)
            )
            self._say(answer(log[-1]))

        do_POST = do_GET

        def _say(self, said: Says) -> None:
            self.send_response(said.status)
            for name, value in {"content-length": str(len(said.body)), **said.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self._body(said)
            except OSError:  # the asker has left
                self.close_connection = True

        def _body(self, said: Says) -> None:
            if said.seconds_a_byte:
                for byte in said.body:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(said.seconds_a_byte)
                return
            self.wfile.write(said.body[: said.hangs_up_after])
            self.wfile.flush()
            self.close_connection = said.hangs_up_after is not None or said.headers.get("x-then") == "close"

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def opened() -> Callable[..., "BlackBoxSubject"]:
    """Opens the endpoint of a small server's model `net`, or of an address, for rows of a shape and named classes."""
    from auditor.record import DatasetRecord
    from auditor.subjects.answering import BlackBoxSubject
    from auditor.subjects.endpoint.opening import open_endpoint
    from auditor.subjects.spec import Load

    def open_it(
        server: SmallServer | str,
        *,
        shape: tuple[int, ...] = (2,),
        classes: tuple[str, ...] = ("cat", "dog", "eel"),
        **options: Any,
    ) -> BlackBoxSubject:
        url = server if isinstance(server, str) else f"{server.url}/v2/models/net"
        rows = {"train": 1, "test": 1}
        facts = DatasetRecord(
            id="d", sha256="0" * 64, rows=rows, shape=shape, classes=classes, range=(0, 1), licence="MIT"
        )
        spec = Load(format="endpoint", url=url, **{"timeout": 5.0, "retries": 0, **options})
        return BlackBoxSubject(open_endpoint(spec, None, facts), classes=len(classes), shape=shape)

    return open_it
