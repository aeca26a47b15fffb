"""Exchanges and the messages of their streams come together in few passes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from captures.model import Exchange, Message, MessageKind, Request, Response
from hookreel.messages import with_messages

STREAMS = 400
EACH = 5


def make_exchange(seq: int, *, stream: bool) -> Exchange:
    request = Request(
        method=b"GET", scheme=b"http", authority=b"h", target=b"/", http_version=b"HTTP/1.1", headers=()
    )
    response = Response(
        status=200,
        reason=b"OK",
        http_version=b"HTTP/1.1",
        headers=(),
        offset_ns=seq,
        end_ns=None,
        stream=stream,
    )
    return Exchange(
        seq=seq, offset_ns=seq, request_end_ns=seq, connection=0, request=request, outcome=response
    )


class Messages:
    """All messages, interleaved over the streams; counts how often they were read."""

    def __init__(self) -> None:
        self.passes = 0

    def __call__(self) -> Iterator[Message]:
        self.passes += 1
        for number in range(EACH):
            for seq in range(1, 2 * STREAMS, 2):
                yield Message(
                    exchange=seq,
                    offset_ns=number,
                    from_client=False,
                    kind=MessageKind.EVENT,
                    payload=b"%d/%d" % (seq, number),
                )


@pytest.mark.parametrize(("most_bytes", "most_passes"), [(10**9, 2), (100_000, 10), (1, STREAMS * 2 + 1)])
def test_each_stream_gets_its_own_messages(most_bytes: int, most_passes: int) -> None:
    """In the order they were written, whatever the memory; many streams share a pass."""
    messages = Messages()
    exchanges = [make_exchange(seq, stream=seq % 2 == 1) for seq in range(2 * STREAMS)]
    found = list(with_messages(exchanges, messages, most_bytes))
    assert [exchange for exchange, _ in found] == exchanges
    assert [[message.payload for message in given] for _, given in found] == [
        [b"%d/%d" % (seq, number) for number in range(EACH)] if seq % 2 else [] for seq in range(2 * STREAMS)
    ]
    assert messages.passes <= most_passes


def test_without_streams_no_message_is_read() -> None:
    """Exchanges go straight through."""
    messages = Messages()
    assert len(list(with_messages([make_exchange(0, stream=False)], messages))) == 1
    assert messages.passes == 0
