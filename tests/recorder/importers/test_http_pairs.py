from __future__ import annotations

from captures.model import Exchange, Failure, Response
from recorder.importers.http_exchange import Output
from recorder.importers.http_pairs import Pairs
from recorder.importers.tcp_half import Memory


class Connection:
    """An owner that notes what it is told, with both sides' bytes counted as TCP does."""

    def __init__(self) -> None:
        self.output = Output(Memory(1 << 30))
        self.server = b"server"
        self.told: list[str] = []
        self.pairs = Pairs(self, synced=True)
        self.now_ns = 0
        self.sent = [1000, 9000]

    def number(self) -> int:
        return 3

    def use_http2(self, first) -> None:
        self.told.append("http2")

    def use_websocket(self, exchange, headers) -> None:
        self.told.append("websocket")

    def restart(self) -> None:
        self.told.append("restart")

    def ignore(self) -> None:
        self.told.append("ignore")

    def hand(
        self, rest: bytes, time_ns: int, position: int, peer_position: int, *, from_client: bool
    ) -> None:
        self.told.append(f"hand {rest!r} at {position}")

    def say(self, side: int, data: bytes) -> Connection:
        self.now_ns += 1
        framer = (self.pairs.requests, self.pairs.responses)[side]
        framer.feed(data, self.now_ns, self.sent[side], self.sent[1 - side])
        self.sent[side] += len(data)
        return self

    def ask(self, *names: str) -> Connection:
        return self.say(0, b"".join(b"GET /%s HTTP/1.1\r\n\r\n" % name.encode() for name in names))

    def answer(self, *bodies: str) -> Connection:
        return self.say(1, b"".join(chunk(body) for body in bodies))

    def miss(self, side: int, data: bytes) -> Connection:
        self.now_ns += 1
        framer = (self.pairs.requests, self.pairs.responses)[side]
        framer.gap(self.now_ns, len(data))
        self.sent[side] += len(data)
        return self

    def end(self) -> dict[str, str]:
        """Each target with the body that it got, or the reason why not."""
        self.pairs.finish(self.now_ns)
        found = {}
        for item in self.output.items:
            assert isinstance(item, Exchange)
            outcome = item.outcome
            got = outcome.body.decode() if isinstance(outcome, Response) else outcome.detail
            found[item.request.target.decode()[1:]] = got
        return found


MISSING = "its response is not in the file"
UNDECIDABLE = "a gap in the file hides which response is its own"


def chunk(body: str) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (
        len(body),
        body.encode(),
    )


def test_one_after_the_other() -> None:
    """Each request gets the response that follows it."""
    found = Connection().ask("a").answer("1").ask("b").answer("2").end()
    assert found == {"a": "1", "b": "2"}


def test_pipelined() -> None:
    """Responses come in the order of the requests."""
    assert Connection().ask("a", "b").ask("c").answer("1").answer("2", "3").end() == {
        "a": "1",
        "b": "2",
        "c": "3",
    }


def test_lost_response() -> None:
    """After a gap the response belongs to the last request that the server had by then."""
    connection = Connection().ask("a").miss(1, chunk("1")).ask("b").answer("2").ask("c").answer("3")
    assert connection.end() == {"a": MISSING, "b": "2", "c": "3"}


def test_lost_response_and_request() -> None:
    """When the next request is missing as well, its response is given to nobody."""
    connection = Connection().ask("a").miss(1, chunk("1")).miss(0, b"GET /b HTTP/1.1\r\n\r\n").answer("2")
    assert connection.ask("c").answer("3").end() == {"a": MISSING, "c": "3"}
    assert connection.output.tally.dropped == 1


def test_lost_request() -> None:
    """The response to a request that is missing is given to nobody."""
    connection = Connection().ask("a").answer("1").miss(0, b"GET /b HTTP/1.1\r\n\r\n").answer("2")
    assert connection.ask("c").answer("3").end() == {"a": "1", "c": "3"}
    assert connection.output.tally.dropped == 1


def test_lost_among_pipelined_responses() -> None:
    """Which of several pipelined requests a response is for after a gap cannot be known."""
    connection = Connection().ask("a", "b", "c").answer("1").miss(1, b"x" * 90).answer("?")
    assert connection.end() == {"a": "1", "b": UNDECIDABLE, "c": UNDECIDABLE}


def test_lost_among_pipelined_requests() -> None:
    """Nor can it when a gap may hold one of several pipelined requests."""
    connection = Connection().ask("a", "b").miss(0, b"x" * 50).ask("d").answer("1", "2", "?", "?")
    assert connection.end() == {"a": "1", "b": "2", "d": UNDECIDABLE}


def test_only_one_request_is_left() -> None:
    """With one request waiting there is nothing to guess, pipelined or not."""
    connection = Connection().ask("a", "b").answer("1").ask("c").answer("2")
    assert connection.miss(1, b"x" * 10).answer("3").end() == {"a": "1", "b": "2", "c": "3"}


def test_response_that_the_server_could_not_have_sent() -> None:
    """A response sent before the server had the request is not for it."""
    connection = Connection()
    connection.pairs.responses.gap(1, 10)
    connection.ask("a")
    connection.pairs.responses.feed(chunk("0"), 5, 9000, 1000)
    assert connection.end() == {"a": MISSING}


def test_tunnel_and_upgrades() -> None:
    """What follows a CONNECT or 101 is handed on, with its place."""
    for asked, answered, told in (
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", "restart"),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 101 X\r\nUpgrade: h2c\r\n\r\n", "http2"),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n", "websocket"),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 101 X\r\nUpgrade: other\r\n\r\n", "ignore"),
    ):
        connection = Connection().say(0, asked).say(1, answered + b"rest")
        assert connection.told == [told, f"hand b'rest' at {9000 + len(answered)}"]


def test_bodyless_responses() -> None:
    """HEAD, 204, 304 and interim responses have no body, whatever their headers say."""
    head = b"HTTP/1.1 %d X\r\nContent-Length: 99\r\n\r\n"
    connection = Connection().say(0, b"HEAD /a HTTP/1.1\r\n\r\n").say(1, head % 200)
    connection.ask("b").say(1, head % 204).ask("c").say(1, head % 304).ask("d").say(1, head % 103)
    assert connection.answer("4").end() == {"a": "", "b": "", "c": "", "d": "4"}


def test_request_that_is_cut() -> None:
    """A request whose body is cut by the end of its side is marked, and may still be answered."""
    connection = Connection().say(0, b"POST /a HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
    connection.pairs.end(5, from_client=True, client_left=True, reset=False)
    connection.answer("no")
    connection.end()
    (item,) = connection.output.items
    assert isinstance(item, Exchange)
    assert (item.request.body, item.request.truncated_bytes) == (b"abc", 7)
    assert not isinstance(item.outcome, Failure)
