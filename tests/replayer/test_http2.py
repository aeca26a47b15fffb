"""HTTP/2 captures over HTTP/2: what arrives, what is counted, and targets that refuse, stop and break off."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import hmac
import select
import socket
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import pytest

from captures.model import Exchange, Provenance, SignatureScheme, SigningRecipe
from replayer.credentials import Keyring
from replayer.http2 import Http2Connection
from replayer.keeping import Keep
from replayer.load import Load
from replayer.manners import Connections, Manners
from replayer.replay import Replayed
from replayer.results import Outcome
from replayer.services import Service
from replayer.targets import parse_target

Make = Callable[..., Exchange]
Send = Callable[..., Replayed]
Told = Callable[..., Any]
MS = 1_000_000
SETTING = h2.settings.SettingCodes


@dataclass
class Asked:
    """One request as the server got it; whole when ``ended``."""

    peer: Peer
    number: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    ended: bool = False

    @property
    def path(self) -> bytes:
        return dict(self.headers)[b":path"]

    def answer(
        self,
        body: bytes = b"ok",
        *,
        status: int = 200,
        headers: tuple[tuple[str, str], ...] = (),
        trailers: tuple[tuple[str, str], ...] = (),
        end: bool = True,
    ) -> None:
        bare = not body and not trailers
        self.peer.h2.send_headers(self.number, [(":status", str(status)), *headers], end_stream=end and bare)
        if body:
            self.peer.unsent[self.number] = (body, end and not trailers)
            self.peer.send_bodies()
        if trailers:
            self.peer.h2.send_headers(self.number, list(trailers), end_stream=True)
        self.peer.flush()

    def reset(self, code: h2.errors.ErrorCodes) -> None:
        self.peer.h2.reset_stream(self.number, code)
        self.peer.flush()


class Peer:
    """One connection of the server; all of it happens in one thread."""

    def __init__(self, server: Http2Server, client: socket.socket, number: int) -> None:
        self.server = server
        self.client = client
        self.number = number
        self.unsent: dict[int, tuple[bytes, bool]] = {}
        self.asked: dict[int, Asked] = {}
        self.open: set[int] = set()
        self.most_open = 0
        self.cancelled: list[int] = []
        self.pongs = 0
        self.gone = threading.Event()
        config = h2.config.H2Configuration(
            client_side=False, header_encoding=None, normalize_inbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=server.settings)

    def serve(self) -> None:
        self.h2.initiate_connection()
        self.flush()
        while data := self.client.recv(65_536):
            for event in self.h2.receive_data(data):
                self.hear(event)
            self.flush()

    def hear(self, event: Any) -> None:
        number = getattr(event, "stream_id", 0)
        if isinstance(event, h2.events.RequestReceived):
            asked = self.asked[number] = Asked(self, number, [tuple(one) for one in event.headers])
            self.open.add(number)
            self.most_open = max(self.most_open, len(self.open))
            self.server.asked.append(asked)
            self.server.began(asked)
        elif isinstance(event, h2.events.DataReceived):
            self.asked[number].body += event.data
            if self.server.acknowledges:
                self.h2.acknowledge_received_data(event.flow_controlled_length, number)
        elif isinstance(event, h2.events.TrailersReceived):
            self.asked[number].trailers = [tuple(one) for one in event.headers]
        elif isinstance(event, h2.events.StreamEnded):
            self.asked[number].ended = True
            self.server.respond(self.asked[number])
        elif isinstance(event, h2.events.WindowUpdated):
            self.send_bodies()
        elif isinstance(event, h2.events.StreamReset):
            self.open.discard(number)
            self.cancelled.append(event.error_code)
        elif isinstance(event, h2.events.PingAckReceived):
            self.pongs += 1

    def send_bodies(self) -> None:
        for number, (whole, end) in list(self.unsent.items()):
            body = whole
            while body:
                room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
                if not room:
                    break
                part, body = body[:room], body[room:]
                self.h2.send_data(number, part, end_stream=end and not body)
                self.unsent[number] = (body, end)
                self.flush()
            if not body:
                del self.unsent[number]

    def flush(self) -> None:
        self.open -= {number for number, one in self.h2.streams.items() if one.closed}
        with contextlib.suppress(OSError):
            self.client.sendall(self.h2.data_to_send())

    def go_away(self, last_stream: int) -> None:
        """By hand: the library would take it for the end."""
        self.flush()
        self.client.sendall(b"\0\0\x08\x07\0\0\0\0\0" + last_stream.to_bytes(4, "big") + bytes(4))

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.client.shutdown(socket.SHUT_RDWR)


class Http2Server:
    """Speaks HTTP/2 in plain text to whoever begins so; ``respond`` gets each whole request."""

    def __init__(self) -> None:
        self.respond: Callable[[Asked], None] = Asked.answer
        self.began: Callable[[Asked], None] = lambda _asked: None
        self.settings: dict[Any, int] = {}
        self.acknowledges = True
        self.asked: list[Asked] = []
        self.peers: list[Peer] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def used(self) -> list[Peer]:
        """The connections that requests came on."""
        return [peer for peer in self.peers if peer.asked]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(self, client, len(self.peers))
            self.peers.append(peer)
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: Peer) -> None:
        with peer.client, contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            peer.serve()
        peer.gone.set()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self.peers:
            peer.hang_up()
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def server() -> Iterator[Http2Server]:
    """An HTTP/2 server that answers everything with 200."""
    one = Http2Server()
    yield one
    one.close()


@pytest.fixture
def ask(exchange: Make) -> Make:
    """Make an exchange that was captured over HTTP/2."""

    def make(seq: int = 0, **fields: Any) -> Exchange:
        return exchange(seq, **{"http_version": b"HTTP/2.0", "headers": (), **fields})

    return make


def outcomes(replayed: Replayed) -> list[Outcome]:
    return [Outcome(number) for number in replayed.run.rows.outcome.tolist()]


def together(ask: Make, count: int, **fields: Any) -> list[Exchange]:
    """Exchanges of one connection that are due at once."""
    return [ask(number, offset_ns=0, target=b"/%d" % number, **fields) for number in range(count)]


def held_until(server: Http2Server, count: int) -> None:
    """Answer nothing before ``count`` requests of a connection are there."""

    def respond(asked: Asked) -> None:
        whole = [one for one in asked.peer.asked.values() if one.ended]
        if len(whole) == count:
            for one in whole:
                one.answer()

    server.respond = respond


def test_many_streams_share_the_recorded_connection(ask: Make, send: Send, server: Http2Server) -> None:
    """Fifty exchanges that are due at once wait on one connection, each with its own answer."""
    held_until(server, 50)
    replayed = send(together(ask, 50), server.url)
    assert outcomes(replayed) == [Outcome.COMPLETED] * 50
    assert [len(peer.asked) for peer in server.used] == [50]
    rows = replayed.run.rows
    assert rows.status.tolist() == [200] * 50
    assert rows.response_bytes.tolist() == [2] * 50
    assert (rows.sent_ns >= rows.due_ns).all()
    assert (rows.first_byte_ns > rows.sent_ns).all()
    assert (rows.done_ns >= rows.first_byte_ns).all()
    assert replayed.http_versions == {"HTTP/2": 50}
    assert replayed.spare_connections == 0
    assert "50 exchanges captured over HTTP/2 were sent over HTTP/2." in replayed.run.header.notes


def test_requests_arrive_as_captured_but_for_the_hop(ask: Make, send: Send, server: Http2Server) -> None:
    """Order, duplicates and cookie crumbs stay; names are in lower case, and the hop's headers go."""
    request = ask(
        method=b"POST",
        target=b"/a b?x=%20",
        headers=(
            (b"x-dup", b"1"),
            (b"Cookie", b"a=1"),
            (b"cookie", b"b=2"),
            (b"host", b"other.test"),
            (b"Connection", b"keep-alive, x-hop"),
            (b"x-hop", b"1"),
            (b"te", b"trailers"),
            (b"Content-Length", b"9"),
            (b"x-dup", b"1"),
            (b"transfer-encoding", b"chunked"),
        ),
        body=b"body",
    )
    send([request], server.url, mark=b"run7")
    (asked,) = server.asked
    assert asked.headers == [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", server.url.removeprefix("http://").encode()),
        (b":path", b"/a%20b?x=%20"),
        (b"x-dup", b"1"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"content-length", b"4"),
        (b"x-dup", b"1"),
        (b"te", b"trailers"),
        (b"x-hookreel-run", b"run7"),
    ]
    assert asked.body == b"body"


def test_the_recorded_authority_can_be_kept(ask: Make, send: Send, server: Http2Server) -> None:
    """With the recorded host wanted, the authority is the captured one."""
    send([ask(authority=b"api.test")], server.url, recorded_host=True)
    assert dict(server.asked[0].headers)[b":authority"] == b"api.test"


def test_trailers_pass_both_ways(ask: Make, send: Send, server: Http2Server) -> None:
    """A gRPC call keeps its trailers, with and without a body; an answer with trailers is whole."""
    server.respond = lambda asked: asked.answer(b"\0\0\0\0\0", trailers=(("grpc-status", "0"),))
    calls = [
        ask(0, method=b"POST", body=b"\0\0\0\0\1x", trailers=((b"X-Sum", b"1"),)),
        ask(1, method=b"POST", trailers=((b"x-sum", b"2"),)),
    ]
    replayed = send(calls, server.url)
    assert [(asked.body, asked.trailers) for asked in server.asked] == [
        (b"\0\0\0\0\1x", [(b"x-sum", b"1")]),
        (b"", [(b"x-sum", b"2")]),
    ]
    assert outcomes(replayed) == [Outcome.COMPLETED] * 2
    assert replayed.run.rows.response_bytes.tolist() == [5, 5]


def test_no_more_streams_than_the_target_takes(ask: Make, send: Send, server: Http2Server) -> None:
    """Where a connection takes one stream at a time, others go on spare connections, counted."""
    server.settings = {SETTING.MAX_CONCURRENT_STREAMS: 1}
    everyone = threading.Barrier(5, timeout=20)

    def respond(asked: Asked) -> None:
        everyone.wait()
        asked.answer()

    server.respond = respond
    replayed = send(together(ask, 5), server.url)
    assert outcomes(replayed) == [Outcome.COMPLETED] * 5
    assert [peer.most_open for peer in server.used] == [1] * 5
    assert replayed.spare_connections == 4


def test_a_connection_takes_more_after_its_answers(ask: Make, send: Send, server: Http2Server) -> None:
    """A limit of one is no limit for exchanges that come one after the other."""
    server.settings = {SETTING.MAX_CONCURRENT_STREAMS: 1}
    replayed = send([ask(number, offset_ns=number * 30 * MS) for number in range(5)], server.url)
    assert outcomes(replayed) == [Outcome.COMPLETED] * 5
    assert len(server.used) == 1


def test_a_body_larger_than_the_window_holds_nobody_up(ask: Make, send: Send, server: Http2Server) -> None:
    """While a body waits for a window, another exchange of the connection is sent and answered."""
    server.settings = {SETTING.INITIAL_WINDOW_SIZE: 1_000}
    server.acknowledges = False
    body = bytes(range(256)) * 1_200

    def respond(asked: Asked) -> None:
        asked.answer()
        if asked.path == b"/quick":
            large = asked.peer.asked[1]
            assert len(large.body) == 1_000
            asked.peer.h2.increment_flow_control_window(len(body))
            asked.peer.h2.increment_flow_control_window(len(body), 1)
            asked.peer.flush()

    server.respond = respond
    exchanges = [
        ask(0, method=b"POST", target=b"/large", body=body),
        ask(1, offset_ns=30 * MS, target=b"/quick"),
    ]
    replayed = send(exchanges, server.url)
    assert outcomes(replayed) == [Outcome.COMPLETED] * 2
    assert len(server.used) == 1
    assert server.asked[0].body == body
    assert replayed.run.rows.done_ns[1] < replayed.run.rows.done_ns[0]


def test_large_answers_come_whole(ask: Make, send: Send, server: Http2Server) -> None:
    """An answer larger than any window is acknowledged as it comes."""
    server.respond = lambda asked: asked.answer(bytes(20_000_000))
    replayed = send(together(ask, 2), server.url)
    assert outcomes(replayed) == [Outcome.COMPLETED] * 2
    assert replayed.run.rows.response_bytes.tolist() == [20_000_000] * 2


def test_goaway_sends_again_only_what_was_not_processed(ask: Make, send: Send, server: Http2Server) -> None:
    """Streams above the last one go on another connection, those below are answered after GOAWAY."""

    def respond(asked: Asked) -> None:
        if asked.peer is not server.asked[0].peer:
            asked.answer(b"again")
        elif asked.number == 5:
            asked.peer.go_away(3)
            asked.peer.asked[1].answer()
            asked.peer.asked[3].answer()

    server.respond = respond
    replayed = send(together(ask, 3), server.url)
    rows = replayed.run.rows
    assert outcomes(replayed) == [Outcome.COMPLETED] * 3
    assert rows.response_bytes.tolist() == [2, 2, 5]
    assert [one.path for one in server.asked] == [b"/0", b"/1", b"/2", b"/2"]
    assert int(rows.sent_ns[2]) < int(rows.done_ns[0])
    assert any(note.startswith("1 exchanges were sent again") for note in replayed.run.header.notes)
    assert server.asked[0].peer.gone.wait(10)


def test_a_refused_stream_is_sent_again_once(ask: Make, send: Send, server: Http2Server) -> None:
    """A refusal is answered by another try on a new connection; a second one is a failure."""
    refused = h2.errors.ErrorCodes.REFUSED_STREAM
    tries: list[bytes] = []

    def respond(asked: Asked) -> None:
        tries.append(asked.path)
        if asked.path == b"/1" or tries.count(asked.path) == 1:
            asked.reset(refused)
        else:
            asked.answer()

    server.respond = respond
    replayed = send(together(ask, 2), server.url)
    assert outcomes(replayed) == [Outcome.COMPLETED, Outcome.RESET]
    assert sorted(tries) == [b"/0", b"/0", b"/1", b"/1"]
    for path in (b"/0", b"/1"):
        assert len({one.peer.number for one in server.asked if one.path == path}) == 2


def test_a_reset_stream_harms_no_other(ask: Make, send: Send, server: Http2Server) -> None:
    """A stream that the target resets is a row; the rest of its connection goes on."""

    def respond(asked: Asked) -> None:
        if asked.path == b"/0":
            asked.reset(h2.errors.ErrorCodes.INTERNAL_ERROR)
        else:
            asked.answer()

    server.respond = respond
    replayed = send(together(ask, 3), server.url)
    assert outcomes(replayed) == [Outcome.RESET, Outcome.COMPLETED, Outcome.COMPLETED]
    assert len(server.used) == 1


@pytest.mark.parametrize(
    "noise",
    [
        b"\0\0\x04\x03\0\0\0\0\0\0\0\0\0",  # RST_STREAM of no stream
        b"\xff\xff\xff\x00\0\0\0\0\1" + bytes(100),  # a frame larger than permitted
        b"\0\0\x05\x01\x04\0\0\0\x01\xff\xff\xff\xff\xff",  # no HPACK
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\x01\x05\x04\0\0\0\1\0",  # a push, which was refused by settings
    ],
    ids=["stray-reset", "too-large", "bad-hpack", "http1", "push"],
)
def test_what_is_no_http2_is_a_bad_response(ask: Make, send: Send, server: Http2Server, noise: bytes) -> None:
    """A target that breaks the protocol is a row for each exchange that was open."""

    def respond(asked: Asked) -> None:
        if asked.number == 3:
            asked.peer.client.sendall(noise)

    server.respond = respond
    assert outcomes(send(together(ask, 2), server.url)) == [Outcome.BAD_RESPONSE] * 2


def test_a_broken_connection_is_a_reset_of_all(ask: Make, send: Send, server: Http2Server) -> None:
    """What waited when the connection broke is reset; what comes later goes on a new connection."""

    def respond(asked: Asked) -> None:
        if asked.path == b"/1":
            asked.peer.hang_up()
        elif asked.path == b"/later":
            asked.answer()

    server.respond = respond
    exchanges = [*together(ask, 2), ask(2, offset_ns=300 * MS, target=b"/later")]
    replayed = send(exchanges, server.url)
    assert outcomes(replayed) == [Outcome.RESET, Outcome.RESET, Outcome.COMPLETED]


def test_a_timeout_ends_its_stream_alone(ask: Make, send: Send, server: Http2Server) -> None:
    """A stream without an answer is cancelled when its time is over, and only that one."""
    server.respond = lambda asked: None if asked.path == b"/0" else asked.answer()
    exchanges = [*together(ask, 2), ask(2, offset_ns=600 * MS, target=b"/2")]
    replayed = send(exchanges, server.url, timeout_s=0.2)
    assert outcomes(replayed) == [Outcome.TIMEOUT, Outcome.COMPLETED, Outcome.COMPLETED]
    assert len(server.used) == 1
    assert server.used[0].gone.wait(10)
    assert server.used[0].cancelled == [h2.errors.ErrorCodes.CANCEL]


def test_a_target_that_says_nothing_is_a_timeout(ask: Make, send: Send, server: Http2Server) -> None:
    """One that takes no streams at all gets none, and the exchanges end by their timeout."""
    server.settings = {SETTING.MAX_CONCURRENT_STREAMS: 0}
    replayed = send(together(ask, 2), server.url, timeout_s=0.2)
    assert outcomes(replayed) == [Outcome.TIMEOUT] * 2
    assert not server.asked


def test_streams_are_held_for_their_recorded_length(ask: Make, send: Send, server: Http2Server) -> None:
    """An event stream is cancelled after its recorded time, one without an end when all else is over."""
    server.respond = lambda asked: asked.answer(b"data: 1\n\n", end=asked.path == b"/quick")
    exchanges = [
        ask(0, target=b"/events", stream_ns=200 * MS),
        ask(1, offset_ns=50 * MS, target=b"/quick"),
    ]
    replayed = send(exchanges, server.url)
    assert outcomes(replayed) == [Outcome.COMPLETED] * 2
    assert len(server.used) == 1
    assert server.used[0].gone.wait(10)
    assert server.used[0].cancelled == [h2.errors.ErrorCodes.CANCEL]
    rows = replayed.run.rows
    assert int(rows.done_ns[0]) == int(rows.first_byte_ns[0])
    assert rows.response_bytes.tolist() == [9, 9]


def test_an_open_stream_is_not_in_flight(ask: Make, send: Send, server: Http2Server) -> None:
    """With one at a time others go while a stream's response goes on, and no two of these at once."""
    server.respond = lambda asked: asked.answer(b"data: 1\n\n", end=asked.path != b"/events")
    exchanges = [
        ask(0, target=b"/events", stream_ns=250 * MS),
        *(ask(1 + number, offset_ns=(100 + 50 * number) * MS, target=b"/quick") for number in range(2)),
        ask(3, offset_ns=400 * MS, target=b"/quick"),
    ]
    replayed = send(exchanges, server.url, manners=Manners(max_in_flight=1))
    assert outcomes(replayed) == [Outcome.COMPLETED] * 4


@pytest.mark.parametrize(
    ("method", "status", "headers"),
    [
        (b"HEAD", 200, (("content-length", "9"),)),
        (b"GET", 204, ()),
        (b"GET", 304, (("content-length", "9"),)),
    ],
    ids=["head", "no-content", "not-modified"],
)
def test_answers_without_a_body_are_whole(
    ask: Make, send: Send, server: Http2Server, method: bytes, status: int, headers: Any
) -> None:
    """HEAD, 204 and 304 end with their head, whatever length that names."""
    server.respond = lambda asked: asked.answer(b"", status=status, headers=headers)
    replayed = send([ask(method=method)], server.url)
    assert outcomes(replayed) == [Outcome.COMPLETED]
    assert replayed.run.rows.status.tolist() == [status]
    assert replayed.run.rows.response_bytes.tolist() == [0]


def test_interim_answers_and_pings_are_taken(ask: Make, send: Send, server: Http2Server) -> None:
    """A 103 and a PING come before the answer; the PING is answered and the status is the final one."""

    def respond(asked: Asked) -> None:
        peer = asked.peer
        peer.h2.send_headers(asked.number, [(":status", "103"), ("link", "</a>")])
        peer.h2.ping(b"12345678")
        peer.flush()
        while not peer.pongs:
            select.select([peer.client], [], [], 10)
            for event in peer.h2.receive_data(peer.client.recv(65_536)):
                peer.hear(event)
        asked.answer(status=201)

    server.respond = respond
    replayed = send([ask()], server.url)
    assert replayed.run.rows.status.tolist() == [201]


def test_an_early_answer_ends_the_upload(ask: Make, send: Send, server: Http2Server) -> None:
    """A whole answer to a request that is still being sent completes it; the rest is not sent."""
    server.settings = {SETTING.INITIAL_WINDOW_SIZE: 1_000}
    server.acknowledges = False
    server.began = lambda asked: asked.answer(status=413)
    replayed = send([ask(method=b"POST", body=bytes(100_000))], server.url)
    assert outcomes(replayed) == [Outcome.COMPLETED]
    assert replayed.run.rows.status.tolist() == [413]
    assert server.used[0].gone.wait(10)
    assert server.asked[0].body in {b"", bytes(1_000)}


@pytest.mark.parametrize("window", [False, True], ids=["blocked", "window-too"])
def test_an_early_answer_may_end_the_stream_at_once(
    ask: Make, send: Send, server: Http2Server, *, window: bool
) -> None:
    """The answer and RST_STREAM(NO_ERROR), even a larger window before, come in one piece: a row like any."""
    server.settings = {SETTING.INITIAL_WINDOW_SIZE: 1_000}
    server.acknowledges = False

    def answer(asked: Asked) -> None:
        protocol = asked.peer.h2
        if window:
            protocol.increment_flow_control_window(500, asked.number)
        protocol.send_headers(asked.number, [(":status", "413")], end_stream=True)
        asked.reset(h2.errors.ErrorCodes.NO_ERROR)

    server.began = lambda asked: answer(asked) if asked.path == b"/large" else None
    exchanges = [
        ask(method=b"POST", target=b"/large", body=bytes(100_000)),
        ask(1, offset_ns=60 * MS, target=b"/next"),
    ]
    replayed = send(exchanges, server.url)
    assert outcomes(replayed) == [Outcome.COMPLETED] * 2
    assert replayed.run.rows.status.tolist() == [413, 200]
    assert len(server.used) == 1


@pytest.mark.parametrize("status", ["abc", "", "99999", "-5", "099"])
def test_a_status_that_is_none_is_a_bad_response(
    ask: Make, send: Send, server: Http2Server, status: str
) -> None:
    """Its stream is cancelled, and the rest of the connection goes on."""

    def respond(asked: Asked) -> None:
        if asked.path == b"/0":
            asked.peer.h2.send_headers(asked.number, [(":status", status)])
            asked.peer.flush()
        else:
            asked.answer()

    server.respond = respond
    replayed = send(together(ask, 2), server.url)
    assert outcomes(replayed) == [Outcome.BAD_RESPONSE, Outcome.COMPLETED]
    assert len(server.used) == 1
    assert server.used[0].gone.wait(10)
    assert server.used[0].cancelled == [h2.errors.ErrorCodes.CANCEL]


def test_minted_values_are_carried_on(ask: Make, send: Send, server: Http2Server) -> None:
    """An id that the target mints over HTTP/2 stands in the chained request that asks for it."""
    recorded, fresh = b"9f8d7c6b-1111-4222-8333-444455556666", "0a1b2c3d-9999-4888-8777-666655554444"
    created = ask(0, method=b"POST", target=b"/orders", body=b'{"item":"book"}', connection=1)
    created = replace_body(created, b'{"order":{"id":"%s"}}' % recorded)
    looked = ask(1, offset_ns=60 * MS, target=b"/orders/" + recorded, connection=1)

    def respond(asked: Asked) -> None:
        asked.answer(
            b'{"order":{"id":"%s"}}' % fresh.encode(), headers=(("content-type", "application/json"),)
        )

    server.respond = respond
    replayed = send([created, looked], server.url)
    assert outcomes(replayed) == [Outcome.COMPLETED] * 2
    assert [one.path for one in server.asked] == [b"/orders", b"/orders/" + fresh.encode()]


class Unchanged:
    """Leaves everything as it is."""

    provenance = Provenance(policy="none", key_fingerprint="")

    def __call__(self, exchanges: Sequence[Exchange]) -> Sequence[Exchange]:
        return exchanges


def test_responses_are_kept(ask: Make, send: Send, server: Http2Server) -> None:
    """Of those whose status is not the recorded one: headers and body, by row."""

    def respond(asked: Asked) -> None:
        wrong = asked.path == b"/1"
        asked.answer(b"body", status=503 if wrong else 200, headers=(("x-a", "b"),))

    server.respond = respond
    keep = Keep(clean=Unchanged(), mismatches=True)
    run = send([ask(number, target=b"/%d" % number) for number in range(3)], server.url, keep=keep).run
    assert list(run.kept) == [1]
    assert (run.kept[1].body, dict(run.kept[1].headers)[b"x-a"]) == (b"body", b"b")


def replace_body(exchange: Exchange, body: bytes) -> Exchange:
    from dataclasses import replace

    headers = ((b"content-type", b"application/json"),)
    return replace(exchange, outcome=replace(exchange.outcome, body=body, headers=headers))


def test_timed_signatures_are_made_when_sent(ask: Make, send: Send, server: Http2Server) -> None:
    """A request signed over its time carries a signature of now, which the receiver's check accepts."""
    secret = b"a-signing-secret"
    signed = ask(
        method=b"POST",
        body=b"payload=1",
        headers=((b"x-slack-request-timestamp", b"1600000000"), (b"x-slack-signature", b"v0=" + b"0" * 64)),
        signing=SigningRecipe(scheme=SignatureScheme.SLACK, header=b"x-slack-signature"),
    )
    send([signed], server.url, keyring=Keyring(by_scheme={SignatureScheme.SLACK: secret}))
    headers = dict(server.asked[0].headers)
    stamp = headers[b"x-slack-request-timestamp"]
    assert int(stamp) > 1_700_000_000
    expected = hmac.new(secret, b"v0:%s:payload=1" % stamp, hashlib.sha256).hexdigest()
    assert headers[b"x-slack-signature"] == b"v0=" + expected.encode()


@pytest.mark.parametrize("connections", list(Connections))
def test_each_choice_of_connections_works(
    ask: Make, send: Send, server: Http2Server, connections: Connections
) -> None:
    """Recorded, pooled and new connections all carry HTTP/2."""
    exchanges = [ask(number, offset_ns=number * 20 * MS, connection=number % 2) for number in range(6)]
    replayed = send(exchanges, server.url, manners=Manners(connections=connections))
    assert outcomes(replayed) == [Outcome.COMPLETED] * 6
    expected = {Connections.RECORDED: 2, Connections.POOL: 1, Connections.NEW: 6}
    assert len(server.used) == expected[connections]


def test_workers_share_it(ask: Make, send: Send, server: Http2Server) -> None:
    """Two processes send their connections' exchanges over HTTP/2, and count them together."""
    exchanges = [ask(number, offset_ns=number * 5 * MS, connection=number % 4) for number in range(20)]
    replayed = send(exchanges, server.url, workers=2)
    assert outcomes(replayed) == [Outcome.COMPLETED] * 20
    assert len(server.used) == 4
    assert replayed.http_versions == {"HTTP/2": 20}


def test_both_versions_go_side_by_side(ask: Make, exchange: Make, send: Send, serve: Any) -> None:
    """A target that speaks only HTTP/1.1 gets everything over that, and the run says so."""
    server = serve()
    replayed = send([ask(0), exchange(1, connection=1)], server.url)
    assert outcomes(replayed) == [Outcome.COMPLETED] * 2
    assert replayed.http_versions == {"HTTP/1": 2}
    assert "1 exchanges captured over HTTP/2 were sent over HTTP/1.1." in replayed.run.header.notes


def test_http1_can_be_forced(ask: Make, send: Send, serve: Any) -> None:
    """With HTTP/1.1 forced the target is not even asked, and sees one connection with the request."""
    server = serve()
    replayed = send([ask(0)], server.url, manners=Manners(http1=True))
    assert outcomes(replayed) == [Outcome.COMPLETED]
    assert [one.request.http_version for one in server.seen] == [b"HTTP/1.1"]
    assert replayed.http_versions == {"HTTP/1": 1}


def test_what_cannot_be_sent_is_dropped(ask: Make, send: Send, server: Http2Server) -> None:
    """A tunnel and a header that is none are dropped with their reasons; the rest is sent."""
    exchanges = [
        ask(0, method=b"CONNECT"),
        ask(1, headers=((b"bad name", b"1"),)),
        ask(2, headers=((b"x", b"a\r\nb: c"),)),
        ask(3),
    ]
    replayed = send(exchanges, server.url)
    assert outcomes(replayed) == [Outcome.DROPPED] * 3 + [Outcome.COMPLETED]
    assert len(server.asked) == 1


def test_copies_have_connections_of_their_own(ask: Make, send: Send, server: Http2Server) -> None:
    """Three copies of a connection's exchanges are three connections."""
    replayed = send(together(ask, 4), server.url, load=Load(copies=3))
    assert outcomes(replayed) == [Outcome.COMPLETED] * 12
    assert sorted(len(peer.asked) for peer in server.used) == [4, 4, 4]


def test_lost_connections_leave_no_memory_behind(
    ask: Make, send: Send, server: Http2Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector is off while a run goes on, so a connection that is gone must free itself."""
    made: list[weakref.ref[Any]] = []
    original = Http2Connection.__init__

    def init(self: Http2Connection, **options: Any) -> None:
        original(self, **options)
        made.append(weakref.ref(self._streams._h2))

    monkeypatch.setattr(Http2Connection, "__init__", init)
    gc.disable()
    try:
        exchanges = [ask(number, offset_ns=number * 5 * MS) for number in range(40)]
        send(exchanges, server.url, manners=Manners(connections=Connections.NEW))
        assert len(made) > 40
        assert sum(one() is not None for one in made) <= 5  # the spares of the last moment
    finally:
        gc.enable()


def test_the_command_says_which_version(
    ask: Make, command: Told, capture: Callable[..., Path], server: Http2Server
) -> None:
    """The JSON counts requests by version, the rehearsal says what is supposed, and --http1 changes both."""
    path = capture([ask(0), ask(1)])
    told = command(path, "--target", server.url, "--json", "--lag-p99", "5s", "--lag-max", "5s")
    assert told.json["http_versions"] == {"HTTP/2": 2}
    rehearsed = command(path, "--target", server.url, "--dry-run", "--json")
    expected = "2 exchanges captured over HTTP/2 would be sent over HTTP/2 if the target speaks it"
    assert any(note.startswith(expected) for note in rehearsed.json["notes"])
    forced = command(path, "--target", server.url, "--dry-run", "--json", "--http1")
    assert "2 exchanges captured over HTTP/2 would be sent over HTTP/1.1." in forced.json["notes"]


@pytest.mark.parametrize("kept", [False, True])
def test_each_service_is_spoken_to_in_its_own_version(
    ask: Make, send: Send, server: Http2Server, serve: Callable[..., Any], *, kept: bool
) -> None:
    """Of one client's requests those for a target that speaks HTTP/2 go over it, the others over HTTP/1.1."""
    old = serve()
    hosts = (b"old.test", b"new.test")
    exchanges = [ask(number, offset_ns=number * MS, authority=hosts[number % 2]) for number in range(10)]
    services = tuple(
        Service(host=host.decode(), target=parse_target(url), tls=None)
        for host, url in zip(hosts, (old.url, server.url), strict=True)
    )
    replayed = send(exchanges, old.url, services=services, recorded_host=kept)
    assert outcomes(replayed) == [Outcome.COMPLETED] * 10
    assert replayed.http_versions == {"HTTP/1": 5, "HTTP/2": 5}
    asked = [one for peer in server.used for one in peer.asked.values()]
    assert len(asked) == 5
    heard = [one for one in old.seen if one.request.method != b"PRI"]
    assert len(heard) == 5
    name = b"old.test" if kept else b"127.0.0.1:%d" % old.port
    assert {dict(one.request.headers)[b"Host"] for one in heard} == {name}
