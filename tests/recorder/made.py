"""Exchanges made by hand, for tests that need no proxy."""

from __future__ import annotations

from captures.model import Exchange, Failure, FailureReason, Headers, Request, Response


def made_exchange(
    seq: int = 0,
    *,
    connection: int = 0,
    target: bytes = b"/",
    headers: Headers = (),
    body: bytes = b"",
    status: int = 200,
    response_headers: Headers = (),
    response_body: bytes = b"",
    stream: bool = False,
    truncated_bytes: int = 0,
) -> Exchange:
    """One exchange; ``status=0`` gives a failure."""
    outcome: Response | Failure = Failure(reason=FailureReason.OTHER, offset_ns=seq * 1000 + 1)
    if status:
        outcome = Response(
            status=status,
            reason=b"OK",
            http_version=b"HTTP/1.1",
            headers=response_headers,
            offset_ns=seq * 1000 + 1,
            end_ns=None if stream else seq * 1000 + 2,
            body=response_body,
            stream=stream,
        )
    return Exchange(
        seq=seq,
        offset_ns=seq * 1000,
        request_end_ns=seq * 1000,
        connection=connection,
        request=Request(
            method=b"POST",
            scheme=b"http",
            authority=b"h",
            target=target,
            http_version=b"HTTP/1.1",
            headers=headers,
            body=body,
            truncated_bytes=truncated_bytes,
        ),
        outcome=outcome,
    )
