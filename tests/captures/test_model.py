"""The model's own promises."""

from __future__ import annotations

from dataclasses import replace

from captures.frames import Block, BlockPacker, BlockType, read_block
from captures.model import Message, MessageKind, Response


def test_repr_shows_nothing_of_the_traffic(make_exchange) -> None:
    """What a log or a traceback shows of an exchange holds no bytes that anybody sent."""
    secret = b"s3cr3t"
    pairs = ((b"Authorization", secret),)
    exchange = make_exchange(
        target=b"/?key=" + secret, authority=secret, headers=pairs, body=secret, trailers=pairs
    )
    outcome = exchange.outcome
    assert isinstance(outcome, Response)
    outcome = replace(outcome, headers=pairs, body=secret, trailers=pairs, reason=secret)
    message = Message(exchange=0, offset_ns=0, from_client=True, kind=MessageKind.TEXT, payload=secret)
    data = BlockPacker().pack(BlockType.EXCHANGES, secret)
    block = read_block(lambda position, size: data[position : position + size], 0)
    assert isinstance(block, Block)
    shown = repr(replace(exchange, outcome=outcome)) + repr(message) + repr(block)
    assert "s3cr3t" not in shown
    assert "Authorization" not in shown
    assert "status=202" in shown
