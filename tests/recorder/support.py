"""A recorder in its own process, and raw HTTP/1.1 peers that keep every byte."""

from __future__ import annotations

import json
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from captures.model import Exchange, Message
from captures.reader import CaptureReader

# The front door's part in small, so that the room is tested by itself. The first argument is a
# limit for the size of any file (0: none), which makes a full disk without being root.
FRONT = """
import resource, sys
from captures.errors import HookreelError
from recorder.cli import ca, record
limit = int(sys.argv[1])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    {"record": record, "ca": ca}[sys.argv[2]].main(args=sys.argv[3:], prog_name="hookreel")
except HookreelError as error:
    print(f"Error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
"""
CHECKOUT = Path(__file__).parents[2]
WAIT_S = 30.0


def run_command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs one command of the room to its end."""
    return subprocess.run(
        [sys.executable, "-c", FRONT, "0", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=CHECKOUT,
        timeout=WAIT_S,
    )


class Recorder:
    """``record`` in a subprocess, after the statements in ``prelude``; ``port`` is where it listens."""

    def __init__(
        self, output: Path, confdir: Path, options: Sequence[str], *, size_limit: int = 0, prelude: str = ""
    ) -> None:
        self.output = output
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", prelude + FRONT, str(size_limit), "record", "--json"),
                *("--listen", "127.0.0.1:0", "--confdir", str(confdir), "-o", str(output)),
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=CHECKOUT,
        )
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        if not ready:
            pytest.fail(f"the recorder did not start: {self.process.communicate()[1]}")
        self.ready = json.loads(ready)
        self.port = int(self.ready["listening"].rsplit(":", 1)[1])
        self.account: dict[str, object] = {}
        self.stderr = ""

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends the recording; the exit code. ``account`` and ``stderr`` are there afterwards."""
        self.process.send_signal(number)
        return self.wait()

    def next_note(self) -> str:
        """Waits for the next sentence meant for the user; ``stderr`` will not have it."""
        assert self.process.stderr is not None
        return self.process.stderr.readline().rstrip("\n")

    def wait(self) -> int:
        """Waits for the end."""
        stdout, self.stderr = self.process.communicate(timeout=WAIT_S)
        if stdout.strip():
            self.account = json.loads(stdout)
        return self.process.returncode

    def end(self) -> None:
        """Whatever the test did, no process stays."""
        if self.process.poll() is None:
            self.process.kill()
        with suppress(ValueError):  # the pipes were closed by wait
            self.process.communicate(timeout=WAIT_S)


@dataclass
class Capture:
    """A capture, read whole."""

    exchanges: list[Exchange]
    messages: list[Message]
    counters: dict[str, int]
    complete: bool
    problems: tuple[str, ...]

    def at(self, target: str) -> Exchange:
        """The one exchange for ``target``."""
        (found,) = [item for item in self.exchanges if item.request.target == target.encode()]
        return found


def read_capture(path: Path) -> Capture:
    """Everything that is in the file."""
    with CaptureReader.open(path) as reader:
        names = ("seen", "written", "sampled_out", "truncated", "dropped", "in_flight")
        return Capture(
            exchanges=list(reader.exchanges()),
            messages=list(reader.messages()),
            counters={name: getattr(reader.counters, name) for name in names},
            complete=reader.complete,
            problems=reader.problems,
        )


@dataclass
class Seen:
    """One request as the server's socket had it: the head's bytes with their blank line, the body's."""

    head: bytes
    body: bytes
    connection: int
    trailers: bytes = b""

    @property
    def target(self) -> str:
        """The request target."""
        return self.head.split(b" ", 2)[1].decode("latin-1")


@dataclass
class RawServer:
    """
    An HTTP/1.1 server that keeps the bytes it reads and answers with the bytes it is told.

    ``answers`` maps a path to the chunks to send, or to a function that takes the connection
    and does it; ``default`` answers the rest. A chunk of None closes the connection, "reset"
    resets it. With a ``script`` the requests are answered from it, in the order they come.
    """

    answers: dict[str, object] = field(default_factory=dict)
    default: tuple[object, ...] = (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",)
    script: list[tuple[object, ...]] | None = None
    seen: list[Seen] = field(default_factory=list)
    port: int = 0
    connections: int = 0
    _server: socketserver.ThreadingTCPServer | None = None

    def start(self) -> None:
        """Listens on any free port of 127.0.0.1."""
        owner = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                number = owner.connections
                owner.connections += 1
                with suppress(OSError):
                    while owner.serve_one(self.rfile, self.connection, number):
                        pass

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Stops listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def serve_one(self, source, connection: socket.socket, number: int) -> bool:
        """Reads one request and answers it; False when the connection is done."""
        head = read_head(source)
        if not head:
            return False
        body, trailers = read_body(source, head)
        seen = Seen(head=head, body=body, connection=number, trailers=trailers)
        self.seen.append(seen)
        answer = self.answers.get(seen.target.split("?")[0], self.default)
        if self.script is not None:
            answer = self.script[len(self.seen) - 1]
        if callable(answer):
            answer(connection, source)
            return False
        for chunk in answer:
            if chunk is None:
                return False
            if chunk == "reset":
                # SO_LINGER with 0 s: close sends RST.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                connection.close()
                return False
            connection.sendall(chunk)
        return True

    def at(self, target: str) -> Seen:
        """The one request that was seen for ``target``."""
        (found,) = [item for item in self.seen if item.target == target]
        return found


def read_head(source) -> bytes:
    """The bytes up to and with the blank line; empty at the connection's end."""
    lines = []
    while line := source.readline():
        lines.append(line)
        if line in {b"\r\n", b"\n"}:
            return b"".join(lines)
    return b""


def header_values(head: bytes, name: bytes) -> list[bytes]:
    """Values of a header in a raw head, by any case of its name."""
    pairs = (line.split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    return [pair[1].strip() for pair in pairs if pair[0].lower() == name]


def raw_pairs(head: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The header list of a raw head."""
    pairs = (line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
    return tuple((pair[0], pair[1]) for pair in pairs)


def read_body(source, head: bytes) -> tuple[bytes, bytes]:
    """A message's body, its transfer coding removed, and its trailers as they stood."""
    if header_values(head, b"transfer-encoding"):
        body = b""
        while size := int(source.readline().split(b";")[0], 16):
            body += source.read(size)
            source.readline()
        return body, read_head(source).removesuffix(b"\r\n")
    lengths = header_values(head, b"content-length")
    return (source.read(int(lengths[0])) if lengths else b""), b""


@dataclass
class Answer:
    """One response as a client's socket had it."""

    head: bytes
    body: bytes
    trailers: bytes = b""

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.head.split(b" ", 2)[1])


class RawClient:
    """A keep-alive connection that sends bytes as given and reads one answer at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self.source = self.socket.makefile("rb")

    def call(self, request: bytes) -> Answer:
        """Sends one whole request, reads its answer."""
        self.socket.sendall(request)
        return self.answer(no_body=request.startswith(b"HEAD "))

    def answer(self, *, no_body: bool = False) -> Answer:
        """Reads one answer."""
        head = read_head(self.source)
        if not head:
            return Answer(head=b"HTTP/1.1 0 closed\r\n\r\n", body=b"")
        status = int(head.split(b" ", 2)[1])
        if no_body or 100 <= status < 200 or status in {204, 304}:
            return Answer(head=head, body=b"")
        if header_values(head, b"content-length") or header_values(head, b"transfer-encoding"):
            body, trailers = read_body(self.source, head)
            return Answer(head=head, body=body, trailers=trailers)
        return Answer(head=head, body=self.source.read())

    def close(self) -> None:
        """Closes the connection."""
        self.source.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
