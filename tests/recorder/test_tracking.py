from __future__ import annotations

from itertools import count

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from captures.codec import build_exchange, build_message
from captures.model import Exchange, Failure, FailureReason, Message, MessageKind, Response
from recorder.tracking import STREAM_ABOVE_BYTES, Tracker

MAX_BODY_BYTES = 2 * STREAM_ABOVE_BYTES


class ListSink:
    """Takes all."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.messages: list[Message] = []
        self.seen = 0
        self.dropped = 0

    def saw(self) -> int:
        self.seen += 1
        return self.seen - 1

    def drop(self) -> None:
        self.dropped += 1

    def offer(self, row: tuple) -> bool:
        self.exchanges.append(build_exchange(row))
        return True

    def offer_message(self, row: tuple, *, ends: bool) -> bool:
        self.messages.append(build_message(row))
        assert ends is (self.messages[-1].kind is MessageKind.END)
        return True


@pytest.fixture
def sink() -> ListSink:
    return ListSink()


@pytest.fixture
def tracker(sink: ListSink) -> Tracker:
    ticks = count()
    return Tracker(
        sink,
        clock_ns=lambda: next(ticks),
        started_ns=0,
        max_body_bytes=MAX_BODY_BYTES,
        broke=lambda error: pytest.fail(str(error)),
    )


def flow_with(length: int | None, *, chunked: bool = False) -> http.HTTPFlow:
    flow = tflow.tflow(resp=True)
    for message in (flow.request, flow.response):
        message.headers.clear()
        if length is not None:
            message.headers["content-length"] = str(length)
        if chunked:
            message.headers["transfer-encoding"] = "chunked"
    return flow


def test_large_bodies_and_those_of_unknown_length_are_passed_on_as_they_come(tracker: Tracker):
    """What is known to be small is left to the proxy to hold; a request without a length has no body."""
    cases = [
        (flow_with(100), False, False),
        (flow_with(STREAM_ABOVE_BYTES), False, False),
        (flow_with(STREAM_ABOVE_BYTES + 1), True, True),
        (flow_with(None, chunked=True), True, True),
        (flow_with(None), False, True),
    ]
    for flow, request_streams, response_streams in cases:
        tracker.begin(flow, reverse=True)
        tracker.request_done(flow)
        tracker.response_begins(flow)
        assert callable(flow.request.stream) is request_streams
        assert callable(flow.response.stream) is response_streams


def test_what_passes_unbuffered_is_stored_up_to_the_limit(tracker: Tracker, sink: ListSink):
    """Both bodies go on chunk by chunk, unchanged, and are recorded with what is left out counted."""
    flow = flow_with(None, chunked=True)
    chunk = b"x" * (MAX_BODY_BYTES // 2 + 1)
    tracker.begin(flow, reverse=True)
    for _ in range(3):
        assert flow.request.stream(chunk) is chunk
    tracker.request_done(flow)
    tracker.response_begins(flow)
    assert flow.response.stream(chunk) is chunk
    assert flow.response.stream(b"") == b""
    tracker.response_done(flow)
    (exchange,) = sink.exchanges
    assert len(exchange.request.body) == MAX_BODY_BYTES
    assert exchange.request.truncated_bytes == 3 * len(chunk) - MAX_BODY_BYTES
    assert isinstance(exchange.outcome, Response)
    assert (exchange.outcome.body, exchange.outcome.truncated_bytes) == (chunk, 0)


def test_waiting_and_streaming_exchanges_are_told_apart(tracker: Tracker):
    """An exchange waits until it has an outcome; one with an open stream has one."""
    waiting, streaming = flow_with(0), flow_with(None)
    streaming.response.headers["content-type"] = "text/event-stream"
    for flow in (waiting, streaming):
        tracker.begin(flow, reverse=True)
        tracker.request_done(flow)
    assert [item.seq for item in tracker.waiting()] == [0, 1]
    tracker.response_begins(streaming)
    assert [item.seq for item in tracker.waiting()] == [0]
    assert [item.seq for item in tracker.streaming()] == [1]
    tracker.response_done(waiting)
    tracker.response_done(streaming)
    assert tracker.waiting() == tracker.streaming() == []


def test_a_failed_stream_ends(tracker: Tracker, sink: ListSink):
    """A stream that breaks was an exchange already; only its end is noted."""
    flow = flow_with(None)
    flow.response.headers["content-type"] = "text/event-stream"
    tracker.begin(flow, reverse=True)
    tracker.request_done(flow)
    tracker.response_begins(flow)
    tracker.failed(flow, connect_error=None)
    assert len(sink.exchanges) == len(sink.messages) == 1
    assert tracker.open_of(flow.client_conn.id) == []


def test_an_event_stream_before_the_request_is_whole_is_an_ordinary_body(tracker: Tracker, sink: ListSink):
    """A row cannot be written before its request has passed, so the events are kept as a body."""
    flow = flow_with(None, chunked=True)
    flow.response.headers["content-type"] = "text/event-stream"
    tracker.begin(flow, reverse=True)
    tracker.response_begins(flow)
    flow.response.stream(b"data: 1\n\n")
    tracker.response_done(flow)
    tracker.request_done(flow)
    (exchange,) = sink.exchanges
    assert isinstance(exchange.outcome, Response)
    assert (exchange.outcome.stream, exchange.outcome.body) == (False, b"data: 1\n\n")


def test_settling_ends_what_is_open_and_abandoning_drops_it(tracker: Tracker, sink: ListSink):
    """Each open exchange can be ended in one of two counted ways, and only once."""
    settled, abandoned = flow_with(0), flow_with(0)
    for flow in (settled, abandoned):
        tracker.begin(flow, reverse=True)
    tracker.settle(settled.id)
    for _ in range(2):
        tracker.abandon(abandoned.id)
        tracker.abandon(settled.id)
    (exchange,) = sink.exchanges
    assert isinstance(exchange.outcome, Failure)
    assert exchange.outcome.reason is FailureReason.CLIENT_DISCONNECTED
    assert (sink.seen, sink.dropped) == (2, 1)


def test_an_error_of_the_proxy_is_not_the_clients(tracker: Tracker, sink: ListSink):
    """When the proxy itself could not go on, the failure says so."""
    flow = flow_with(0)
    tracker.begin(flow, reverse=True)
    tracker.settle(flow.id, broken=True)
    tracker.settle(flow.id, broken=True)
    (exchange,) = sink.exchanges
    assert isinstance(exchange.outcome, Failure)
    assert exchange.outcome.reason is FailureReason.PROTOCOL_ERROR


def test_events_of_unknown_flows_change_nothing(tracker: Tracker, sink: ListSink):
    """A CONNECT, or a flow that was settled, reaches later hooks and counts nowhere."""
    flow = flow_with(0)
    tracker.request_done(flow)
    tracker.response_begins(flow)
    tracker.response_done(flow)
    tracker.failed(flow, connect_error=None)
    tracker.stream_done(flow.id)
    assert (sink.seen, sink.dropped, sink.exchanges, sink.messages) == (0, 0, [], [])
