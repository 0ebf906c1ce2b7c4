"""Asks a server over HTTP: one kept connection, a limit of time, retries, a rate, and a token that no message shows."""

import io
import itertools
import os
import random
import socket
import ssl
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import BadStatusLine, HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Any
from urllib.parse import urlsplit

from auditor.errors import AuditorError, ConfigError, ModelError
from auditor.subjects.endpoint.protocol import words
from auditor.subjects.endpoint.turns import Turns
from auditor.subjects.spec import Load

RETRIED = frozenset({429, 502, 503, 504})
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # seconds
MOST_BYTES = 1 << 28
# What a kept connection says when the server has closed it meanwhile.
STALE = (BadStatusLine, ConnectionResetError, BrokenPipeError)


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class _Timed(io.RawIOBase):
    """The bytes of an answer until a time: a server that sends a byte now and then stalls too."""

    def __init__(self, inner: socket.SocketIO, sock: socket.socket, ends: float) -> None:
        super().__init__()
        self._inner, self._sock, self._ends = inner, sock, ends

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # whatever can be written into
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._inner.readinto(buffer)

    def close(self) -> None:
        self._inner.close()
        super().close()


class _Response(HTTPResponse):
    """An answer that must be whole before the time that its socket has left is over."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # as http.client calls it
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        ends = time.monotonic() + (sock.gettimeout() or 0)
        self.fp = io.BufferedReader(_Timed(sock.makefile("rb", buffering=0), sock, ends))


class Remote:
    """A server under a base address, asked as the load section says.

    A request is tried again, after a wait that doubles, when no connection or whole answer came, and on the statuses
    429, 502, 503 and 504, where the server may itself say how long to wait. Any other status is an answer. Raises
    ModelError when no try is left, and ConfigError where the token's variable is missing. Blind spots: looking up a
    host's name has no limit of time, and proxies that the environment names are not used.
    """

    def __init__(self, base: str, spec: Load) -> None:
        parts = urlsplit(base)
        assert parts.hostname, "the spec asks for one"
        self.base = base
        self._prefix = parts.path
        self._timeout, self._retries = spec.timeout, spec.retries
        self._token_env, self._token = spec.token_env, _token(spec.token_env)
        self._turns = Turns(base, spec.rate)
        self._jitter = random.Random(base)  # noqa: S311  # it only spreads retries
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=spec.timeout)
        self._connection.response_class = _Response
        weakref.finalize(self, self._connection.close)

    def ask(self, method: str, path: str, body: bytes | None = None) -> Reply:
        """What the server answers at last."""
        tried_for = 0.0
        for attempt in itertools.count():
            self._turns.wait()
            began = time.monotonic()
            outcome = self._attempt(method, path, body)
            if isinstance(outcome, Reply) and outcome.status not in RETRIED:
                return outcome
            tried_for += time.monotonic() - began
            if attempt == self._retries:
                raise ModelError(self._unanswered(outcome, tried_for))
            pause = self._pause(outcome, attempt)
            time.sleep(pause)
            tried_for += pause
        raise AssertionError("counting has no end")

    def refused(self, reply: Reply, what: str) -> ModelError:
        """The error for a status that is no answer to what was asked."""
        told = f"{self.base}: {what} was answered with status {reply.status}"
        if reply.status in (401, 403):
            held = f"is the token in {self._token_env} right?" if self._token_env else "name its variable in token_env"
            return ModelError(f"{told}: the server wants a bearer token; {held}")
        if 300 <= reply.status < 400:
            return ModelError(f"{told}: it has moved to {reply.headers.get('location', 'nowhere')}; give that address")
        return ModelError(f"{told}: {words(reply.body)}")

    @contextmanager
    def hiding(self) -> Iterator[None]:
        """Errors in which a server repeats the token are raised without it."""
        try:
            yield
        except AuditorError as error:
            if self._token and self._token in str(error):
                raise ModelError(str(error).replace(self._token, "***")) from None
            raise

    def _attempt(self, method: str, path: str, body: bytes | None) -> Reply | str:
        """One try: the answer, or why there is none."""
        try:
            if self._connection.sock is not None:
                try:
                    return self._exchange(method, path, body)
                except STALE:
                    self._connection.close()
            return self._exchange(method, path, body)
        except ssl.SSLCertVerificationError as error:
            self._connection.close()
            raise ModelError(
                f"{self.base}: the server's certificate cannot be trusted: {error.verify_message}; add the authority "
                "to the system's, or name its file in SSL_CERT_FILE"
            ) from None
        except (OSError, HTTPException, UnicodeError) as error:
            self._connection.close()
            return self._said(error)

    def _exchange(self, method: str, path: str, body: bytes | None) -> Reply:
        ends = time.monotonic() + self._timeout
        if self._connection.sock is None:
            self._connection.connect()
        self._limit(ends)
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if body is not None else {})
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        self._connection.request(method, self._prefix + path, body, headers)
        self._limit(ends)
        with self._connection.getresponse() as response:
            content = response.read(MOST_BYTES + 1)
            if len(content) > MOST_BYTES:
                self._connection.close()
                raise ModelError(f"{self.base} answers more than {MOST_BYTES >> 20} MiB; is this the right address?")
            if response.length:  # bytes that were promised: a read up to a size does not miss them
                raise IncompleteRead(content, response.length)
            if self._token and response.status != 200:  # an error may show these words, or the first of them
                content = content.replace(self._token.encode(), b"***")
            return Reply(response.status, content, {k.lower(): v for k, v in response.getheaders()})

    def _limit(self, ends: float) -> None:
        left = ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.sock.settimeout(left)

    def _said(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no whole answer within {self._timeout:g} s"
        if isinstance(error, OSError) and error.strerror:
            return error.strerror.lower()
        if isinstance(error, IncompleteRead):
            return "the connection ended in the middle of an answer"
        return f"{type(error).__name__}: {error}"

    def _pause(self, outcome: Reply | str, attempt: int) -> float:
        """Seconds until the next try: what the server asks for, or twice the last, less up to half to part workers."""
        asked = _retry_after(outcome.headers.get("retry-after")) if isinstance(outcome, Reply) else None
        if asked is not None and asked > LONGEST_WAIT:
            raise ModelError(
                f"{self.base} asks to wait {asked:.0f} s before the next request; audit it later, or set load.rate"
            )
        usual = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * self._jitter.uniform(0.5, 1.0)
        return usual if asked is None else asked

    def _unanswered(self, outcome: Reply | str, tried_for: float) -> str:
        tries = f"after {self._retries + 1} attempts over {tried_for:.1f} s" if self._retries else "in one attempt"
        if isinstance(outcome, str):
            return f"{self.base} could not be reached {tries}: {outcome}; is the server running, and the address right?"
        todo = "set load.rate to what it allows" if outcome.status == 429 else "is the server ready?"
        return f"{self.base} answers status {outcome.status} {tries}: {words(outcome.body)}; {todo}"


def _token(variable: str | None) -> str | None:
    """The token in a variable of the environment."""
    if variable is None:
        return None
    token = os.environ.get(variable, "").strip()
    if not token:
        raise ConfigError(f"load.token_env: the environment variable {variable} is not set; put the token there")
    if not (token.isascii() and token.isprintable()):
        raise ConfigError(f"load.token_env: the environment variable {variable} holds what no token can; set it again")
    return token


def _retry_after(value: str | None) -> float | None:
    """Seconds that a server asks to wait, which it may write as a number or as a date."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
