"""GoReplay files (``.gor``, plain or gzip): requests alone, or with their responses."""

from __future__ import annotations

import re
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from captures.errors import CaptureError
from captures.http1 import Http1Error, RequestParser, header_tokens, header_values, parse_headers
from captures.model import Exchange, Failure, FailureReason, Headers, Request, Response
from captures.units import MIB, NS_PER_S
from recorder.importers.base import Item, Tally, open_bytes
from recorder.importers.gor_records import Record, RecordReader
from recorder.importers.timeline import Timeline

PENDING_REQUESTS = 20_000
PENDING_BYTES = 64 * MIB
_WALL_NS_ABOVE = 10**15  # Unix times in ns are above it since 1970-01-12, round trips are never
_FIRST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (\S+) (HTTP/1\.[01])")
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-9]\d\d)(?: ([^\r\n]*))?")
_ABSOLUTE = re.compile(rb"(https?)://([^/?#]+)([^#]*)", re.IGNORECASE)
_NO_RESPONSE = "the file holds no response"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """A request that waits for its response."""

    seq: int
    connection: int
    timing_ns: int
    latency_ns: int | None
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """One HTTP/1 message by its parts; the body without transfer coding."""

    first: re.Match[bytes]
    headers: Headers
    body: bytes
    trailers: Headers
    truncated_bytes: int


class GorSource:
    """One GoReplay file; see ``Source``. The first pass, on opening, looks at times alone."""

    format = "goreplay"
    note = ""

    def __init__(self, path: Path) -> None:
        self.tally = Tally()
        self._path = path
        walls, self._has_responses, whole = array("q"), False, 0
        for record in _records(path):
            if record is None:
                continue
            whole += 1
            if record.kind == 1:
                walls.append(record.timing_ns)
            self._has_responses |= record.kind == 2
        if not whole:
            raise CaptureError(f"{path.name} holds no GoReplay record that is whole; give an undamaged copy.")
        timeline = Timeline(walls)
        self._seqs = timeline.seqs
        self.started_wall_ns = timeline.started_wall_ns
        self._connections = _Connections()

    def items(self) -> Iterator[Item]:
        """Exchanges as their responses come; those without one when it is clear that none comes."""
        waiting = _Waiting()
        number = 0
        for record in _records(self._path, self.tally):
            if record is None:
                self.tally.drop("stretch that is no GoReplay record")
            elif record.kind == 1:
                sent = self._sent(record, int(self._seqs[number]))
                number += 1
                if sent is None:
                    continue
                if not self._has_responses:
                    yield self._unanswered(sent)
                    continue
                for other in waiting.add(record.id, sent):
                    yield self._unanswered(other)
            elif record.kind == 3:
                self.tally.remark("replayed response, left out")
            else:
                sent = waiting.take(record.id)
                if sent is None:
                    self.tally.remark("response without its request, left out")
                    continue
                yield self._answered(sent, record)
        for sent in waiting.all():
            yield self._unanswered(sent)

    def close(self) -> None:
        """Nothing stays open between the passes."""

    def _sent(self, record: Record, seq: int) -> _Sent | None:
        message = _parse(record.payload, _FIRST_LINE, self.tally)
        if message is None:
            self.tally.drop("request record that is no HTTP/1 request")
            return None
        method, target, version = message.first.groups()
        host = (header_values(message.headers, b"host") or [b""])[0]
        scheme = b"http"
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is not None:
            scheme, host, target = absolute[1].lower(), absolute[2].rpartition(b"@")[2], absolute[3] or b"/"
        if not host:
            host = b"localhost"
            self.tally.remark("request without Host, taken as one to localhost")
        return _Sent(
            seq=seq,
            connection=self._connections.take() if self._has_responses else 0,
            timing_ns=record.timing_ns,
            latency_ns=record.latency_ns,
            request=Request(
                method=method,
                scheme=scheme,
                authority=host,
                target=target if target.startswith((b"/", b"*")) else b"/" + target,
                http_version=version,
                headers=message.headers,
                body=message.body,
                trailers=message.trailers,
                truncated_bytes=message.truncated_bytes,
            ),
        )

    def _unanswered(self, sent: _Sent) -> Exchange:
        if self._has_responses:
            self._connections.give_back(sent.connection)
        self.tally.remark("request without a response, kept as a failure")
        offset_ns = sent.timing_ns - self.started_wall_ns
        end_ns = offset_ns + (sent.latency_ns or 0)
        failure = Failure(reason=FailureReason.OTHER, offset_ns=end_ns, detail=_NO_RESPONSE)
        return _exchange(sent, offset_ns, end_ns, failure)

    def _answered(self, sent: _Sent, record: Record) -> Exchange:
        self._connections.give_back(sent.connection)
        offset_ns = sent.timing_ns - self.started_wall_ns
        request_ns, head_ns, end_ns = response_times(sent.timing_ns, sent.latency_ns, record)
        sent_ns, head_ns, end_ns = (when - self.started_wall_ns for when in (request_ns, head_ns, end_ns))
        message = _parse(record.payload, _STATUS_LINE, self.tally, method=sent.request.method)
        if message is None:
            self.tally.remark("response that is no HTTP/1 response, kept as a failure")
            failure = Failure(
                reason=FailureReason.PROTOCOL_ERROR, offset_ns=end_ns, detail="a message was not valid HTTP"
            )
            return _exchange(sent, offset_ns, sent_ns, failure)
        version, status, reason = message.first.groups()
        response = Response(
            status=int(status),
            reason=reason or b"",
            http_version=version,
            headers=message.headers,
            offset_ns=head_ns,
            end_ns=end_ns,
            body=message.body,
            trailers=message.trailers,
            truncated_bytes=message.truncated_bytes,
        )
        return _exchange(sent, offset_ns, sent_ns, response)


def open_gor(path: Path) -> GorSource:
    """
    Open a GoReplay file.

    Raises:
        CaptureError: not one record of it is whole.

    """
    return GorSource(path)


def response_times(request_ns: int, request_latency_ns: int | None, record: Record) -> tuple[int, int, int]:
    """
    Unix times of the request's last byte, the response's first and its last.

    What the numbers of a response mean differs by version. 1.3 writes when it began and how long it
    lasted (and the same of requests); 0.14 to 1.2 when it (or, in some, its request) began and how
    long it came after the request; older ones only that.
    """
    timing, latency = record.timing_ns, record.latency_ns
    sent_ns = request_ns + (request_latency_ns or 0)
    if timing < _WALL_NS_ABOVE:
        return sent_ns, request_ns + timing, request_ns + timing
    if latency is None or latency > 3600 * NS_PER_S:
        return sent_ns, max(sent_ns, timing), max(sent_ns, timing)
    if request_latency_ns is None and latency >= timing - request_ns:
        end_ns = max(request_ns + latency, timing)
        return sent_ns, timing if timing > request_ns else end_ns, end_ns
    head_ns = max(sent_ns, timing)
    return sent_ns, head_ns, head_ns + latency


class _Waiting:
    """Requests whose responses may still come, the oldest first."""

    def __init__(self) -> None:
        self._sent: OrderedDict[bytes, _Sent] = OrderedDict()
        self._bytes = 0

    def add(self, key: bytes, sent: _Sent) -> Iterator[_Sent]:
        """Takes a request, and gives those that wait no longer for it: the one with its id, the oldest."""
        if (before := self.take(key)) is not None:
            yield before
        self._sent[key] = sent
        self._bytes += len(sent.request.body)
        while len(self._sent) > PENDING_REQUESTS or (self._bytes > PENDING_BYTES and len(self._sent) > 1):
            oldest = self.take(next(iter(self._sent)))
            assert oldest is not None
            yield oldest

    def take(self, key: bytes) -> _Sent | None:
        """The request with this id, which waits no longer; None when there is none."""
        sent = self._sent.pop(key, None)
        if sent is not None:
            self._bytes -= len(sent.request.body)
        return sent

    def all(self) -> Iterator[_Sent]:
        """Those that wait at the end of the file."""
        yield from self._sent.values()


class _Connections:
    """GoReplay names none, so each request gets one on which no request is open."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self._next = 0

    def take(self) -> int:
        if self._free:
            return self._free.pop()
        self._next += 1
        return self._next - 1

    def give_back(self, number: int) -> None:
        self._free.append(number)


def _exchange(sent: _Sent, offset_ns: int, sent_ns: int, outcome: Response | Failure) -> Exchange:
    return Exchange(
        seq=sent.seq,
        offset_ns=offset_ns,
        request_end_ns=sent_ns,
        connection=sent.connection,
        request=sent.request,
        outcome=outcome,
    )


def _parse(
    payload: bytes, first_line: re.Pattern[bytes], tally: Tally, *, method: bytes = b""
) -> _Message | None:
    head, end, rest = payload.partition(b"\r\n\r\n")
    line, _, fields = head.partition(b"\r\n")
    first = first_line.fullmatch(line)
    if first is None or not end:
        return None
    try:
        headers = parse_headers(fields)
    except Http1Error:
        return None
    trailers: Headers = ()
    body = rest
    missing = 0
    if header_tokens(headers, b"transfer-encoding")[-1:] == [b"chunked"]:
        whole = _unchunked(rest)
        if whole is None:
            tally.remark("chunked body that is cut or not in chunks, kept as it stands")
        else:
            body, trailers = whole
    elif (length := _length(headers)) is not None and method != b"HEAD" and first[2] not in {b"204", b"304"}:
        body, missing = rest[:length], max(0, length - len(rest))
        if missing:
            tally.remark("body that the file holds in part")
        elif len(rest) > length:
            tally.remark("bytes behind a body, left out")
    return _Message(first=first, headers=headers, body=body, trailers=trailers, truncated_bytes=missing)


def _unchunked(rest: bytes) -> tuple[bytes, Headers] | None:
    parser = RequestParser()
    try:
        whole = parser.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + rest)
    except Http1Error:
        return None
    return (whole[0].body, whole[0].trailers) if whole else None


def _length(headers: Headers) -> int | None:
    values = header_values(headers, b"content-length")
    return int(values[0]) if values and values[0].isdigit() and len(values[0]) < 13 else None


def _records(path: Path, tally: Tally | None = None) -> Iterator[Record | None]:
    with open_bytes(path, tally) as file:
        yield from RecordReader(file).records()
