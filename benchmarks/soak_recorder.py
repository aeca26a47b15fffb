"""
An hour of traffic in a few minutes: does the recorder's memory stay flat, is its account exact?

    python benchmarks/soak_recorder.py [--exchanges 200000] [--websockets 100] [--workers 1]

A server in a process of its own counts every request and WebSocket message it serves. Clients on
keep-alive connections, which are opened anew every 500 requests, call it through a recorder as fast
as that lets them: webhook POSTs of 0.2 to 10 kB, reads of 1 kB, now and then 64 kB, a 404 or an SSE
stream. The WebSockets stay open from before the first request until after the last one, and carry
messages (Phoenix channels, as Supabase Realtime speaks them) in both directions all the time.

The recorder's memory (proportional set size, proxy and writer) is printed as it goes. Then the
recording is ended and the file compared with the server's own count. Exit 1 when memory grew by
more than 50 MB from before the first request to its highest, or when a single exchange or message is
missing or too many.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[1]))

from captures.model import MessageKind
from captures.reader import CaptureReader
from captures.units import MIB, format_size
from tests.recorder.support import Recorder

MOST_GROWTH_BYTES = 50_000_000
CONNECTIONS = 16
CALLS_PER_CONNECTION = 500
MESSAGE_PERIOD_S = 0.25
SAMPLES = 20  # rows of the table
EVENTS = 5  # of an SSE stream
_READ = json.dumps({"id": "run", "status": "completed", "steps": ["s" * 40] * 22}).encode()
_LARGE = b"x" * 64 * 1024


# -- the server, a process of its own ----------------------------------------------------------


@dataclass
class Counts:
    """What one side saw: requests, WebSocket messages from and to clients, SSE events."""

    requests: int = 0
    from_clients: int = 0
    to_clients: int = 0
    events: int = 0
    paths: dict[str, int] = field(default_factory=dict)


class Server:
    """Answers, and counts what it answers."""

    def __init__(self) -> None:
        self.counts = Counts()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Every request; ``/counts`` is asked without the recorder and not counted."""
        path = request.path
        if path == "/counts":
            return web.json_response(self.counts.__dict__)
        self.counts.requests += 1
        kind = path.split("/")[1]
        self.counts.paths[kind] = self.counts.paths.get(kind, 0) + 1
        if kind == "hooks":
            await request.read()
            return web.Response(status=202, body=b'{"ok":true}', content_type="application/json")
        if kind == "runs":
            return web.Response(body=_READ, content_type="application/json")
        if kind == "large":
            return web.Response(body=_LARGE)
        if kind == "logs":
            return await self._events(request)
        if kind == "realtime":
            return await self._websocket(request)
        return web.Response(status=404)

    async def _events(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(EVENTS):
            await response.write(b"id: %d\ndata: step done\n\n" % number)
            self.counts.events += 1
        return response

    async def _websocket(self, request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            self.counts.from_clients += 1
            reference = json.loads(message.data)[1]
            reply = [None, reference, "realtime:runs", "phx_reply", {"status": "ok", "response": {}}]
            await socket.send_str(json.dumps(reply))
            self.counts.to_clients += 1
        return socket


async def serve() -> None:
    """Listens on any port, prints it, and goes on until the process is ended."""
    runner = web.ServerRunner(web.Server(Server().handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=512)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


@contextmanager
def server_process() -> Iterator[int]:
    """The server's port."""
    process = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


# -- the clients -------------------------------------------------------------------------------


class Clients:
    """Calls through the recorder and counts what was answered."""

    def __init__(self, port: int, exchanges: int) -> None:
        self.answered = 0
        self.wrong: list[str] = []
        self.counts = Counts()
        self._port = port
        self._left = exchanges
        self._over = asyncio.Event()

    async def run(self, websockets: int) -> None:
        """All calls, with the WebSockets open around them."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            ready = [asyncio.Event() for _ in range(websockets)]
            sockets = [asyncio.create_task(self._websocket(session, event)) for event in ready]
            await asyncio.gather(*(event.wait() for event in ready))
            await asyncio.gather(*(self._call(number) for number in range(CONNECTIONS)))
            self._over.set()
            await asyncio.gather(*sockets)

    async def _call(self, number: int) -> None:
        chance = random.Random(number)
        while self._left > 0:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=MIB)
            for _ in range(CALLS_PER_CONNECTION):
                if self._left <= 0:
                    break
                self._left -= 1
                await self._one(reader, writer, chance)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chance: random.Random
    ) -> None:
        drawn = chance.random()
        item = self.answered
        if drawn < 0.6:
            body = chance.randbytes(1000) * chance.randint(0, 4) + b"webhook " * chance.randint(25, 700)
            head = f"POST /hooks/{item} HTTP/1.1\r\nHost: app\r\nContent-Length: {len(body)}\r\n\r\n"
            wanted = 202
        else:
            body = b""
            path = "runs" if drawn < 0.97 else "large" if drawn < 0.98 else "logs" if drawn < 0.99 else "none"
            wanted = 404 if path == "none" else 200
            head = f"GET /{path}/{item} HTTP/1.1\r\nHost: app\r\n\r\n"
        writer.write(head.encode() + body)
        status = await read_answer(reader)
        self.answered += 1
        if status != wanted:
            self.wrong.append(f"{head.split(' HTTP', maxsplit=1)[0]} -> {status}")

    async def _websocket(self, session: aiohttp.ClientSession, ready: asyncio.Event) -> None:
        async with session.ws_connect(f"http://127.0.0.1:{self._port}/realtime/websocket") as socket:
            ready.set()
            reference = 0
            while not self._over.is_set():
                reference += 1
                await socket.send_str(json.dumps([None, str(reference), "phoenix", "heartbeat", {}]))
                self.counts.from_clients += 1
                await socket.receive_str()
                self.counts.to_clients += 1
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), MESSAGE_PERIOD_S)


async def read_answer(reader: asyncio.StreamReader) -> int:
    """Reads one whole answer; its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        while size := int((await reader.readline()).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    elif b"content-length: " in lowered:
        await reader.readexactly(int(lowered.split(b"content-length: ")[1].split(b"\r\n")[0]))
    return int(head.split(b" ", 2)[1])


# -- measuring ---------------------------------------------------------------------------------


def pss_bytes(pid: int) -> int:
    """
    A process's share of memory: the queue between proxy and writer lies in both, and counts once.

    Resident memory would count it, and all that the writer was forked with, twice.
    """
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024


@dataclass
class Memory:
    """Memory of a process and its children, by what had been answered; shared pages count once."""

    pid: int
    samples: list[tuple[float, int, int]] = field(default_factory=list)

    def now_bytes(self) -> int:
        """Memory at this moment."""
        total, pids = 0, [self.pid]
        while pids:
            pid = pids.pop()
            with suppress(OSError, ValueError):
                total += pss_bytes(pid)
                pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return total

    async def watch(self, clients: Clients, exchanges: int) -> None:
        """A sample a fifth of a second, a printed row a twentieth of the way."""
        started_s, printed = time.monotonic(), 0
        while True:
            at_s, answered = time.monotonic() - started_s, clients.answered
            self.samples.append((at_s, answered, self.now_bytes()))
            if answered * SAMPLES >= printed * exchanges:
                printed = answered * SAMPLES // exchanges + 1
                print(f"{at_s:7.1f}  {answered:9}  {self.samples[-1][2] / 1e6:8.1f}", flush=True)
            await asyncio.sleep(0.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """What a soak came to; ``differences`` is empty when the account is exact."""

    exchanges: int
    seconds: float
    idle_bytes: int
    warm_bytes: int
    highest_bytes: int
    last_bytes: int
    file_bytes: int
    messages: int
    differences: tuple[str, ...]

    @property
    def growth_bytes(self) -> int:
        """From before the first request to the highest."""
        return self.highest_bytes - self.idle_bytes


async def drive(recorder: Recorder, server_port: int, exchanges: int, websockets: int):
    """Runs the clients; them, the memory's samples and the server's counts."""
    memory = Memory(recorder.process.pid)
    idle_bytes = memory.now_bytes()
    clients = Clients(recorder.port, exchanges)
    watching = asyncio.create_task(memory.watch(clients, exchanges))
    await clients.run(websockets)
    watching.cancel()
    memory.samples.append((memory.samples[-1][0], clients.answered, memory.now_bytes()))
    async with aiohttp.ClientSession() as session:
        counts = await (await session.get(f"http://127.0.0.1:{server_port}/counts")).json()
    return clients, memory, idle_bytes, Counts(**counts)


def compare(recorder: Recorder, clients: Clients, served: Counts, websockets: int) -> tuple[list[str], int]:
    """Where server, clients, the recorder's account and the file differ, and the file's messages."""
    with CaptureReader.open(recorder.output) as reader:
        rows, complete, counters = len(reader), reader.complete, reader.counters
        kinds: dict[str, int] = {}
        for exchange in reader.exchanges():
            kind = exchange.request.target.split(b"/")[1].decode()
            kinds[kind] = kinds.get(kind, 0) + 1
        messages = [0, 0, 0]  # to clients, from clients, events
        for message in reader.messages():
            if message.kind is not MessageKind.END:
                messages[2 if message.kind is MessageKind.EVENT else message.from_client] += 1
    account, total = recorder.account, clients.answered + websockets
    pairs = [
        ("requests the server counted, clients' own", served.requests, total),
        ("account: seen, served", account.get("seen"), served.requests),
        ("account: written, served", account.get("written"), served.requests),
        ("account: dropped", account.get("dropped"), 0),
        ("account: in flight", account.get("in_flight"), 0),
        ("rows of the file, served", rows, served.requests),
        ("counters of the file, served", counters.written, served.requests),
        ("kinds of the file, served", kinds, served.paths),
        ("messages from clients in the file, served", messages[1], served.from_clients),
        ("messages to clients in the file, served", messages[0], served.to_clients),
        ("messages of the clients, served", clients.counts.from_clients, served.from_clients),
        ("events in the file, served", messages[2], served.events),
        ("complete", complete, True),
        ("wrong answers", clients.wrong[:3], []),
    ]
    return [f"{name}: {one} and {other}" for name, one, other in pairs if one != other], sum(messages)


def soak(*, exchanges: int, websockets: int, options: tuple[str, ...] = ()) -> Soak:
    """One soak from start to end."""
    with tempfile.TemporaryDirectory() as folder, server_process() as server_port:
        mode = ("--mode", f"reverse:http://127.0.0.1:{server_port}")
        recorder = Recorder(Path(folder) / "soak.reel", Path(folder) / "ca", [*mode, *options])
        try:
            started_s = time.monotonic()
            clients, memory, idle_bytes, served = asyncio.run(
                drive(recorder, server_port, exchanges, websockets)
            )
            seconds = time.monotonic() - started_s
            code = recorder.stop()
        finally:
            recorder.end()
        differences, messages = compare(recorder, clients, served, websockets)
        if code:
            differences.append(f"the recorder ended with {code}: {recorder.stderr.strip()}")
        warm = [size for _, answered, size in memory.samples if answered >= exchanges // 20]
        return Soak(
            exchanges=served.requests,
            seconds=seconds,
            idle_bytes=idle_bytes,
            warm_bytes=warm[0],
            highest_bytes=max(size for _, _, size in memory.samples),
            last_bytes=memory.samples[-1][2],
            file_bytes=recorder.output.stat().st_size,
            messages=messages,
            differences=tuple(differences),
        )


def main() -> int:
    """Runs the soak and prints what it came to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--exchanges", type=int, default=200_000, help="how many requests")
    parser.add_argument("--websockets", type=int, default=100, help="open from start to end")
    parser.add_argument("--workers", type=int, default=1, help="recorder processes")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return 0
    workers = ("--workers", str(options.workers)) if options.workers > 1 else ()
    print("seconds  exchanges    PSS MB")
    result = soak(exchanges=options.exchanges, websockets=options.websockets, options=workers)
    print(
        f"{result.exchanges} exchanges and {result.messages} messages in {result.seconds:.0f} s "
        f"({result.exchanges / result.seconds:.0f} a second), file {format_size(result.file_bytes)} "
        f"({result.file_bytes / result.exchanges:.0f} B an exchange)\n"
        f"PSS: {result.idle_bytes / 1e6:.1f} MB before the first request, "
        f"{result.warm_bytes / 1e6:.1f} after 5 %, "
        f"{result.highest_bytes / 1e6:.1f} at most, {result.last_bytes / 1e6:.1f} at the end: "
        f"grew by {result.growth_bytes / 1e6:.1f} MB (limit {MOST_GROWTH_BYTES / 1e6:.0f})"
    )
    for difference in result.differences:
        print(f"NOT EXACT  {difference}")
    if not result.differences:
        print("The account is exact: server, clients, recorder and file agree on every exchange and message.")
    return 1 if result.differences or result.growth_bytes > MOST_GROWTH_BYTES else 0


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
