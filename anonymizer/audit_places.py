"""Every place of an exchange that holds bytes of the traffic, under a name a reader can find."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from anonymizer.audit_decode import content_codings, decode_body
from captures.model import CaptureHeader, Exchange, Failure, Headers, Message, Request, Response

DERIVED_HEADERS = frozenset(
    {
        b"content-length", b"content-md5", b"content-digest", b"repr-digest", b"digest",
        b"content-encoding", b"content-type", b"transfer-encoding",
    }
)  # fmt: skip
"""Lower-case names of headers that follow from a body: they change with it and name nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    Some bytes of a capture and where they stand.

    ``key`` pairs it with the same place of the other capture: kind, lower-case name and count
    of that name. ``content_type`` is that of a body. ``undecodable`` says that ``data`` still
    has its content coding. ``derived`` places hold nothing that could be an original.
    """

    name: str
    key: tuple[str, bytes, int]
    data: bytes = field(repr=False)
    content_type: bytes = b""
    undecodable: bool = False
    derived: bool = False


def exchange_places(exchange: Exchange) -> Iterator[Place]:
    """The places of ``exchange`` with content codings undone."""
    request, outcome = exchange.request, exchange.outcome
    yield _plain("request method", request.method)
    yield _plain("request authority", request.authority)
    yield _plain("request target", request.target)
    yield from _parts("request", request)
    if isinstance(outcome, Failure):
        yield _plain("failure detail", outcome.detail.encode())
        return
    yield _plain("response reason", outcome.reason)
    yield from _parts("response", outcome)


def stored_bodies(exchange: Exchange) -> Iterator[Place]:
    """The bodies that have a content coding, as they are stored: a coding may store text as text."""
    sides: list[tuple[str, Request | Response]] = [("request", exchange.request)]
    if isinstance(exchange.outcome, Response):
        sides.append(("response", exchange.outcome))
    for side, part in sides:
        if part.body and content_codings(part.headers):
            yield _plain(f"{side} body, as stored", part.body)


def message_place(message: Message, number: int) -> Place:
    """The payload of the message that is the ``number``-th of its exchange, counted from 0."""
    sender = "client" if message.from_client else "server"
    return _plain(f"message {number} from the {sender}", message.payload)


def capture_places(header: CaptureHeader) -> Iterator[Place]:
    """What stands once in a capture and is free text."""
    yield _plain("capture header source", header.source.encode())
    yield _plain("capture header tool", header.tool.encode())
    if header.anonymized is not None:
        yield _plain("capture header policy", header.anonymized.policy.encode())


def _plain(name: str, data: bytes) -> Place:
    return Place(name=name, key=(name, b"", 0), data=data)


def _parts(side: str, part: Request | Response) -> Iterator[Place]:
    yield from _header_places(f"{side} header", part.headers)
    decoded = decode_body(part.body, part.headers)
    content_type = next((value for name, value in part.headers if name.lower() == b"content-type"), b"")
    yield Place(
        name=f"{side} body",
        key=(f"{side} body", b"", 0),
        data=part.body if decoded is None else decoded,
        content_type=content_type.lower(),
        undecodable=decoded is None,
    )
    yield from _header_places(f"{side} trailer", part.trailers)


def _header_places(kind: str, headers: Headers) -> Iterator[Place]:
    names = b"\n".join(name for name, _ in headers)
    yield Place(name=f"{kind} names", key=(f"{kind} names", b"", 0), data=names, derived=True)
    counts: dict[bytes, int] = {}
    for name, value in headers:
        lower_name = name.lower()
        number = counts[lower_name] = counts.get(lower_name, -1) + 1
        yield Place(
            name=f"{kind} {lower_name.decode('latin-1')}",
            key=(kind, lower_name, number),
            data=value,
            derived=lower_name in DERIVED_HEADERS,
        )
