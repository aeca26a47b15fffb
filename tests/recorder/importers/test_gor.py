from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures.errors import CaptureError
from captures.model import Failure, FailureReason
from recorder.importers import gor
from recorder.importers.gor_records import SEPARATOR

T = 1_700_000_000_000_000_000
GET = b"GET /a?x=1 HTTP/1.1\r\nHost: h.example\r\nX-a: 1\r\nx-A: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def record(kind: int, name: str, timing: int, payload: bytes, latency: int | None = None) -> bytes:
    tail = b"" if latency is None else b" %d" % latency
    return b"%d %s %d%s\n" % (kind, name.encode() * 24, timing, tail) + payload + SEPARATOR


def test_requests_alone(take: Callable[..., Any]) -> None:
    """A file of requests only gives failures that say so, at their own times."""
    result = take(record(1, "a", T, GET) + record(1, "b", T + 7, GET))
    assert [exchange.offset_ns for exchange in result.exchanges] == [0, 7]
    first = result.exchanges[0]
    assert first.request.target == b"/a?x=1"
    assert first.request.authority == b"h.example"
    assert first.request.headers == ((b"Host", b"h.example"), (b"X-a", b"1"), (b"x-A", b"2"))
    assert first.outcome == Failure(
        reason=FailureReason.OTHER, offset_ns=0, detail="the file holds no response"
    )
    assert result.header.started_wall_ns == T
    assert result.header.source.startswith("import goreplay:")


def test_responses_find_their_requests(take: Callable[..., Any]) -> None:
    """Responses are paired by id, whatever comes between."""
    other = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    data = (
        record(1, "a", T, GET, -1)
        + record(1, "b", T + 10, GET, -1)
        + record(2, "b", T + 20, other, 15)
        + record(2, "a", T + 30, OK, 40)
        + record(3, "a", T + 99, OK, 1)
    )
    result = take(data)
    first, second = result.exchanges
    assert (first.outcome.status, first.outcome.body, second.outcome.status) == (200, b"hi", 404)
    assert (first.outcome.offset_ns, first.outcome.end_ns) == (30, 40)
    assert (second.outcome.offset_ns, second.outcome.end_ns) == (20, 25)
    assert first.connection != second.connection
    assert result.remarks["replayed response, left out"] == 1


@pytest.mark.parametrize(
    ("request_latency", "timing", "latency", "expected"),
    [
        (None, 1500, None, (0, 1500, 1500)),  # the oldest: a round trip
        (None, T + 20, None, (0, 20, 20)),
        (None, T, 50, (0, 50, 50)),  # 0.14: the request's own start, then the round trip
        (-1, T + 20, 50, (0, 20, 50)),  # 1.0: begin, and end behind the request
        (5, T + 20, 3, (5, 20, 23)),  # 1.3: each message's own begin and length
    ],
)
def test_times_by_version(
    take: Callable[..., Any],
    request_latency: int | None,
    timing: int,
    latency: int | None,
    expected: tuple[int, int, int],
) -> None:
    """The numbers of each version's header give request end, response start and end."""
    [exchange] = take(record(1, "a", T, GET, request_latency) + record(2, "a", timing, OK, latency)).exchanges
    assert (exchange.request_end_ns, exchange.outcome.offset_ns, exchange.outcome.end_ns) == expected


def test_separator_in_a_body(take: Callable[..., Any]) -> None:
    """A separator inside a body does not cut it, even when a whole record stands in that body."""
    for body in (b"x" + SEPARATOR + b"y", b"quote: " + record(1, "z", T, GET) + b"end"):
        post = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        chunked = (
            b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
            % (
                len(body),
                body,
            )
        )
        result = take(record(1, "a", T, post) + record(1, "b", T + 1, chunked) + record(1, "c", T + 2, GET))
        assert [exchange.request.body for exchange in result.exchanges] == [body, body, b""]


def test_chunked_body(take: Callable[..., Any]) -> None:
    """Chunks are joined and trailers kept; what is not in chunks after all is kept as it stands."""
    head = b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    whole = head + b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n"
    result = take(record(1, "a", T, whole) + record(1, "b", T + 1, head + b"plain"))
    first, second = (exchange.request for exchange in result.exchanges)
    assert (first.body, first.trailers) == (b"abcde", ((b"X-T", b"1"),))
    assert second.body == b"plain"


def test_body_in_part_is_marked(take: Callable[..., Any]) -> None:
    """A body shorter than it was declared counts as truncated, and ends at its separator."""
    post = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc"
    result = take(record(1, "a", T, post) + record(1, "b", T + 1, GET))
    first, second = (exchange.request for exchange in result.exchanges)
    assert (first.body, first.truncated_bytes, second.method) == (b"abc", 7, b"GET")


def test_responses_without_bodies(take: Callable[..., Any]) -> None:
    """Responses to HEAD, and 304, declare lengths of bodies that they do not have."""
    head = GET.replace(b"GET", b"HEAD", 1)
    length = b"HTTP/1.1 %d X\r\nContent-Length: 9\r\n\r\n"
    data = record(1, "a", T, head) + record(2, "a", T + 1, length % 200)
    data += record(1, "b", T + 2, GET) + record(2, "b", T + 3, length % 304)
    assert [exchange.outcome.truncated_bytes for exchange in take(data).exchanges] == [0, 0]


def test_odd_targets(take: Callable[..., Any]) -> None:
    """An absolute target is split into scheme, authority and target; a missing host is said."""
    absolute = b"GET https://u:p@x.example:8443/q HTTP/1.1\r\n\r\n"
    result = take(record(1, "a", T, absolute) + record(1, "b", T + 1, b"OPTIONS * HTTP/1.1\r\n\r\n"))
    first, second = (exchange.request for exchange in result.exchanges)
    assert (first.scheme, first.authority, first.target) == (b"https", b"x.example:8443", b"/q")
    assert (second.target, second.authority) == (b"*", b"localhost")


def test_gzip_in_several_members(take: Callable[..., Any]) -> None:
    """A file that GoReplay appended to in gzip members is read whole; a cut one as far as it goes."""
    data = gzip.compress(record(1, "a", T, GET)) + gzip.compress(record(1, "b", T + 1, GET))
    assert len(take(data).exchanges) == 2
    assert len(take(data[:-12]).exchanges) >= 1


def test_damaged_records_cost_only_themselves(take: Callable[..., Any]) -> None:
    """Stretches that are no record and requests that are no HTTP are dropped and counted."""
    junk = b"junk without a header" + SEPARATOR
    data = record(1, "a", T, GET) + junk + record(1, "b", T + 1, b"nonsense") + record(1, "c", T + 2, GET)
    result = take(data)
    assert [exchange.offset_ns for exchange in result.exchanges] == [0, 2]
    counters = result.counters
    assert (counters.seen, counters.written) == (counters.dropped + 2, 2)
    assert result.remarks["request record that is no HTTP/1 request"] == 1


def test_response_that_is_none(take: Callable[..., Any]) -> None:
    """A response that is no HTTP makes a failure of its request."""
    [exchange] = take(record(1, "a", T, GET) + record(2, "a", T + 5, b"nonsense", 5)).exchanges
    assert exchange.outcome.reason is FailureReason.PROTOCOL_ERROR


def test_waiting_requests_are_bounded(take: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """When too many requests wait, the oldest is given up as a failure; nothing is lost."""
    monkeypatch.setattr(gor, "PENDING_REQUESTS", 2)
    requests = b"".join(record(1, name, T + n, GET) for n, name in enumerate("abcd"))
    result = take(requests + record(2, "d", T + 9, OK, 6) + record(2, "a", T + 10, OK, 10))
    kinds = [isinstance(exchange.outcome, Failure) for exchange in result.exchanges]
    assert kinds == [True, True, True, False]
    assert result.remarks["response without its request, left out"] == 1


def test_a_file_that_ends_inside_a_head_does_not_make_it_whole(take: Callable[..., Any]) -> None:
    """What stands in a head that was cut is no message; a response of that kind is a failure."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bea"
    result = take(record(1, "a", T, GET) + record(1, "b", T + 1, head).removesuffix(SEPARATOR))
    assert len(result.exchanges) == 1
    assert result.counters.dropped == 1
    result = take(record(1, "a", T, GET) + record(2, "a", T + 1, b"HTTP/1.1 200 OK\r\nSet-Coo"))
    assert isinstance(result.exchanges[0].outcome, Failure)


def test_a_zipped_file_that_is_cut_says_so(take: Callable[..., Any]) -> None:
    """Its records are read as far as they go, even where it ends between two of them."""
    result = take(gzip.compress(record(1, "a", T, GET))[:-4])
    assert len(result.exchanges) == 1
    assert result.remarks["gzip file that is cut, read up to there"] == 1


def test_requests_with_one_id_do_not_use_up_the_room(
    take: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that another with its id has put aside waits no longer, and its body takes no room."""
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n" + bytes(60)
    monkeypatch.setattr(gor, "PENDING_BYTES", 100)
    again = b"".join(record(1, "a", T + n, post) for n in range(9))
    pairs = b"".join(record(1, name, T + 10, GET) for name in "bc")
    result = take(again + pairs + b"".join(record(2, name, T + 20, OK, 6) for name in "bca"))
    kinds = [isinstance(exchange.outcome, Failure) for exchange in result.exchanges]
    assert kinds == [True] * 8 + [False] * 3
    assert "response without its request, left out" not in result.remarks


def test_no_record_is_an_error(take: Callable[..., Any]) -> None:
    """A file that only starts like GoReplay's is refused."""
    with pytest.raises(CaptureError, match="GoReplay"):
        take(b"1 abc 5 no line end")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_is_survived(take: Callable[..., Any], data: st.DataObject) -> None:
    """A file with bytes changed, cut or put in gives a whole capture or CaptureError, nothing else."""
    post = b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    content = bytearray(record(1, "a", T, GET) + record(1, "b", T, post) + record(2, "a", T + 5, OK, 5))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=5))
    try:
        result = take(bytes(content))
    except CaptureError:
        return
    assert result.complete
    assert result.counters.seen == result.counters.written + result.counters.dropped


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    bodies=st.lists(
        st.lists(st.sampled_from([SEPARATOR, b"1 ab 5\n", b"x", b"\n", b"\r\n"]), max_size=6), max_size=4
    )
)
def test_bodies_of_declared_length_are_whole(take: Callable[..., Any], bodies: list[list[bytes]]) -> None:
    """Whatever stands in bodies, records with a Content-Length give them back exactly."""
    joined = [b"".join(parts) for parts in bodies]
    data = b"".join(
        record(
            1, "a", T + n, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        for n, body in enumerate(joined)
    )
    result = take(record(1, "a", T - 1, GET) + data)
    assert [exchange.request.body for exchange in result.exchanges] == [b"", *joined]
