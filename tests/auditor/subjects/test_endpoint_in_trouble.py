"""An endpoint that stalls, dies, is busy, wants a token or cannot be trusted: small real servers, and a whole audit."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.auditing import Options, run
from auditor.config import load_audit
from auditor.errors import ConfigError, ModelError
from auditor.subjects.endpoint.opening import fingerprint
from auditor.subjects.spec import Load

X = np.random.default_rng(5).random((40, 2), np.float32)
EXPECTED = np.stack([X[:, 0], X[:, 1], X[:, 0] - X[:, 1]], 1)
ANSWER = {"outputs": [{"name": "scores", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
TOKEN = "t0ken-of-nobody"
SELF_SIGNED = (
    "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost "
    "-keyout key.pem -out cert.pem"
)
AUDIT = """\
schema: auditor/audit/1
name: served
seed: 7
profile: nothing.yaml
data: {source: wine}
subjects:
  - {id: served, load: {format: endpoint, url: URL, retries: 0}}
probes:
  accuracy:
  evasion.linf: {samples: 20, queries: 50}
policy: policy.yaml
"""
Serve = Callable[..., Any]  # gives a SmallServer; its class and Says live in conftest.py
Opened = Callable[..., Any]  # gives a BlackBoxSubject


def free_address() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{s.getsockname()[1]}/v2/models/net"


def test_one_connection_is_kept_for_all_requests(serve: Serve, opened: Opened) -> None:
    server = serve()
    served = opened(server)
    for row in range(5):
        served.predict(X[row : row + 1])
    assert len(server.asked) == 7
    assert len({a.port for a in server.asked}) == 1


def test_a_connection_that_the_server_closed_meanwhile_is_opened_again(serve: Serve, says: Any, opened: Opened) -> None:
    server = serve(first=lambda a: says({}, headers={"x-then": "close"}) if a.path.endswith("ready") else None)
    assert opened(server).predict(X) == pytest.approx(EXPECTED, abs=1e-7)


def test_nobody_at_the_address_is_said_with_what_was_tried(opened: Opened) -> None:
    address = free_address()
    said = r"could not be reached after 2 attempts over 0\.[2-5] s: connection refused; is the server running"
    with pytest.raises(ModelError, match=said):
        opened(address, retries=1)
    with pytest.raises(ModelError, match="could not be reached in one attempt: connection refused"):
        fingerprint(Load(format="endpoint", url=address, retries=0), X[:4])


def test_the_seconds_of_a_stall_count_as_tried(serve: Serve, says: Any, opened: Opened) -> None:
    served = opened(serve(lambda _: says(ANSWER, seconds_a_byte=0.1)), timeout=0.4, retries=1)
    with pytest.raises(ModelError, match=r"after 2 attempts over 1\.[0-3] s: no whole answer within 0.4 s"):
        served.predict(X[:1])


@pytest.mark.parametrize("late", [{"seconds_a_byte": 0.1}, {"headers": {"content-length": "9999"}}])
def test_a_server_that_stalls_ends_by_the_timeout(
    serve: Serve, says: Any, late: dict[str, Any], opened: Opened
) -> None:
    served = opened(serve(lambda _: says(ANSWER, **late)), timeout=0.4)
    begun = time.monotonic()
    with pytest.raises(ModelError, match=r"in one attempt: no whole answer within 0.4 s"):
        served.predict(X[:1])
    assert 0.3 < time.monotonic() - begun < 4


def test_a_server_that_dies_in_the_middle_of_an_answer_is_no_answer(serve: Serve, says: Any, opened: Opened) -> None:
    server = serve(lambda _: says(ANSWER, hangs_up_after=20))
    with pytest.raises(
        ModelError, match=r"could not be reached after 2 attempts .* s: the connection ended in the middle of an answer"
    ):
        opened(server, retries=1).predict(X[:1])
    assert len(server.inferences) == 2


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_asked_again(serve: Serve, says: Any, status: int, opened: Opened) -> None:
    server = serve(lambda _: says({"error": "busy"}, status) if len(server.inferences) < 2 else None)
    assert opened(server, retries=1).predict(X[:3]) == pytest.approx(EXPECTED[:3], abs=1e-7)
    assert len(server.inferences) == 2
    assert 0.2 < server.inferences[1].at - server.inferences[0].at < 3


@pytest.mark.parametrize("status", [400, 404, 422, 500, 501])
def test_a_refusal_is_not_asked_again_and_the_servers_words_are_shown(
    serve: Serve, says: Any, status: int, opened: Opened
) -> None:
    server = serve(lambda _: says({"error": "no such rows"}, status))
    with pytest.raises(ModelError, match=f"was answered with status {status}: no such rows"):
        opened(server, retries=3).predict(X)
    assert len(server.inferences) == 1


@pytest.mark.parametrize("as_date", [False, True])
def test_a_server_that_says_how_long_to_wait_is_given_that_time(
    serve: Serve, says: Any, as_date: bool, opened: Opened
) -> None:
    def infer(_: Any) -> Any:
        if len(server.inferences) > 1:
            return None
        then = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        return says({}, 429, headers={"retry-after": then if as_date else "1"})

    server = serve(infer)
    opened(server, retries=1).predict(X)
    assert 0.95 < server.inferences[1].at - server.inferences[0].at < 5


def test_a_server_that_wants_an_hour_of_waiting_is_not_waited_for(serve: Serve, says: Any, opened: Opened) -> None:
    server = serve(lambda _: says({}, 429, headers={"retry-after": "3600"}))
    with pytest.raises(ModelError, match="asks to wait 3600 s before the next request; audit it later"):
        opened(server, retries=3).predict(X)


def test_a_server_that_stays_busy_says_what_to_do(serve: Serve, says: Any, opened: Opened) -> None:
    with pytest.raises(ModelError, match=r"answers status 429 in one attempt: slow down; set load.rate"):
        opened(serve(lambda _: says({"error": "slow down"}, 429))).predict(X)
    with pytest.raises(ModelError, match="answers status 503 in one attempt: nothing; is the server ready"):
        opened(serve(first=lambda _: says(b"", 503)))


def test_two_processes_keep_the_rate_together(serve: Serve) -> None:
    server = serve()
    code = (
        "import sys; from auditor.subjects.spec import Load; from auditor.subjects.endpoint.remote import Remote\n"
        "remote = Remote(sys.argv[1], Load(format='endpoint', url=sys.argv[1], rate=20))\n"
        "for _ in range(10): remote.ask('GET', '/v2/health/ready')"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, server.url]) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    at = np.array(sorted(a.at for a in server.asked))
    assert len(at) == 20
    assert at[-1] - at[0] > 19 / 20 - 0.05  # alone each would have taken 9 / 20
    assert max(int(((at >= t) & (at < t + 0.5)).sum()) for t in at) <= 12  # 10 a half second, give or take the clock


def test_a_token_travels_and_is_never_said(
    serve: Serve, says: Any, monkeypatch: pytest.MonkeyPatch, opened: Opened
) -> None:
    monkeypatch.setenv("MODEL_TOKEN", TOKEN)

    def repeats(asked: Any) -> Any:
        content = {"error": f"got {asked.headers['authorization']}"}
        return says(content, {1: 400, 2: 503, 3: 200}[asked.rows])

    server = serve(repeats)
    served = opened(server, token_env="MODEL_TOKEN")
    for rows in (1, 2, 3):
        with pytest.raises(ModelError, match=r"got Bearer \*\*\*") as caught:
            served.predict(X[:rows])
        assert TOKEN not in str(caught.value)
    assert {a.headers.get("authorization") for a in server.asked} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_wants_a_token_says_so(
    serve: Serve, says: Any, status: int, monkeypatch: pytest.MonkeyPatch, opened: Opened
) -> None:
    server = serve(first=lambda _: says({}, status))
    with pytest.raises(ModelError, match="wants a bearer token; name its variable in token_env"):
        opened(server)
    monkeypatch.setenv("MODEL_TOKEN", TOKEN)
    with pytest.raises(ModelError, match="is the token in MODEL_TOKEN right"):
        opened(server, token_env="MODEL_TOKEN")


@pytest.mark.parametrize(("value", "said"), [(None, "is not set"), (" ", "is not set"), ("a\nb-se", "no token can")])
def test_a_token_that_cannot_be_sent_is_an_error_that_does_not_show_it(
    value: str | None, said: str, monkeypatch: pytest.MonkeyPatch, opened: Opened
) -> None:
    if value is not None:
        monkeypatch.setenv("MODEL_TOKEN", value)
    with pytest.raises(ConfigError, match=f"load.token_env: the environment variable MODEL_TOKEN .*{said}") as caught:
        opened(free_address(), token_env="MODEL_TOKEN")
    assert "b-se" not in str(caught.value)


def test_a_model_that_moved_is_not_followed_with_the_token(serve: Serve, says: Any, opened: Opened) -> None:
    server = serve(first=lambda _: says(b"", 301, headers={"location": "http://elsewhere/"}))
    with pytest.raises(ModelError, match="status 301: it has moved to http://elsewhere/; give that address"):
        opened(server)


def test_a_certificate_that_nobody_signed_is_not_trusted_unless_its_file_is_named(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Opened
) -> None:
    subprocess.run(["openssl", *SELF_SIGNED.split()], cwd=tmp_path, check=True, capture_output=True)
    server = serve(certificate=tmp_path)
    with pytest.raises(ModelError, match=r"certificate cannot be trusted: self.signed certificate; add the authority"):
        opened(server, retries=3)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    assert opened(server).predict(X) == pytest.approx(EXPECTED, abs=1e-7)


def test_an_endpoint_that_dies_half_way_costs_the_audit_one_result_until_it_is_back(
    serve: Serve, says: Any, write_audit: Any, tmp_path: Path
) -> None:
    alive = [12]  # requests for answers

    def infer(_: Any) -> Any:
        alive[0] -= 1
        return None if alive[0] >= 0 else says({}, hangs_up_after=0)

    server = serve(infer, metadata={"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 13]}]})
    path = write_audit()
    path.write_text(AUDIT.replace("URL", f'"{server.url}/v2/models/net"'))

    def ran(out: str) -> dict[str, tuple[str, str | None]]:
        options = Options(store=tmp_path / "store", out=tmp_path / out, inline=True, formats=())
        return {r.probe: (r.outcome, r.reason) for r in run(load_audit(path), options).facts.record.results}

    first = ran("first")
    assert first["accuracy"] == ("completed", None)
    assert first["evasion.linf"][0] == "errored"
    assert "could not be reached in one attempt" in str(first["evasion.linf"][1])
    alive[0] = 10**6
    assert ran("second") == {"accuracy": ("completed", None), "evasion.linf": ("completed", None)}
