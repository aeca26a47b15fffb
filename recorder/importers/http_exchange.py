"""An exchange that is put together from overheard bytes, and where finished ones go."""

from __future__ import annotations

import re
from ipaddress import ip_address

from captures.http1 import header_tokens
from captures.model import Exchange, Failure, FailureReason, Headers, Message, MessageKind, Request, Response
from captures.units import MIB
from recorder.importers.base import Item, Tally
from recorder.importers.tcp_half import Memory
from recorder.sse import EventSplitter, SseEvent

MAX_BODY_BYTES = 60 * MIB  # what a capture holds of one body
MAX_EVENT_BYTES = 1 * MIB  # of one server-sent event, since there may be as many open as connections

_SMALL_BYTES = 256

MISSING_RESPONSE = "its response is not in the file"
MISSING_END = "the file has no more of its connection"

_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)(.*)", re.DOTALL)


class Output:
    """Numbers exchanges and connections, collects what is finished, and keeps the account."""

    def __init__(self, memory: Memory, *, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self.items: list[Item] = []
        self.tally = Tally()
        self.memory = memory
        self.max_body_bytes = max_body_bytes
        self._next_seq = 0
        self._next_connection = 0

    def next_seq(self) -> int:
        """The number of a request that was just seen."""
        self._next_seq += 1
        return self._next_seq - 1

    def next_connection(self) -> int:
        """The number of a connection on which the first request was just seen."""
        self._next_connection += 1
        return self._next_connection - 1

    def message(
        self,
        exchange: int,
        offset_ns: int,
        kind: MessageKind,
        *,
        from_client: bool = False,
        payload: bytes = b"",
        truncated_bytes: int = 0,
    ) -> None:
        """Takes one message of a stream."""
        self.items.append(
            Message(
                exchange=exchange,
                offset_ns=offset_ns,
                from_client=from_client,
                kind=kind,
                payload=payload,
                truncated_bytes=truncated_bytes,
            )
        )


class Body:
    """
    A body's bytes up to the first gap, or to the limit; what comes after is counted.

    A body with a hole in it would look whole, so what is stored is always a true beginning.
    """

    __slots__ = ("_output", "_pieces", "stored_bytes", "truncated_bytes")

    def __init__(self, output: Output) -> None:
        self._output = output
        self._pieces: list[bytes | bytearray] = []
        self.stored_bytes = 0
        self.truncated_bytes = 0

    def add(self, piece: bytes) -> None:
        """Takes the next bytes."""
        memory = self._output.memory
        size_bytes = len(piece)
        room = min(self._output.max_body_bytes - self.stored_bytes, memory.limit_bytes - memory.used_bytes)
        if self.truncated_bytes or size_bytes > room:
            piece = b"" if self.truncated_bytes else piece[: max(0, room)]
            self.truncated_bytes += size_bytes - len(piece)
            size_bytes = len(piece)
        if size_bytes >= _SMALL_BYTES:
            self._pieces.append(piece)
        elif self._pieces and type(self._pieces[-1]) is bytearray:
            self._pieces[-1] += piece
        else:  # an object for each of many tiny pieces would take fifty times their size
            self._pieces.append(bytearray(piece))
        self.stored_bytes += size_bytes
        memory.used_bytes += size_bytes

    def missed(self, missing_bytes: int) -> None:
        """Says that the next bytes are not there."""
        self.truncated_bytes += missing_bytes

    def take(self) -> bytes:
        """What is stored; the memory is given back."""
        self._output.memory.used_bytes -= self.stored_bytes
        self.stored_bytes = 0
        whole = b"".join(self._pieces)
        self._pieces.clear()
        return whole


class OpenExchange:
    """
    One exchange while its bytes come.

    ``end_position`` is where its request ends, ``sent_after`` up to where the client had received the
    server's bytes when it sent it, both modulo 2^32. ``doubtful`` says that it cannot be known which
    response is its own. An SSE response is written at its head and its events as they come.
    """

    __slots__ = (
        "_events",
        "_outcome",
        "_output",
        "_response_body",
        "_response_head",
        "_response_ns",
        "connection",
        "doubtful",
        "end_position",
        "offset_ns",
        "request_body",
        "request_end_ns",
        "request_head",
        "request_trailers",
        "sent_after",
        "seq",
        "written",
    )  # fmt: skip

    def __init__(self, output: Output, *, connection: int, offset_ns: int, request: Request) -> None:
        self._output = output
        self.seq = output.next_seq()
        self.connection = connection
        self.offset_ns = offset_ns
        self.request_head = request
        self.request_body = Body(output)
        self.request_trailers: Headers = ()
        self.request_end_ns: int | None = None
        self.end_position: int | None = None
        self.sent_after = 0
        self.doubtful = False
        self.written = False
        self._response_head: tuple[int, bytes, bytes, Headers] | None = None
        self._response_body = Body(output)
        self._response_ns = 0
        self._outcome: Response | Failure | None = None
        self._events: EventSplitter | None = None

    @property
    def answered(self) -> bool:
        """Whether its outcome is known."""
        return self._outcome is not None

    def begin_response(
        self, time_ns: int, status: int, reason: bytes, version: bytes, headers: Headers
    ) -> None:
        """The head of the response came."""
        self._response_ns = max(time_ns, self.offset_ns)
        self._response_head = status, reason, version, headers
        bodyless = self.request_head.method == b"HEAD" or status in {204, 304}
        if self.request_end_ns is not None and not bodyless and _is_event_stream(headers):
            self._events = EventSplitter(min(MAX_EVENT_BYTES, self._output.max_body_bytes))
            self.respond(None, stream=True)

    def response_data(self, piece: bytes, time_ns: int) -> None:
        """The next bytes of the response's body."""
        if self._events is None:
            self._response_body.add(piece)
            return
        for event in self._events.feed(piece):
            self._event(event, time_ns)

    def response_missed(self, missing_bytes: int, time_ns: int) -> None:
        """The next bytes of the response's body are not there."""
        if self._events is None:
            self._response_body.missed(missing_bytes)
        else:
            self._event(self._events.rest() or SseEvent(payload=b""), time_ns, missing_bytes)

    def end_response(self, time_ns: int, trailers: Headers = ()) -> None:
        """The response is whole."""
        if self._events is None:
            self.respond(time_ns, trailers)
        else:
            self._end_events(time_ns)

    def fail(self, reason: FailureReason, time_ns: int, detail: str) -> None:
        """There is no whole response and there will be none; a stream just ends."""
        if self._events is not None:
            self._end_events(time_ns)
        elif self._outcome is None:
            self._response_body.take()
            self._outcome = Failure(reason=reason, offset_ns=max(time_ns, self.offset_ns), detail=detail)
            self._write_if_done()

    def leave_open(self, time_ns: int, missing_bytes: int) -> None:
        """The file says nothing more of a response that had begun; ``missing_bytes`` of it never came."""
        if self._events is None:
            self._response_body.missed(max(1, missing_bytes))
            self.respond(time_ns)
        elif (event := self._events.rest()) is not None:
            self._event(event, time_ns)

    def respond(self, end_ns: int | None, trailers: Headers = (), *, stream: bool = False) -> None:
        """The response is as whole as it gets."""
        assert self._response_head is not None
        status, reason, version, headers = self._response_head
        body = self._response_body
        self._outcome = Response(
            status=status,
            reason=reason,
            http_version=version,
            headers=headers,
            offset_ns=self._response_ns,
            end_ns=None if end_ns is None else max(end_ns, self._response_ns),
            body=body.take(),
            trailers=trailers,
            truncated_bytes=body.truncated_bytes,
            stream=stream,
        )
        self._write_if_done()

    def _event(self, event: SseEvent, time_ns: int, missing_bytes: int = 0) -> None:
        self._output.message(
            self.seq,
            max(time_ns, self._response_ns),
            MessageKind.EVENT,
            payload=event.payload,
            truncated_bytes=event.truncated_bytes + missing_bytes,
        )

    def _end_events(self, time_ns: int) -> None:
        assert self._events is not None
        if (event := self._events.rest()) is not None:
            self._event(event, time_ns)
        self._output.message(self.seq, max(time_ns, self._response_ns), MessageKind.END)

    def end_request(self, time_ns: int, trailers: Headers = ()) -> None:
        """The request is whole, or as whole as it gets."""
        if self.request_end_ns is None:
            self.request_end_ns = max(time_ns, self.offset_ns)
            self.request_trailers = trailers
            self._write_if_done()

    def abandon(self) -> None:
        """The request itself never came whole, nor did its outcome: it is not written."""
        self.written = True
        self.request_body.take()
        self._response_body.take()
        self._output.tally.in_flight += 1

    def _write_if_done(self) -> None:
        if self._outcome is None or self.request_end_ns is None or self.written:
            return
        self.written = True
        head, body = self.request_head, self.request_body
        if body.stored_bytes or body.truncated_bytes or self.request_trailers:
            head = Request(
                method=head.method,
                scheme=head.scheme,
                authority=head.authority,
                target=head.target,
                http_version=head.http_version,
                headers=head.headers,
                body=body.take(),
                trailers=self.request_trailers,
                truncated_bytes=body.truncated_bytes,
            )
        self._output.items.append(
            Exchange(
                seq=self.seq,
                offset_ns=self.offset_ns,
                request_end_ns=self.request_end_ns,
                connection=self.connection,
                request=head,
                outcome=self._outcome,
            )
        )


def _is_event_stream(headers: Headers) -> bool:
    for name, value in headers:
        if len(name) == 12 and name.lower() == b"content-type":
            kind = value.split(b";", 1)[0].strip().lower()
            codings = set(header_tokens(headers, b"content-encoding"))
            return kind == b"text/event-stream" and codings <= {b"identity"}
    return False


def request_head(
    method: bytes,
    target: bytes,
    version: bytes,
    headers: Headers,
    *,
    server: bytes,
    scheme: bytes = b"http",
    authority: bytes = b"",
) -> Request:
    """
    A request as the model has it, without its body; the target gets its origin form.

    Where ``authority`` is empty it comes from the target, else from Host, else it is ``server``.
    """
    if not target.startswith(b"/") and (match := _ABSOLUTE.fullmatch(target)):
        scheme, authority, target = match[1].lower(), match[2].rpartition(b"@")[2], match[3]
        target = target if target.startswith(b"/") else b"/" + target
    elif method == b"CONNECT" and not authority:
        authority, target = target, b"/"
    if not authority:
        hosts = (value for name, value in headers if len(name) == 4 and name.lower() == b"host")
        authority = next(hosts, b"") or server
    return Request(
        method=method,
        scheme=scheme,
        authority=authority,
        target=target,
        http_version=version,
        headers=headers,
    )


def server_address(key: bytes, client: int) -> bytes:
    """The server's address and port, ``key`` being addresses and ports with side 0 as sender."""
    width = (len(key) - 4) // 2
    address = key[width : 2 * width] if client == 0 else key[:width]
    port = int.from_bytes(key[-2:] if client == 0 else key[-4:-2])
    host = str(ip_address(address))
    host = f"[{host}]" if ":" in host else host
    return (host if port == 80 else f"{host}:{port}").encode()
