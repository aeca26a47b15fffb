"""Heads of responses: what stands in them, and which need not be parsed again."""

from __future__ import annotations

import pytest

from replayer.heads import KnownHeads, final_head, says_close, says_length

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


def test_the_head_of_a_whole_response_is_learnt() -> None:
    """It stands for its status and the length of its body; errors are always parsed."""
    heads = KnownHeads()
    heads.learn(HEAD + b"ok", 200, 2)
    heads.learn(HEAD.replace(b"200", b"500") + b"ok", 500, 2)
    heads.learn(HEAD[:-4] + b"\r\nX: 1\r\n\r\no", 200, 2)
    assert heads.known == {HEAD: (200, 2)}


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 103 Early\r\n\r\n" + HEAD + b"ok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
def test_what_is_framed_otherwise_is_not_learnt(data: bytes) -> None:
    """An interim head or chunks before the end say that length alone does not decide."""
    heads = KnownHeads()
    heads.learn(data, 200, 2)
    assert not heads.known


def test_only_so_many_heads_are_kept() -> None:
    """A target that never repeats a head fills no memory, and the newest is known."""
    heads = KnownHeads()
    responses = [b"HTTP/1.1 200 OK\r\nX-Id: %d\r\n\r\n" % number for number in range(1000)]
    for data in responses:
        heads.learn(data, 200, 0)
    assert heads.known[responses[-1]] == (200, 0)
    assert len(heads.known) <= 256
    heads.learn(HEAD[:-4] + b"\r\nX: " + b"x" * 5000 + b"\r\n\r\nok", 200, 2)
    assert max(map(len, heads.known)) < 100


def test_the_final_head_says_how_the_response_ends() -> None:
    """Interim heads are left out, and names are found in any case."""
    data = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nCONTENT-length: 2\r\nconnection: a, Close\r\n\r\nok"
    )
    head = final_head(data)
    assert head == b"HTTP/1.1 200 OK\r\nCONTENT-length: 2\r\nconnection: a, Close"
    assert says_length(head)
    assert says_close(head)
    assert not says_length(b"HTTP/1.1 200 OK\r\nX-Content-Length: 2")
    assert not says_close(b"HTTP/1.1 200 OK\r\nX: close")
