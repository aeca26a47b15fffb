"""Streams: WebSocket sessions and SSE against a real server, good and bad."""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme
from aiohttp import WSMsgType, web

from captures.credentials import find_credentials
from captures.model import Exchange, Headers, Message, MessageKind, Response
from captures.reader import CaptureReader
from captures.units import MIB
from captures.writer import CaptureWriter, new_header
from replayer.credentials import Keyring
from replayer.load import Load
from replayer.messages import NEVER_NS, NO_CAUSE
from replayer.options import UseChains
from replayer.replay import Replayed
from replayer.results import Outcome, Run, read_run, write_run
from replayer.stream_summary import summarise_streams
from replayer.summary import as_json, as_text, summarise

Make = Callable[..., Exchange]
Send = Callable[..., Replayed]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MS = 1_000_000
ASKS: Headers = (
    (b"Host", b"recorded.test"),
    (b"Connection", b"keep-alive, Upgrade"),
    (b"Upgrade", b"websocket"),
    (b"X-Kept", b"as it was"),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Sec-WebSocket-Key", b"cmVjb3JkZWQtcmVjb3JkZQ=="),
    (b"Sec-WebSocket-Protocol", b"phoenix, other"),
    (b"Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits, x-unknown"),
)


@dataclass
class Site:
    """An aiohttp server in a thread, and what its sockets heard."""

    handler: Handler
    tls: ssl.SSLContext | None = None
    heard: list[tuple[str, str | bytes]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    closed: list[int | None] = field(default_factory=list)

    def start(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        place = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self.tls)
        await place.start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"


@pytest.fixture
def site() -> Iterator[Callable[..., Site]]:
    """Start servers whose handler gets the site and the request; stopped after the test."""
    started: list[Site] = []

    def start(handler: Any, **options: Any) -> Site:
        async def handle(request: web.Request) -> web.StreamResponse:
            made.headers.append(dict(request.headers))
            response: web.StreamResponse = await handler(made, request)
            return response

        made = Site(handler=handle, **options)
        made.start()
        started.append(made)
        return made

    yield start
    for one in started:
        one.stop()


async def phoenix(site: Site, request: web.Request) -> web.StreamResponse:
    """Answer each message as Phoenix channels do, and everything that is no WebSocket with a fresh id."""
    if request.headers.get("Upgrade") != "websocket":
        return web.json_response({"run_id": f"fresh-run-{len(site.headers):08}"})
    socket = web.WebSocketResponse(protocols=("phoenix",))
    await socket.prepare(request)
    async for message in socket:
        site.heard.append((message.type.name, message.data))
        if message.type is WSMsgType.TEXT:
            asked = json.loads(message.data)
            await socket.send_json({"event": "phx_reply", "ref": asked["ref"], "topic": asked.get("topic")})
        else:
            await socket.send_bytes(message.data)
    site.closed.append(socket.close_code)
    return socket


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write exchanges and messages into a capture."""

    def write(exchanges: Sequence[Exchange], messages: Sequence[Message] = ()) -> Path:
        path = tmp_path / f"streams{time.monotonic_ns()}.reel"
        with CaptureWriter.create(path, new_header(source="a test", started_wall_ns=0)) as writer:
            for one in exchanges:
                writer.write(one)
            for message in messages:
                writer.write_message(message)
        return path

    return write


def said(
    payload: bytes,
    at_ms: float,
    *,
    exchange: int = 0,
    kind: MessageKind = MessageKind.TEXT,
    client: bool = True,
) -> Message:
    """A message at a time of the capture."""
    return Message(
        exchange=exchange, offset_ns=int(at_ms * MS), from_client=client, kind=kind, payload=payload
    )


@pytest.fixture
def session(exchange: Make) -> Make:
    """Make an exchange that opened a WebSocket."""

    def make(seq: int = 0, **options: Any) -> Exchange:
        return exchange(
            seq, **{"status": 101, "stream_ns": 100 * MS, "headers": ASKS, "target": b"/socket", **options}
        )

    return make


def sent(run: Run) -> Any:
    """Which messages are a client's."""
    return run.messages.from_client == 1


def assert_due(due_ns: list[int], scheduled_ns: list[int], opened_ns: int) -> None:
    """Each is due as scheduled, or when the session stood, where a busy machine was that late."""
    for due, scheduled in zip(due_ns, scheduled_ns, strict=True):
        assert due == scheduled or (scheduled < opened_ns <= due)


def test_clients_speak_when_it_is_due(
    session: Make, written: Callable[..., Path], send: Send, site: Callable[..., Site]
) -> None:
    """Text stays text and binary binary, at the recorded times at this speed; answers are rows."""
    there = site(phoenix)
    messages = [
        said(b'{"ref":"1","topic":"t"}', 40),
        said(b"\x00\x01", 80, kind=MessageKind.BINARY),
        said(b'{"ref":"2"}', 60),
        said(b"not the client's", 50, client=False),
    ]
    run = send(written([session()], messages), there.url, "2").run
    assert there.heard == [
        ("TEXT", '{"ref":"1","topic":"t"}'),
        ("TEXT", '{"ref":"2"}'),
        ("BINARY", b"\x00\x01"),
    ]
    assert there.closed == [1000]
    rows, spoken = run.rows, run.messages
    assert (rows.status.tolist(), rows.recorded_status.tolist()) == ([101], [101])
    assert rows.outcome.tolist() == [Outcome.COMPLETED]
    assert rows.sent_ns[0] <= rows.first_byte_ns[0] == rows.done_ns[0]
    assert_due(spoken.due_ns[sent(run)].tolist(), [20 * MS, 30 * MS, 40 * MS], rows.done_ns[0])
    assert (spoken.at_ns[sent(run)] >= spoken.due_ns[sent(run)]).all()
    assert len(spoken.at_ns[~sent(run)]) == 3
    assert spoken.size_bytes[~sent(run)].tolist()[-1] == 2
    assert set(spoken.stream.tolist()) == {0}


def test_the_handshake_is_the_recorded_one_with_a_new_key(
    session: Make, written: Callable[..., Path], send: Send, site: Callable[..., Site]
) -> None:
    """Headers stay, the host is the target's, the key is fresh, and only deflate is offered."""
    there = site(phoenix)
    send(written([session(0), session(1, connection=1)]), there.url)
    for headers in there.headers:
        assert headers["X-Kept"] == "as it was"
        assert headers["Host"] == there.url.removeprefix("http://")
        assert headers["Sec-WebSocket-Protocol"] == "phoenix, other"
        assert headers["Sec-WebSocket-Extensions"] == "permessage-deflate; client_max_window_bits"
        assert headers["Connection"] == "keep-alive, Upgrade"
    assert len({headers["Sec-WebSocket-Key"] for headers in there.headers} | {ASKS[5][1].decode()}) == 3


def test_a_session_recorded_over_http2_goes_over_http1(
    session: Make, written: Callable[..., Path], send: Send, site: Callable[..., Site]
) -> None:
    """What a browser's log has of it, without the headers of an upgrade, opens a WebSocket and speaks."""
    there = site(phoenix)
    asks = ((b"origin", b"https://a.test"), (b"sec-websocket-version", b"13"))
    path = written([session(http_version=b"HTTP/2.0", headers=asks)], [said(b'{"ref":"1"}', 20)])
    run = send(path, there.url).run
    assert there.heard == [("TEXT", '{"ref":"1"}')]
    assert run.rows.status.tolist() == [101]
    assert "1 exchanges captured over HTTP/2 were sent over HTTP/1.1." in run.header.notes


def test_sessions_go_over_tls(
    session: Make, written: Callable[..., Path], send: Send, site: Callable[..., Site]
) -> None:
    """A WebSocket of an https target is encrypted, as everything else."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    there = site(phoenix, tls=server)
    run = send(written([session()], [said(b'{"ref":"1"}', 20)]), there.url, tls=client).run
    assert there.heard == [("TEXT", '{"ref":"1"}')]
    assert run.rows.status.tolist() == [101]


def test_a_message_waits_for_the_handshake(
    session: Make, written: Callable[..., Path], send: Send, site: Callable[..., Site]
) -> None:
    """What is due before the target has opened the session is due when it has; that is no lag of ours."""

    async def slow(there: Site, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.3)
        return await phoenix(there, request)

    run = send(written([session(stream_ns=50 * MS)], [said(b'{"ref":"1"}', 1)]), site(slow).url).run
    (due_ns,) = run.messages.due_ns[sent(run)].tolist()
    assert due_ns >= run.rows.done_ns[0] >= 300 * MS
    assert len(run.messages.at_ns[~sent(run)]) == 1


def test_a_refused_session_is_a_row_and_its_messages_are_counted(
    session: Make, written: Callable[..., Path], send: Send, site: Callable[..., Site]
) -> None:
    """403 is an answer like any other; nothing is said to who did not open."""

    async def refuse(_site: Site, _request: web.Request) -> web.StreamResponse:
        return web.Response(status=403, text="no")

    replayed = send(written([session()], [said(b"{}", 10), said(b"{}", 20)]), site(refuse).url)
    rows, found = replayed.run.rows, summarise_streams(replayed.run)
    assert (rows.status.tolist(), rows.outcome.tolist()) == ([403], [Outcome.COMPLETED])
    assert found is not None
    assert (found.sessions, found.opened, found.messages_sent, found.messages_unsent) == (1, 0, 0, 2)
    assert "0 of 1 WebSocket session opened, 0 messages sent, 2 not sent" in as_text(
        replayed.run, summarise(replayed.run)
    )


@pytest.mark.parametrize("polite", [True, False])
def test_a_session_that_the_target_ends_is_told(
    session: Make, written: Callable[..., Path], send: Send, site: Callable[..., Site], *, polite: bool
) -> None:
    """A close frame is a good end that came early, a broken connection is a reset; both are noted."""

    async def leave(_site: Site, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        if polite:
            await socket.close(code=1001)
        else:
            assert request.transport is not None
            request.transport.abort()
        return socket

    path = written([session(stream_ns=90_000 * MS)], [said(b"{}", 10), said(b"{}", 80_000)])
    begun_ns = time.monotonic_ns()
    run = send(path, site(leave).url).run
    assert time.monotonic_ns() - begun_ns < 40_000 * MS
    assert run.rows.outcome.tolist() == [Outcome.COMPLETED if polite else Outcome.RESET]
    assert (run.messages.at_ns[sent(run)] == NEVER_NS).tolist() == [False, True]
    assert any(note.startswith("1 WebSocket sessions were over before") for note in run.header.notes)


def test_a_silent_target_is_left_in_time(
    session: Make, written: Callable[..., Path], send: Send, site: Callable[..., Site]
) -> None:
    """A target that reads nothing, not even the goodbye, does not hold the run up."""

    async def deaf(_site: Site, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoclose=False, autoping=False)
        await socket.prepare(request)
        await asyncio.sleep(20)
        return socket

    there = site(deaf)
    run = send(written([session()], [said(b"{}", 10)]), there.url).run
    assert run.rows.outcome.tolist() == [Outcome.COMPLETED]
    assert run.messages.at_ns.tolist() != [NEVER_NS]


def test_large_messages_and_pings_are_taken(
    session: Make, written: Callable[..., Path], send: Send, site: Callable[..., Site]
) -> None:
    """10 MB in one message is one row; a ping gets its pong."""
    ponged = threading.Event()

    async def pour(_site: Site, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        await socket.ping(b"there?")
        await socket.send_str("x" * 10 * MIB)
        async for message in socket:
            if message.type is WSMsgType.PONG and message.data == b"there?":
                ponged.set()
        return socket

    run = send(written([session(stream_ns=1_500 * MS)]), site(pour).url).run
    assert run.messages.size_bytes.tolist() == [10 * MIB]
    assert run.rows.response_bytes[0] > 0
    assert ponged.is_set()


def test_what_is_no_frame_ends_the_session(
    session: Make, written: Callable[..., Path], send: Send, site: Callable[..., Site]
) -> None:
    """Garbage behind a handshake is the target's end of it, never a crash."""

    async def babble(_site: Site, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert request.transport is not None
        request.transport.write(b"\xff" * 1000)
        await asyncio.sleep(0.2)
        return socket

    run = send(written([session(stream_ns=3_000 * MS)]), site(babble).url).run
    assert run.rows.status.tolist() == [101]
    assert any("over before their client had left" in note for note in run.header.notes)


def test_a_session_without_an_end_lasts_as_long_as_the_rest(
    exchange: Make, session: Make, written: Callable[..., Path], send: Send, site: Callable[..., Site]
) -> None:
    """It says all it has to say, and is closed when nothing else goes on."""
    there = site(phoenix)
    one = session()
    assert isinstance(one.outcome, Response)
    endless = replace(one, outcome=replace(one.outcome, end_ns=None))
    path = written([endless, exchange(1, connection=1)], [said(b'{"ref":"late"}', 400)])
    run = send(path, there.url).run
    assert there.heard == [("TEXT", '{"ref":"late"}')]
    assert run.rows.outcome.tolist() == [Outcome.COMPLETED] * 2


def test_minted_values_and_credentials_go_into_messages(
    exchange: Make, session: Make, written: Callable[..., Path], send: Send, site: Callable[..., Site]
) -> None:
    """A run's id that the target mints anew and a mapped token stand in what the client says."""
    there = site(phoenix)
    token = b"recorded-token-0123456789"
    login = exchange(
        0, target=b"/runs", method=b"POST", headers=((b"Host", b"h"), (b"Authorization", b"Bearer " + token))
    )
    assert isinstance(login.outcome, Response)
    minting = replace(login, outcome=replace(login.outcome, body=b'{"run_id": "old-run-00000001"}'))
    (credential,) = find_credentials(login.request.headers)
    frame = b'{"ref":"1","topic":"realtime:old-run-00000001","access_token":"' + token + b'"}'
    path = written(
        [minting, session(1, offset_ns=50 * MS, connection=1)],
        [
            said(frame, 80, exchange=1),
            said(b'{"topic":"realtime:old-run-00000001"}', 90, exchange=1, client=False),
        ],
    )
    with CaptureReader.open(path) as reader:
        fingerprint = credential.fingerprint(reader.header.fingerprint_salt)
    keyring = Keyring(credentials={fingerprint: b'target"token'})
    run = send(path, there.url, keyring=keyring).run
    ((_, heard),) = there.heard
    assert json.loads(heard) == {
        "ref": "1",
        "topic": "realtime:fresh-run-00000001",
        "access_token": 'target"token',
    }
    # What the target said back names the exchange that the id came from.
    (cause,) = run.messages.cause[~sent(run)].tolist()
    assert cause == 0
    found = summarise_streams(run)
    assert found is not None
    (line,) = found.events
    assert (line.exchange, line.stream, line.since_due.count) == ("POST /runs", "GET /socket", 1)
    assert line.since_due.p50 >= 80 * MS - 50 * MS
    told = as_json(run, summarise(run), 0, {})["streams"]
    assert told["events"][0]["since_response_ns"]["p50"] == line.since_response.p50
    assert "POST /runs -> GET /socket" in as_text(run, summarise(run))

    plain = send(path, there.url, chains=UseChains.NEVER).run
    assert json.loads(there.heard[-1][1])["topic"] == "realtime:old-run-00000001"
    assert set(plain.messages.cause.tolist()) == {NO_CAUSE}

    spread = send(path, there.url, workers=2, keyring=keyring).run
    assert spread.messages.cause[~sent(spread)].tolist() == [0]
    assert spread.messages.stream.tolist() == [1, 1]


@dataclass
class Club:
    """Lets people in and speak by the ticket and the room that it gave, ``think_s`` after they asked."""

    think_s: float = 0.0
    given: set[str] = field(default_factory=set)
    joined: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    async def __call__(self, site: Site, request: web.Request) -> web.StreamResponse:
        if request.path == "/tickets":
            await asyncio.sleep(self.think_s)
            ticket, room = f"SFMyNTY.g2/{secrets.token_hex(8)}.x", f"run-{secrets.token_hex(6)}"
            self.given |= {ticket, room}
            return web.json_response({"ticket": {"room": room, "token": ticket}})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            topic, event, payload = json.loads(message.data)[2:]
            ticket = payload["token"] if event == "phx_join" else topic.removeprefix("room:")
            (self.joined if ticket in self.given else self.refused).append(event)
        return socket


RECORDED_TICKET = b"SFMyNTY.g2gDbQAAAAs/recorded.aQ-0123456789"


@pytest.fixture
def club(exchange: Make, session: Make, written: Callable[..., Path]) -> Callable[..., Path]:
    """A capture: a client opens its socket, asks for a ticket, joins 3 ms after that came, and speaks."""

    def make() -> Path:
        ask = exchange(1, offset_ns=5 * MS, method=b"POST", target=b"/tickets", connection=1)
        assert isinstance(ask.outcome, Response)
        body = b'{"ticket":{"room":"run-c0ffee123456","token":"%b"}}' % RECORDED_TICKET
        ask = replace(ask, outcome=replace(ask.outcome, body=body, end_ns=7 * MS))
        frame = b'["1","%d","room:%b","%b",%b]'
        return written(
            [session(0, stream_ns=30 * MS), ask],
            [
                said(frame % (1, b"lobby-0", b"phx_join", b'{"token":"%b"}' % RECORDED_TICKET), 10),
                said(frame % (2, b"run-c0ffee123456", b"shout", b"{}"), 15),
            ],
        )

    return make


def test_a_message_waits_for_the_response_that_mints_what_it_says(
    club: Callable[..., Path], send: Send, site: Callable[..., Site]
) -> None:
    """Every copy joins with its own ticket, its think time after it came; the rest follows as recorded."""
    there = Club(think_s=0.15)
    url = site(there).url
    load = Load(multiplier=Fraction(1), copies=2, stagger_ns=2 * MS)
    for workers in (1, 2):
        there.joined.clear()
        run = send(club(), url, load=load, workers=workers).run
        assert (sorted(there.joined), there.refused) == (["phx_join", "phx_join", "shout", "shout"], [])
        for row in np.flatnonzero(run.rows.recorded_status == 101).tolist():
            here = sent(run) & (run.messages.stream == row)
            (ask,) = np.flatnonzero(
                (run.rows.recorded_status == 200) & (run.rows.instance == run.rows.instance[row])
            )
            join_ns, shout_ns = run.messages.due_ns[here].tolist()
            assert join_ns >= run.rows.done_ns[ask] + 3 * MS
            assert shout_ns >= join_ns + 5 * MS
            assert (run.messages.at_ns[here] >= run.messages.due_ns[here]).all()
        assert "4 WebSocket messages carried what the target had minted before." in run.header.notes
        assert any("messages waited for the response" in note for note in run.header.notes)
    send(club(), url, chains=UseChains.NEVER)
    assert there.refused == ["phx_join", "shout"]


def test_a_message_whose_response_fails_goes_as_recorded(
    club: Callable[..., Path], send: Send, site: Callable[..., Site]
) -> None:
    """Nothing is minted, so the recorded value is said when the failure is known, and counted."""

    async def broken(made: Site, request: web.Request) -> web.StreamResponse:
        if request.path != "/tickets":
            return await there(made, request)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    there = Club()
    run = send(club(), site(broken).url).run
    assert (there.joined, there.refused) == ([], ["phx_join", "shout"])
    assert (run.messages.due_ns[sent(run)] >= run.rows.done_ns[1]).all()
    assert any(note.startswith("2 WebSocket messages carried a recorded value") for note in run.header.notes)


def test_copies_and_loops_have_sessions_of_their_own(
    session: Make, written: Callable[..., Path], send: Send, site: Callable[..., Site], tmp_path: Path
) -> None:
    """Each pass through the capture opens its session and says everything; the rows survive the file."""
    there = site(phoenix)
    path = written([session()], [said(b'{"ref":"1"}', 20), said(b'{"ref":"2"}', 40)])
    load = Load(multiplier=Fraction(2), copies=2, stagger_ns=10 * MS, loops=2)
    run = send(path, there.url, load=load, workers=2).run
    assert len(there.heard) == 8
    assert run.rows.status.tolist() == [101] * 4
    assert sorted(run.messages.stream[sent(run)].tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]
    for row in range(4):
        here = (run.messages.stream == row) & sent(run)
        began_ns = int(run.rows.due_ns[row])
        due_ns = run.messages.due_ns[here].tolist()
        assert_due(due_ns, [began_ns + 10 * MS, began_ns + 20 * MS], run.rows.done_ns[row])
    write_run(tmp_path / "a.run", run)
    again = read_run(tmp_path / "a.run").messages
    assert again.at_ns.tolist() == run.messages.at_ns.tolist()
    assert again.stream.tolist() == run.messages.stream.tolist()


def test_a_rehearsal_counts_sessions_and_messages(
    exchange: Make, session: Make, written: Callable[..., Path], command: Callable[..., Any]
) -> None:
    """--dry-run says how many there are, and sends nothing."""
    path = written([exchange(0), session(1, connection=1)], [said(b"{}", 5, exchange=1)])
    told = command(path, "--target", "http://127.0.0.1:9", "--dry-run", "--copies", 3)
    assert "Of these are 3 WebSocket sessions with 3 client messages." in told.stdout


def test_events_of_an_event_stream_are_rows(
    exchange: Make, written: Callable[..., Path], send: Send, site: Callable[..., Site]
) -> None:
    """Each SSE event has its time and size, however the target cut it into pieces."""

    async def events(_site: Site, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in (b"data: one\n\nda", b"ta: two\r\n", b"\r\n", b": still open\n"):
            await response.write(piece)
            await asyncio.sleep(0.02)
        await asyncio.sleep(2)
        return response

    run = send(written([exchange(0, stream_ns=200 * MS)]), site(events).url).run
    assert run.messages.size_bytes.tolist() == [len(b"data: one\n\n"), len(b"data: two\r\n\r\n")]
    assert run.messages.at_ns[0] < run.messages.at_ns[1]
    assert run.messages.from_client.tolist() == [0, 0]
