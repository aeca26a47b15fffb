"""A raw HTTP/1.1 server that keeps every byte it was sent, and captures made to order."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from captures.errors import HookreelError
from captures.http1 import Http1Error, ParsedRequest, RequestParser
from captures.model import Exchange, Failure, Headers, Request, Response, SigningRecipe
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header
from replayer.cli import replay as replay_command
from replayer.load import Load
from replayer.options import ReplayOptions
from replayer.replay import Replayed
from replayer.replay import replay as run_replay
from replayer.targets import parse_target

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Seen:
    """One request as the server saw it."""

    connection: int
    at_ns: int
    raw: bytes
    request: ParsedRequest


@dataclass
class Answer:
    """What the server does about a request: send parts, and close if it says so."""

    parts: Sequence[bytes] = (OK,)
    close: bool = False
    hold: threading.Event | None = None  # wait for it before anything is sent


@dataclass
class RawServer:
    """Keeps what it was sent; ``respond`` says what it answers."""

    respond: Callable[[Seen], Answer] = lambda _seen: Answer()
    tls: ssl.SSLContext | None = None
    seen: list[Seen] = field(default_factory=list)
    server_names: list[str | None] = field(default_factory=list)
    connections: int = 0
    family: int = socket.AF_INET

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def by_connection(self) -> dict[int, list[Seen]]:
        grouped: dict[int, list[Seen]] = {}
        for one in self.seen:
            grouped.setdefault(one.connection, []).append(one)
        return grouped

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError as error:
                if error.errno == errno.EMFILE:  # a test took all descriptors for a moment
                    continue
                return
            with self._lock:
                number, self.connections = self.connections, self.connections + 1
                self._sockets.add(client)
            thread = threading.Thread(target=self._serve, args=(client, number), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket, number: int) -> None:
        raw = client
        try:
            if self.tls is not None:
                client = self.tls.wrap_socket(client, server_side=True)
                with self._lock:
                    self._sockets.add(client)
                    self._sockets.discard(raw)
            self._answer(client, number)
        except (OSError, Http1Error):
            pass
        finally:
            with self._lock:
                self._sockets.discard(client)
                self._sockets.discard(raw)
            client.close()
            raw.close()

    def _answer(self, client: socket.socket, number: int) -> None:
        parser, raw = RequestParser(), b""
        while data := client.recv(65_536):
            at_ns = time.monotonic_ns()
            raw += data
            for request in parser.feed(data):
                one = Seen(connection=number, at_ns=at_ns, raw=raw, request=request)
                raw = b""
                with self._lock:
                    self.seen.append(one)
                answer = self.respond(one)
                if answer.hold is not None:
                    answer.hold.wait(20)
                for part in answer.parts:
                    client.sendall(part)
                if answer.close:
                    return


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    """Start raw servers; they are closed after the test."""
    started: list[RawServer] = []

    def start(respond: Callable[[Seen], Answer] | None = None, **options: Any) -> RawServer:
        server = RawServer(**({"respond": respond} if respond else {}), **options)
        started.append(server)
        return server

    yield start
    for server in started:
        server.close()


@pytest.fixture
def answer() -> type[Answer]:
    """What a server answers."""
    return Answer


def make_exchange(
    seq: int = 0,
    *,
    offset_ns: int | None = None,
    connection: int = 0,
    method: bytes = b"GET",
    target: bytes = b"/",
    headers: Headers | None = None,
    body: bytes = b"",
    status: int = 200,
    http_version: bytes = b"HTTP/1.1",
    authority: bytes = b"recorded.test",
    trailers: Headers = (),
    signing: SigningRecipe | None = None,
    stream_ns: int | None = None,
    failure: Failure | None = None,
    truncated_bytes: int = 0,
) -> Exchange:
    """An exchange with everything but the named parts made up."""
    offset_ns = seq * 1_000_000 if offset_ns is None else offset_ns
    if headers is None:
        headers = ((b"Host", authority),)
        headers += ((b"Content-Length", b"%d" % len(body)),) if body else ()
    response = Response(
        status=status,
        reason=b"OK",
        http_version=http_version,
        headers=(),
        offset_ns=offset_ns + 1000,
        end_ns=offset_ns + (2000 if stream_ns is None else stream_ns),
        stream=stream_ns is not None,
    )
    return Exchange(
        seq=seq,
        offset_ns=offset_ns,
        request_end_ns=offset_ns,
        connection=connection,
        request=Request(
            method=method,
            scheme=b"http",
            authority=authority,
            target=target,
            http_version=http_version,
            headers=headers,
            body=body,
            trailers=trailers,
            truncated_bytes=truncated_bytes,
        ),
        outcome=failure or response,
        signing=signing,
    )


@pytest.fixture
def exchange() -> Callable[..., Exchange]:
    """Make an exchange."""
    return make_exchange


@pytest.fixture
def capture(tmp_path: Path) -> Callable[..., Path]:
    """Write exchanges into a new capture and give its path."""
    made = 0

    def write(exchanges: Sequence[Exchange], **header: Any) -> Path:
        nonlocal made
        made += 1
        path = tmp_path / f"capture{made}.reel"
        fresh = new_header(source="made for a test", started_wall_ns=1_700_000_000 * 10**9)
        with CaptureWriter.create(path, replace(fresh, **header)) as writer:
            for one in exchanges:
                writer.write(one)
        return path

    return write


@pytest.fixture
def send(capture: Callable[..., Path]) -> Callable[..., Replayed]:
    """Replay exchanges, or a capture's path, against a URL."""

    def go(
        exchanges: Sequence[Exchange] | Path,
        url: str,
        speed: str = "1",
        timeout_s: float = 10,
        **options: Any,
    ) -> Replayed:
        path = exchanges if isinstance(exchanges, Path) else capture(exchanges)
        filled = ReplayOptions(
            **{
                "target": parse_target(url),
                "load": Load(multiplier=Fraction(speed)),
                "tls": None,
                "timeout_ns": int(timeout_s * 1e9),
                **options,
            }
        )
        with CaptureReader.open(path) as reader:
            return run_replay(reader, filled)

    return go


@dataclass(frozen=True)
class Told:
    """What a command said."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@pytest.fixture
def command() -> Callable[..., Told]:
    """Run ``hookreel replay`` as the front door does: errors become a sentence and an exit code."""

    @click.group()
    def front() -> None:
        """Stand for the front door."""

    front.add_command(replay_command)

    def run(*arguments: object, **environment: str) -> Told:
        result = CliRunner().invoke(front, ["replay", *map(str, arguments)], env=environment)
        if isinstance(result.exception, HookreelError):
            error = f"{result.stderr}Error: {result.exception}\n"
            return Told(result.exception.exit_code, result.stdout, error)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Told(result.exit_code, result.stdout, result.stderr)

    return run
