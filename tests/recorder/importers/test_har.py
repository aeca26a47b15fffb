from __future__ import annotations

import base64
import copy
import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures.bodies.coding import decode
from captures.errors import CaptureError
from captures.model import Failure, FailureReason, MessageKind, Response

CHROMIUM = {
    "_connectionId": "812",
    "_initiator": {"type": "script", "stack": {"callFrames": []}},
    "_priority": "High",
    "_resourceType": "fetch",
    "cache": {},
    "connection": "443",
    "request": {
        "method": "POST",
        "url": "https://app.example/api/runs?x=%20y",
        "httpVersion": "http/2.0",
        "headers": [
            {"name": ":authority", "value": "app.example"},
            {"name": ":method", "value": "POST"},
            {"name": ":path", "value": "/api/runs?x=%20y"},
            {"name": ":scheme", "value": "https"},
            {"name": "content-type", "value": "application/json"},
            {"name": "authorization", "value": "Bearer abc"},
        ],
        "queryString": [{"name": "x", "value": " y"}],
        "cookies": [],
        "headersSize": -1,
        "bodySize": 9,
        "postData": {"mimeType": "application/json", "text": '{"a":"é"}'},
    },
    "response": {
        "status": 201,
        "statusText": "",
        "httpVersion": "http/2.0",
        "headers": [{"name": "content-type", "value": "application/json"}],
        "cookies": [],
        "content": {"size": 11, "mimeType": "application/json", "text": '{"id": "1"}'},
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": -1,
        "_transferSize": 97,
        "_error": None,
    },
    "serverIPAddress": "192.0.2.1",
    "startedDateTime": "2026-03-01T10:00:00.250Z",
    "time": 31.5,
    "timings": {
        "blocked": 1.0, "dns": -1, "ssl": -1, "connect": -1, "send": 0.5, "wait": 28.0, "receive": 2.0,
        "_blocked_queueing": 0.5,
    },
}  # fmt: skip
FIREFOX = {
    "startedDateTime": "2026-03-01T11:00:00.200+01:00",
    "request": {
        "bodySize": 0,
        "method": "GET",
        "url": "https://app.example/logo.png",
        "httpVersion": "HTTP/1.1",
        "headers": [{"name": "Host", "value": "app.example"}, {"name": "Accept", "value": "image/*"}],
        "cookies": [],
        "queryString": [],
        "headersSize": 300,
    },
    "response": {
        "status": 200,
        "statusText": "OK",
        "httpVersion": "HTTP/1.1",
        "headers": [{"name": "Content-Type", "value": "image/png"}],
        "cookies": [],
        "content": {"mimeType": "image/png", "size": 4, "encoding": "base64", "text": "iVBORw=="},
        "redirectURL": "",
        "headersSize": 200,
        "bodySize": 204,
    },
    "cache": {},
    "timings": {"blocked": 0, "dns": 0, "connect": 0, "ssl": 0, "send": 0, "wait": 8, "receive": 1},
    "time": 9,
    "_securityState": "secure",
    "serverIPAddress": "192.0.2.1",
    "connection": "443",
}


def har(*entries: Any) -> dict[str, Any]:
    return {
        "log": {
            "version": "1.2",
            "creator": {"name": "t", "version": "1"},
            "pages": [],
            "entries": list(entries),
        }
    }


def changed(entry: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A deep copy; ``request__url=...`` changes inside, None takes away."""
    entry = copy.deepcopy(entry)
    for name, value in changes.items():
        *path, last = name.split("__")
        place = entry
        for step in path:
            place = place[step]
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return entry


def test_chromium_entry(take: Callable[..., Any]) -> None:
    """A Chromium entry keeps method, target, headers without pseudo-headers, body, status and times."""
    [exchange] = take(har(CHROMIUM)).exchanges
    request, response = exchange.request, exchange.outcome
    assert (request.method, request.scheme, request.authority) == (b"POST", b"https", b"app.example")
    assert request.target == b"/api/runs?x=%20y"
    assert request.http_version == b"HTTP/2.0"
    assert request.headers == ((b"content-type", b"application/json"), (b"authorization", b"Bearer abc"))
    assert request.body == '{"a":"é"}'.encode()
    assert (response.status, response.body, response.truncated_bytes) == (201, b'{"id": "1"}', 0)
    assert exchange.request_end_ns == 1_500_000
    assert (response.offset_ns, response.end_ns) == (29_500_000, 31_500_000)


def test_firefox_entry(take: Callable[..., Any]) -> None:
    """A Firefox entry keeps its header case, a base64 body and the offset of its own time zone."""
    result = take(har(CHROMIUM, FIREFOX))
    first, second = result.exchanges
    assert first.request.method == b"GET"
    assert first.request.headers[0] == (b"Host", b"app.example")
    assert first.outcome.body == base64.b64decode("iVBORw==")
    assert second.offset_ns - first.offset_ns == 50_000_000
    assert result.header.started_wall_ns == 1_772_359_200_200_000_000
    assert first.connection == second.connection
    assert [exchange.seq for exchange in result.exchanges] == [0, 1]


def test_any_request_imports(take: Callable[..., Any]) -> None:
    """Entries without a response, with an empty one or with status 0 become failures, with their reason."""
    entries = [
        changed(CHROMIUM, response=None),
        changed(CHROMIUM, response={}),
        changed(CHROMIUM, response__status=0, response___error="net::ERR_CONNECTION_REFUSED"),
        changed(CHROMIUM, response__status=0, response___error="net::ERR_ABORTED"),
        changed(CHROMIUM, response__status=0, response___error="net::ERR_TIMED_OUT"),
        {"request": {"method": "GET", "url": "http://a.example/"}},
    ]
    result = take(har(*entries))
    assert all(isinstance(exchange.outcome, Failure) for exchange in result.exchanges)
    assert [exchange.outcome.reason for exchange in result.exchanges] == [
        FailureReason.OTHER,
        FailureReason.OTHER,
        FailureReason.UPSTREAM_UNREACHABLE,
        FailureReason.CLIENT_DISCONNECTED,
        FailureReason.TIMEOUT,
        FailureReason.OTHER,
    ]
    assert (result.counters.seen, result.counters.written, result.counters.dropped) == (6, 6, 0)


def test_entries_without_a_time_keep_their_place(take: Callable[..., Any]) -> None:
    """Made-up offsets lie between the neighbours' and are marked, with their numbers, in the source."""
    entries = [
        changed(CHROMIUM, startedDateTime="2026-03-01T10:00:00Z", request__url="http://a/0"),
        changed(CHROMIUM, startedDateTime=None, request__url="http://a/1"),
        changed(CHROMIUM, startedDateTime="yesterday", request__url="http://a/2"),
        changed(CHROMIUM, startedDateTime="2026-03-01T10:00:00.001Z", request__url="http://a/3"),
        changed(CHROMIUM, startedDateTime="", request__url="http://a/4"),
    ]
    result = take(har(*entries))
    assert [exchange.request.target for exchange in result.exchanges] == [b"/0", b"/1", b"/2", b"/3", b"/4"]
    offsets = [exchange.offset_ns for exchange in result.exchanges]
    assert offsets == [0, 333_333, 666_666, 1_000_000, 2_000_000]
    assert "synthetic offsets: 3 of 5, #1-2 #4" in result.header.source
    assert result.remarks["entry without a time, its offset is made up"] == 3


def test_no_entry_has_a_time(take: Callable[..., Any]) -> None:
    """Without a single time the document's order is kept."""
    entries = [changed(CHROMIUM, startedDateTime=None, request__url=f"http://a/{n}") for n in range(3)]
    result = take(har(*entries))
    assert [exchange.request.target for exchange in result.exchanges] == [b"/0", b"/1", b"/2"]


def test_missing_timings_fall_back_to_the_whole_time(take: Callable[..., Any]) -> None:
    """Without timings the response is there when the entry's time is over; without that, at once."""
    first, second = take(
        har(changed(CHROMIUM, timings=None), changed(CHROMIUM, timings=None, time=None))
    ).exchanges
    assert first.outcome.end_ns - first.offset_ns == 31_500_000
    assert second.outcome.end_ns == second.offset_ns


def test_compressed_body_is_compressed_again(take: Callable[..., Any]) -> None:
    """A text whose headers name gzip is stored as gzip of that text, and this is said."""
    entry = changed(CHROMIUM)
    entry["response"]["headers"].append({"name": "content-encoding", "value": "gzip"})
    result = take(har(entry))
    body = result.exchanges[0].outcome.body
    assert body[:2] == b"\x1f\x8b"
    assert decode(body, b"gzip") == b'{"id": "1"}'
    assert result.remarks["body compressed again, so its bytes differ from the wire's"] == 1


def test_body_that_is_still_compressed_is_kept(take: Callable[..., Any]) -> None:
    """Base64 of bytes that still have their coding is taken as it is."""
    coded = gzip.compress(b"hello")
    entry = changed(
        CHROMIUM,
        response__content={"size": 5, "text": base64.b64encode(coded).decode(), "encoding": "base64"},
    )
    entry["response"]["headers"].append({"name": "content-encoding", "value": "gzip"})
    assert take(har(entry)).exchanges[0].outcome.body == coded


def test_body_left_out_is_marked(take: Callable[..., Any]) -> None:
    """A body that the exporter left out is counted as truncated by its size."""
    entry = changed(CHROMIUM, response__content={"size": 400, "mimeType": "text/css"}, request__postData=None)
    result = take(har(entry))
    [exchange] = result.exchanges
    assert (exchange.request.truncated_bytes, exchange.outcome.truncated_bytes) == (9, 400)
    assert result.counters.truncated == 1


def test_charset_of_the_type_is_used(take: Callable[..., Any]) -> None:
    """Text is encoded in the charset its type names, and in UTF-8 when that cannot be."""
    entry = changed(CHROMIUM, response__content={"text": "é", "mimeType": "text/html; charset=ISO-8859-1"})
    odd = changed(CHROMIUM, response__content={"text": "é", "mimeType": "text/html; charset=x-none"})
    first, second = take(har(entry, odd)).exchanges
    assert (first.outcome.body, second.outcome.body) == (b"\xe9", b"\xc3\xa9")


def test_form_is_made_from_its_fields(take: Callable[..., Any]) -> None:
    """A form whose text is missing is written again from its parameters."""
    post = {"mimeType": "application/x-www-form-urlencoded", "params": [{"name": "a b", "value": "1&2"}]}
    [exchange] = take(har(changed(CHROMIUM, request__postData=post))).exchanges
    assert exchange.request.body == b"a+b=1%262"


def test_websocket_messages(take: Callable[..., Any]) -> None:
    """WebSocket frames become messages with their own times, and the stream is closed."""
    start = 1_772_359_200.25
    entry = changed(
        CHROMIUM,
        _resourceType="websocket",
        request__url="wss://app.example/live",
        response__status=101,
        _webSocketMessages=[
            {"type": "send", "time": start + 1, "opcode": 1, "data": '["1","1","phoenix","heartbeat",{}]'},
            {"type": "receive", "time": start + 1.5, "opcode": 2, "data": "AAE="},
            {"type": "receive", "time": start + 1.6, "opcode": 9, "data": ""},
            "odd",
        ],
    )
    result = take(har(entry))
    [exchange] = result.exchanges
    assert exchange.request.scheme == b"https"
    assert exchange.outcome.stream
    assert exchange.outcome.body == b""
    text, binary, end = result.messages
    assert (text.from_client, text.kind, text.offset_ns) == (True, MessageKind.TEXT, 1_000_000_000)
    assert (binary.from_client, binary.kind, binary.payload) == (False, MessageKind.BINARY, b"\x00\x01")
    assert end.kind is MessageKind.END
    assert exchange.outcome.end_ns == end.offset_ns == binary.offset_ns
    assert result.remarks["WebSocket message that is none, left out"] == 2


def test_websocket_entries_of_other_kinds(take: Callable[..., Any]) -> None:
    """An empty list of messages makes no stream; messages do, even where the status is missing."""
    plain = changed(CHROMIUM, _webSocketMessages=[])
    refused = changed(CHROMIUM, _resourceType="websocket", response__status=403)
    opened = changed(CHROMIUM, response=None, _webSocketMessages=[{"type": "send", "data": "a"}])
    result = take(har(plain, refused, opened))
    assert [exchange.outcome.stream for exchange in result.exchanges] == [False, False, True]
    assert result.exchanges[2].outcome.status == 101
    assert [message.payload for message in result.messages] == [b"a", b""]
    assert result.remarks["WebSocket without a status, taken as opened (101)"] == 1


def test_a_websocket_over_http2_is_one_that_an_upgrade_opened(take: Callable[..., Any]) -> None:
    """There 200 opens it (RFC 8441); a capture says 101 for each that opened, with a remark."""
    messages = [{"type": "send", "data": "a"}]
    entry = changed(CHROMIUM, response__status=200, _webSocketMessages=messages)
    [exchange] = (result := take(har(entry))).exchanges
    assert (exchange.outcome.status, exchange.outcome.stream, exchange.outcome.body) == (101, True, b"")
    assert result.remarks["WebSocket over HTTP/2, kept as one that an upgrade opened (101)"] == 1


def test_connections_are_spread_where_none_is_named(take: Callable[..., Any]) -> None:
    """Requests to one host that overlap get connections of their own, later ones use them again."""
    times = ["10:00:00.000", "10:00:00.010", "10:00:00.500"]
    entries = [changed(CHROMIUM, connection=None, startedDateTime=f"2026-03-01T{time}Z") for time in times]
    connections = [exchange.connection for exchange in take(har(*entries)).exchanges]
    assert connections[0] != connections[1]
    assert connections[2] in connections[:2]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.example", (b"http", b"a.example", b"/")),
        ("http://a.example?x=1#top", (b"http", b"a.example", b"/?x=1")),
        ("https://user:pass@a.example:8443/p", (b"https", b"a.example:8443", b"/p")),
        ("http://[::1]:80/é", (b"http", b"[::1]:80", b"/%C3%A9")),
        ("HTTP://bücher.example/a b", (b"http", b"xn--bcher-kva.example", b"/a%20b")),
        ("/only/a/path", (b"https", b"app.example", b"/only/a/path")),
    ],
)
def test_urls(take: Callable[..., Any], url: str, expected: tuple[bytes, ...]) -> None:
    """A URL is split as it stands; user info never gets in."""
    request = take(har(changed(CHROMIUM, request__url=url))).exchanges[0].request
    assert (request.scheme, request.authority, request.target) == expected


def test_what_is_no_http_request_is_dropped_and_counted(take: Callable[..., Any]) -> None:
    """Entries of data: URLs, without a request, or of no object at all are counted, the rest imports."""
    result = take(har(changed(CHROMIUM, request__url="data:text/plain,x"), {"time": 1}, "odd", CHROMIUM))
    assert len(result.exchanges) == 1
    assert (result.counters.seen, result.counters.dropped) == (4, 3)


def test_odd_headers(take: Callable[..., Any]) -> None:
    """Header pairs as lists are read, nameless ones are left out and counted."""
    result = take(har(changed(CHROMIUM, request__headers=[["A", "1"], {"value": "x"}, {"name": "B"}, 5])))
    assert result.exchanges[0].request.headers == ((b"A", b"1"), (b"B", b""))
    assert result.remarks["header that is none, left out"] == 2


@pytest.mark.parametrize("number", [10**400, -(10**400), 10**30, float("inf"), float("nan"), -1])
def test_numbers_that_no_time_has(take: Callable[..., Any], number: float) -> None:
    """A time that cannot be counts as none, however large it is, and costs no entry."""
    entry = changed(
        FIREFOX, time=number, timings=dict.fromkeys(("send", "wait"), number), response__status=101
    )
    entry["_webSocketMessages"] = [{"type": "send", "opcode": 1, "data": "a", "time": number}]
    result = take(har(changed(CHROMIUM, time=number, connection=number), entry))
    assert len(result.exchanges) == 2
    assert all(0 <= exchange.outcome.offset_ns < 10**15 for exchange in result.exchanges)
    assert [message.payload for message in result.messages if message.kind is not MessageKind.END] == [b"a"]


def test_byte_order_mark_and_gzip(take: Callable[..., Any]) -> None:
    """A document with a byte order mark, and a gzipped one, are read."""
    data = b"\xef\xbb\xbf" + json.dumps(har(CHROMIUM)).encode()
    assert len(take(data).exchanges) == 1
    assert len(take(gzip.compress(data)).exchanges) == 1


def test_pages_behind_and_before_the_entries(take: Callable[..., Any]) -> None:
    """The entries are found wherever they stand in the log."""
    document = {"log": {"pages": [{"entries": [1]}], "entries": [CHROMIUM], "browser": {"name": "entries"}}}
    assert len(take(document).exchanges) == 1


def test_cut_document_gives_its_whole_entries(take: Callable[..., Any]) -> None:
    """A document that ends inside an entry gives the entries before it and counts the cut one."""
    data = json.dumps(har(CHROMIUM, FIREFOX, CHROMIUM)).encode()
    result = take(data[: data.rindex(b'"startedDateTime"')])
    assert len(result.exchanges) == 2
    assert (result.counters.seen, result.counters.dropped) == (3, 1)


def test_broken_entry_costs_only_itself(take: Callable[..., Any]) -> None:
    """An entry that is not JSON, or with an unclosed string, is dropped; those behind it are read."""
    parts = [json.dumps(entry) for entry in (CHROMIUM, FIREFOX, FIREFOX)]
    for broken in (parts[0].replace('"time": 31.5', '"time": 31,5,'), parts[0].replace('"High"', '"High')):
        data = f'{{"log": {{"entries": [{parts[1]}, {broken}, {parts[2]}]}}}}'.encode()
        result = take(data)
        assert [exchange.request.method for exchange in result.exchanges] == [b"GET", b"GET"]
        assert result.counters.dropped == 1


@pytest.mark.parametrize("data", [b"{}", b"{", b'{"log": {}}', b'{"log": {"entries": 5}}', b'{"a": [1, 2]}'])
def test_json_without_entries_is_an_error(take: Callable[..., Any], data: bytes) -> None:
    """JSON that is no HAR is refused in one sentence."""
    with pytest.raises(CaptureError, match=r"log\.entries"):
        take(data)


def test_empty_log(take: Callable[..., Any]) -> None:
    """A HAR without entries gives an empty, whole capture."""
    result = take(har())
    assert (result.exchanges, result.complete) == ([], True)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
PLACES = st.sampled_from(
    [
        "startedDateTime", "time", "timings", "timings__send", "timings__wait", "request", "request__method",
        "request__url", "request__headers", "request__httpVersion", "request__postData", "request__bodySize",
        "request__postData__text", "request__postData__encoding", "response", "response__status",
        "response__headers", "response__content", "response__content__text", "response__content__encoding",
        "response__bodySize", "connection", "_webSocketMessages", "_resourceType", "_hookreel", "_fromCache",
    ]
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(st.tuples(PLACES, JSON_VALUES), max_size=4))
def test_any_json_in_any_place_is_survived(take: Callable[..., Any], changes: list[tuple[str, Any]]) -> None:
    """Whatever JSON stands where, each entry is imported or counted, and the next one imports."""
    entry = changed(CHROMIUM)
    for name, value in changes:
        try:
            entry = changed(entry, **{name: value})
        except (KeyError, TypeError, AttributeError, IndexError):
            continue
    result = take(json.dumps(har(entry, FIREFOX)).encode())
    assert result.counters.seen == 2
    assert any(exchange.request.target == b"/logo.png" for exchange in result.exchanges)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_is_survived(take: Callable[..., Any], data: st.DataObject) -> None:
    """A HAR with bytes changed, cut or put in gives a whole capture or CaptureError, nothing else."""
    document = bytearray(json.dumps(har(CHROMIUM, FIREFOX)).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(document) - 1))
        document[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=5))
    try:
        result = take(bytes(document))
    except CaptureError:
        return
    assert result.complete
    counters = result.counters
    assert counters.seen == counters.written + counters.dropped
    assert all(isinstance(exchange.outcome, Response | Failure) for exchange in result.exchanges)
