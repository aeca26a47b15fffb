"""
Which response answers which request on one overheard HTTP/1 connection.

Responses come in the order of their requests (RFC 9112 section 9.3.2). After a gap that order has
holes; then a response is given to a request only when the acknowledgements leave no other, and what
cannot be told is a Failure, never a guess.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Protocol

from captures.http1 import Http1Error, header_tokens
from captures.model import FailureReason, Headers
from recorder.importers.http_exchange import (
    MISSING_END,
    MISSING_RESPONSE,
    OpenExchange,
    Output,
    request_head,
)
from recorder.importers.http_framing import (
    HANDED_ON,
    REQUEST_SO_FAR,
    REQUEST_START,
    RESPONSE_SO_FAR,
    RESPONSE_START,
    UNTIL_CLOSE,
    Framer,
    Lost,
    declared_length,
)
from recorder.importers.tcp_half import HALF, MASK

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) +(\S.*?) +(HTTP/1\.\d) *", re.DOTALL)
_STATUS_LINE = re.compile(rb"(HTTP/1\.\d) +([1-9]\d\d)(?: (.*))?", re.DOTALL)
_UNDECIDABLE = "a gap in the file hides which response is its own"
_NO_HTTP = "the response was not valid HTTP"
_ODD_HEADER = "header line that is no header, left out"


class Owner(Protocol):
    """The connection that the messages are on."""

    output: Output
    server: bytes

    def number(self) -> int:
        """The connection's number."""

    def use_http2(self, first: OpenExchange) -> None:
        """The connection changes to HTTP/2; ``first`` is answered there."""

    def use_websocket(self, exchange: OpenExchange, headers: Headers) -> None:
        """The connection carries the messages of ``exchange`` from now on."""

    def restart(self) -> None:
        """A tunnel was opened."""

    def ignore(self) -> None:
        """What follows is of no protocol that is known."""

    def hand(
        self, rest: bytes, time_ns: int, position: int, peer_position: int, *, from_client: bool
    ) -> None:
        """Bytes of the protocol that was changed to."""


class Pairs:
    """The requests and the responses of one connection, and those requests that wait for an answer."""

    def __init__(self, owner: Owner, *, synced: bool) -> None:
        self.owner = owner
        self.output = owner.output
        self.requests = _Requests(self, synced=synced)
        self.responses = _Responses(self, synced=synced)
        self._asking: OpenExchange | None = None
        self._answering: OpenExchange | None = None
        # None stands for a request whose head is not in the file: its response is no other's.
        self._waiting: deque[OpenExchange | None] = deque()
        self._interim = False
        self._pipelined = False
        self._resync = False
        self._doubt = False

    def ask(self, first_line: bytes, headers: Headers) -> int:
        """A request's head came; gives what frames its body."""
        match = _REQUEST_LINE.fullmatch(first_line)
        if match is None:
            raise Http1Error("the first line is not a request line")
        length = declared_length(headers)
        if length == UNTIL_CLOSE:
            raise Http1Error("the transfer coding is not known")
        if not self._waiting:
            self._doubt = False
        elif not self._resync:
            self._pipelined = True
        exchange = OpenExchange(
            self.output,
            connection=self.owner.number(),
            offset_ns=self.requests.head_ns,
            request=request_head(match[1], match[2], match[3], headers, server=self.owner.server),
        )
        exchange.sent_after = self.requests.head_peer_position
        exchange.doubtful = self._doubt
        self._waiting.append(exchange)
        self._asking = exchange
        return length or 0

    def asked(self, trailers: Headers) -> None:
        """The request is whole."""
        if self._asking is not None:
            self._asking.end_position = self.requests.end_position
            self._asking.end_request(self.requests.now_ns, trailers)
            self._asking = None

    def request_data(self, piece: bytes) -> None:
        """The next bytes of the request's body."""
        if self._asking is not None:
            self._asking.request_body.add(piece)

    def request_missed(self, missing_bytes: int) -> None:
        """The next bytes of the request's body are not there."""
        if self._asking is not None:
            self._asking.request_body.missed(missing_bytes)

    def request_lost(self, missing_bytes: int, lost: Lost) -> None:
        """Where the next request begins is not known."""
        if self._asking is not None:
            self._cut_request(missing_bytes)
        elif lost in {Lost.BEFORE_HEAD, Lost.IN_HEAD}:
            self._waiting.append(None)
        if self._pipelined:
            self._doubt = True

    def answer(self, first_line: bytes, headers: Headers) -> int:
        """A response's head came; gives what frames its body."""
        match = _STATUS_LINE.fullmatch(first_line)
        if match is None:
            raise Http1Error("the first line is not a status line")
        status = int(match[2])
        if status < 200 and status != 101:
            self._interim = True
            return 0
        exchange = self._answering = self._next()
        method = b"GET" if exchange is None else exchange.request_head.method
        if exchange is not None:
            exchange.begin_response(self.responses.head_ns, status, match[3] or b"", match[1], headers)
        if status == 101:
            return self._upgrade(headers)
        if method == b"HEAD" or status in {204, 304}:
            return 0
        if method == b"CONNECT" and status < 300:
            self.answered(())
            self.owner.restart()
            return HANDED_ON
        length = declared_length(headers)
        return UNTIL_CLOSE if length is None else length

    def answered(self, trailers: Headers) -> None:
        """The response is whole."""
        if self._interim:
            self._interim = False
        elif self._answering is not None:
            exchange, self._answering = self._answering, None
            exchange.end_response(self.responses.now_ns, trailers)

    def response_data(self, piece: bytes) -> None:
        """The next bytes of the response's body."""
        if self._answering is not None:
            self._answering.response_data(piece, self.responses.now_ns)

    def response_missed(self, missing_bytes: int) -> None:
        """The next bytes of the response's body are not there."""
        if self._answering is not None:
            self._answering.response_missed(missing_bytes, self.responses.now_ns)

    def response_lost(self, missing_bytes: int, lost: Lost) -> None:
        """Where the next response begins is not known."""
        time_ns = self.responses.last_ns
        self._interim = False
        if not missing_bytes:  # nothing is missing, it is no HTTP
            exchange, self._answering = self._answering, None
            if exchange is None and self._waiting and not self._resync:
                exchange = self._waiting.popleft()
            if exchange is not None:
                exchange.fail(FailureReason.PROTOCOL_ERROR, time_ns, _NO_HTTP)
        elif self._answering is not None:
            exchange, self._answering = self._answering, None
            exchange.leave_open(time_ns, missing_bytes)
        elif lost is Lost.IN_HEAD and self._waiting and not self._resync:
            self._fail(self._waiting.popleft(), time_ns, MISSING_RESPONSE)
        self._resync = True

    def end(self, time_ns: int, *, from_client: bool, client_left: bool, reset: bool) -> None:
        """One side, or with ``reset`` both, send nothing more; ``client_left`` when the client was first."""
        if from_client or reset:
            self.requests.close()
            self._cut_request(self.requests.cut_bytes)
            if self.requests.cut_head:
                self.requests.cut_head = False
                self._waiting.append(None)
        if from_client and not reset:
            return  # the answers may still come
        if not reset:
            self.responses.close()
        reason = FailureReason.CLIENT_DISCONNECTED if client_left else FailureReason.UPSTREAM_RESET
        if self._answering is not None:
            exchange, self._answering = self._answering, None
            exchange.fail(reason, time_ns, "" if client_left else "the response's body was cut")
        detail = "" if client_left else "the upstream closed the connection without an answer"
        self._fail_waiting(reason, time_ns, MISSING_RESPONSE if self._resync else detail)

    def finish(self, time_ns: int) -> None:
        """The file has no more of this connection."""
        self.requests.close()
        self.responses.close()
        if self._asking is not None and not self._asking.answered:
            if self._asking in self._waiting:
                self._waiting.remove(self._asking)
            self._asking.abandon()
        elif self.requests.cut_head:
            self.output.tally.in_flight += 1
        else:
            self._cut_request(self.requests.cut_bytes)
        if self._answering is not None:
            exchange, self._answering = self._answering, None
            exchange.leave_open(self.responses.last_ns, self.responses.cut_bytes)
        self._fail_waiting(
            FailureReason.OTHER, time_ns, MISSING_RESPONSE if self._resync or self._doubt else MISSING_END
        )

    def _next(self) -> OpenExchange | None:
        """The request that the response whose head just came is for, or None."""
        if self._resync:
            return self._aligned(self.responses.head_position, self.responses.head_peer_position)
        if not self._waiting:
            self.output.tally.drop("response whose request is not in the file")
            return None
        exchange = self._waiting.popleft()
        if exchange is None or exchange.doubtful:
            self._fail(exchange, self.responses.head_ns, _UNDECIDABLE)
            return None
        return exchange

    def _aligned(self, position: int, received: int) -> OpenExchange | None:
        """
        The request for the first response after a gap in the responses.

        ``position`` is where it begins, ``received`` what the server had of the requests then. It can
        only be for a request that the server had whole, sent when the client had no more of the
        responses than ``position``. A client that does not pipeline had the answers to all but the
        last of these; else there is no telling.
        """
        count, end = 0, None
        for at, each in enumerate(self._waiting):
            if each is None:
                # The server had more than the request before it, so it had this one.
                if end is None or 0 < (received - end) & MASK < HALF:
                    count = at + 1
                continue
            end = each.end_position
            if end is not None and (received - end) & MASK >= HALF:
                break
            if (position - each.sent_after) & MASK >= HALF:
                break
            count = at + 1
        candidates = [self._waiting.popleft() for _ in range(count)]
        if not candidates:
            self.output.tally.remark("response after a gap, whose request is not known")
            return None
        places = [each.sent_after for each in candidates if each is not None]
        sure = len(candidates) == 1 or not (self._pipelined or len(set(places)) < len(places))
        found = candidates[-1]
        if found is not None and found.end_position is None:
            sure = False  # what cut its chunks may have held the next request as well
        if sure and found is not None and not found.doubtful:
            candidates.pop()
        else:
            found = None
        for each in candidates:
            self._fail(each, self.responses.head_ns, MISSING_RESPONSE if sure else _UNDECIDABLE)
        self._resync = not sure
        return found

    def _upgrade(self, headers: Headers) -> int:
        exchange, self._answering = self._answering, None
        protocols = header_tokens(headers, b"upgrade")
        if exchange is None:
            self.owner.ignore()
        elif b"h2c" in protocols:
            self.owner.use_http2(exchange)
        elif b"websocket" in protocols:
            exchange.respond(None, stream=True)
            self.owner.use_websocket(exchange, headers)
        else:
            exchange.end_response(self.responses.now_ns)
            self.output.tally.remark("connection that changed to a protocol that is not known")
            self.owner.ignore()
        return HANDED_ON

    def _cut_request(self, missing_bytes: int) -> None:
        if self._asking is not None:
            exchange, self._asking = self._asking, None
            exchange.request_body.missed(max(1, missing_bytes))
            exchange.end_request(self.requests.last_ns)

    def _fail_waiting(self, reason: FailureReason, time_ns: int, detail: str) -> None:
        while self._waiting:
            self._fail(self._waiting.popleft(), time_ns, detail, reason)

    def _fail(
        self,
        exchange: OpenExchange | None,
        time_ns: int,
        detail: str,
        reason: FailureReason = FailureReason.OTHER,
    ) -> None:
        if exchange is None:
            self.output.tally.drop("request whose head is not whole in the file")
        else:
            exchange.fail(reason, time_ns, detail)


class _Requests(Framer):
    begins = REQUEST_START
    so_far = REQUEST_SO_FAR

    def __init__(self, pairs: Pairs, *, synced: bool) -> None:
        super().__init__(pairs.output.memory, synced=synced)
        self._pairs = pairs

    def on_head(self, first_line: bytes, headers: Headers) -> int:
        return self._pairs.ask(first_line, headers)

    def on_body(self, piece: bytes) -> None:
        self._pairs.request_data(piece)

    def on_missed(self, missing_bytes: int) -> None:
        self._pairs.request_missed(missing_bytes)

    def on_end(self, trailers: Headers) -> None:
        self._pairs.asked(trailers)

    def on_lost(self, missing_bytes: int, lost: Lost) -> None:
        self._pairs.request_lost(missing_bytes, lost)

    def on_handed(self, rest: bytes, position: int, peer_position: int) -> None:
        self._pairs.owner.hand(rest, self.now_ns, position, peer_position, from_client=True)

    def on_odd_header(self) -> None:
        self._pairs.output.tally.remark(_ODD_HEADER)


class _Responses(Framer):
    begins = RESPONSE_START
    so_far = RESPONSE_SO_FAR

    def __init__(self, pairs: Pairs, *, synced: bool) -> None:
        super().__init__(pairs.output.memory, synced=synced)
        self._pairs = pairs

    def on_head(self, first_line: bytes, headers: Headers) -> int:
        return self._pairs.answer(first_line, headers)

    def on_body(self, piece: bytes) -> None:
        self._pairs.response_data(piece)

    def on_missed(self, missing_bytes: int) -> None:
        self._pairs.response_missed(missing_bytes)

    def on_end(self, trailers: Headers) -> None:
        self._pairs.answered(trailers)

    def on_lost(self, missing_bytes: int, lost: Lost) -> None:
        self._pairs.response_lost(missing_bytes, lost)

    def on_handed(self, rest: bytes, position: int, peer_position: int) -> None:
        self._pairs.owner.hand(rest, self.now_ns, position, peer_position, from_client=False)

    def on_odd_header(self) -> None:
        self._pairs.output.tally.remark(_ODD_HEADER)
