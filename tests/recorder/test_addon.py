"""The hooks, driven by made flows: every exchange ends once, and no error of ours leaves the addon."""

from __future__ import annotations

from itertools import count

import pytest
from mitmproxy import http
from mitmproxy.flow import Error
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.test import tflow

from captures.codec import build_exchange, build_message
from captures.model import Exchange, Failure, FailureReason, Message, MessageKind, Response
from recorder.addon import RecorderAddon


class MemorySink:
    """Keeps what it is offered; full when told so."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.messages: list[Message] = []
        self.seen = 0
        self.dropped = 0
        self.full = False

    def saw(self) -> int:
        self.seen += 1
        return self.seen - 1

    def drop(self) -> None:
        self.dropped += 1

    def offer(self, row: tuple) -> bool:
        if self.full:
            self.dropped += 1
            return False
        self.exchanges.append(build_exchange(row))
        return True

    def offer_message(self, row: tuple, *, ends: bool) -> bool:
        self.messages.append(build_message(row))
        assert ends is (self.messages[-1].kind is MessageKind.END)
        return True


class Proxy:
    """A recorder addon with a clock that ticks 10 ns a look, from 1000 on."""

    def __init__(self) -> None:
        self.sink = MemorySink()
        self.notes: list[str] = []
        ticks = count(1000, 10)
        self.addon = RecorderAddon(
            self.sink,
            clock_ns=lambda: next(ticks),
            started_ns=1000,
            max_body_bytes=1000,
            note=self.notes.append,
        )

    def assert_settled(self) -> None:
        """Every exchange that was seen is written, dropped or in flight, once."""
        in_flight = self.addon.end()
        assert self.sink.seen == len(self.sink.exchanges) + self.sink.dropped + in_flight
        seqs = [exchange.seq for exchange in self.sink.exchanges]
        assert len(seqs) == len(set(seqs))


def whole(proxy: Proxy, flow: http.HTTPFlow) -> None:
    proxy.addon.requestheaders(flow)
    proxy.addon.request(flow)
    proxy.addon.responseheaders(flow)
    proxy.addon.response(flow)


def test_an_exchange_has_the_times_of_its_hooks():
    """Each hook reads the clock once; offsets count from the recording's start."""
    proxy = Proxy()
    whole(proxy, tflow.tflow(resp=True))
    (exchange,) = proxy.sink.exchanges
    assert (exchange.offset_ns, exchange.request_end_ns) == (0, 10)
    assert isinstance(exchange.outcome, Response)
    assert (exchange.outcome.offset_ns, exchange.outcome.end_ns) == (20, 30)
    assert (exchange.request.body, exchange.outcome.body) == (b"content", b"message")
    proxy.assert_settled()


def test_connections_are_numbered_as_they_bring_requests():
    """Flows of one client connection share its number; a connection without a request has none."""
    proxy = Proxy()
    first, second = tflow.tclient_conn(), tflow.tclient_conn()
    second.id = "another"
    proxy.addon.client_disconnected(tflow.tclient_conn())
    for client in (first, second, first):
        flow = tflow.tflow(resp=True, client_conn=client)
        whole(proxy, flow)
    assert [exchange.connection for exchange in proxy.sink.exchanges] == [0, 1, 0]
    assert proxy.addon.connections == 2
    proxy.assert_settled()


def test_an_error_is_a_failure_with_a_reason():
    """The error hook ends an exchange, with what is known of the request."""
    proxy = Proxy()
    flow = tflow.tflow()
    proxy.addon.requestheaders(flow)
    proxy.addon.request(flow)
    proxy.addon.server_connect_error(ServerConnectionHookData(make_server("refused"), flow.client_conn))
    flow.error = Error("refused")
    proxy.addon.error(flow)
    proxy.addon.server_connect_error(ServerConnectionHookData(make_server("refused"), flow.client_conn))
    assert proxy.notes == [
        "address:22 could not be reached (the upstream refused the connection); "
        "clients get 502 and the exchanges are recorded as failed."
    ]
    (exchange,) = proxy.sink.exchanges
    assert isinstance(exchange.outcome, Failure)
    assert exchange.outcome.reason is FailureReason.UPSTREAM_UNREACHABLE
    assert exchange.request.body == b"content"
    proxy.assert_settled()


def make_server(error: str):
    server = tflow.tserver_conn()
    server.error = error
    return server


def test_what_a_gone_client_left_open_is_settled():
    """When neither response nor error comes, the end of the connection ends its exchanges."""
    proxy = Proxy()
    flow = tflow.tflow()
    flow.request.headers["transfer-encoding"] = "chunked"
    del flow.request.headers["content-length"]
    proxy.addon.requestheaders(flow)
    assert flow.request.stream(b"half") == b"half"
    proxy.addon.client_disconnected(flow.client_conn)
    proxy.addon.error(flow)  # too late: it is counted already
    (exchange,) = proxy.sink.exchanges
    assert isinstance(exchange.outcome, Failure)
    assert exchange.request.body == b"half"
    proxy.assert_settled()


def test_a_response_may_be_whole_before_its_request():
    """An early answer to a streamed upload is recorded when the upload ends, or the connection does."""
    for ending in ("request", "client_disconnected"):
        proxy = Proxy()
        flow = tflow.tflow(resp=True)
        flow.request.data.content = None  # it has not passed yet
        proxy.addon.requestheaders(flow)
        proxy.addon.responseheaders(flow)
        proxy.addon.response(flow)
        assert proxy.sink.exchanges == []
        getattr(proxy.addon, ending)(flow if ending == "request" else flow.client_conn)
        (exchange,) = proxy.sink.exchanges
        assert isinstance(exchange.outcome, Response)
        # Only the request that became whole may be taken for all of it.
        assert (exchange.request.truncated_bytes == 0) is (ending == "request")
        proxy.assert_settled()


def test_what_is_open_at_the_end_is_in_flight_and_nothing_counts_later():
    """After the end, hooks change neither the account nor the traffic."""
    proxy = Proxy()
    flow = tflow.tflow(resp=True)
    proxy.addon.requestheaders(flow)
    assert proxy.addon.end() == 1
    proxy.addon.request(flow)
    proxy.addon.response(flow)
    proxy.addon.client_disconnected(flow.client_conn)
    whole(proxy, tflow.tflow(resp=True))
    assert (proxy.sink.seen, proxy.sink.exchanges, proxy.addon.end()) == (1, [], 1)


def test_an_event_stream_is_passed_on_and_its_events_kept():
    """Chunks go on unchanged; each event is a message, and the stream's end one more."""
    proxy = Proxy()
    flow = tflow.tflow(resp=True)
    flow.response.headers["content-type"] = "text/event-stream"
    proxy.addon.requestheaders(flow)
    proxy.addon.request(flow)
    proxy.addon.responseheaders(flow)
    (exchange,) = proxy.sink.exchanges  # the row is there while the stream is open
    assert isinstance(exchange.outcome, Response)
    assert exchange.outcome.stream
    for chunk in (b"data: 1\n\nda", b"ta: 2\n\n", b""):
        assert flow.response.stream(chunk) == chunk
    proxy.addon.response(flow)
    assert [message.payload for message in proxy.sink.messages] == [b"data: 1\n\n", b"data: 2\n\n", b""]
    assert proxy.sink.messages[-1].kind is MessageKind.END
    proxy.assert_settled()


def test_websocket_messages_are_cleared_as_they_are_kept():
    """The proxy keeps every message of a socket; after each hook none is left."""
    proxy = Proxy()
    flow = tflow.twebsocketflow()
    messages = list(flow.websocket.messages)
    flow.websocket.messages.clear()
    whole(proxy, flow)
    for message in messages:
        flow.websocket.messages.append(message)
        proxy.addon.websocket_message(flow)
        assert flow.websocket.messages == []
    proxy.addon.websocket_end(flow)
    kinds = [message.kind for message in proxy.sink.messages]
    assert kinds == [MessageKind.BINARY, MessageKind.TEXT, MessageKind.TEXT, MessageKind.END]
    proxy.assert_settled()


def test_messages_of_a_dropped_exchange_are_not_kept():
    """A message without its exchange says nothing, so none is offered."""
    proxy = Proxy()
    proxy.sink.full = True
    flow = tflow.twebsocketflow()
    whole(proxy, flow)
    proxy.addon.websocket_message(flow)
    proxy.addon.websocket_end(flow)
    assert proxy.sink.messages == []
    assert proxy.sink.dropped == 1
    proxy.assert_settled()


@pytest.mark.parametrize("hook", ["requestheaders", "request", "responseheaders", "response"])
def test_an_error_of_ours_never_leaves_a_hook(hook: str, monkeypatch: pytest.MonkeyPatch):
    """Whichever step breaks, the request goes on, its exchange is dropped, and the user is told once."""
    proxy = Proxy()

    def broken(*_arguments: object, **_names: object) -> None:
        raise RuntimeError("hunter2")

    broken_part = {
        "requestheaders": "request_head",
        "request": "BodyTee",
        "responseheaders": "response_framing",
        "response": "response_row",
    }[hook]
    if hook == "request":
        monkeypatch.setattr(proxy.addon._tracker, "request_done", broken)
    else:
        monkeypatch.setattr(f"recorder.convert.{broken_part}", broken)
    for _ in range(2):
        whole(proxy, tflow.tflow(resp=True))
    assert (proxy.sink.seen, proxy.sink.dropped, proxy.sink.exchanges) == (2, 2, [])
    (note,) = proxy.notes
    assert "RuntimeError" in note
    assert "hunter2" not in note
    proxy.assert_settled()


def test_an_error_of_ours_never_breaks_a_body(monkeypatch: pytest.MonkeyPatch):
    """What a tee cannot keep still passes."""
    proxy = Proxy()
    flow = tflow.tflow(resp=True)
    flow.response.headers["content-type"] = "text/event-stream"
    proxy.addon.requestheaders(flow)
    proxy.addon.request(flow)
    proxy.addon.responseheaders(flow)
    monkeypatch.setattr("recorder.sse.EventSplitter.feed", lambda *_: 1 / 0)
    assert flow.response.stream(b"data: 1\n\n") == b"data: 1\n\n"
    assert len(proxy.notes) == 1


def test_the_scheme_is_the_clients_own_in_reverse_mode():
    """A client of a reverse proxy talks to it as to the server; a forward proxy's client names the scheme."""
    for mode, expected in (("reverse:https://upstream", b"http"), ("regular", b"https")):
        proxy = Proxy()
        flow = tflow.tflow(resp=True)
        flow.client_conn.proxy_mode = ProxyMode.parse(mode)
        flow.client_conn.tls = False
        flow.request.scheme = "https"
        whole(proxy, flow)
        assert proxy.sink.exchanges[0].request.scheme == expected
